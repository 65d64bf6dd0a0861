"""The page in the place of an error that is JSON for programs.

It stands alone, with its style sheet in it: it is also the answer where the portal has no pages, or refuses the name
that it was asked by.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from starlette.responses import HTMLResponse, Response

from portal.pages.pages import STRICT, policy_without_scripts, style_sheet, templates
from portal.pages.rules import Design

_TITLES = {
    400: "This request does not work",
    401: "This address is for programs",
    403: "You may not open this",
    404: "There is nothing here",
    405: "This address is for programs",
    406: "This address is for programs",
    413: "That is too much",
    421: "The portal does not know this address",
    429: "Slow down",
    503: "The portal cannot answer now",
}
_FAILED = "The portal failed"
_AGAIN = "Wait a moment, then load the page again."
_NO_ERROR_OF_THEIRS = {400, 401, 404, 405, 406}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a notice shows of the portal that was asked.

    `endpoint` is the URL of its MCP endpoint. `home` is the path of its home page, "" if it has none. `at_endpoint`:
    the browser opened the endpoint, or the root of a portal without pages.
    """

    design: Design = Design()
    endpoint: str = ""
    home: str = ""
    at_endpoint: bool = False


def notice(status: int, body: bytes, around: Surroundings) -> Response:
    """The page for an error that was answered with this status and body."""
    title, text = _TITLES.get(status, _FAILED if status >= 500 else _TITLES[400]), reason_of(body)
    if around.at_endpoint and status in _NO_ERROR_OF_THEIRS:
        title, text = "This is an MCP portal", "Programs connect to it. A browser has nothing to do here."
    elif status in (401, 405, 406):
        # What the error says is about headers and methods.
        text = "Programs sign in to it with a token." if status == 401 else ""
    elif status == 404:
        text = "No page has this address. Check how it is written."
    elif status in (429, 503):
        text = f"{text} {_AGAIN}".strip()
    return _page(
        around.design,
        status,
        title=title,
        text=text,
        endpoint=around.endpoint if around.at_endpoint else "",
        home=around.home,
        status="" if around.at_endpoint else _phrase(status),
    )


def words_page(title: str, text: str) -> Response:
    """A page that only says something."""
    return _page(Design(), 200, title=title, text=text, endpoint="", home="", status="")


def _page(design: Design, status_code: int, **values: str) -> Response:
    sheet = style_sheet(design)
    html = templates().get_template("notice.html").render(design=design, sheet=sheet, **values)
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = policy_without_scripts(design, style=f"'sha256-{digest}'", forms="'none'")
    return HTMLResponse(html, status_code, {**STRICT, "Content-Security-Policy": policy})


def reason_of(body: bytes) -> str:
    """The sentence in an error of the portal (JSON-RPC), of OAuth or of the admin API; "" without one."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(document, Mapping):
        return ""
    problems = document.get("errors")
    error = problems[0] if isinstance(problems, list) and problems else document.get("error")
    found = error.get("message") if isinstance(error, Mapping) else document.get("error_description")
    text = " ".join(found.split()) if isinstance(found, str) else ""
    if text and not text.endswith((".", "!", "?")):
        text += "."
    return text[:1].upper() + text[1:]


def _phrase(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {HTTPStatus(status).phrase}" if status in _STATUSES else str(status)


_STATUSES = {status.value for status in HTTPStatus}
