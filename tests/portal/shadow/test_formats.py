"""Every kind of log says what was requested, by whom and when; and no bytes of any kind do harm."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.shadow import LogFile, LogRequest
from portal.shadow.har import MAX_ENTRY, HarEntries
from portal.shadow.reading import MAX_LINE
from portal.shadow.request import read_target
from portal.shadow.signs import judge
from tests.deep import examples
from tests.portal.shadow.logs import BODY, QUERY, SECRET, WRITERS, combined, har, nginx, read
from tests.strategies import json_values

REQUEST = LogRequest(
    host="mcp.example.com",
    path="/team/mcp",
    method="POST",
    status=200,
    at=1_796_000_000.0,
    address="192.0.2.7",
    user="alice",
    agent="claude-code/2.1 (cli)",
)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}\.example\.com", fullmatch=True)
REQUESTS = st.builds(
    LogRequest,
    host=NAMES,
    path=st.from_regex(r"/[A-Za-z0-9._~-]{0,30}/mcp", fullmatch=True),
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    status=st.integers(100, 599),
    at=st.integers(1_000_000_000, 2_000_000_000).map(float),
    address=st.ip_addresses(v=4).map(str),
    user=st.from_regex(r"[a-z][a-z0-9.@]{0,20}|", fullmatch=True),
    agent=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
    .map(str.strip)
    .filter(lambda text: text != "-"),
)


@pytest.mark.parametrize("name", WRITERS)
def test_a_line_of_each_kind_is_read(name: str) -> None:
    write, parts = WRITERS[name]
    [found], log = read(f"{write(REQUEST)}\n".encode())
    assert {part: getattr(found, part) for part in parts} == {part: getattr(REQUEST, part) for part in parts}
    assert (log.lines, log.unread) == (1, 0)
    # Everywhere but in its body, which is searched and not kept in what is shown.
    assert SECRET not in repr(found).replace(BODY, "").replace(repr(BODY)[1:-1], "")


@pytest.mark.parametrize("name", WRITERS)
@given(request=REQUESTS, chunk=st.integers(1, 400))
def test_what_a_log_writes_is_what_is_read_however_it_is_cut(name: str, request: LogRequest, chunk: int) -> None:
    write, parts = WRITERS[name]
    # The beginning of a file is looked at as a whole: what is cut stands behind it.
    lines = har(request).replace('"version"', f'{" " * 5_000}"version"')
    if name != "har":
        lines = "\n" * 5_000 + "\n".join([write(request)] * 2)
    found, log = read(lines.encode(), chunk)
    assert log.unread == 0
    # A host name alone is looked at only if it has a sign.
    expected = 1 if name == "har" else 2
    assert len(found) == expected or (name == "squid_connect" and "mcp" not in request.host)
    for one in found:
        assert {part: getattr(one, part) for part in parts} == {part: getattr(request, part) for part in parts}


PIECES = st.sampled_from(
    [
        *(
            b'{"log":{"entries":[{"request":',
            b'{"request":{"method":"POST","url":"',
            b'"}}',
            b"]}}",
            b'{"log":"',
            b"\\",
        ),
        *(b"#Fields: cs-method cs-host cs-uri-stem\n", b"POST mcp.example.com /mcp\n", b" CONNECT mcp.a.b:443 ", b"\n"),
        *(
            b"192.0.2.1 - - [29/Nov/2026:22:50:24 +0000] ",
            b'"POST /mcp HTTP/1.1" 200 1',
            b"1764456624.253 3 ",
            b'"',
            b"[",
        ),
        *(
            b"\x1b[31m",
            b"\xff\xfe",
            b"\x00",
            b"%",
            b"https 2026-11-29T22:50:24Z ",
            b'"ts":1e400,"status":200,',
            b"[::1]:x",
        ),
    ]
)
ANY = st.lists(PIECES | st.binary(max_size=40), max_size=12).map(b"".join)


@examples(600)
@given(data=ANY, chunk=st.integers(1, 100))
def test_no_bytes_raise(data: bytes, chunk: int) -> None:
    found, log = read(data, chunk)
    for request in found:
        judge(request)
    assert log.unread <= log.lines + 1


@given(text=st.text(), method=st.sampled_from(["GET", "CONNECT", ""]))
def test_no_target_raises_or_keeps_its_query(text: str, method: str) -> None:
    target = read_target(text, method)
    assert "?" not in (target.path or "") and "#" not in (target.path or "") and "@" not in target.host


def test_a_line_that_is_none_costs_only_itself_and_says_nothing_of_what_it_is() -> None:
    good = combined(REQUEST)
    found, log = read(f"{good}\n{SECRET} is Not a line 42\n\n{{\n{good}\n".encode())
    assert len(found) == 2
    assert (log.lines, log.unread) == (4, 2)
    first, second = log.first_unread
    assert (first.number, first.shape) == (2, "aaaaaaa-9aaaaa aa Aaa a aaaa 99")
    assert (second.number, second.shape) == (3, "{")


def test_a_line_without_an_end_takes_no_memory() -> None:
    log = LogFile("a.log")
    chunk = b"x" * MAX_LINE
    tracemalloc.start()
    try:
        for _ in range(64):
            assert list(log.feed(chunk)) == []
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * MAX_LINE
    [found] = [*log.feed(f"\n{combined(REQUEST)}\n".encode()), *log.end()]
    assert found.path == REQUEST.path
    assert (log.lines, log.unread, log.first_unread[0].length) == (2, 1, 64 * MAX_LINE)


def test_an_entry_of_a_har_that_is_too_long_costs_only_itself() -> None:
    entry = json.dumps(json.loads(har(REQUEST))["log"]["entries"][0]).encode()
    log = LogFile("a.har")
    found = [*log.feed(b'{"log": {"entries": [' + entry + b', {"request": "'.ljust(5000))]
    tracemalloc.start()
    try:
        for _ in range(3 * MAX_ENTRY // MAX_LINE):
            found += log.feed(b"\\n" * (MAX_LINE // 2))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    found += [*log.feed(b'"}, ' + entry + b"]}}"), *log.end()]
    assert [request.path for request in found] == [REQUEST.path] * 2
    assert (log.lines, log.unread) == (3, 1)
    assert most < 3 * MAX_ENTRY


@given(entries=st.lists(st.dictionaries(st.text(max_size=5), json_values()), max_size=4), chunk=st.integers(1, 30))
def test_a_har_is_cut_into_its_entries_however_its_bytes_come(entries: list[dict[str, object]], chunk: int) -> None:
    log = {"version": "1.2", "creator": {"a": [{"b": {}}]}, "entries": entries, "comment": '"}]{'}
    data = json.dumps({"log": log}).encode()
    cut = HarEntries()
    found = [one for at in range(0, len(data), chunk) for one in cut.feed(data[at : at + chunk])]
    assert [json.loads(one or b"") for one in found] == entries
    assert not cut.unfinished


def test_a_har_that_ends_in_the_middle_has_what_came_before() -> None:
    text = har(REQUEST).encode()
    whole, log = read(text[:-2])
    assert (len(whole), log.unread) == (1, 1)
    cut, log = read(text[:-40])
    assert (cut, log.unread) == ([], 1)


def test_bodies_of_a_har_are_read_to_their_ends_and_those_in_base64_are_decoded() -> None:
    long = json.dumps({"method": "tools/call", "params": {"text": "x" * 200_000}, "jsonrpc": "2.0"})
    [found], _ = read(har(REQUEST, body=long).encode())
    verdict = judge(found)
    assert verdict is not None and verdict.methods == {"tools/call"}
    document = json.loads(har(REQUEST, body="{}"))
    content = document["log"]["entries"][0]["response"]["content"]
    content["text"] = "eyJqc29ucnBjIjogIjIuMCIsICJyZXN1bHQiOiB7InByb3RvY29sVmVyc2lvbiI6ICIyMDI1LTExLTI1In19"
    content["encoding"] = "base64"
    [found], _ = read(json.dumps(document).encode())
    verdict = judge(found)
    assert verdict is not None and verdict.versions == {"2025-11-25"}


def test_a_page_about_mcp_is_no_mcp() -> None:
    document = json.loads(har(REQUEST, body="", answer=BODY))
    entry = document["log"]["entries"][0]
    entry["request"]["url"], entry["request"]["method"] = "https://docs.example.com/guide", "GET"
    entry["response"]["content"]["mimeType"] = "text/html"
    [found], _ = read(json.dumps(document).encode())
    assert judge(found) is None


def test_quotes_that_nginx_escapes_in_its_own_way_are_read() -> None:
    line = nginx(REQUEST).replace("claude-code", "\\x22claude-code")
    with pytest.raises(ValueError):
        json.loads(line)
    [found], _ = read(line.encode())
    assert found.agent == '"claude-code/2.1 (cli)'


def test_a_user_with_blanks_in_the_name_is_no_host() -> None:
    line = combined(REQUEST).replace("alice", "alice b. cooper")
    [found], _ = read(line.encode())
    assert (found.host, found.address, found.user) == ("", REQUEST.address, "alice b. cooper")


@pytest.mark.parametrize(
    ("target", "host", "port", "path"),
    [
        ("https://alice:pass@mcp.example.com/mcp?key=1#x", "mcp.example.com", 443, "/mcp"),
        ("http://[2001:DB8::1]:8080/mcp", "2001:db8::1", 8080, "/mcp"),
        ("https://MCP.Example.com.", "mcp.example.com", 443, "/"),
        ("/mcp;jsessionid=1", "", None, "/mcp"),
        ("https://a b/mcp", "", None, "/mcp"),
        ("https://a:99999999/mcp", "", None, "/mcp"),
        ("*", "", None, None),
    ],
)
def test_where_a_target_leads(target: str, host: str, port: int | None, path: str | None) -> None:
    found = read_target(target)
    assert (found.host, found.port, found.path) == (host, port, path)
    assert QUERY not in repr(found)
