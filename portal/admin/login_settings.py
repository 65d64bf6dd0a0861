"""How people sign in at every portal, and what the document's own is called: `access/organizations`.

It is the store's `settings` object `login`, which `portal.login` reads for each page: a change here shows on the
next one. What can be written is decided by the same rules that read it (`portal.pages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator

from portal.admin.api.application import AdminSettings
from portal.admin.api.errors import conflict, invalid
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import ORGANIZATION
from portal.login import LOGIN_SETTINGS, LOGIN_SETTINGS_ID
from portal.login import LoginSettings as LoginDocument
from portal.objects import IDENTITY_PROVIDER
from portal.pages import read_rules
from portal.state import Store, Stored, Transaction

PATH = "/access/organizations"
BUILT_IN = frozenset({"onetimepin"})
"""The identity providers that are no objects."""


class _WithoutNulls(BaseModel):
    """Members that are null count as not sent."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: object) -> object:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class LoginDesign(_WithoutNulls):
    """ "" is the portal's own. Colours are `#rrggbb`, `logo_path` is an https URL."""

    background_color: Annotated[str, Field(max_length=7)] = ""
    text_color: Annotated[str, Field(max_length=7)] = ""
    logo_path: Annotated[str, Field(max_length=2048)] = ""
    header_text: Annotated[str, Field(max_length=500)] = ""
    footer_text: Annotated[str, Field(max_length=500)] = ""

    @field_validator("*")
    @classmethod
    def _usable(cls, given: str, info: ValidationInfo) -> str:
        read_rules({"login_design": {info.field_name: given}})
        return given


class SettableSettings(_WithoutNulls):
    """What can be set. `allowed_idps` and `custom_deny_*` are ours."""

    name: Annotated[str, Field(max_length=100)] = ""
    login_design: LoginDesign = LoginDesign()
    session_duration: Annotated[str, Field(max_length=40)] = "24h"
    auto_redirect_to_identity: bool = False
    allowed_idps: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=256)] = ()
    custom_deny_message: Annotated[str, Field(max_length=2000)] = ""
    custom_deny_url: Annotated[str, Field(max_length=2048)] = ""
    custom_deny_html: Annotated[str, Field(max_length=200_000)] = ""

    @field_validator("name", "session_duration", "custom_deny_url")
    @classmethod
    def _usable(cls, given: str, info: ValidationInfo) -> str:
        read_rules({str(info.field_name): given})
        return given


class OrganizationBody(SettableSettings):
    """What Cloudflare has besides is refused where it asks for something, so that nobody relies on it."""

    auth_domain: Annotated[str, Field(max_length=253)] | None = None
    allow_authenticate_via_warp: object = None
    custom_pages: object = None
    deny_unmatched_requests: object = None
    deny_unmatched_requests_exempted_zone_names: object = None
    is_ui_read_only: object = None
    mfa_config: object = None
    mfa_piv_key_requirements: object = None
    mfa_required_for_all_apps: object = None
    service_token_inactivity: object = None
    strict_service_token_auth: object = None
    ui_read_only_toggle_reason: object = None
    user_seat_expiration_inactive_time: object = None
    warp_auth_non_browser_401: object = None
    warp_auth_session_duration: object = None

    @field_validator(
        "allow_authenticate_via_warp",
        "custom_pages",
        "deny_unmatched_requests",
        "deny_unmatched_requests_exempted_zone_names",
        "is_ui_read_only",
        "mfa_config",
        "mfa_piv_key_requirements",
        "mfa_required_for_all_apps",
        "service_token_inactivity",
        "strict_service_token_auth",
        "ui_read_only_toggle_reason",
        "user_seat_expiration_inactive_time",
        "warp_auth_non_browser_401",
        "warp_auth_session_duration",
    )
    @classmethod
    def _asks_for_nothing(cls, given: object) -> object:
        if given:
            raise ValueError("is not supported by this portal; leave it out")
        return given


class NewOrganization(OrganizationBody):
    name: Annotated[str, Field(min_length=1, max_length=100)]


def usable_settings(document: Mapping[str, object]) -> dict[str, object]:
    """The stored settings without what cannot be used, which only an embedding program can have written: the pages read
    none of it either. Members that are not of `LoginSettings` stay."""
    usable: dict[str, object] = {}
    for name, value in document.items():
        try:
            settings = SettableSettings.model_validate({name: value})
        except ValidationError:
            continue
        if name not in SettableSettings.model_fields or name in settings.model_fields_set:
            usable[name] = value
    return usable


class ShownOrganization(BaseModel):
    """`auth_domain` is the host name of the document's own portal, which its configuration says."""

    name: str = ""
    auth_domain: str = ""
    login_design: LoginDesign = LoginDesign()
    session_duration: str = "24h"
    auto_redirect_to_identity: bool = False
    allowed_idps: tuple[str, ...] = ()
    custom_deny_message: str = ""
    custom_deny_url: str = ""
    custom_deny_html: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None


class OrganizationOperations:
    """The one organization. PUT changes the members that are sent; "" takes a text away."""

    def __init__(self, store: Store, settings: AdminSettings) -> None:
        self._store = store
        self._settings = settings

    def operations(self) -> list[Operation]:
        area, model = ORGANIZATION, ShownOrganization
        return [
            Operation("GET", PATH, "Show how people sign in", self._get, model, area),
            Operation("POST", PATH, "Set how people sign in", self._create, model, area, NewOrganization, status=201),
            Operation("PUT", PATH, "Change how people sign in", self._replace, model, area, OrganizationBody),
        ]

    async def _get(self, asked: ApiRequest) -> ShownOrganization:
        return self._organization(await self._store.get(LOGIN_SETTINGS, LOGIN_SETTINGS_ID))

    async def _create(self, asked: ApiRequest) -> ShownOrganization:
        return await self._write(asked, only_new=True)

    async def _replace(self, asked: ApiRequest) -> ShownOrganization:
        return await self._write(asked)

    async def _write(self, asked: ApiRequest, *, only_new: bool = False) -> ShownOrganization:
        body = asked.read(SettableSettings)
        self._require_own_domain(body)
        members = body.model_dump(mode="json", include=body.model_fields_set & set(SettableSettings.model_fields))
        if "login_design" in members:
            members["login_design"] = body.login_design.model_dump(mode="json", exclude_defaults=True)
        async with self._store.transaction() as transaction:
            # Settings that cannot be read are written again, like those that cannot be used.
            there = await transaction.find(LOGIN_SETTINGS, LOGIN_SETTINGS_ID)
            if there is not None and only_new:
                raise conflict("there is one already; change it with PUT")
            await _require_providers(transaction, members)
            before = usable_settings(LOGIN_SETTINGS.members(there.document)) if isinstance(there, Stored) else {}
            document = LoginDocument.model_validate({**before, **members})
            if there is None:
                written = await transaction.create(LOGIN_SETTINGS, LOGIN_SETTINGS_ID, document, by=asked.by)
            else:
                written = await transaction.replace(LOGIN_SETTINGS, LOGIN_SETTINGS_ID, document, by=asked.by)
        return self._organization(written)

    def _require_own_domain(self, body: SettableSettings) -> None:
        given = body.auth_domain if isinstance(body, OrganizationBody) else None
        if given and given.lower() != self._settings.hostname:
            raise invalid("is the portal's host name, which its configuration says (publicUrl)", "/auth_domain")

    def _organization(self, stored: Stored[LoginDocument] | None) -> ShownOrganization:
        if stored is None:
            return ShownOrganization(auth_domain=self._settings.hostname)
        return ShownOrganization.model_validate(
            {
                **usable_settings(LOGIN_SETTINGS.members(stored.document)),
                "auth_domain": self._settings.hostname,
                "created_at": stored.created_at,
                "updated_at": stored.modified_at,
            }
        )


async def _require_providers(transaction: Transaction, members: Mapping[str, object]) -> None:
    scan = await transaction.scan(IDENTITY_PROVIDER)
    there = {one.id for one in scan.stored} | {one.id for one in scan.broken} | BUILT_IN
    named = members.get("allowed_idps", ())
    assert isinstance(named, list | tuple)
    for index, id in enumerate(named):
        if id not in there:
            raise invalid("names no identity provider", f"/allowed_idps/{index}")
