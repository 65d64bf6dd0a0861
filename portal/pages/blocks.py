"""The page or redirect for somebody without access, as their application or the login settings have it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from portal.pages.rules import Block

APP = "app:"
"""Before the id of an application that signs people in by itself, where otherwise a path of the portal stands."""
IDENTITY_DENIED, FORBIDDEN = "identity_denied", "forbidden"


def block_of(
    app: Mapping[str, Any], pages: Mapping[str, Mapping[str, Any]], otherwise: Block, *, person: bool
) -> Block:
    """The block of the application in this document. `pages` are the stored custom pages, by id.

    `person`: they are refused for who they are, not for where or with what they come. `custom_deny_url` and pages of
    type `identity_denied` are for these, `custom_non_identity_deny_url` and `forbidden` for the others,
    `custom_deny_message` for both. `otherwise` is the block of an application that names none of these.
    """
    kind, address = (IDENTITY_DENIED, "custom_deny_url") if person else (FORBIDDEN, "custom_non_identity_deny_url")
    named = (pages[id] for id in app.get("custom_pages") or () if id in pages)
    html = next((str(page["custom_html"]) for page in named if page.get("type") == kind), "")
    url, message = str(app.get(address) or ""), str(app.get("custom_deny_message") or "")
    if not (url or html or message):
        return otherwise
    return Block(message=message or otherwise.message, url=url if _leads_somewhere(url) else "", html=html)


def is_portal(app: Mapping[str, Any], hostname: str) -> bool:
    """Whether the application is that of the portal of this host name. A portal without one has no application."""
    return bool(hostname) and app.get("type") == "mcp_portal" and str(app.get("domain") or "").lower() == hostname


def _leads_somewhere(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        return False
