"""The admin API put together over a store."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Mount

from portal.admin.api.application import PREFIX, AdminSettings, create_admin_app
from portal.admin.api.operations import Operation
from portal.admin.apps import Apps
from portal.admin.assessments import AssessmentApi
from portal.admin.lists import Lists
from portal.admin.login_settings import Organizations
from portal.admin.members import Members
from portal.admin.organization import CustomPages, IdentityProviders, ServiceTokenApi
from portal.admin.policies import Groups, Policies, check_decisions
from portal.admin.portals import Portals
from portal.admin.servers import Servers
from portal.admin.signing import Keys
from portal.admin.tokens import ApiTokens
from portal.admin.upstreams import NotRunning, Upstreams
from portal.oauth import ServiceTokens, SigningKeys
from portal.objects import Document
from portal.sdk import mount_any_path
from portal.state import AlreadyExists, Clock, Kind, Store, utc_now


class AccountDocument(Document):
    """The one account of an instance: 32 hexadecimal digits."""

    id: str


ACCOUNT, ACCOUNT_ID = Kind("settings", AccountDocument), "account"


@dataclass(frozen=True, slots=True)
class Admin:
    """`tokens` makes the first API token; `settings` may be set again while it serves."""

    app: Starlette
    account_id: str
    tokens: ApiTokens
    operations: Sequence[Operation]
    settings: AdminSettings

    def route(self) -> Mount:
        """The application at `PREFIX`."""
        # An id in a path may be any text, also one with a line break.
        return mount_any_path(PREFIX, self.app)


async def create_admin(
    store: Store,
    upstreams: Upstreams | None = None,
    *,
    clock: Clock = utc_now,
    settings: AdminSettings | None = None,
) -> Admin:
    """The admin API over this store. Without `upstreams` every server is waiting."""
    settings = settings or AdminSettings()
    account_id = await read_account_id(store)
    tokens = ApiTokens(store, account_id, clock)
    servers = Servers(store, upstreams or NotRunning())
    operations = [
        *servers.operations(),
        *Portals(store, servers).operations(),
        *Policies(store, check_decisions).operations(),
        *Groups(store, check_decisions).operations(),
        *Apps(store, check_decisions).operations(),
        *IdentityProviders(store).operations(),
        *ServiceTokenApi(store, ServiceTokens(store, clock)).operations(),
        *CustomPages(store, check_decisions).operations(),
        *Lists(store, check_decisions, clock).operations(),
        *Keys(store, SigningKeys(store, clock), clock).operations(),
        *AssessmentApi(store, clock, settings).operations(),
        *Organizations(store, settings).operations(),
        *Members(store, clock, settings).operations(),
        *tokens.operations(),
    ]
    return Admin(create_admin_app(operations, tokens, account_id, settings), account_id, tokens, operations, settings)


async def read_account_id(store: Store) -> str:
    """The id of the one account, 32 hexadecimal digits made up at the first start."""
    try:
        made = await store.create(ACCOUNT, ACCOUNT_ID, AccountDocument(id=secrets.token_hex(16)), by="first start")
    except AlreadyExists:
        found = await store.get(ACCOUNT, ACCOUNT_ID)
        assert found is not None
        made = found
    return made.document.id
