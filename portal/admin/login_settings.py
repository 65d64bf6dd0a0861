"""How people sign in at every portal, and the organization's name: `access/organizations`.

The store keeps it as the `settings` object `login`. `portal.login` reads that for each page, so the next page shows a
change. The rules that read it (`portal.pages`) also validate what is written.
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
from portal.admin.api.revisions import whole
from portal.login import LOGIN_SETTINGS, LOGIN_SETTINGS_ID
from portal.login import LoginSettings as LoginDocument
from portal.objects import IDENTITY_PROVIDER
from portal.pages import read_rules
from portal.state import Store, Stored, Transaction

PATH = "/access/organizations"
BUILT_IN = frozenset({"onetimepin"})
"""The identity providers that are not stored objects."""


class _WithoutNulls(BaseModel):
    """A model that ignores members whose value is null."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, members: object) -> object:
        return (
            {name: value for name, value in members.items() if value is not None}
            if isinstance(members, dict)
            else members
        )


class LoginDesign(_WithoutNulls):
    """The look of the sign-in page. "" is the portal's default. Colours are `#rrggbb`, `logo_path` is an https URL."""

    background_color: Annotated[str, Field(max_length=7)] = ""
    text_color: Annotated[str, Field(max_length=7)] = ""
    logo_path: Annotated[str, Field(max_length=2048)] = ""
    header_text: Annotated[str, Field(max_length=500)] = ""
    footer_text: Annotated[str, Field(max_length=500)] = ""

    @field_validator("*")
    @classmethod
    def _usable(cls, value: str, info: ValidationInfo) -> str:
        read_rules({"login_design": {info.field_name: value}})
        return value


class SettableSettings(_WithoutNulls):
    """The settings that can be changed. `allowed_idps` and `custom_deny_*` are ours."""

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
    def _usable(cls, value: str, info: ValidationInfo) -> str:
        read_rules({str(info.field_name): value})
        return value


class OrganizationBody(SettableSettings):
    """Cloudflare's other members are accepted only if they are off or empty, so that nobody relies on them."""

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
    def _is_off(cls, value: object) -> object:
        if value:
            raise ValueError("is not supported by this portal; leave it out")
        return value


class NewOrganization(OrganizationBody):
    name: Annotated[str, Field(min_length=1, max_length=100)]


def usable_settings(document: Mapping[str, object]) -> dict[str, object]:
    """The stored settings without unusable values, which only an embedding program can have written.

    The pages ignore such values too. Members that `SettableSettings` does not have stay.
    """
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
    """`auth_domain` is the host name of the portal in the operator's document. `document` (ours) is what that document
    says of the members that can be set here; it holds where nothing else is stored. `stored` (ours) names the members
    that are."""

    name: str = ""
    auth_domain: str = ""
    login_design: LoginDesign = LoginDesign()
    session_duration: str = "24h"
    auto_redirect_to_identity: bool = False
    allowed_idps: tuple[str, ...] = ()
    custom_deny_message: str = ""
    custom_deny_url: str = ""
    custom_deny_html: str = ""
    document: Mapping[str, object] = {}
    stored: tuple[str, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None


class OrganizationOperations:
    """The organization, of which there is one. PUT changes the members that are sent; "" removes a text."""

    def __init__(self, store: Store, settings: AdminSettings) -> None:
        self._store = store
        self._settings = settings

    def operations(self) -> list[Operation]:
        area, model = ORGANIZATION, ShownOrganization
        of = whole(self._store, LOGIN_SETTINGS, "organization", lambda path: LOGIN_SETTINGS_ID, always=True)
        return [
            Operation("GET", PATH, "Show how people sign in", self._get, model, area, of=of),
            Operation("POST", PATH, "Set how people sign in", self._create, model, area, NewOrganization, status=201),
            Operation("PUT", PATH, "Change how people sign in", self._replace, model, area, OrganizationBody, of=of),
        ]

    async def _get(self, request: ApiRequest) -> ShownOrganization:
        return self._organization(await self._store.get(LOGIN_SETTINGS, LOGIN_SETTINGS_ID))

    async def _create(self, request: ApiRequest) -> ShownOrganization:
        return await self._write(request, only_new=True)

    async def _replace(self, request: ApiRequest) -> ShownOrganization:
        return await self._write(request)

    async def _write(self, request: ApiRequest, *, only_new: bool = False) -> ShownOrganization:
        body = request.read(SettableSettings)
        self._require_own_domain(body)
        members = body.model_dump(mode="json", include=body.model_fields_set & set(SettableSettings.model_fields))
        if "login_design" in members:
            members["login_design"] = body.login_design.model_dump(mode="json", exclude_defaults=True)
        async with request.transaction(self._store) as transaction:
            # Settings that cannot be read are replaced, like unusable values.
            existing = await transaction.find(LOGIN_SETTINGS, LOGIN_SETTINGS_ID)
            if existing is not None and only_new:
                raise conflict("the organization exists already; change it with PUT")
            await _require_providers(transaction, members)
            before = usable_settings(LOGIN_SETTINGS.members(existing.document)) if isinstance(existing, Stored) else {}
            document = LoginDocument.model_validate({**before, **members})
            if existing is None:
                written = await transaction.create(LOGIN_SETTINGS, LOGIN_SETTINGS_ID, document, by=request.by)
            else:
                written = await transaction.replace(LOGIN_SETTINGS, LOGIN_SETTINGS_ID, document, by=request.by)
        return self._organization(written)

    def _require_own_domain(self, body: SettableSettings) -> None:
        domain = body.auth_domain if isinstance(body, OrganizationBody) else None
        if domain and domain.lower() != self._settings.hostname:
            raise invalid(
                "must be the portal's host name, which only its configuration can change (publicUrl)", "/auth_domain"
            )

    def _organization(self, stored: Stored[LoginDocument] | None) -> ShownOrganization:
        if stored is None:
            return ShownOrganization(auth_domain=self._settings.hostname, document=self._settings.organization)
        usable = usable_settings(LOGIN_SETTINGS.members(stored.document))
        named = {name for name, value in usable.items() if value not in ("", None, {}, [], ())}
        return ShownOrganization.model_validate(
            {
                **usable,
                "auth_domain": self._settings.hostname,
                "document": self._settings.organization,
                "stored": sorted(named & set(SettableSettings.model_fields)),
                "created_at": stored.created_at,
                "updated_at": stored.modified_at,
            }
        )


async def _require_providers(transaction: Transaction, members: Mapping[str, object]) -> None:
    scan = await transaction.scan(IDENTITY_PROVIDER)
    known = {one.id for one in scan.stored} | {one.id for one in scan.broken} | BUILT_IN
    ids = members.get("allowed_idps", ())
    assert isinstance(ids, list | tuple)
    for index, id in enumerate(ids):
        if id not in known:
            raise invalid("names no identity provider", f"/allowed_idps/{index}")
