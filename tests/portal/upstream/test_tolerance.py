"""What real servers write beside the specification, over every transport: taken where it is clear, else told at once.

The measure is what the official clients take; a call never waits for an answer that came and cannot be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from portal.errors import OutcomeUnknown, ResponseInvalid, RpcError
from portal.exact import encode
from portal.upstream import CallContext
from portal.upstream.transports.wire import (
    MAX_AMONG,
    MAX_AMONG_BYTES,
    decode,
    id_of_damaged_answer,
    kind_of,
    messages_among,
    messages_in,
    read_id,
)
from tests.portal.upstream.test_stdio import script
from tests.portal.upstreams.raw import Exchange, raw_upstream
from tests.portal.upstreams.verbatim import FINE, TRANSPORTS, answers_of, verbatim
from tests.portal.upstreams.watching import ready, watched

pytestmark = pytest.mark.anyio
LOG = '{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}'
EVERYWHERE = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def outcome(members: str) -> str:
    return f'{{"jsonrpc": "2.0", "id": ID, {members}}}'


# Answers of the wrong shape

WRONG = {
    "error_is_text": '"error": "no such file"',
    "error_is_a_list": '"error": ["no such file"]',
    "error_is_a_number": '"error": 404',
    "error_without_a_code": '"error": {"message": "no such file"}',
    "code_is_text": '"error": {"code": "ENOENT", "message": "no such file"}',
    "error_is_empty": '"error": {}',
    "code_is_a_fraction": '"error": {"code": 1.5, "message": "no such file"}',
    "result_is_text": '"result": "hello"',
    "result_is_a_list": '"result": [{"type": "text", "text": "hello"}]',
    "result_is_null": '"result": null',
    "result_is_true": '"result": true',
    "both_are_null": '"result": null, "error": null',
    "nan": '"result": {"content": [], "structuredContent": {"mean": NaN}}',
    "infinity": '"result": {"content": [], "structuredContent": {"mean": -Infinity}}',
    "cut_off": '"result": {"content": [{"type": "te',
}


@EVERYWHERE
async def test_an_answer_of_the_wrong_shape_is_told_at_once_with_its_beginning(transport: str) -> None:
    tools = {name: outcome(members) for name, members in WRONG.items()}
    tools["neither"] = '{"jsonrpc": "2.0", "id": ID}'
    tools["nan_before_its_id"] = '{"jsonrpc": "2.0", "result": {"mean": NaN}, "id": ID}'
    async with verbatim(transport, tools) as entry, ready(entry, timeout=20) as up:
        for name, text in tools.items():
            with pytest.raises(ResponseInvalid) as caught:
                await up.call(name)
            assert caught.value.code == -32012
            answered = WRONG.get(name, text).replace(" ", "")
            assert answered[:18].partition("ID")[0] in caught.value.message.replace(" ", ""), name
            assert await up.text("fine") == "fine"


@EVERYWHERE
async def test_a_list_of_the_wrong_shape_is_the_reason_at_once(transport: str) -> None:
    lists = ['"result": "none"', '"result": {"tools": {"a": {}}}', '"error": "not now"']
    for members in lists:
        async with (
            verbatim(transport, {}, {"tools/list": outcome(members)}) as entry,
            watched(entry) as up,
        ):
            connection = await up.until(lambda connection: connection.state != "waiting")
            assert connection.state == "error"
            reason = connection.reason or ""
            assert "its lists cannot be read: the " in reason
            assert members.partition(": ")[2].replace(" ", "") in reason.replace(" ", "")


@EVERYWHERE
async def test_a_refusal_without_a_message_is_a_reason_all_the_same(transport: str) -> None:
    reasons = {
        '"error": {"code": -1, "message": null}': "the error -1 and no message",
        '"error": {"code": -1, "msg": "no such thing"}': "no such thing",
    }
    for members, said in reasons.items():
        for method in ("initialize", "tools/list"):
            async with verbatim(transport, {}, {method: outcome(members)}) as entry, watched(entry) as up:
                connection = await up.until(lambda connection: connection.state != "waiting")
                assert connection.state == "error" and said in (connection.reason or ""), method


# Answers that are not as the specification has them, and clear

TAKEN = {
    "no_version": '{"id": ID, "result": RESULT}',
    "version_as_a_number": '{"jsonrpc": 2, "id": ID, "result": RESULT}',
    "older_version": '{"jsonrpc": "1.0", "id": ID, "result": RESULT}',
    "id_as_text": '{"jsonrpc": "2.0", "id": "ID", "result": RESULT}',
    "id_as_a_float": '{"jsonrpc": "2.0", "id": ID.0, "result": RESULT}',
    "id_as_a_float_as_text": '{"jsonrpc": "2.0", "id": "ID.0", "result": RESULT}',
    "error_is_null": '{"jsonrpc": "2.0", "id": ID, "result": RESULT, "error": null}',
    "error_is_empty": '{"jsonrpc": "2.0", "id": ID, "result": RESULT, "error": {}}',
    "error_is_an_empty_list": '{"jsonrpc": "2.0", "id": ID, "result": RESULT, "error": []}',
    "error_is_empty_text": '{"jsonrpc": "2.0", "id": ID, "error": "", "result": RESULT}',
    "method_is_null": '{"jsonrpc": "2.0", "id": ID, "method": null, "result": RESULT}',
    "method_is_repeated": '{"jsonrpc": "2.0", "id": ID, "method": "tools/call", "params": null, "result": RESULT}',
    "batch": '[{"jsonrpc": "2.0", "method": "notifications/message", "params": {}}, {"id": ID, "result": RESULT}]',
    "batch_of_one": '[{"jsonrpc": "2.0", "id": ID, "result": RESULT}]',
    "byte_order_mark": '\ufeff{"jsonrpc": "2.0", "id": ID, "result": RESULT}',
    "space_around": '  \t{"jsonrpc": "2.0", "id": ID, "result": RESULT}  \r',
}


@EVERYWHERE
async def test_an_answer_that_is_clear_is_taken(transport: str) -> None:
    result = '{"content": [{"type": "text", "text": "fine"}]}'
    tools = {name: text.replace("RESULT", result) for name, text in TAKEN.items()}
    async with verbatim(transport, tools) as entry, ready(entry, timeout=20) as up:
        for name in tools:
            assert await up.text(name) == "fine", name


@EVERYWHERE
async def test_an_error_that_is_clear_is_passed_on(transport: str) -> None:
    tools = {
        "code_as_text": outcome('"error": {"code": "-32602", "message": "no such file"}'),
        "code_as_a_float": outcome('"error": {"code": -32602.0, "message": "no such file"}'),
        "result_is_null": outcome('"result": null, "error": {"code": -32602, "message": "no such file"}'),
        "no_id": '{"jsonrpc": "2.0", "id": null, "error": {"code": -32602, "message": "no such file"}}',
    }
    async with verbatim(transport, tools) as entry, ready(entry, timeout=20) as up:
        for name in tools:
            with pytest.raises(RpcError) as caught:
                await up.call(name)
            assert (caught.value.code, caught.value.message) == (-32602, "no such file")


@EVERYWHERE
async def test_an_error_without_an_id_fails_no_call_while_several_wait(transport: str) -> None:
    if transport in ("http", "event-stream"):
        return  # There it comes with the answer of one call.
    tools = {"silent": "", "no_id": '{"jsonrpc": "2.0", "id": null, "error": {"code": -1, "message": "whose?"}}'}
    async with verbatim(transport, tools) as entry, ready(entry, timeout=20) as up:
        calls = [asyncio.create_task(up.call(name)) for name in ("silent", "no_id")]
        assert await up.text("fine") == "fine"
        assert not any(call.done() for call in calls)
        for call in calls:
            call.cancel()


LOGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"level": "WARN", "data": "x"}, {"level": "warning", "data": "x"}),
    ({"level": "Error", "message": "x"}, {"level": "error", "data": "x"}),
    ({"level": "fatal", "data": None}, {"level": "critical", "data": None}),
    ({"data": {"a": 1}, "logger": "l"}, {"level": "info", "data": {"a": 1}, "logger": "l"}),
    ({"level": "notice", "data": "x", "message": "y"}, {"level": "notice", "data": "x", "message": "y"}),
    ({"level": 3, "data": "x"}, {"level": 3, "data": "x"}),
]


@EVERYWHERE
async def test_a_log_message_has_the_level_and_the_data_that_its_server_means(transport: str) -> None:
    def with_log(params: Mapping[str, Any]) -> str:
        log = encode({"jsonrpc": "2.0", "method": "notifications/message", "params": params}).decode()
        return f"[{log}, {FINE}]"

    heard: list[Mapping[str, Any]] = []

    async def hear(params: Mapping[str, Any]) -> None:
        heard.append(params)

    tools = {f"log{at}": with_log(params) for at, (params, _) in enumerate(LOGS)}
    async with verbatim(transport, tools) as entry, ready(entry, timeout=20) as up:
        for name, (_, meant) in zip(tools, LOGS, strict=True):
            await up.call(name, context=CallContext(on_log=hear))
            assert heard.pop() == meant
            await up.call(name)
            assert up.notifications.pop() == ("notifications/message", meant)


@EVERYWHERE
async def test_an_answer_that_comes_twice_is_taken_once(transport: str) -> None:
    tools = {"twice": f"{FINE}\n{FINE}" if transport == "stdio" else f"[{FINE}, {FINE}]"}
    async with verbatim(transport, tools) as entry, ready(entry, timeout=20) as up:
        for _ in range(3):
            assert await up.text("twice") == "fine"


@pytest.mark.parametrize(
    "noise",
    [
        "\x1b[1G\x1b[0K",
        "\x1b[32m",
        "\x1b]0;a title\x07",
        "Loading 10 %\rLoading 100 %\r",
        "\r\n\r\n\n",
        "\ufeff",
        '{"level": "info", "msg": "starting", "id": ID}\n',
        '{"level": "error", "error": "a log, no answer", "id": ID}\n',
        'DEBUG sent {"jsonrpc": "2.0", "id": ID, "error": "quoted, no answer"}\n',
        '{"jsonrpc": "2.0", "id": ID, "method": "tools/call", "params": {"x": NaN}}\n',
        '{"method": "GET", "path": "/"}\n',
        '"text"\nnull\n[]\n[1, 2]\n17\n',
    ],
)
async def test_what_a_process_writes_around_its_answer_is_passed_over(noise: str) -> None:
    async with verbatim("stdio", {"noisy": noise + FINE}) as entry, ready(entry, timeout=20) as up:
        assert await up.text("noisy") == "fine"
        assert not up.notifications


@pytest.mark.parametrize(
    "line",
    [
        f"Loading... {FINE}",
        f"Loading {{model}} [1/2] {FINE}",
        f'{{"level": "info"}} {FINE}',
        f'Loading... {{"id": ID, "x": {FINE}',
        f"Loading... {FINE} done",
        f"{FINE} done",
        f"{LOG}{FINE}",
        f"{LOG} {FINE}{LOG}",
        'Loading... {"result": {"content": [{"type": "text", "text": "fine"}]}, "jsonrpc": "2.0", "id": ID}',
    ],
)
async def test_an_answer_that_shares_its_line_is_taken(line: str) -> None:
    async with verbatim("stdio", {"act": line}, {"initialize": f"Starting {answers_of({})['initialize']}"}) as entry:
        async with ready(entry, timeout=20) as up:
            assert await up.text("act") == "fine"
            assert len(up.notifications) == line.count("notifications/")


@pytest.mark.parametrize(
    "quoted",
    [
        '{"jsonrpc": "2.0", "id": ID, "result": {"content": [{"type": "text", "text": "of another"}]}}',
        '{"jsonrpc": "2.0", "id": ID, "error": {"code": -1, "message": "of another"}}',
        '{"jsonrpc": "2.0", "id": ID, "method": "roots/list"}',
        LOG,
    ],
)
async def test_a_message_that_a_log_quotes_is_none(quoted: str) -> None:
    async with verbatim("stdio", {"act": f"DEBUG got {quoted}\n{FINE}"}) as entry, ready(entry, timeout=20) as up:
        assert await up.text("act") == "fine"
        assert await up.text("fine") == "fine"
        assert not up.notifications


def test_messages_in_a_line_of_something_else_are_found_in_bounds() -> None:
    assert list(messages_among(b'{"jsonrpc": ' * 100_000)) == []
    assert len(list(messages_among(b'{"jsonrpc":"2.0"}' * 1000))) == MAX_AMONG
    assert list(messages_among(b"x" * MAX_AMONG_BYTES + b'{"jsonrpc":"2.0"}')) == []
    assert list(messages_among(b'x {"jsonrpc":"2.0","id":' + b"1" * 30 + b"}")) == [
        ({"jsonrpc": "2.0", "id": int("1" * 30)}, False)
    ]


async def test_a_last_answer_needs_no_newline() -> None:
    last = "sys.stdout.write(json.dumps({'jsonrpc': '2.0', 'id': id, 'result': {'content': []}})); sys.exit()"
    async with ready(script()) as up:
        assert await up.call("act", last) == {"content": []}


# Event streams

KEEP_ALIVES = {
    "comment": ": still here\n\n",
    "empty_comment": ":\n\n",
    "text": "event: ping\ndata: ping - now\n\n",
    "empty_object": "event: keepalive\ndata: {}\n\n",
    "heartbeat": 'event: heartbeat\ndata: {"type": "heartbeat"}\n\n',
    "named_answer": 'event: ping\ndata: {"jsonrpc": "2.0", "id": ID, "result": {"content": []}}\n\n',
    "unnamed": 'data: {"type": "heartbeat"}\n\n',
    "unnamed_text": "data: ping\n\n",
    "unnamed_counter": 'data: {"type": "heartbeat", "id": ID}\n\n',
    "unnamed_list": "data: []\n\n",
    "no_data": "data:\n\n",
    "null": "data: null\n\n",
    "other_answer": 'data: {"jsonrpc": "2.0", "id": 0, "result": {}}\n\n',
    "other_error": 'data: {"jsonrpc": "2.0", "id": 0, "error": "late"}\n\n',
    "text_error": 'data: {"error": "slow"}\n\n',
    "retry_only": "retry: 15000\n\n",
    "damaged_other": 'data: {"jsonrpc": "2.0", "id": 0, "result": NaN}\n\n',
}


async def test_whatever_keeps_an_answer_alive_is_passed_over() -> None:
    async def keep_alive(exchange: Exchange) -> None:
        await exchange.stream()
        first = KEEP_ALIVES[exchange.message["params"]["name"]].replace("ID", str(exchange.id))
        await exchange.send(first.encode())
        await exchange.send(f"event: message\ndata: {FINE.replace('ID', str(exchange.id))}\n\n".encode())
        # What comes after the answer does not matter either.
        await exchange.send(b"data: goodbye\n\ndata: {")
        exchange.close()

    for legacy in (False, True):
        async with raw_upstream(keep_alive, legacy=legacy) as raw, ready({"url": raw.url, "type": "http"}) as up:
            for name in KEEP_ALIVES:
                assert await up.text(name) == "fine", name


async def test_an_answer_may_be_split_over_lines_and_chunks() -> None:
    async def split(exchange: Exchange) -> None:
        await exchange.stream()
        text = json_lines(FINE.replace("ID", str(exchange.id)))
        for piece in (text[:1], text[1:9], text[9:]):
            await exchange.send(piece)
        exchange.close()

    def json_lines(text: str) -> bytes:
        return "".join(f"data: {part}\r\n" for part in text.replace(", ", ",\n").split("\n")).encode() + b"\r\n"

    async with raw_upstream(split) as raw, ready({"url": raw.url, "type": "http"}) as up:
        assert await up.text("echo") == "fine"


@pytest.mark.parametrize(
    "stream",
    ['data: {"error": {"message": "overloaded", "code": "E500"}}\n\n', "data: overloaded\n\n", "data: [1]\n\n"],
)
async def test_a_stream_that_ends_with_something_else_than_an_answer_shows_it(stream: str) -> None:
    async def give_up(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.send(f": first\n\n{stream}".encode())
        exchange.close()

    async with raw_upstream(give_up) as raw, ready({"url": raw.url, "type": "http"}) as up:
        with pytest.raises(ResponseInvalid) as caught:
            await up.call("echo")
        assert stream.removeprefix("data: ").strip() in caught.value.message


@pytest.mark.parametrize(
    "stream", [": nothing else\n\n", "event: ping\ndata: now\n\n", 'data: {"type": "beat"}\n\n', ""]
)
async def test_a_stream_of_nothing_but_keep_alives_leaves_the_outcome_unknown(stream: str) -> None:
    async def give_up(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.send(stream.encode())
        exchange.close()

    async with raw_upstream(give_up) as raw, ready({"url": raw.url, "type": "http"}) as up:
        with pytest.raises(OutcomeUnknown):
            await up.call("echo")


async def test_keep_alives_of_a_session_s_stream_are_passed_over() -> None:
    async def unused(exchange: Exchange) -> None:
        await exchange.text("fine")

    async def stream(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.send(b'event: ping\ndata: {"jsonrpc": "2.0", "method": "notifications/named"}\n\n')
        for first in KEEP_ALIVES.values():
            await exchange.send(first.encode())
        nulled = '{"jsonrpc": "2.0", "id": null, "method": "notifications/second"}'
        await exchange.send(f'data: [{{"jsonrpc": "2.0", "method": "notifications/first"}}, {nulled}]\n\n'.encode())
        await asyncio.Event().wait()

    async with (
        raw_upstream(unused, legacy=True, on_get=stream) as raw,
        ready({"url": raw.url, "type": "http"}) as up,
    ):
        await up.heard("notifications/second")
        assert [method for method, _ in up.notifications] == ["notifications/first", "notifications/second"]


# Streamable HTTP: statuses, content types, sessions


@pytest.mark.parametrize("status", [200, 204, 301, 307, 400, 401, 403, 404, 405, 406, 410, 415, 429, 500, 501, 503])
async def test_a_server_that_only_knows_post_is_ready_whatever_it_answers_to_get(status: int) -> None:
    async def fine(exchange: Exchange) -> None:
        await exchange.text("fine")

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"<html>no</html>", status=status, kind="text/html", also="location: /elsewhere")

    async with raw_upstream(fine, legacy=True, on_get=refuse) as raw, ready({"url": raw.url, "type": "http"}) as up:
        await raw.seen("GET")
        assert await up.text("echo") == "fine"
        assert await up.text("echo") == "fine"
        assert up.connection.state == "ready"
        assert len([one for one in raw.exchanges if one.message.get("method") == "initialize"]) == 1


async def test_a_stream_that_was_there_and_is_not_found_any_more_tells_an_ended_session() -> None:
    async def fine(exchange: Exchange) -> None:
        await exchange.text("fine")

    opened = 0

    async def once(exchange: Exchange) -> None:
        nonlocal opened
        opened += 1
        if opened == 1:
            await exchange.stream()
            await exchange.send(b"retry: 1\n\n")
            exchange.close()
        else:
            await exchange.answer(b"", status=404)

    async with raw_upstream(fine, legacy=True, on_get=once) as raw, ready({"url": raw.url, "type": "http"}) as up:
        await raw.seen("initialize", times=2)
        await up.until(lambda connection: connection.state == "ready")
        assert await up.text("echo") == "fine"


async def test_a_method_that_is_not_found_is_no_ended_session() -> None:
    async def unknown(exchange: Exchange) -> None:
        await exchange.error(-32601, "Method not found", status=404)

    async with raw_upstream(unknown, legacy=True) as raw, ready({"url": raw.url, "type": "http"}) as up:
        with pytest.raises(RpcError) as caught:
            await up.call("echo")
        assert (caught.value.code, caught.value.status) == (-32601, 404)
        assert len([one for one in raw.exchanges if one.message.get("method") == "initialize"]) == 1


async def typed(exchange: Exchange, body: bytes, kind: str | None) -> None:
    headers = [f"content-length: {len(body)}", *([f"Content-Type: {kind}"] if kind else [])]
    await exchange.head(200, *headers)
    await exchange.send(body)


async def chunked(exchange: Exchange, body: bytes, kind: str) -> None:
    await exchange.head(200, f"content-type: {kind}", "transfer-encoding: chunked")
    for piece in (body[:3], body[3:12], body[12:]):
        await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await exchange.send(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "kind",
    [
        "Application/JSON",
        "application/json;charset=UTF-8",
        "application/json; charset=utf-8; odd",
        "application/json-rpc",
        "text/plain",
        "application/octet-stream",
        None,
        "text/event-stream",
        "TEXT/Event-Stream; charset=utf-8",
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["json", "events"])
async def test_an_answer_is_read_as_what_it_is_whatever_its_content_type_says(kind: str | None, streamed: bool) -> None:
    async def answer(exchange: Exchange) -> None:
        text = FINE.replace("ID", str(exchange.id))
        body = f"event: ping\ndata: x\n\nevent: message\ndata: {text}\n\n" if streamed else f"\n {text}\n"
        if exchange.message["params"]["name"] == "chunked":
            await chunked(exchange, body.encode(), kind or "x/x")
        else:
            await typed(exchange, body.encode(), kind)

    async with raw_upstream(answer) as raw, ready({"url": raw.url, "type": "http"}) as up:
        assert await up.text("whole") == "fine"
        assert await up.text("chunked") == "fine"


@pytest.mark.parametrize("answered", ["200 empty", "200 body", "202 body", "204", "404", "500", "stream"])
async def test_whatever_a_notification_is_answered_with_the_server_is_ready(answered: str) -> None:
    async def fine(exchange: Exchange) -> None:
        await exchange.text("fine")

    async def notified(exchange: Exchange) -> None:
        if answered == "stream":
            await exchange.stream()
            await exchange.event({"jsonrpc": "2.0", "result": {}})
            await asyncio.Event().wait()
        elif answered == "204":
            await exchange.head(204)
        else:
            status, _, body = answered.partition(" ")
            text = b'{"jsonrpc":"2.0","id":null,"result":{}}' if body == "body" else b""
            await exchange.answer(text, status=int(status))

    async with raw_upstream(fine, legacy=True) as raw:
        raw.overrides["notifications/initialized"] = notified
        async with ready({"url": raw.url, "type": "http"}) as up:
            assert await up.text("echo") == "fine"


@pytest.mark.parametrize("status", [200, 202, 204, 400, 404, 405, 501])
async def test_whatever_the_end_of_a_session_is_answered_with_closing_ends(status: int) -> None:
    async def fine(exchange: Exchange) -> None:
        await exchange.text("fine")

    async def refuse(exchange: Exchange) -> None:
        if status == 204:
            await exchange.head(204)
        else:
            await exchange.answer(b"", status=status)

    async with raw_upstream(fine, legacy=True, on_get=refuse) as raw:
        async with ready({"url": raw.url, "type": "http"}):
            pass
        await raw.seen("DELETE")


async def test_a_server_without_sessions_gets_no_session_and_no_get() -> None:
    async def fine(exchange: Exchange) -> None:
        await exchange.text("fine")

    async def initialize(exchange: Exchange) -> None:
        server = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "n"}}
        await exchange.result(server)

    async def listed(exchange: Exchange) -> None:
        await exchange.result({"tools": raw.tools}, also="mcp-session-id: of-no-use")

    async with raw_upstream(fine) as raw:
        raw.legacy = True
        raw.overrides |= {"initialize": initialize, "tools/list": listed, "tools/call": fine}
        async with ready({"url": raw.url, "type": "http"}) as up:
            assert await up.text("echo") == "fine"
        assert not any("mcp-session-id" in one.headers for one in raw.exchanges)
        assert {one.method for one in raw.exchanges} == {"POST"}


async def test_a_session_that_is_renamed_is_followed_but_not_for_somebody_s_own_credentials() -> None:
    async def rename(exchange: Exchange) -> None:
        raw.session = f"session-{len(raw.calls) + 1}"
        await exchange.result(
            {"content": [{"type": "text", "text": exchange.headers["mcp-session-id"]}]},
            also=f"mcp-session-id: {raw.session}",
        )

    async with raw_upstream(rename, legacy=True) as raw, ready({"url": raw.url, "type": "http"}) as up:
        assert [await up.text("echo") for _ in range(3)] == ["session-1", "session-2", "session-3"]
        assert len([one for one in raw.exchanges if one.message.get("method") == "initialize"]) == 1
        await up.call("echo", credentials={"authorization": "Bearer of-this-user"})
        raw.session = "session-4"
        assert await up.text("echo") == "session-4"


# The first answers

INFO = '"capabilities": {"tools": {}}, "serverInfo": {"name": "v", "version": "1"}'


@EVERYWHERE
@pytest.mark.parametrize("version", ["2024-10-07", "2024-11-05", "2025-03-26"])
async def test_a_server_of_an_older_version_is_served(transport: str, version: str) -> None:
    answer = outcome(f'"result": {{"protocolVersion": "{version}", {INFO}}}')
    async with verbatim(transport, {}, {"initialize": answer}) as entry, ready(entry) as up:
        assert up.connection.protocol == version
        assert await up.text("fine") == "fine"


@EVERYWHERE
@pytest.mark.parametrize("version", ['"2099-01-01"', '"1.0"', "null", "20250618", "[]"])
async def test_a_version_nobody_knows_is_the_reason_at_once(transport: str, version: str) -> None:
    answer = outcome(f'"result": {{"protocolVersion": {version}, {INFO}}}')
    async with verbatim(transport, {}, {"initialize": answer}) as entry, watched(entry) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert f"answered `initialize` with protocol version {version};" in (connection.reason or "")
        assert "the portal speaks 2024-11-05" in (connection.reason or "")


async def test_a_server_that_refuses_the_newest_version_is_asked_in_one_it_names() -> None:
    async def fine(exchange: Exchange) -> None:
        await exchange.text("fine")

    async def initialize(exchange: Exchange) -> None:
        if exchange.message["params"]["protocolVersion"] == "2025-11-25":
            error = {"code": -32602, "message": "Unsupported protocol version", "data": {"supported": ["2024-11-05"]}}
            await exchange.answer(encode({"jsonrpc": "2.0", "id": exchange.id, "error": error}))
        else:
            await exchange.result({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}})

    async with raw_upstream(fine) as raw:
        raw.legacy = True
        raw.overrides |= {"initialize": initialize, "tools/call": fine}
        raw.overrides["tools/list"] = lambda exchange: exchange.result({"tools": raw.tools})
        async with ready({"url": raw.url, "type": "http"}) as up:
            assert up.connection.protocol == "2024-11-05"
            assert await up.text("echo") == "fine"


# The older transport


@pytest.mark.parametrize("status", [400, 404, 405, 406, 410, 415, 422, 501])
async def test_the_older_transport_is_found_whatever_a_post_is_answered_with(status: int) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.error(-32601, "Method not found", status=status)

    async with verbatim("sse", {}, on_post=refuse) as entry, ready({"url": entry["url"]}) as up:
        assert up.connection.negotiated.transport == "sse"
        assert await up.text("fine") == "fine"


async def test_the_older_transport_is_found_where_a_post_gets_its_stream() -> None:
    async def stream(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.send(b"event: endpoint\ndata: /messages?session=2\n\n")
        await asyncio.Event().wait()

    async with verbatim("sse", {}, on_post=stream) as entry, ready({"url": entry["url"]}) as up:
        assert up.connection.negotiated.transport == "sse"
        assert await up.text("fine") == "fine"


@pytest.mark.parametrize("name", KEEP_ALIVES)
async def test_the_older_transport_s_stream_may_begin_and_go_on_with_what_keeps_it_alive(name: str) -> None:
    async with verbatim("sse", {}, greeting=KEEP_ALIVES[name]) as entry, ready(entry) as up:
        assert await up.text("fine") == "fine"
        assert await up.text("fine") == "fine"


async def test_a_session_of_the_older_transport_that_is_not_found_any_more_is_begun_again() -> None:
    streams: list[Exchange] = []

    async def stream(exchange: Exchange) -> None:
        streams.append(exchange)
        await exchange.stream()
        await exchange.send(f"event: endpoint\ndata: /messages?session={len(streams)}\n\n".encode())
        await asyncio.Event().wait()

    async def post(exchange: Exchange) -> None:
        method = exchange.message.get("method", "")
        if method == "tools/call" and exchange.path.endswith("=1"):
            await exchange.answer(b"Could not find session", status=404, kind="text/plain")
            return
        await exchange.answer(b"", status=202)
        text = answers_of({}).get("fine" if method == "tools/call" else method)
        if text is not None:
            await streams[-1].event(text.replace("ID", str(exchange.id)))

    async with raw_upstream(post, on_get=stream) as raw:
        raw.overrides |= dict.fromkeys(("initialize", "notifications/initialized", "tools/list"), post)
        async with ready({"url": raw.url, "type": "sse"}) as up:
            assert await up.text("fine") == "fine"
            assert len(streams) == 2


async def test_a_refused_message_of_the_older_transport_shows_the_beginning_of_the_answer() -> None:
    async def fine(exchange: Exchange) -> None:
        await exchange.answer(b"", status=202)

    async def stream(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.send(b"event: endpoint\ndata: /mcp\n\n")
        await asyncio.Event().wait()

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"<html>too many sessions</html>", status=503, kind="text/html")

    async with raw_upstream(fine, on_get=stream) as raw:
        raw.overrides["initialize"] = refuse
        async with watched({"url": raw.url, "type": "sse"}) as up:
            connection = await up.until(lambda connection: connection.state == "error")
            assert connection.reason == "answered HTTP 503 to a message: <html>too many sessions</html>"


# Reading


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, "answer"),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping"}, "request"),
        ({"jsonrpc": "2.0", "method": "ping"}, "notification"),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, "notification"),
        ({"jsonrpc": "2.0", "id": 1}, "answer"),
        ({"id": 1, "error": "no"}, "answer"),
        ({"id": 1}, None),
        ({"method": "GET", "id": 1}, None),
        ({"error": "no", "level": "warn"}, None),
        ({"jsonrpc": "2.0"}, None),
        ({}, None),
    ],
)
def test_a_message_is_told_from_other_objects(message: Mapping[str, Any], kind: str | None) -> None:
    assert kind_of(message) == kind


@pytest.mark.parametrize(
    ("written", "number"),
    [(7, 7), ("7", 7), (7.0, 7), ("7.0", 7), ("007", 7), (True, None), (1.5, None), ("1.5", None), ("x", None)]
    + [(None, None), ([7], None), (float("inf"), None), ("7" * 30, None), ("٧", None)],
)
def test_an_id_is_the_same_number_however_it_is_written(written: object, number: int | None) -> None:
    assert read_id(written) == number


def test_a_batch_has_a_bound() -> None:
    assert len(messages_in(b"[" + b",".join([b"{}"] * 1000) + b"]")) == 1000
    assert messages_in(b"[" + b",".join([b"{}"] * 1001) + b"]") == []


def test_a_byte_order_mark_is_not_part_of_a_message() -> None:
    assert decode(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize(
    ("line", "id"),
    [
        ('{"jsonrpc":"2.0","id":7,"result":{"x":NaN}}', 7),
        (' {"id": "7", "jsonrpc": "2.0", "result": NaN}', 7),
        ('{"jsonrpc":"2.0","result":{"x":NaN},"id":7}', 7),
        ('{"id":7,"error":{"data":NaN}}', 7),
        ('{"jsonrpc":"2.0","id":7,"method":"roots/list","params":NaN}', None),
        ('DEBUG {"jsonrpc":"2.0","id":7,"result":NaN}', None),
        ('{"user":NaN,"id":7}', None),
        ('{"result":{"items":[{"id":7}', None),
        ('{"jsonrpc":"2.0","result":NaN}', None),
        ("", None),
    ],
)
def test_the_id_of_a_damaged_answer_is_found_where_it_is_clear(line: str, id: int | None) -> None:
    assert id_of_damaged_answer(line.encode()) == id
