"""Applications: `access/apps`. An application attaches policies to a portal or to servers."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from portal.admin.api.collection import Collection
from portal.admin.api.operations import ApiRequest
from portal.admin.api.permissions import POLICIES
from portal.admin.policies import Duration, Name, PolicyBody
from portal.admin.servers import Id
from portal.oauth import split_redirect
from portal.objects import APP, AppDocument, OwnPolicy, PolicyLink, SaasDocument, own_or_link
from portal.objects import Destination as StoredDestination
from portal.state import Stored

Url = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s/]+(/\S*)?$")]
Texts = Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=256)]


class DestinationBody(BaseModel):
    """A destination, of the types that have a meaning here."""

    type: Literal["public", "via_mcp_server_portal"] = "public"
    uri: Annotated[str, Field(max_length=2048)] | None = None
    mcp_server_id: Id | None = None

    @model_validator(mode="after")
    def _names_its_server(self) -> DestinationBody:
        if self.type == "via_mcp_server_portal" and not self.mcp_server_id:
            raise ValueError("via_mcp_server_portal needs mcp_server_id")
        return self


class PolicyLinkBody(PolicyLink):
    """A reference to a reusable policy."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=256)]
    precedence: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class Own(PolicyBody):
    """A policy that belongs to this application only."""

    id: Annotated[str, Field(min_length=1, max_length=256)] = Field(default_factory=lambda: str(uuid.uuid4()))
    precedence: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


def _attachment(value: object) -> str:
    if isinstance(value, BaseModel):
        return "own" if isinstance(value, Own) else "link"
    return own_or_link(value)


Attached = Annotated[Annotated[Own, Tag("own")] | Annotated[PolicyLinkBody, Tag("link")], Discriminator(_attachment)]


class RefreshOptionsBody(BaseModel):
    lifetime: Duration = "2160h"


class SaasBody(BaseModel):
    """The OpenID Connect settings of an application that signs people in here. The portal makes its credentials."""

    auth_type: Literal["oidc"]
    redirect_uris: Annotated[tuple[Url, ...], Field(min_length=1, max_length=20)]
    scopes: Annotated[tuple[Literal["openid", "email", "profile", "groups"], ...], Field(max_length=4)] = (
        "openid",
        "email",
        "profile",
    )
    grant_types: Annotated[
        tuple[Literal["authorization_code", "authorization_code_with_pkce", "refresh_tokens"], ...], Field(max_length=3)
    ] = ("authorization_code",)
    access_token_lifetime: Duration = "5m"
    refresh_token_options: RefreshOptionsBody = RefreshOptionsBody()
    allow_pkce_without_client_secret: bool = False

    @field_validator("redirect_uris")
    @classmethod
    def _are_redirects(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(split_redirect, urls)):
            raise ValueError("a redirect URL is https, or http on loopback, without a fragment")
        return urls


class ShownSaas(SaasBody):
    """`client_secret` is shown once, when the application is created."""

    client_id: str
    client_secret: str | None = None


class AppBody(BaseModel):
    type: Literal["mcp", "mcp_portal", "self_hosted", "saas"]
    name: Name
    domain: Annotated[str, Field(max_length=2048)] | None = None
    destinations: Annotated[tuple[DestinationBody, ...], Field(max_length=1000)] = ()
    policies: Annotated[tuple[Attached, ...], Field(max_length=1000)] = ()
    session_duration: Duration = "24h"
    allowed_idps: Texts = ()
    auto_redirect_to_identity: bool = False
    custom_deny_message: Annotated[str, Field(max_length=4096)] | None = None
    custom_deny_url: Url | None = None
    custom_non_identity_deny_url: Url | None = None
    custom_pages: Texts = ()
    logo_url: Url | None = None
    tags: Texts = ()
    saas_app: SaasBody | None = None

    @field_validator("policies", mode="before")
    @classmethod
    def _links_are_objects(cls, value: object) -> object:
        """Turns an id, or a reusable policy sent back as it was read, into a link."""
        if not isinstance(value, list | tuple):
            return value
        return [_link(entry) for entry in value]

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> AppBody:
        if self.type == "mcp_portal" and not self.domain:
            raise ValueError("an application of type mcp_portal needs the portal's hostname as its domain")
        if (self.type == "saas") != (self.saas_app is not None):
            raise ValueError("saas_app belongs to an application of type saas, which needs it")
        if self.type == "mcp" and not self.destinations:
            raise ValueError("an application of type mcp needs destinations that name its servers")
        return self


def _link(entry: object) -> object:
    if isinstance(entry, str):
        return {"id": entry}
    if not isinstance(entry, Mapping):
        return entry
    if entry.get("reusable") and "id" in entry:
        return {name: entry[name] for name in ("id", "precedence") if name in entry}
    return {name: value for name, value in entry.items() if value is not None}


class ShownApp(BaseModel):
    id: str
    uid: str
    aud: str
    type: Literal["mcp", "mcp_portal", "self_hosted", "saas"]
    name: str
    domain: str | None = None
    destinations: tuple[DestinationBody, ...] = ()
    policies: tuple[Mapping[str, object], ...] = ()
    session_duration: str
    allowed_idps: tuple[str, ...] = ()
    auto_redirect_to_identity: bool = False
    custom_deny_message: str | None = None
    custom_deny_url: str | None = None
    custom_non_identity_deny_url: str | None = None
    custom_pages: tuple[str, ...] = ()
    logo_url: str | None = None
    tags: tuple[str, ...] = ()
    saas_app: ShownSaas | None = None
    created_at: datetime
    updated_at: datetime


class AppOperations(Collection[AppBody, AppDocument]):
    """`aud` is the audience of assertions for the application. It is made once and never changes."""

    kind, path, noun, area = APP, "/access/apps", "application", POLICIES
    body, answer = AppBody, ShownApp

    def document(self, body: AppBody, before: AppDocument | None) -> AppDocument:
        policies = tuple(_attached(policy, index + 1) for index, policy in enumerate(body.policies))
        saas = None
        if body.saas_app is not None:
            saas_before = before.saas_app if before is not None else None
            saas = SaasDocument.model_validate(
                {
                    **body.saas_app.model_dump(),
                    "client_id": saas_before.client_id if saas_before is not None else secrets.token_hex(32),
                    "client_secret_sha256": saas_before.client_secret_sha256 if saas_before is not None else "",
                }
            )
        return AppDocument(
            type=body.type,
            name=body.name,
            domain=body.domain,
            destinations=tuple(StoredDestination(**one.model_dump()) for one in body.destinations),
            policies=policies,
            session_duration=body.session_duration,
            allowed_idps=body.allowed_idps,
            auto_redirect_to_identity=body.auto_redirect_to_identity,
            custom_deny_message=body.custom_deny_message,
            custom_deny_url=body.custom_deny_url,
            custom_non_identity_deny_url=body.custom_non_identity_deny_url,
            custom_pages=body.custom_pages,
            logo_url=body.logo_url,
            tags=body.tags,
            saas_app=saas,
            aud=before.aud if before is not None else secrets.token_hex(32),
        )

    async def create(self, request: ApiRequest) -> ShownApp:
        """The new application. One of type `saas` is shown its secret here only; the store has its hash."""
        document = self.document(request.read(AppBody), None)
        if document.saas_app is None:
            return self.show(await self.store(request, document))
        secret = secrets.token_hex(32)
        hash = {"client_secret_sha256": hashlib.sha256(secret.encode()).hexdigest()}
        saas = document.saas_app.model_copy(update=hash)
        app = self.show(await self.store(request, document.model_copy(update={"saas_app": saas})))
        assert app.saas_app is not None
        return app.model_copy(update={"saas_app": app.saas_app.model_copy(update={"client_secret": secret})})

    def show(self, stored: Stored[AppDocument]) -> ShownApp:
        members = APP.members(stored.document)
        return ShownApp.model_validate(
            {
                **members,
                "policies": [_shown_policy(policy) for policy in stored.document.policies],
                "id": stored.id,
                "uid": stored.id,
                "created_at": stored.created_at,
                "updated_at": stored.modified_at,
            }
        )


def _attached(policy: PolicyLinkBody | Own, place: int) -> PolicyLink | OwnPolicy:
    """The policy to store. Its precedence defaults to its place in the list."""
    model = OwnPolicy if isinstance(policy, Own) else PolicyLink
    precedence = place if policy.precedence is None else policy.precedence
    return model.model_validate({**policy.model_dump(by_alias=True), "precedence": precedence})


def _shown_policy(policy: PolicyLink | OwnPolicy) -> dict[str, object]:
    members = policy.model_dump(mode="json", by_alias=True)
    return members if isinstance(policy, OwnPolicy) else {**members, "reusable": True}
