"""Builds the admin API over a store."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Mount

from portal.admin.api.application import PREFIX, AdminSettings, create_admin_app
from portal.admin.api.operations import Operation
from portal.admin.apps import AppOperations
from portal.admin.assessments import AssessmentApi
from portal.admin.exports import ExportOperations
from portal.admin.lists import ListOperations
from portal.admin.login_settings import OrganizationOperations
from portal.admin.members import MemberOperations
from portal.admin.organization import CustomPages, IdentityProviders, ServiceTokenApi
from portal.admin.policies import GroupOperations, PolicyOperations, check_decisions
from portal.admin.portals import PortalOperations
from portal.admin.servers import ServerOperations
from portal.admin.signing import KeyOperations
from portal.admin.tokens import ApiTokens
from portal.admin.upstreams import NotRunning, Upstreams
from portal.export import ExportJobs
from portal.oauth import ServiceTokens, SigningKeys
from portal.objects import Document
from portal.sdk import mount_any_path
from portal.state import AlreadyExists, Clock, Kind, Store, utc_now


class InstanceAccount(Document):
    """The one account of an instance: 32 hexadecimal digits."""

    id: str


ACCOUNT, ACCOUNT_ID = Kind("settings", InstanceAccount), "account"


@dataclass(frozen=True, slots=True)
class Admin:
    """The API of one account. `tokens` creates the first API token; `settings` may change while the API serves."""

    app: Starlette
    account_id: str
    tokens: ApiTokens
    operations: Sequence[Operation]
    settings: AdminSettings

    def route(self) -> Mount:
        """The application at `PREFIX`."""
        # An id in a path may be any text, even with a line break.
        return mount_any_path(PREFIX, self.app)


async def create_admin(
    store: Store,
    upstreams: Upstreams | None = None,
    *,
    clock: Clock = utc_now,
    settings: AdminSettings | None = None,
    exports: ExportJobs | None = None,
) -> Admin:
    """The admin API over this store. Without `upstreams` the status of every server is `waiting`, without `exports` no
    job of the export runs."""
    settings = settings or AdminSettings()
    account_id = await read_account_id(store)
    tokens = ApiTokens(store, account_id, clock)
    servers = ServerOperations(store, upstreams or NotRunning(), clock, settings)
    operations = [
        *servers.operations(),
        *PortalOperations(store, servers).operations(),
        *PolicyOperations(store, check_decisions).operations(),
        *GroupOperations(store, check_decisions).operations(),
        *AppOperations(store, check_decisions).operations(),
        *IdentityProviders(store).operations(),
        *ServiceTokenApi(store, ServiceTokens(store, clock)).operations(),
        *CustomPages(store, check_decisions).operations(),
        *ListOperations(store, check_decisions, clock).operations(),
        *KeyOperations(store, SigningKeys(store, clock), clock).operations(),
        *AssessmentApi(store, clock, settings).operations(),
        *OrganizationOperations(store, settings).operations(),
        *MemberOperations(store, clock, settings).operations(),
        *ExportOperations(store, exports).operations(),
        *tokens.operations(),
    ]
    return Admin(create_admin_app(operations, tokens, account_id, settings), account_id, tokens, operations, settings)


async def read_account_id(store: Store) -> str:
    """The id of the one account, 32 hexadecimal digits chosen at random on the first start."""
    # A start that is not the first writes nothing: the database may take nothing just then.
    if (account := await store.get(ACCOUNT, ACCOUNT_ID)) is not None:
        return account.document.id
    made = InstanceAccount(id=secrets.token_hex(16))
    try:
        await store.create(ACCOUNT, ACCOUNT_ID, made, by="first start")
    except AlreadyExists:
        # Another process was faster.
        account = await store.get(ACCOUNT, ACCOUNT_ID)
        assert account is not None
        return account.document.id
    return made.id
