"""The portal's metadata document as a client of other authorization servers, which is its id there. Pure.

Source: draft-ietf-oauth-client-id-metadata-document, MCP 2026-07-28 "Client ID Metadata Documents".
"""

from __future__ import annotations

from urllib.parse import urlsplit

from portal.credentials import PortalClient
from portal.http import PortalAddress, is_loopback

DOCUMENT_PATH = "/oauth/client.json"
CALLBACK_PATH = "/servers-callback"


def portal_client(address: PortalAddress, name: str) -> PortalClient:
    """The portal at this address as a client. Its document is published only where others can read it: at an https URL
    beyond this machine."""
    parts = urlsplit(address.origin)
    is_public = parts.scheme == "https" and not is_loopback(parts.hostname or "")
    return PortalClient(name, address.url(CALLBACK_PATH), address.url(DOCUMENT_PATH) if is_public else "")


def client_document(client: PortalClient) -> dict[str, object]:
    """The document of a client that has one. `client_id` is its own URL; the redirect URI is this portal's only."""
    return {
        "client_id": client.document_url,
        "client_name": client.name,
        "redirect_uris": [client.redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "web",
    }
