"""The two documents clients find their way by: RFC 9728 for the MCP endpoint, RFC 8414 for the authorization server.

Pure. Written out here rather than by the SDK's builder, whose issuer gains a slash and which does not know public
clients, client documents or RFC 9207.
"""

from __future__ import annotations

from typing import Any

from portal.oauth.resources import resource_url
from portal.oauth.settings import OAuthSettings

RESOURCE_METADATA = "/.well-known/oauth-protected-resource"
SERVER_METADATA = "/.well-known/oauth-authorization-server"
OPENID_ALIAS = "/.well-known/openid-configuration"


def authorization_server(origin: str, settings: OAuthSettings) -> dict[str, Any]:
    document: dict[str, Any] = {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "revocation_endpoint": f"{origin}/revoke",
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
        document["registration_endpoint"] = f"{origin}/register"
    return document


def protected_resource(origin: str, path: str, name: str, settings: OAuthSettings) -> dict[str, Any]:
    return {
        "resource": resource_url(origin, path),
        "authorization_servers": [origin],
        "scopes_supported": list(settings.scopes),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
    }


def challenge(origin: str, path: str, settings: OAuthSettings, error: str = "", description: str = "") -> str:
    """The `WWW-Authenticate` of an answer that wants a token (RFC 6750 section 3, RFC 9728 section 5.1)."""
    fields = {"error": error}
    if error:
        fields["error_description"] = description.replace('"', "'").replace("\\", "/")
    fields |= {
        "resource_metadata": f"{origin}{RESOURCE_METADATA}{path}",
        "scope": " ".join(settings.scopes),
    }
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in fields.items() if value)
