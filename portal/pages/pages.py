"""The pages a person sees: Jinja templates that escape everything, and headers under which nothing foreign runs.

A page needs no script. One that has a script of ours names its hash in its policy, and no other runs.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from portal.pages.assets import CONSOLE_POLICY
from portal.pages.contrast import readable
from portal.pages.rules import Block, Design
from portal.pages.visitor import FORM_FIELD, Visitor

STYLE_PATH = "/login/style.css"
ICON_PATH = "/login/icon.svg"
SHEETS = ("style.css", "charts.css", "console.css", "approvals.css")
"""The files of the one style sheet."""
STRICT = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: under it browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_DARK_BACKGROUND, _DARK_TEXT = "#131312", "#ececea"
_COMMENT = re.compile(r"/\*.*?\*/\s*", re.DOTALL)
_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+")
_COLOURS = """\
:root {{ --background: {background}; --text: {text}; }}
@media (prefers-color-scheme: dark) {{ :root {{ --background: {dark_background}; --text: {dark_text}; }} }}
"""


class Pages:
    """Renders the templates of this folder, and of a `room` that has its own. `design` is how the portal looks at that
    moment. With `own_scripts` scripts that the portal serves as files run on them, and may ask the portal for more."""

    def __init__(self, room: str = "", *, own_scripts: bool = False) -> None:
        self._templates = templates(room)
        self._own_scripts = own_scripts

    def page(
        self,
        template: str,
        design: Design,
        visitor: Visitor,
        *,
        status: int = 200,
        form_targets: Sequence[str] = (),
        script: str = "",
        person: str = "",
        **values: Any,
    ) -> Response:
        """A page. `person` is whom it is about (`LoginSession.binding`), "" for nobody: its forms act for nobody else.
        `form_targets` are URLs to which the answer to its form may send the browser on. `script` is the name of a
        script in the folder of the templates, which does what is nice to have.

        Templates write each link to the portal as `path("/logout")`, which adds the portal's prefix.
        """
        html = self._templates.get_template(template).render(
            design=design,
            path=visitor.address.path,
            style=visitor.address.path(STYLE_PATH),
            icon=visitor.address.path(ICON_PATH),
            sheet="",
            script=script_text(script),
            form_field=FORM_FIELD,
            form_token=visitor.form_token(person),
            **values,
        )
        if self._own_scripts:
            policy = CONSOLE_POLICY.replace("img-src 'self'", f"img-src 'self' {design.logo_origin}".rstrip())
        else:
            policy = content_policy(design, form_targets, script=script_text(script))
        return visitor.remember(HTMLResponse(html, status, {**STRICT, "Content-Security-Policy": policy}))

    def blocked(
        self, design: Design, visitor: Visitor, block: Block, *, who: str, reason: str, contact: str
    ) -> Response:
        """The answer to somebody without access: a page with status 403, or a redirect if `block` has a URL.

        `reason` is a sentence; `contact` is whom to ask: an e-mail address, a URL or words, "" for nobody.
        """
        if block.url:
            return visitor.remember(RedirectResponse(block.url, 302, {"Cache-Control": "no-store"}))
        if block.html:
            policy = "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; frame-ancestors 'none'"
            headers = {**STRICT, "Content-Security-Policy": f"{policy}; base-uri 'none'; form-action 'none'"}
            return visitor.remember(HTMLResponse(block.html, 403, headers))
        return self.page(
            "blocked.html",
            design,
            visitor,
            status=403,
            message=block.message,
            who=who,
            reason=reason,
            contact=contact,
            contact_link=link_of(contact),
        )


def style(design: Design) -> Response:
    """The style sheet."""
    headers = {"Cache-Control": "public, no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(style_sheet(design), media_type="text/css", headers=headers)


def icon() -> Response:
    """The icon of every page, the same in every portal."""
    headers = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
    # Opened by itself it is a document, in which nothing runs.
    headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    return Response(script_text("icon.svg"), media_type="image/svg+xml", headers=headers)


@cache
def templates(room: str = "") -> Environment:
    """The templates of this folder, and before them those of a room, such as `portal.console`. They escape everything
    and know no undefined name."""
    loaders = [PackageLoader(name) for name in (room, "portal.pages") if name]
    return Environment(loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


@cache
def script_text(name: str) -> str:
    """The text of a script in the folder of the templates, "" for no name."""
    return files("portal.pages").joinpath("templates", name).read_text(encoding="utf-8") if name else ""


def style_sheet(design: Design, sheets: Sequence[str] = SHEETS) -> str:
    """The text of the style sheet, of these files. `read_rules` has checked that the two colours are colours.

    Colours that somebody chose stay in the dark as well. A text that cannot be read on its background is not theirs.
    """
    default = Design()
    background, text = design.background, readable(design.background, design.text)
    dark = default.background == background
    dark_background = _DARK_BACKGROUND if dark else background
    dark_text = readable(dark_background, _DARK_TEXT if design.text == default.text and dark else text)
    colours = _COLOURS.format(background=background, text=text, dark_background=dark_background, dark_text=dark_text)
    return colours + "".join(map(_sheet, sheets))


@cache
def _sheet(name: str) -> str:
    """A style sheet without its comments, which are for us."""
    return _COMMENT.sub("", script_text(name))


def link_of(contact: str) -> str:
    """Where a contact is reached: by mail at an address, at a URL; "" for words."""
    if urlsplit(contact).scheme in ("http", "https"):
        return contact
    return f"mailto:{quote(contact, safe='@')}" if _ADDRESS.fullmatch(contact) else ""


def content_policy(design: Design, form_targets: Sequence[str], *, script: str = "") -> str:
    """A policy that allows our style sheet, the logo, forms to ourselves and to `form_targets`, and this one script."""
    targets = "".join(f" {source}" for source in sorted({csp_source(url) for url in form_targets} - {""}))
    return page_policy(design, style="'self'", forms=f"'self'{targets}", script=script)


def page_policy(design: Design, *, style: str, forms: str, script: str = "") -> str:
    """The policy of a page of this design, with the sources of its style and the targets of its forms (CSP Level 3).
    No script runs but the one with this text."""
    images = f" {design.logo_origin}" if design.logo else ""
    scripts = f" script-src {source_of(script)};" if script else ""
    return (
        f"default-src 'none';{scripts} style-src {style}; img-src 'self'{images}; form-action {forms}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


def source_of(text: str) -> str:
    """The source expression of a script or style sheet that stands in the page itself: its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def csp_source(url: str) -> str:
    """The source expression of a URL: its origin, or its scheme if that is an application's own; "" without either."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}" if host and not set(host) & set(" ;,'\"*") else ""
    return f"{parts.scheme}:" if parts.scheme and parts.scheme.replace("-", "").replace(".", "").isalnum() else ""
