"""One line of a client: a message, an array of them, or what is answered with an error and ends nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.stdio.messages import (
    MAX_BYTES,
    ClientMessage,
    MessageBatch,
    MessageUnreadable,
    as_line,
    read_line,
    too_long,
)
from tests.deep import examples
from tests.strategies import json_values

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def error_in(found: object) -> dict[str, Any]:
    assert isinstance(found, MessageUnreadable)
    answer: dict[str, Any] = json.loads(found.answer)
    assert answer["jsonrpc"] == "2.0" and answer["error"]["message"]
    return answer


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('{"jsonrpc":"2.0","id":1,"method":"ping"}', "request"),
        ('{"jsonrpc":"2.0","id":"a","method":"ping","params":{}}', "request"),
        ('{"jsonrpc":"2.0","method":"notifications/initialized"}', "notification"),
        ('{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}', "notification"),
        ('{"jsonrpc":"2.0","id":7,"result":{}}', "answer"),
        ('{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"}}', "answer"),
        ('{"jsonrpc":"2.0","id":1,"method":"x","params":{"t":"\\ud800"}}', "request"),
        ('\ufeff{"jsonrpc":"2.0","id":1,"method":"x"}', "request"),
    ],
)
def test_a_message_is_passed_on_as_it_was_written(line: str, kind: str) -> None:
    found = read_line(line.encode("utf-8", "surrogatepass"))
    assert isinstance(found, ClientMessage)
    assert (found.kind, found.raw.decode()) == (kind, line)


@pytest.mark.parametrize(
    ("line", "id", "code"),
    [
        ("nonsense", None, -32700),
        ('{"jsonrpc":"2.0","id":1,', None, -32700),
        ("[" * 100_000, None, -32700),
        ("7", None, -32600),
        ("null", None, -32600),
        ('{"jsonrpc":"2.0","id":1}', 1, -32600),
        ('{"jsonrpc":"2.0","id":{},"method":"ping"}', None, -32600),
        ('{"jsonrpc":"2.0","id":null,"method":"ping"}', None, -32600),
        ('[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None, -32600),
    ],
)
def test_what_is_none_is_answered_with_an_error(line: str, id: object, code: int) -> None:
    answer = error_in(read_line(line.encode()))
    assert (answer["id"], answer["error"]["code"]) == (id, code)


def test_an_array_is_of_the_version_that_has_arrays() -> None:
    line = b'[{"jsonrpc":"2.0","id":1,"method":"ping"},7,{"jsonrpc":"2.0","id":2,"method":"initialize"}]'
    found = read_line(line, "2025-03-26")
    assert isinstance(found, MessageBatch)
    ping, nothing, initialize = found.parts
    assert isinstance(ping, ClientMessage) and ping.id == 1
    assert error_in(nothing)["id"] is None
    assert "comes alone" in error_in(initialize)["error"]["message"]
    assert "arrays are of MCP 2025-03-26" in error_in(read_line(line, "2025-11-25"))["error"]["message"]
    for size in (0, 1001):
        many = json.dumps([{"jsonrpc": "2.0", "method": "x"}] * size).encode()
        assert "1 to 1000 messages" in error_in(read_line(many, "2025-03-26"))["error"]["message"]


def test_a_request_that_says_its_version_has_headers_that_repeat_it() -> None:
    params = {"name": "zürich", "_meta": META}
    found = read_line(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode())
    assert isinstance(found, ClientMessage)
    assert found.headers() == {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "=?base64?esO8cmljaA==?=",
    }


@pytest.mark.parametrize("method", ["caf\u00e9", "\u2028", "x\r\nevil: 1", " x", "\x00"])
def test_a_method_of_any_letters_is_one_header(method: str) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": META}}
    found = read_line(json.dumps(message).encode())
    assert isinstance(found, ClientMessage)
    header = found.headers()["mcp-method"]
    assert header.isascii() and header.isprintable() and header.startswith("=?base64?")


@pytest.mark.parametrize("version", ["2025-11-25", "x\r\nevil: 1", "", 7, None])
def test_a_version_that_is_none_or_has_sessions_makes_no_headers(version: object) -> None:
    params = {"_meta": {"io.modelcontextprotocol/protocolVersion": version}}
    found = read_line(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}).encode())
    assert isinstance(found, ClientMessage) and found.version == ""


@pytest.mark.parametrize(
    ("beginning", "end", "id"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"tools/call"', b'xxx"}}', 7),
        (b'{"id":"a\\"b","jsonrpc":"2.0","method"', b'xxx"}}', 'a"b'),
        (b'{"method":"tools/call","params":{"id":3}', b'xxx"},"jsonrpc":"2.0","id":9}', 9),
        (b'{"method":"x"', b'xxx"},"id":9,"jsonrpc":"2.0"}', 9),
        (b'{"method":"x","params":{"a":"', b'","id":1}}', None),
        (b"xxxx", b"xxxx", None),
    ],
)
def test_of_a_message_that_is_too_long_the_request_gets_the_error(beginning: bytes, end: bytes, id: object) -> None:
    answer = error_in(too_long(beginning, end))
    assert answer["id"] == id and str(MAX_BYTES) in answer["error"]["message"]


@given(st.binary(max_size=200) | json_values().map(lambda value: json.dumps(value).encode()))
@examples(300)
def test_whatever_a_line_has_it_is_read(line: bytes) -> None:
    for version in ("", "2025-03-26"):
        found = read_line(line, version)
        if isinstance(found, MessageUnreadable):
            error_in(found)


@given(json_values())
def test_a_text_on_several_lines_means_the_same_on_one(value: object) -> None:
    text = json.dumps(value, indent=2).replace("\n", "\r\n").encode()
    line = as_line(text)
    assert b"\n" not in line and b"\r" not in line
    assert json.loads(line) == json.loads(text)
