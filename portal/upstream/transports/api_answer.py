"""The result of a tool that an API's answer becomes. Pure, but for reading large JSON in a thread.

Source: MCP 2025-11-25 and 2026-07-28 "Tools" (results), RFC 9110 (statuses), RFC 8288 (Link).
"""

from __future__ import annotations

import codecs
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from portal.errors import ResponseTooLarge
from portal.exact import encode
from portal.openapi import ApiOperation
from portal.upstream.transports.api_pages import PAGING, with_pages
from portal.upstream.transports.bounds import aside, check_number
from portal.upstream.transports.wire import decode, first_words, redact, redact_value, snippet

META = "codemode-portal/http"
"""The member of a result's `_meta` with the headers that say something about further pages."""
MAX_ERROR_BYTES = 64 * 1024
"""Of the body of an answer that says that the request failed."""
_WORDS = 4_000
_PIECE = 32 * 1024
_HEADER = 2_000
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json|text/json", re.IGNORECASE)
_TEXT = re.compile(
    r"text/.*|application/(?:[\w.+-]+\+)?(?:xml|yaml)|application/(?:x-yaml|javascript|ecmascript|graphql|sql|toml|"
    r"x-ndjson|ndjson|jsonl|jsonlines|x-jsonlines|json-seq|x-www-form-urlencoded|x-sh)|image/svg\+xml",
    re.IGNORECASE,
)
# Python has other codecs under such names, some of which take very long.
_CHARSET = re.compile(
    r"charset\s*=\s*\"?((?:utf-?(?:8|16|32)(?:[bl]e)?|us-ascii|ascii|latin-?1|iso-8859-\d{1,2}|windows-125\d|cp125\d|"
    r"shift_jis|euc-(?:jp|kr)|gb2312|gbk|gb18030|big5|koi8-[ru])(?![\w.-]))",
    re.IGNORECASE,
)
_OF_ERRORS = frozenset(
    "retry-after location allow x-ratelimit-limit x-ratelimit-remaining x-ratelimit-reset ratelimit "
    "ratelimit-policy x-request-id request-id x-correlation-id".split()
)


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """An answer of an API, its body decompressed. `cut`: there was more of it than is read. Names of headers are in
    lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()[:80]

    @property
    def failed(self) -> bool:
        return self.status >= 300

    @property
    def line(self) -> str:
        """The status in words, such as "HTTP 404 Not Found"."""
        try:
            reason = HTTPStatus(self.status).phrase
        except ValueError:
            reason = re.sub(r"[^\x20-\x7e]", "", self.reason)[:80]
        return f"HTTP {self.status} {reason}".rstrip()


async def result_of(
    answer: ApiAnswer,
    operation: ApiOperation,
    server: str,
    max_bytes: int,
    secrets: Sequence[str] = (),
    *,
    paged: bool = False,
) -> dict[str, object]:
    """The result of a call that was answered so. `paged`: it is a list whose pages are in headers (`api_pages`).

    Raises:
        ResponseTooLarge: its JSON has more values than the portal passes on.
    """
    if answer.failed:
        return await _failure(answer, secrets)
    result = await _success(answer, operation, server, max_bytes, secrets)
    pages = _headers(answer, PAGING, secrets)
    if paged and isinstance(value := result.get("structuredContent"), list):
        around = with_pages(value, pages, operation)
        text = await aside(lambda: encode(around).decode(), len(answer.body))
        return {"content": [{"type": "text", "text": text}], "structuredContent": around}
    if pages:
        result["_meta"] = {META: {"status": answer.status, "headers": pages}}
    return result


async def _success(
    answer: ApiAnswer, operation: ApiOperation, server: str, max_bytes: int, secrets: Sequence[str]
) -> dict[str, object]:
    data, kind = answer.body, answer.media_type
    if not data or operation.method == "HEAD":
        return {"content": []}
    expects_json = "json" in operation.result.kinds
    if _JSON.fullmatch(kind) or (expects_json and kind in ("", "text/plain", "application/octet-stream")):
        check_number(data, max_bytes)
        try:
            value = await aside(lambda: decode(data), len(data))
        except (ValueError, RecursionError):
            if _JSON.fullmatch(kind):
                return _refused(answer, f"{answer.line}, but its answer is not JSON: {snippet(data, secrets)}")
        else:
            return _with_value(value, data)
    if _TEXT.fullmatch(kind) or not kind:
        # Other codecs, and bytes that are no text, take long.
        text = await aside(lambda: _as_text(answer, strict=not kind), len(data))
        if text is not None:
            return {"content": [{"type": "text", "text": text}], "structuredContent": text}
    encoded = await aside(lambda: b64encode(data).decode(), len(data))
    if kind.startswith(("image/", "audio/")):
        return {"content": [{"type": kind.partition("/")[0], "data": encoded, "mimeType": kind}]}
    resource = {"uri": f"openapi://{server}/{operation.name}", "mimeType": kind or "application/octet-stream"}
    return {"content": [{"type": "resource", "resource": {**resource, "blob": encoded}}]}


def _with_value(value: object, data: bytes) -> dict[str, object]:
    content = [{"type": "text", "text": data.decode("utf-8", "replace").removeprefix("\ufeff")}]
    return {"content": content} if value is None else {"content": content, "structuredContent": value}


async def _failure(answer: ApiAnswer, secrets: Sequence[str]) -> dict[str, object]:
    headers = _headers(answer, _OF_ERRORS | PAGING, secrets)
    line = answer.line
    if answer.status < 400:
        line += f": it redirects to {headers.get('location', 'nowhere')}, where the portal does not go"
    if (after := headers.get("retry-after")) is not None:
        line += f"; it says to try again after {after[:80]}{' s' if after.isdigit() else ''}"
    body: object = None
    text = _as_text(answer, strict=False) if answer.body else None
    if text is not None:
        text = redact(text, secrets)
        body = first_words(text, _WORDS)
        if _JSON.fullmatch(answer.media_type) and not answer.cut:
            try:
                check_number(answer.body, MAX_ERROR_BYTES)
                body = redact_value(decode(answer.body), secrets)
            except (ValueError, RecursionError, ResponseTooLarge):
                pass
    words = f"{line}\n{first_words(text, _WORDS)}" if text and text.strip() else line
    details: dict[str, object] = {"status": answer.status, "body": body}
    details |= {"headers": headers} if headers else {}
    return {"content": [{"type": "text", "text": words}], "structuredContent": details, "isError": True}


def _refused(answer: ApiAnswer, words: str) -> dict[str, object]:
    details = {"status": answer.status, "body": None}
    return {"content": [{"type": "text", "text": words}], "structuredContent": details, "isError": True}


def refused_arguments(words: str) -> dict[str, object]:
    """The result of a call that was not sent, because of its arguments."""
    return {"content": [{"type": "text", "text": f"{words} Nothing was sent."}], "isError": True}


def _headers(answer: ApiAnswer, wanted: frozenset[str], secrets: Sequence[str]) -> dict[str, str]:
    return {name: redact(value[:_HEADER], secrets) for name, value in answer.headers.items() if name in wanted}


def _as_text(answer: ApiAnswer, *, strict: bool) -> str | None:
    """The body as text, None if it is `strict` and is none."""
    found = _CHARSET.search(answer.headers.get("content-type", ""))
    if strict or found is None:
        try:
            return answer.body.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError:
            return None if strict else _decoded(answer.body, "utf-8").removeprefix("\ufeff")
    try:
        return _decoded(answer.body, found[1])
    except (LookupError, ValueError, UnicodeError):
        return _decoded(answer.body, "utf-8")


def _decoded(data: bytes, codec: str) -> str:
    """The bytes as text, in pieces: nothing else runs while a piece is decoded, in a thread too."""
    decoder = codecs.getincrementaldecoder(codec)("replace")
    pieces = [decoder.decode(data[start : start + _PIECE]) for start in range(0, len(data), _PIECE)]
    return "".join([*pieces, decoder.decode(b"", final=True)])
