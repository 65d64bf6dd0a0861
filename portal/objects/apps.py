"""Applications, which attach policies to portals and servers or have people sign in; and custom pages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from portal.objects.base import Document
from portal.objects.policies import MAX_POLICIES, AttachedPolicy
from portal.state import Kind

AppType = Literal["mcp", "mcp_portal", "self_hosted", "saas"]


def _ids_are_links(value: object) -> object:
    if not isinstance(value, list | tuple):
        return value
    return [{"id": entry} if isinstance(entry, str) else entry for entry in value]


AttachedPolicies = Annotated[
    tuple[AttachedPolicy, ...], Field(max_length=MAX_POLICIES), BeforeValidator(_ids_are_links)
]


class Destination(Document):
    """A destination of an application. One of type `via_mcp_server_portal` names a server."""

    type: Literal["public", "via_mcp_server_portal"] = "public"
    uri: str | None = None
    mcp_server_id: str | None = None


class RefreshOptions(Document):
    lifetime: str = "2160h"


class SaasDocument(Document):
    """The OpenID Connect settings of an application that signs people in."""

    auth_type: str = ""
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    grant_types: tuple[str, ...] = ("authorization_code",)
    access_token_lifetime: str = "5m"
    refresh_token_options: RefreshOptions = RefreshOptions()
    allow_pkce_without_client_secret: bool = False
    client_id: str = ""
    client_secret_sha256: str = Field(default="", repr=False)


class AppDocument(Document):
    """`aud` is the audience of assertions for the application. It is made once and never changes."""

    type: AppType
    name: str = ""
    domain: str | None = None
    destinations: tuple[Destination, ...] = ()
    policies: AttachedPolicies = ()
    session_duration: str = "24h"
    allowed_idps: tuple[str, ...] = ()
    auto_redirect_to_identity: bool = False
    custom_deny_message: str | None = None
    custom_deny_url: str | None = None
    custom_non_identity_deny_url: str | None = None
    custom_pages: tuple[str, ...] = ()
    logo_url: str | None = None
    tags: tuple[str, ...] = ()
    saas_app: SaasDocument | None = None
    aud: str = ""

    def is_for_portal(self, hostname: str) -> bool:
        """Whether this is the application of the portal with this host name, in lower case.

        A portal without a host name has no application.
        """
        return bool(hostname) and self.type == "mcp_portal" and (self.domain or "").lower() == hostname

    def is_for_server(self, server_id: str) -> bool:
        """Whether it attaches its policies to this server."""
        return self.type == "mcp" and any(
            place.type == "via_mcp_server_portal" and place.mcp_server_id == server_id for place in self.destinations
        )


class PageDocument(Document):
    """A page for callers who are denied. Pages of type `login` and `interstitial` are stored and not shown."""

    name: str = ""
    type: Literal["identity_denied", "forbidden", "login", "interstitial"]
    custom_html: str = Field(repr=False)
    contract_version: int | None = None


APP = Kind("app", AppDocument)
CUSTOM_PAGE = Kind("custom_page", PageDocument)
