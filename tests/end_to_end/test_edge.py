"""Requests no client should send, to a whole portal that goes on answering those that it should."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.end_to_end.whole import ACCEPT, LEGACY, MODERN, Raw, Whole
from tests.hostile.lateness import STALL, least_late
from tests.patience import PATIENCE

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
PROGRAM = {"name": "code", "arguments": {"code": "return 1"}}


@pytest.fixture
def portal(shared: Whole) -> Whole:
    return shared


async def test_whatever_is_sent_is_refused_in_words_and_the_next_program_runs(portal: Whole) -> None:
    """Bodies, content types, sizes, depths, versions: each a JSON-RPC error and never a 500."""
    async with Raw(portal.code, MODERN) as modern, Raw(portal.code, LEGACY) as legacy:
        for raw in (modern, legacy):
            head = raw.headers("tools/call", "code")
            good = json.dumps(raw.message("tools/call", PROGRAM)).encode()
            deep = b"[" * 100_000 + b"]" * 100_000
            digits = good.replace(b'"return 1"', b"1" * 5000)
            bodies: list[tuple[bytes, set[int]]] = [
                (b"", {400}),
                (b"{", {400}),
                (b"null", {400}),
                (b"42", {400}),
                (b'"text"', {400}),
                (b"\xff\xfe{}", {400}),
                (b"[]", {400}),
                (b"[" + good + b"," + good + b"]", {400}),
                (deep, {400, 413}),
                (good.replace(b'"return 1"', deep[:50_000]), {400}),
                (b'{"a":"' + b"x" * (5 << 20) + b'"}', {413}),
                (digits, {200, 400}),
                (good.replace(b'"2.0"', b'"1.0"'), {400}),
                (good.replace(b'"id": ', b'"id": null, "x": '), {400, 202}),
                (good.replace(b'"tools/call"', b'["tools/call"]'), {400}),
                (good[:-1], {400}),
                (good + good, {400}),
                (b"\xef\xbb\xbf" + good, {200}),
            ]
            for body, statuses in bodies:
                answer = await raw.http.post(
                    raw.url, content=body, headers={**head, "content-type": "application/json"}
                )
                assert answer.status_code in statuses, (raw.version, body[:80], answer.status_code, answer.text[:300])
                assert answer.status_code == 202 or "Traceback" not in answer.text
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
                answer = await raw.http.post(raw.url, content=good, headers={**head, "content-type": kind})
                assert answer.status_code == 415, (kind, answer.text)
            assert (await raw.run("return 1"))["result"] == 1


def call_with(code: bytes) -> bytes:
    meta = b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
    params = b'{"name":"code","arguments":{"code":%b},"_meta":%b}' % (code, meta)
    return b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b}' % params


M = 4_000_000


@pytest.mark.parametrize(
    ("body", "version", "statuses"),
    [
        (b"[]" * (M // 2), MODERN, {400}),
        (b"[" + b"{}," * (M // 3), LEGACY, {400}),
        (call_with(b"[" + b'{"a":1},' * 48_000 + b'"' + b"x" * 3_000_000 + b'"]'), MODERN, {200}),
        (call_with(b"[" + b"123456789," * 95_000 + b"1]"), MODERN, {200}),
        (call_with(b"[" + (b"1" * 4300 + b",") * 900 + b"1]"), MODERN, {400}),
        (b"[" + b'{"jsonrpc":"2.0","id":1,"method":"ping"},' * 23_000 + b"1]", MODERN, {400}),
        (b"[" + b'{"a":1},' * 48_000 + b"1" + b" " * 3_000_000, LEGACY, {400}),
        (call_with(b'"' + b"\\u00e9" * 600_000 + b'"'), MODERN, {200}),
    ],
    ids=["empty", "objects", "members", "numbers", "digits", "batch", "no end", "escapes"],
)
async def test_no_body_holds_up_the_event_loop(body: bytes, version: str, statuses: set[int], portal: Whole) -> None:
    async with Raw(portal.code, version) as raw:
        head = {**raw.headers("tools/call", "code"), "content-type": "application/json"}

        async def send() -> None:
            assert (await raw.http.post(raw.url, content=body, headers=head)).status_code in statuses

        late = await least_late(send)
        assert late.worst < STALL, late


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "code"),
    ({"code": None}, "got nothing"),
    ({"code": ["return 1"]}, "got array"),
    ({"code": {"toString": 1}}, "got object"),
    ({"code": "return 1", "timeout": 5}, "timeout"),
    ({"code": "return 1", "__proto__": {}}, "__proto__"),
    ({"code": "x" * 300_000}, "300,000"),
    ({"code": ""}, ""),
    ({"code": "\ud800"}, ""),
    ({"code": "\x00"}, ""),
]


@pytest.mark.parametrize("version", [MODERN, LEGACY])
async def test_wrong_arguments_are_an_answer_that_helps(version: str, portal: Whole) -> None:
    async with Raw(portal.code, version) as raw:
        for arguments, says in WRONG:
            answer = await raw.ask("tools/call", {"name": "code", "arguments": arguments})
            if arguments.get("code") == "\ud800" and "error" in answer:
                assert answer["error"]["code"] == -32700  # the SDK's parser takes no lone surrogates
                continue
            assert says in answer["result"]["content"][0]["text"]
            assert answer["result"]["structuredContent"]["status"] in ("failed", "completed")
    assert portal.sink.lines == []


async def test_a_query_value_that_is_unknown_is_refused_and_shows_nothing(portal: Whole) -> None:
    for query in (
        "codemode=SEARCH_AND_EXECUTE",
        "codemode=",
        "codemode=on",
        "codemode=off&codemode=search_and_execute",
        "codemode=search_and_execute&optimize_context=minimize_tools",
        "optimize_context=all",
        "codemode=search_and_execute%00",
        "codemode=%ff%fe",
    ):
        for version in (MODERN, LEGACY):
            async with Raw(portal.mcp, version) as raw:
                raw.url = f"{portal.mcp}?{query}"
                answer = await raw.post("tools/list", {})
                assert answer.status_code == 400, query
                assert "search_and_execute" in answer.json()["error"]["message"]


async def test_hosts_and_origins_of_others_are_refused_everywhere(portal: Whole) -> None:
    for headers, status in (
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"host": "localhost"}, 200),
    ):
        async with Raw(portal.code) as raw:
            sent = {**raw.headers("tools/call", "code"), **headers}
            message = raw.message("tools/call", PROGRAM)
            assert (await raw.http.post(portal.code, json=message, headers=sent)).status_code == status, headers
            assert (await raw.http.get(f"{portal.url}/healthz", headers=headers)).status_code == status, headers


async def test_methods_and_paths_that_are_not_there_say_what_is(portal: Whole) -> None:
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:
        gone = [("POST", "/"), ("POST", "/mcp/"), ("PUT", "/mcp"), ("GET", "/mcp/../etc"), ("GET", "/%2e")]
        for method, path in gone:
            answer = await http.request(method, portal.url + path, headers=ACCEPT)
            assert 400 <= answer.status_code < 500 and answer.status_code != 401, (method, path, answer.text)


async def test_a_session_is_of_no_use_to_who_does_not_know_its_id(portal: Whole) -> None:
    async with Raw(portal.code, LEGACY) as raw:
        for session in ("", "x", raw.session["mcp-session-id"][:-1] + "0", raw.session["mcp-session-id"] * 2):
            head = {**raw.headers(""), "mcp-session-id": session}
            answer = await raw.http.post(portal.code, json=raw.message("tools/call", PROGRAM), headers=head)
            if session != raw.session["mcp-session-id"]:
                assert answer.status_code in (400, 404), (session, answer.text)
