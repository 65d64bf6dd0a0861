"""The pages a person sees: Jinja templates that escape everything, and headers under which nothing foreign runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from portal.pages.rules import Block, Design
from portal.pages.visitor import FORM_FIELD, Visitor

STYLE_PATH = "/login/style.css"
_STRICT = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: under it browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_STYLE = """\
:root {{ --background: {background}; --text: {text}; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem;
  background: var(--background);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }}
main {{ width: 100%; max-width: 26rem; background: #fff; color: #1c1c1a; border: 1px solid #d5d5cf;
  border-radius: .75rem; padding: 2rem; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.375rem; line-height: 1.25; margin: 0 0 .75rem; }}
h2 {{ font-size: 1rem; margin: 1.5rem 0 .5rem; }}
p {{ margin: 0 0 1rem; }}
img.logo {{ display: block; max-width: 12rem; max-height: 4rem; margin-bottom: 1.25rem; }}
form {{ margin-bottom: 1rem; }}
label {{ display: block; font-weight: 600; margin: .75rem 0 .25rem; }}
input {{ width: 100%; padding: .625rem .75rem; font: inherit; border: 1px solid #76766f; border-radius: .375rem; }}
.action {{ display: block; width: 100%; margin-top: .75rem; padding: .625rem .75rem; font: inherit; font-weight: 600;
  text-align: center; text-decoration: none; cursor: pointer; border-radius: .375rem; border: 1px solid #1c1c1a;
  background: #fff; color: #1c1c1a; }}
.action.first {{ background: #1c1c1a; color: #fff; }}
.action:hover {{ text-decoration: underline; }}
:focus-visible {{ outline: 3px solid #1f6feb; outline-offset: 2px; }}
.problem {{ border-left: .25rem solid #b3261e; padding: .5rem .75rem; background: #fdf0ef; }}
.where {{ font-family: ui-monospace, monospace; font-size: .875rem; }}
.small {{ font-size: .875rem; color: #55554f; }}
dl {{ margin: 0 0 1rem; }} dt {{ font-weight: 600; }} dd {{ margin: 0 0 .5rem; }}
"""


class Pages:
    """Renders the templates. `design` is how the portal looks at that moment."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("portal.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def page(
        self,
        template: str,
        design: Design,
        visitor: Visitor,
        *,
        status: int = 200,
        form_targets: Sequence[str] = (),
        **values: Any,
    ) -> Response:
        """A page. `form_targets` are URLs to which the answer to its form may send the browser on.

        Templates write each link to the portal as `path("/logout")`, which adds the portal's prefix.
        """
        html = self._templates.get_template(template).render(
            design=design,
            path=visitor.address.path,
            style=visitor.address.path(STYLE_PATH),
            form_field=FORM_FIELD,
            form_token=visitor.form_token,
            **values,
        )
        policy = content_policy(design, form_targets)
        return visitor.remember(HTMLResponse(html, status, {**_STRICT, "Content-Security-Policy": policy}))

    def blocked(self, design: Design, visitor: Visitor, block: Block, *, who: str) -> Response:
        """The answer to somebody without access: a page with status 403, or a redirect if `block` has a URL."""
        if block.url:
            return visitor.remember(RedirectResponse(block.url, 302, {"Cache-Control": "no-store"}))
        if block.html:
            policy = "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; frame-ancestors 'none'"
            headers = {**_STRICT, "Content-Security-Policy": f"{policy}; base-uri 'none'; form-action 'none'"}
            return visitor.remember(HTMLResponse(block.html, 403, headers))
        return self.page("blocked.html", design, visitor, status=403, message=block.message, who=who)


def style(design: Design) -> Response:
    """The style sheet. `read_rules` has checked that the two colours are colours."""
    sheet = _STYLE.format(background=design.background, text=design.text)
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(sheet, media_type="text/css", headers=headers)


def content_policy(design: Design, form_targets: Sequence[str]) -> str:
    """A policy that allows no script: only our style sheet, the logo, and forms to ourselves and to `form_targets`."""
    images = f" {design.logo_origin}" if design.logo else ""
    targets = "".join(f" {source}" for source in sorted({csp_source(url) for url in form_targets} - {""}))
    return (
        f"default-src 'none'; style-src 'self'; img-src 'self'{images}; form-action 'self'{targets}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


def csp_source(url: str) -> str:
    """The source expression of a URL: its origin, or its scheme if that is an application's own; "" without either."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}" if host and not set(host) & set(" ;,'\"*") else ""
    return f"{parts.scheme}:" if parts.scheme and parts.scheme.replace("-", "").replace(".", "").isalnum() else ""
