"""The documents by which clients find their way: RFC 9728 for an MCP endpoint, RFC 8414 for the authorization server.

Pure. Written here instead of by the SDK's builder, which adds a slash to the issuer and does not know public clients,
client documents or RFC 9207.
"""

from __future__ import annotations

from dataclasses import dataclass

from portal.http import PortalAddress
from portal.oauth.settings import OAuthSettings

RESOURCE_METADATA = "/.well-known/oauth-protected-resource"
SERVER_METADATA = "/.well-known/oauth-authorization-server"
OPENID_METADATA = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class WellKnown:
    """The paths of an origin at which clients look for the documents of one portal.

    `authorization_server` are those of its server metadata, the one of RFC 8414 first. `protected_resource` is that of
    its main endpoint's metadata; followed by the path of an endpoint within the portal, that of this endpoint's.
    """

    authorization_server: tuple[str, ...]
    protected_resource: str


def well_known(prefix: str) -> WellKnown:
    """The well-known paths of the portal with this path prefix ("" or `/docs`).

    `/.well-known/...` comes before the path of an issuer or a resource (RFC 8414 section 3.1, RFC 9728 section 3.1),
    but after that of an OpenID issuer (OpenID Connect Discovery section 4). MCP clients try all three for a server.
    """
    paths = (SERVER_METADATA + prefix, OPENID_METADATA + prefix, prefix + OPENID_METADATA)
    return WellKnown(tuple(dict.fromkeys(paths)), RESOURCE_METADATA + prefix)


def authorization_server(address: PortalAddress, settings: OAuthSettings) -> dict[str, object]:
    """Authorization server metadata (RFC 8414 section 2)."""
    document: dict[str, object] = {
        "issuer": address.url(),
        "authorization_endpoint": address.url("/authorize"),
        "token_endpoint": address.url("/token"),
        "revocation_endpoint": address.url("/revoke"),
        "scopes_supported": list(settings.scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": settings.client_documents,
    }
    if settings.registration.enabled:
        document["registration_endpoint"] = address.url("/register")
    return document


def protected_resource(
    address: PortalAddress, path: str, name: str, settings: OAuthSettings, query: str = ""
) -> dict[str, object]:
    """Metadata of the MCP endpoint at this path of the portal (RFC 9728 section 2).

    `query` is that of the endpoint's URL, with its question mark: `resource` is the URL that a client has, in which it
    put the well-known path (RFC 9728 section 3.3).
    """
    return {
        "resource": address.url(path) + query,
        "authorization_servers": [address.url()],
        "scopes_supported": list(settings.scopes),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
    }


def challenge(origin: str, path: str, settings: OAuthSettings, error: str = "", description: str = "") -> str:
    """The `WWW-Authenticate` of an answer that wants a token (RFC 6750 section 3, RFC 9728 section 5.1).

    `path` is the path of the endpoint on the origin, with the portal's prefix, and with the query of its URL.
    """
    fields = {"error": error}
    if error:
        fields["error_description"] = description.replace('"', "'").replace("\\", "/")
    fields |= {
        "resource_metadata": f"{origin}{RESOURCE_METADATA}{path}",
        "scope": " ".join(settings.scopes),
    }
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in fields.items() if value)
