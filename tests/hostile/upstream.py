"""A hostile upstream: a server that can be connected to, and whose answers are made to cost whoever reads them.

Each tool is answered with the hostile answer of its own name (`ANSWERS` over every transport, `STREAMS` as an event
stream, `HTTP` over HTTP alone). The tool `fine` is answered as it should be. A server may be hostile in its lists
(`LISTS`) or in what it sends unasked (`UNASKED`) too.

It is a process of its own, so that what it does makes no loop of a test late. It needs the standard library alone, so
that it starts at once:

    python tests/hostile/upstream.py http|sse [--lists NAME] [--unasked NAME]      (prints its URL, then serves)
    python tests/hostile/upstream.py stdio [--lists NAME] [--unasked NAME]
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count, repeat
from pathlib import Path
from typing import Any

MANY = 120_000
BYTES = 4 * 1024 * 1024
_PIECE = 64 * 1024
_OBJECT = b'{"type":"object"}'


def _filled(item: bytes, size: int = BYTES) -> bytes:
    """As many of an item in a row, with commas, as have this size."""
    return b",".join([item] * (size // (len(item) + 1)))


def _nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + b"0" + closing * depth


def _keys(number: int, value: bytes = b"0") -> bytes:
    return b",".join(b'"k%d":%s' % (at, value) for at in range(number))


def _structured(value: bytes) -> bytes:
    return b'{"content":[],"structuredContent":{"a":' + value + b"}}"


def _said(text: bytes) -> bytes:
    """A result with this text, which is JSON inside a JSON string already."""
    return b'{"content":[{"type":"text","text":"' + text + b'"}]}'


def _blocks(block: bytes, number: int = MANY) -> bytes:
    return b'{"content":[' + b",".join([block] * number) + b"]}"


ANSWERS: Mapping[str, Callable[[], bytes]] = {
    "blocks": lambda: _blocks(b'{"type":"text","text":""}'),
    "blocks_with_more": lambda: _blocks(b'{"type":"text","text":"","x":1}'),
    "blocks_of_no_type": lambda: _blocks(b"{}"),
    "blocks_of_unknown_type": lambda: _blocks(b'{"type":"x"}'),
    "blocks_of_images": lambda: _blocks(b'{"type":"image","data":"","mimeType":"a"}', MANY // 2),
    "blocks_of_resources": lambda: _blocks(b'{"type":"resource","resource":{"uri":"a","text":""}}', MANY // 2),
    "blocks_of_links": lambda: _blocks(b'{"type":"resource_link","uri":"a","name":7}', MANY // 2),
    "blocks_of_numbers": lambda: _blocks(b"1", 4 * MANY),
    "blocks_of_null": lambda: _blocks(b"null", 4 * MANY),
    "blocks_of_lists": lambda: _blocks(b"[]", 4 * MANY),
    "fewer_blocks": lambda: _blocks(b'{"type":"x","text":null}', 9_000),
    "fewer_images": lambda: _blocks(b'{"type":"image","data":"AA-_","mimeType":null}', 9_000),
    "fewer_texts": lambda: _blocks(b'{"type":"text","text":""}', 10_000),
    "fewer_lists": lambda: _structured(b"[" + b",".join([b"[]"] * 50_000) + b"]"),
    "fewer_objects": lambda: _structured(b"[" + b",".join([b'{"a":{}}'] * 25_000) + b"]"),
    "fewer_numbers": lambda: _structured(b"[" + b",".join([b"1.25"] * 250_000) + b"]"),
    "fewer_rows": lambda: _structured(
        b"[" + b",".join([b'{"id":1,"name":"abcdefg","at":"2026-01-01","value":1.25,"is":true}'] * 48_000) + b"]"
    ),
    "fewer_bare_rows": lambda: b'{"rows":[' + b",".join([b'{"id":1,"name":"abcdefg","is":true}'] * 48_000) + b"]}",
    "fewer_rows_of_a_tool_result": lambda: (
        b'{"toolResult":{"rows":[' + b",".join([b'{"id":1,"name":"abcdefg","is":true}'] * 48_000) + b"]}}"
    ),
    "fewer_errors": lambda: b'{"isError":true,' + _blocks(b'{"type":"x","text":null}', 9_000)[1:],
    "empty_lists": lambda: _structured(b"[" + _filled(b"[]") + b"]"),
    "empty_objects": lambda: _structured(b"[" + _filled(b"{}") + b"]"),
    "objects": lambda: _structured(b"[" + _filled(b'{"a":{}}') + b"]"),
    "numbers": lambda: _structured(b"[" + _filled(b"1") + b"]"),
    "fractions": lambda: _structured(b"[" + _filled(b"1.25") + b"]"),
    "fractions_and_one_long_number": lambda: _structured(b"[" + b"1" * 30 + b"," + _filled(b"1.25") + b"]"),
    "long_numbers": lambda: _structured(b"[" + _filled(b"1" * 30) + b"]"),
    "longest_numbers": lambda: _structured(b"[" + _filled(b"1" * 4_300) + b"]"),
    "longer_than_numbers_are": lambda: _structured(b"[" + _filled(b"1" * 5_000) + b"]"),
    "digits": lambda: _structured(b"1" * BYTES),
    "keys": lambda: _structured(b"{" + _keys(100_000) + b"}"),
    "keys_of_objects": lambda: _structured(b"{" + _keys(100_000, b"{}") + b"}"),
    "members": lambda: b'{"content":[],' + _keys(100_000) + b"}",
    "members_of_lists": lambda: b'{"content":[],' + _keys(100_000, b"[[]]") + b"}",
    "members_of_a_block": lambda: b'{"content":[{"type":"text","text":"",' + _keys(100_000) + b"}]}",
    "meta": lambda: b'{"content":[],"_meta":{' + _keys(100_000, b"[]") + b"}}",
    "annotations": lambda: b'{"content":[{"type":"text","text":"","annotations":{' + _keys(100_000) + b"}}]}",
    "deep": lambda: _structured(_nested(1_000_000)),
    "deep_objects": lambda: _structured(_nested(300_000, b'{"a":', b"}")),
    "rather_deep": lambda: _structured(_nested(900)),
    "wide_and_deep": lambda: _structured(b"[" + _filled(_nested(90), BYTES // 2) + b"]"),
    "nothing_closes": lambda: _structured(b"[" * BYTES),
    "text": lambda: _said(b"x" * BYTES),
    "text_of_escapes": lambda: _said(rb"\u0000" * (BYTES // 6)),
    "text_of_surrogates": lambda: _said(rb"\ud800" * (BYTES // 6)),
    "text_of_backslashes": lambda: _said(rb"\\" * (BYTES // 2)),
    "text_of_bad_bytes": lambda: _said(b"\xff" * BYTES),
    "text_of_letters": lambda: _said("ﷺ".encode() * (BYTES // 3)),
    "text_of_lists": lambda: _said(b"[" + _filled(b"[]") + b"]"),
    "text_of_objects": lambda: _said(b"[" + _filled(rb"{\"a\":{}}") + b"]"),
    "text_of_numbers": lambda: _said(b"[" + _filled(b"1.50") + b"]"),
    "text_of_long_numbers": lambda: _said(b"[" + _filled(b"1" * 30) + b"]"),
    "text_of_openings": lambda: _said(b"[" * BYTES),
    "content_of_openings": lambda: b'{"content":' + b"[" * BYTES + b"}",
    "no_answer": lambda: b"[" + _filled(b"{}") + b"]",
    "error_of_lists": lambda: b'{"isError":true,"content":[],"structuredContent":{"a":[' + _filled(b"[]") + b"]}}",
}
"""Results, as JSON."""

ERRORS: Mapping[str, Callable[[], bytes]] = {
    "error_with_data": lambda: b'{"code":1,"message":"no","data":[' + _filled(b"[]") + b"]}",
    "error_with_a_long_message": lambda: b'{"code":1,"message":"' + b"x" * BYTES + b'"}',
    "error_with_a_message_of_lists": lambda: b'{"code":1,"message":[' + _filled(b"[]") + b"]}",
    "error_with_a_deep_message": lambda: b'{"code":1,"message":' + _nested(500) + b"}",
    "error_with_members": lambda: b'{"code":1,' + _keys(100_000) + b"}",
}
"""Errors, as JSON."""


def _message(method: str, params: bytes = b"{}", more: bytes = b"") -> bytes:
    return b'{"jsonrpc":"2.0","method":"' + method.encode() + b'","params":' + params + more + b"}"


_NOTIFICATION = _message("notifications/x")
_PROGRESS = _message("notifications/progress", b'{"progressToken":ID,"progress":1}')
_LOG = _message("notifications/message", b'{"level":"info","data":"x"}')
_CHANGED = _message("notifications/tools/list_changed")
_QUESTION = _message("elicitation/create", b'{"message":"x"}', b',"id":"q"')
_PING = _message("ping", b"{}", b',"id":"q"')
_STRAY = b'{"jsonrpc":"2.0","id":123456789,"result":{}}'

MESSAGES: Mapping[str, bytes] = {
    "notifications": _NOTIFICATION,
    "progress": _PROGRESS,
    "logs": _LOG,
    "changes": _CHANGED,
    "questions": _QUESTION,
    "pings": _PING,
    "strays": _STRAY,
    "batches": b"[" + b",".join([_NOTIFICATION] * 1_000) + b"]",
    "batches_of_progress": b"[" + b",".join([_PROGRESS] * 1_000) + b"]",
    "batches_of_logs": b"[" + b",".join([_LOG] * 1_000) + b"]",
    "batches_of_pings": b"[" + b",".join([_PING] * 1_000) + b"]",
    "batches_of_strays": b"[" + b",".join([_STRAY] * 1_000) + b"]",
    "batches_of_nothing": b"[" + _filled(b"[]", 1024 * 1024) + b"]",
    "lists": b"[]",
    "objects_of_nobody": b"{}",
    "no_json": b"x",
    "half_answers": b'{"jsonrpc":"2.0","id":ID,"result":',
    "words": b'x {"jsonrpc":"2.0","id":1,"method":"x" ' * 20,
}
"""What comes again and again, before an answer that never comes: as events, and as lines."""

STREAMS: Mapping[str, bytes] = {
    **{name: b"data: " + message + b"\n\n" for name, message in MESSAGES.items()},
    "empty_lines": b"\n",
    "returns": b"\r",
    "comments": b":\n",
    "empty_data": b"data:\n",
    "empty_events": b"data:\n\n",
    "ids": b"id: 1\n\n",
    "retries": b"retry: 1\n\n",
    "names": b"event: ping\n\n",
    "unknown_fields": b"x\n",
    "one_line": b"x" * 100,
    "one_comment": b":" * 100,
    "keep_alives": b"event: ping\ndata: {}\n\n",
}
"""What an event stream repeats for ever."""

LINES: Mapping[str, bytes] = {
    **{name: message + b"\n" for name, message in MESSAGES.items()},
    "empty_lines": b"\n",
    "white_space": b" \n",
    "returns": b"\r\n",
    "one_line": b"x" * 100,
    "spaces": b" " * 100,
    "words_of_logs": b"INFO something happened\n",
    "escapes": b"\x1b[0m\n",
}
"""What standard output repeats for ever."""

_CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
HTTP: Mapping[str, tuple[bytes, bytes]] = {
    "informational": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "informational_with_headers": (b"", b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "different_headers": (b"HTTP/1.1 200 OK\r\n", b""),
    "one_header": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1_000),
    "reason": (b"HTTP/1.1 200 ", b"O" * 1_000),
    "lines_before_the_status": (b"", b"\r\n"),
    "chunks_of_a_byte": (_CHUNKED, b"1\r\n \r\n"),
    "chunks_of_a_bracket": (_CHUNKED, b"1\r\n[\r\n"),
    "chunk_extension": (_CHUNKED + b"1;", b"x" * 1_000),
    "trailers": (_CHUNKED + b"0\r\n", b"x: y\r\n"),
    "white_space": (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", b" " * 1_000),
    "refusal": (b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\n\r\n", b"[" * 1_000),
    "refusal_of_events": (b"HTTP/1.1 400 No\r\ncontent-type: text/event-stream\r\n\r\n", b"data: {}\n\n" * 100),
    "refusal_of_authorization": (
        b"HTTP/1.1 401 No\r\n" + b"www-authenticate: " + b"Bearer a=b, " * 500 + b"\r\n\r\n",
        b"[" * 1_000,
    ),
    "events_of_no_type": (b"HTTP/1.1 200 OK\r\n\r\n", b"data: {}\n\n"),
    "padding_then_events": (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + b"\n" * (2 * _PIECE),
        b": x\n\n",
    ),
}
"""What comes first, and what is repeated for ever."""


def _item(kind: str, at: int, schema: bytes = _OBJECT) -> bytes:
    return b'{"name":"%s%d","inputSchema":%s}' % (kind.encode(), at, schema)


def _tools(schema: bytes, number: int) -> Iterator[bytes]:
    yield b'{"tools":[' + b",".join(_item("t", at, schema) for at in range(number)) + b"]}"


LISTS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "endless_pages": lambda: (b'{"tools":[%s],"nextCursor":"%d"}' % (_item("t", at), at) for at in count()),
    "endless_empty_pages": lambda: (b'{"tools":[],"nextCursor":"%d"}' % at for at in count()),
    "endless_pages_of_nothing": lambda: (b'{"tools":[1],"nextCursor":"%d"}' % at for at in count()),
    "the_same_page": lambda: repeat(b'{"tools":[' + _item("t", 0) + b'],"nextCursor":"1"}'),
    "long_cursors": lambda: (b'{"tools":[],"nextCursor":"%s%d"}' % (b"x" * BYTES, at) for at in count()),
    "items": lambda: iter([b'{"tools":[' + b",".join(_item("t", at) for at in range(100_000)) + b"]}"]),
    "items_of_nothing": lambda: iter([b'{"tools":[' + _filled(b"{}", 3 * BYTES) + b"]}"]),
    "items_without_a_name": lambda: iter([b'{"tools":[' + _filled(b'{"name":""}', 3 * BYTES) + b"]}"]),
    "the_same_item": lambda: iter([b'{"tools":[' + _filled(_item("t", 0), 3 * BYTES) + b"]}"]),
    "malformed_items": lambda: iter(
        [b'{"tools":[' + b",".join(b'{"name":"t%d","title":7}' % at for at in range(100_000)) + b"]}"]
    ),
    "huge_schemas": lambda: _tools(b'{"type":"object","properties":{' + _keys(6_000, b'{"type":"string"}') + b"}}", 60),
    "schemas_that_do_not_compile": lambda: _tools(
        b'{"type":"object","properties":{' + _keys(3_000, b'{"type":"string","pattern":"(?P<a>b)"}') + b"}}", 60
    ),
    "deep_schemas": lambda: _tools(_nested(50, b'{"type":"object","properties":{"a":', b"}}"), 1_000),
    "schemas_with_empty_lists": lambda: _tools(b'{"type":"object","x":[' + _filled(b"[]", 200_000) + b"]}", 60),
    "members_of_a_page": lambda: iter([b'{"tools":[' + _item("t", 0) + b"]," + _keys(500_000) + b"}"]),
    "annotations_of_lists": lambda: iter(
        [b'{"tools":[{"name":"t","inputSchema":{"type":"object"},"annotations":{' + _keys(20_000, b"[]") + b"}}]}"]
    ),
}
"""The pages of `tools/list`."""


def _initialized(request: Mapping[str, Any]) -> bytes:
    version = request["params"].get("protocolVersion", "2025-06-18")
    return b'{"protocolVersion":"%s","capabilities":{"tools":{}},"serverInfo":{"name":"h","version":"1"}}' % (
        version.encode()
    )


class Hostile:
    """What the server answers, whatever carries it."""

    def __init__(self, lists: str = "") -> None:
        self._pages = LISTS[lists]() if lists else None

    def outcome(self, request: Mapping[str, Any]) -> bytes:
        """The result or error of a request, as members of the answer."""
        method = request["method"]
        if method == "initialize":
            return b'"result":' + _initialized(request)
        if method == "tools/list":
            return b'"result":' + self._page()
        if method == "tools/call":
            return _outcome(request["params"]["name"])
        if method == "ping":
            return b'"result":{}'
        return b'"error":{"code":-32601,"message":"Method not found"}'

    def answer(self, request: Mapping[str, Any]) -> bytes:
        return b'{"jsonrpc":"2.0","id":' + _id(request) + b"," + self.outcome(request) + b"}"

    def _page(self) -> bytes:
        if self._pages is None:
            names = dict.fromkeys((*ANSWERS, *ERRORS, *STREAMS, *LINES, *HTTP, "fine", "bomb", "redirects"))
            return (
                b'{"tools":['
                + b",".join(b'{"name":"%s","inputSchema":%s}' % (one.encode(), _OBJECT) for one in names)
                + b"]}"
            )
        return next(self._pages, b'{"tools":[]}')


def _outcome(name: str) -> bytes:
    if name in ANSWERS:
        return b'"result":' + ANSWERS[name]()
    return b'"error":' + ERRORS[name]() if name in ERRORS else b'"result":' + _said(b"fine")


def _id(request: Mapping[str, Any]) -> bytes:
    return json.dumps(request["id"]).encode()


def _tool(request: Mapping[str, Any]) -> str:
    return str(request["params"]["name"]) if request.get("method") == "tools/call" else ""


def _many(piece: bytes) -> bytes:
    return piece * max(1, _PIECE // len(piece))


# --- over HTTP ------------------------------------------------------------------------------------------------------


class _OverHttp:
    def __init__(self, hostile: Hostile, unasked: str, *, sse: bool) -> None:
        self._hostile = hostile
        self._unasked = unasked
        self._sse = sse
        self._stream: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                lines = (line.partition(":") for line in head[1:])
                headers = {name.strip().lower(): value.strip() for name, _, value in lines}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                await self._handle(head[0].split(" ")[0], json.loads(body) if body else {}, writer)
        writer.close()

    async def _handle(self, verb: str, request: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        if verb == "GET":
            await self._get(writer)
        elif verb == "DELETE" or "method" not in request or "id" not in request:
            await _send(writer, b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        elif self._sse:
            await _send(writer, b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            assert self._stream is not None
            if (name := _tool(request)) in STREAMS:
                await _endlessly(self._stream, STREAMS[name].replace(b"ID", _id(request)))
            await _send(self._stream, b"data: " + self._hostile.answer(request) + b"\n\n")
        else:
            await self._post(request, writer)

    async def _get(self, writer: asyncio.StreamWriter) -> None:
        if not self._sse and not self._unasked:
            await _send(writer, b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n")
            return
        await _send(writer, b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        if self._sse:
            self._stream = writer
            await _send(writer, b"event: endpoint\ndata: /messages\n\n")
        if self._unasked:
            await _endlessly(writer, STREAMS[self._unasked])
        await asyncio.Event().wait()

    async def _post(self, request: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        name = _tool(request)
        if name in HTTP:
            first, again = HTTP[name]
            await _send(writer, first)
            if not again:
                for at in count():
                    await _send(writer, b"x%d: y\r\n" % at)
            await _endlessly(writer, again)
        elif name in STREAMS:
            await _send(writer, b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            await _endlessly(writer, STREAMS[name].replace(b"ID", _id(request)))
        elif name == "redirects":
            await _send(writer, b"HTTP/1.1 307 Go\r\nlocation: /mcp\r\ncontent-length: 0\r\n\r\n")
        elif name == "bomb":
            bomb = gzip.compress(bytes(200 * 1024 * 1024))
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
            await _send(writer, head + b"content-length: %d\r\n\r\n" % len(bomb) + bomb)
        else:
            body = self._hostile.answer(request)
            session = b"mcp-session-id: s\r\n" if request["method"] == "initialize" else b""
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + session
            await _send(writer, head + b"content-length: %d\r\n\r\n" % len(body) + body)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _endlessly(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Until the client closes its end."""
    many = _many(piece)
    while not writer.is_closing():
        await _send(writer, many)


async def _serve(hostile: Hostile, unasked: str, *, sse: bool) -> None:
    over = _OverHttp(hostile, unasked, sse=sse)
    server = await asyncio.start_server(over.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}/{'sse' if sse else 'mcp'}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


# --- over standard input and output ---------------------------------------------------------------------------------


def _over_stdio(hostile: Hostile, unasked: str) -> None:
    out = sys.stdout.buffer
    with suppress(BrokenPipeError):
        for line in sys.stdin:
            request = json.loads(line)
            if "id" not in request or "method" not in request:
                continue
            if (name := _tool(request)) in LINES:
                _write_endlessly(LINES[name].replace(b"ID", _id(request)))
            out.write(hostile.answer(request) + b"\n")
            out.flush()
            if unasked and request["method"] == "tools/list":
                _write_endlessly(LINES[unasked])


def _write_endlessly(piece: bytes) -> None:
    many = _many(piece)
    while True:
        sys.stdout.buffer.write(many)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("transport", choices=["http", "sse", "stdio"])
    parser.add_argument("--lists", default="")
    parser.add_argument("--unasked", default="")
    options = parser.parse_args()
    hostile = Hostile(options.lists)
    if options.transport == "stdio":
        _over_stdio(hostile, options.unasked)
    else:
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve(hostile, options.unasked, sse=options.transport == "sse"))


# --- for tests ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def hostile_upstream(
    transport: str = "http", *, lists: str = "", unasked: str = "", **more: Any
) -> AsyncIterator[dict[str, Any]]:
    """The configuration entry of a hostile server, with `more` members. `transport` is http, sse or stdio."""
    switches = [str(Path(__file__).resolve()), transport, "--lists", lists, "--unasked", unasked]
    if transport == "stdio":
        yield {"command": sys.executable, "args": ["-I", *switches], **more}
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", *switches, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        yield {"url": url, "type": transport, **more}
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
