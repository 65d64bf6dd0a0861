"""The page in the place of an error that is JSON for programs.

It stands alone, with its style sheet in it: it is also the answer where the portal has no pages, or refuses the name
that it was asked by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from starlette.responses import HTMLResponse, Response

from portal.pages.pages import SHEETS, STRICT, page_policy, script_text, source_of, style_sheet, templates
from portal.pages.rules import Design

_TITLES = {
    400: "This request does not work",
    401: "This address is for programs",
    403: "You may not open this",
    404: "There is nothing here",
    405: "This address is for programs",
    406: "This address is for programs",
    408: "That took too long",
    413: "That is too much",
    421: "The portal does not know this address",
    415: "This form cannot be read",
    429: "Slow down",
    503: "The portal cannot answer now",
}
_FAILED = "The portal failed"
_AGAIN = "Wait a moment, then load the page again."
_TOO_MUCH = (
    "The portal has read none of it, and nothing was changed. Go back and send less at once. What is long as a whole, "
    "such as a page of your own or a long list, is sent through the admin API."
)
_NO_ERROR_OF_THEIRS = {400, 401, 404, 405, 406}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a notice shows of the portal that was asked.

    `endpoint` is the URL of its MCP endpoint. `home` is the path of its home page, "" if it has none. `at_endpoint`:
    the browser opened the endpoint. `mistake` is what is wrong with the parameters that it opened it with, "" for
    nothing.
    """

    design: Design = Design()
    endpoint: str = ""
    home: str = ""
    at_endpoint: bool = False
    mistake: str = ""


def notice(status: int, body: bytes, around: Surroundings) -> Response:
    """The page for an error that was answered with this status and body."""
    title, text = _TITLES.get(status, _FAILED if status >= 500 else _TITLES[400]), reason_of(body)
    at_endpoint = around.at_endpoint and status in _NO_ERROR_OF_THEIRS
    if at_endpoint:
        title, text = "This is an MCP portal", "Programs connect to it. A browser has nothing to do here."
        if around.mistake:
            title, text = "This address has a mistake", f"{around.mistake} An agent that is given it cannot connect."
    elif status in (401, 405, 406):
        # What the error says is about headers and methods.
        text = "Programs sign in to it with a token." if status == 401 else "A browser has nothing to do here."
    elif status == 404:
        text = "No page has this address. Check how it is written."
    elif status == 413:
        text = f"{text} {_TOO_MUCH}".strip()
    elif status >= 500:
        text = f"{text or 'It is not your fault.'} {_AGAIN}"
    elif status == 429:
        text = f"{text} {_AGAIN}".strip()
    return standing_page(
        "notice.html",
        around.design,
        status,
        title=title,
        text=text,
        endpoint=around.endpoint if at_endpoint else "",
        home=around.home,
        phrase="" if at_endpoint else _phrase(status),
    )


def words_page(title: str, text: str) -> Response:
    """A page that only says something."""
    return standing_page("notice.html", Design(), title=title, text=text, endpoint="", home="", phrase="")


def standing_page(template: str, design: Design, status: int = 200, *, script: str = "", **values: object) -> Response:
    """A page with its style sheet in it, for a browser that the portal keeps nothing of. It has no forms."""
    # Such a page has none of what the console draws, and should say nothing but its own.
    sheet, text = style_sheet(design, SHEETS[:1]), script_text(script)
    html = templates().get_template(template).render(design=design, sheet=sheet, script=text, **values)
    policy = page_policy(design, style=source_of(sheet), forms="'none'", script=text)
    return HTMLResponse(html, status, {**STRICT, "Content-Security-Policy": policy})


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
