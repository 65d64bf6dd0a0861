"""The page or redirect for somebody without access, as their application or the login settings have it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from portal.objects import AppDocument, PageDocument
from portal.pages.rules import Block

APP = "app:"
"""Before the id of an application that signs people in by itself, where otherwise a path of the portal stands."""
IDENTITY_DENIED, FORBIDDEN = "identity_denied", "forbidden"


def block_of(app: AppDocument, pages: Mapping[str, PageDocument], otherwise: Block, *, person: bool) -> Block:
    """The block of an application. `pages` are the stored custom pages, by id.

    `person`: they are refused for who they are, not for where or with what they come. `custom_deny_url` and pages of
    type `identity_denied` are for these, `custom_non_identity_deny_url` and `forbidden` for the others,
    `custom_deny_message` for both. `otherwise` is the block of an application that names none of these.
    """
    kind, address = (IDENTITY_DENIED, app.custom_deny_url) if person else (FORBIDDEN, app.custom_non_identity_deny_url)
    html = next((pages[id].custom_html for id in app.custom_pages if id in pages and pages[id].type == kind), "")
    url, message = address or "", app.custom_deny_message or ""
    if not (url or html or message):
        return otherwise
    return Block(message=message or otherwise.message, url=url if _leads_somewhere(url) else "", html=html)


def _leads_somewhere(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        return False
