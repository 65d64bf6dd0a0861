"""Applications: `access/apps`. Policies are attached to them, and they to portals and servers."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from portal.admin.collection import Collection
from portal.admin.permissions import POLICIES
from portal.admin.policies import Duration, Name, PolicyBody
from portal.admin.servers import Id

Url = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s/]+")]
Texts = Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=256)]


class Destination(BaseModel):
    """Of the kinds Cloudflare has, those that mean something here."""

    type: Literal["public", "via_mcp_server_portal"] = "public"
    uri: Annotated[str, Field(max_length=2048)] | None = None
    mcp_server_id: Id | None = None

    @model_validator(mode="after")
    def _names_its_server(self) -> Destination:
        if self.type == "via_mcp_server_portal" and not self.mcp_server_id:
            raise ValueError("via_mcp_server_portal needs mcp_server_id")
        return self


class PolicyLink(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=256)]
    precedence: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class OwnPolicy(PolicyBody):
    """A policy of this application alone."""

    id: Annotated[str, Field(min_length=1, max_length=256)] = Field(default_factory=lambda: str(uuid.uuid4()))
    precedence: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class AppBody(BaseModel):
    type: Literal["mcp", "mcp_portal", "self_hosted"]
    name: Name
    domain: Annotated[str, Field(max_length=2048)] | None = None
    destinations: Annotated[tuple[Destination, ...], Field(max_length=1000)] = ()
    policies: Annotated[tuple[PolicyLink | OwnPolicy, ...], Field(max_length=1000)] = ()
    session_duration: Duration = "24h"
    allowed_idps: Texts = ()
    auto_redirect_to_identity: bool = False
    custom_deny_message: Annotated[str, Field(max_length=4096)] | None = None
    custom_deny_url: Url | None = None
    custom_non_identity_deny_url: Url | None = None
    custom_pages: Texts = ()
    logo_url: Url | None = None
    tags: Texts = ()

    @field_validator("policies", mode="before")
    @classmethod
    def _links_are_objects(cls, given: Any) -> Any:
        """An id alone links a reusable policy; so does one that was read back whole, for it is marked as reusable."""
        if not isinstance(given, list | tuple):
            return given
        return [_link(entry) for entry in given]

    @model_validator(mode="after")
    def _says_where_it_is(self) -> AppBody:
        if self.type == "mcp_portal" and not self.domain:
            raise ValueError("an application of type mcp_portal needs the portal's hostname as its domain")
        if self.type == "mcp" and not self.destinations:
            raise ValueError("an application of type mcp needs destinations that name its servers")
        return self


def _link(entry: Any) -> Any:
    if isinstance(entry, str):
        return {"id": entry}
    if isinstance(entry, Mapping) and entry.get("reusable") and "id" in entry:
        return {name: entry[name] for name in ("id", "precedence") if name in entry}
    return entry


class ShownApp(BaseModel):
    id: str
    uid: str
    aud: str
    type: Literal["mcp", "mcp_portal", "self_hosted"]
    name: str
    domain: str | None = None
    destinations: tuple[Destination, ...] = ()
    policies: tuple[Mapping[str, Any], ...] = ()
    session_duration: str
    allowed_idps: tuple[str, ...] = ()
    auto_redirect_to_identity: bool = False
    custom_deny_message: str | None = None
    custom_deny_url: str | None = None
    custom_non_identity_deny_url: str | None = None
    custom_pages: tuple[str, ...] = ()
    logo_url: str | None = None
    tags: tuple[str, ...] = ()
    created_at: datetime
    updated_at: datetime


class Apps(Collection):
    """`aud`, made once, is what assertions for the application are addressed to."""

    kind, path, noun, area = "app", "/access/apps", "application", POLICIES
    body, shown = AppBody, ShownApp

    def document(self, body: AppBody, before: Mapping[str, Any] | None) -> dict[str, Any]:
        document = body.model_dump(mode="json", by_alias=True)
        document["policies"] = [
            {**policy, "precedence": index + 1 if policy["precedence"] is None else policy["precedence"]}
            for index, policy in enumerate(document["policies"])
        ]
        return {**document, "aud": before["aud"] if before else secrets.token_hex(32)}

    def show(self, stored: Any) -> ShownApp:
        return ShownApp.model_validate(
            {
                **stored.document,
                "policies": [
                    policy if "decision" in policy else {**policy, "reusable": True}
                    for policy in stored.document["policies"]
                ],
                "id": stored.id,
                "uid": stored.id,
                "created_at": stored.created_at,
                "updated_at": stored.modified_at,
            }
        )
