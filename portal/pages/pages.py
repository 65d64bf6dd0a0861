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

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from portal.pages.rules import Block, Design
from portal.pages.visitor import FORM_FIELD, Visitor

STYLE_PATH = "/login/style.css"
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
_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+")
_STYLE = """\
:root {{ color-scheme: light dark; --background: {background}; --text: {text}; --card: #fff; --ink: #1c1c1a;
  --line: #d5d5cf; --edge: #76766f; --dim: #55554f; --strong: #1c1c1a; --on-strong: #fff; --focus: #1f6feb;
  --bad: #b3261e; --bad-soft: #fdf0ef; --link: #0b57d0; --inset: #f6f6f3; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --background: {dark_background}; --text: {dark_text}; --card: #1f1f1d; --ink: #ececea; --line: #3c3c38;
    --edge: #8d8d85; --dim: #b9b9b1; --strong: #ececea; --on-strong: #1c1c1a; --focus: #79b0ff; --bad: #f2a19b;
    --bad-soft: #3a2220; --link: #9cc2ff; --inset: #171716; }}
}}
* {{ box-sizing: border-box; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem;
  background: var(--background);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }}
main {{ width: 100%; max-width: 26rem; background: var(--card); color: var(--ink); border: 1px solid var(--line);
  border-radius: .75rem; padding: 2rem; overflow-wrap: anywhere; }}
main.wide {{ max-width: 44rem; }}
@media (max-width: 30rem) {{ body {{ padding: .75rem; }} main {{ padding: 1.25rem; }} }}
section {{ border-top: 1px solid var(--line); margin-top: 1.75rem; padding-top: 1.75rem; }}
section > h2:first-child {{ margin-top: 0; font-size: 1.125rem; }}
h3 {{ font-size: 1rem; margin: 1.5rem 0 .5rem; }}
code, pre {{ font: .875rem/1.5 ui-monospace, monospace; }}
[hidden] {{ display: none !important; }}
.who {{ margin: 0; color: var(--dim); }}
.paste {{ display: flex; align-items: flex-start; gap: .5rem; margin: 0 0 1rem; padding: .375rem .375rem .375rem .75rem;
  background: var(--inset); border: 1px solid var(--line); border-radius: .375rem; }}
.paste code, .paste pre {{ flex: 1; min-width: 0; margin: 0; padding: .3125rem 0; white-space: pre-wrap;
  overflow-wrap: anywhere; user-select: all; }}
.copy {{ flex: none; min-width: 5rem; padding: .375rem .75rem; font: inherit; font-size: .875rem; font-weight: 600;
  cursor: pointer; color: var(--ink); background: var(--card); border: 1px solid var(--edge);
  border-radius: .3125rem; }}
.copy:hover {{ text-decoration: underline; }}
.plain {{ user-select: all; }}
p code {{ padding: .0625rem .25rem; background: var(--inset); border: 1px solid var(--line); border-radius: .25rem; }}
@media (max-width: 30rem) {{ .paste {{ flex-direction: column; padding: .375rem .75rem .625rem; }}
  .paste code, .paste pre {{ flex: none; max-width: 100%; }} }}
.folded {{ border: 1px solid var(--line); border-radius: .375rem; }}
.folded + .folded {{ margin-top: .5rem; }}
.folded > summary {{ padding: .625rem .75rem; font-weight: 600; border-radius: .375rem; }}
.folded[open] > summary {{ border-bottom: 1px solid var(--line); border-radius: .375rem .375rem 0 0; }}
.fold {{ padding: .75rem; }} .fold p {{ margin-bottom: .5rem; }} .fold > :last-child {{ margin-bottom: 0; }}
.rows {{ list-style: none; margin: 0 0 1rem; padding: 0; }}
.rows li {{ display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; padding: .75rem 0;
  border-top: 1px solid var(--line); }}
.rows li:first-child {{ border-top: 0; }}
.rows li > div {{ flex: 1 1 14rem; min-width: 0; }}
.rows strong, .rows span {{ display: block; }}
.rows form {{ margin: 0; }}
.unseen {{ position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }}
.footer {{ margin: 1.5rem 0 0; }}
h1 {{ font-size: 1.375rem; line-height: 1.25; margin: 0 0 .75rem; }}
h2 {{ font-size: 1rem; margin: 1.5rem 0 .5rem; }}
p {{ margin: 0 0 1rem; }}
img.logo {{ display: block; max-width: 12rem; max-height: 4rem; margin-bottom: 1.25rem; }}
form {{ margin-bottom: 1rem; }}
label {{ display: block; font-weight: 600; margin: .75rem 0 .25rem; }}
a {{ color: var(--link); }}
input {{ width: 100%; padding: .625rem .75rem; font: inherit; color: inherit; background: var(--card);
  border: 1px solid var(--edge); border-radius: .375rem; }}
.action {{ display: block; width: 100%; margin-top: .75rem; padding: .625rem .75rem; font: inherit; font-weight: 600;
  text-align: center; text-decoration: none; cursor: pointer; border-radius: .375rem; border: 1px solid var(--edge);
  background: var(--card); color: var(--ink); }}
.action.first {{ background: var(--strong); border-color: var(--strong); color: var(--on-strong); }}
.action:hover {{ text-decoration: underline; }}
.wide .action {{ display: inline-block; width: auto; padding-inline: 1.5rem; }}
.action.slim, .wide .action.slim {{ width: auto; margin: 0; padding: .375rem .75rem; font-size: .875rem; }}
:focus-visible {{ outline: 3px solid var(--focus); outline-offset: 2px; }}
.problem {{ border-left: .25rem solid var(--bad); padding: .5rem .75rem; background: var(--bad-soft); }}
.where {{ font-family: ui-monospace, monospace; font-size: .875rem; }}
.small {{ font-size: .875rem; color: var(--dim); }}
.status, .end {{ margin: 1rem 0 0; }}
ul {{ margin: 0 0 1rem; padding-left: 1.25rem; }} dd ul {{ list-style: none; padding: 0; margin: 0; }}
.entry {{ border-top: 1px solid var(--line); padding-top: 1rem; margin-top: 1rem; }}
.entry h2 {{ margin-top: 0; }}
.entry p, .entry form {{ margin-bottom: .5rem; }}
.wanted {{ border-top-color: var(--strong); border-top-width: 2px; }}
summary {{ cursor: pointer; padding: .25rem 0; }}
.buttons {{ display: flex; flex-wrap: wrap; gap: .5rem; margin: .75rem 0; }} .entry .buttons form {{ margin: 0; }}
dl {{ margin: 0 0 1rem; }} dt {{ font-weight: 600; }} dd {{ margin: 0 0 .5rem; }}
"""


class Pages:
    """Renders the templates. `design` is how the portal looks at that moment."""

    def __init__(self) -> None:
        self._templates = templates()

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
            sheet="",
            script=script_text(script),
            form_field=FORM_FIELD,
            form_token=visitor.form_token(person),
            **values,
        )
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


@cache
def templates() -> Environment:
    """The templates of this folder, which escape everything and know no undefined name."""
    return Environment(
        loader=PackageLoader("portal.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


@cache
def script_text(name: str) -> str:
    """The text of a script in the folder of the templates, "" for no name."""
    return files("portal.pages").joinpath("templates", name).read_text(encoding="utf-8") if name else ""


def style_sheet(design: Design) -> str:
    """The text of the style sheet. `read_rules` has checked that the two colours are colours.

    Colours that somebody chose stay in the dark as well.
    """
    default = Design()
    background = _DARK_BACKGROUND if design.background == default.background else design.background
    text = _DARK_TEXT if design.text == default.text else design.text
    return _STYLE.format(background=design.background, text=design.text, dark_background=background, dark_text=text)


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
