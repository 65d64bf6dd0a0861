"""One supervised connection to real servers of both generations that change, hang, restart and die."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from portal.errors import RpcError, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from portal.upstream import CallContext, DownstreamClient, Introduction
from portal.upstream.connection import settling_seconds
from portal.upstream.keeper import Keeper
from portal.upstream.transports.link import Link
from portal.upstream.transports.protocol import Agreement
from tests.patience import PATIENCE
from tests.portal.upstreams.hosting import Hosted, hosted, served_process, stdio_entry
from tests.portal.upstreams.raw import Exchange, raw_upstream
from tests.portal.upstreams.server import Behaviour
from tests.portal.upstreams.watching import Watched, ready, watched

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
BOTH = pytest.mark.parametrize("legacy", [False, True], ids=["modern", "legacy"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_both_generations_are_found_out_and_remembered() -> None:
    for legacy, version in ((False, "2026-07-28"), (True, "2025-11-25")):
        async with hosted(Behaviour(legacy=legacy)) as host, ready({"url": host.url}) as up:
            assert up.connection.listing.protocol == version
            assert up.connection.listing.server_info["name"] == "upstream"
            assert up.connection.listing.instructions == "for tests"
            assert await up.text("echo", "hello") == "hello"
            await host.restart()
            assert await up.text("echo", "again") == "again"
            # Neither is asked again which generation it is.
            assert "server/discover" not in host.upstream.journal.entries


async def test_a_call_that_has_waited_long_enough_for_a_connection_says_that_nothing_ran() -> None:
    async def never() -> tuple[Link, Agreement]:
        await asyncio.Event().wait()
        raise AssertionError

    async def attend(link: Link, agreement: Agreement) -> None:
        raise AssertionError

    keeper = Keeper(never, attend, lambda error, pause: None, patience=0.01)
    keeper.start("connecting")
    try:
        with pytest.raises(UpstreamUnavailable) as caught:
            await keeper.link()
    finally:
        await keeper.aclose()
    assert caught.value.message == (
        "not connected: still connecting, and it has not answered yet; nothing ran, try again in a few seconds"
    )
    assert caught.value.ran == "no"


async def test_every_page_of_every_list_is_read() -> None:
    async with hosted(Behaviour(tools=250, page=7)) as host, ready({"url": host.url}) as up:
        listing = up.connection.listing
        assert {f"numbered-{n}" for n in range(250)} <= set(listing.by_name)
        assert [prompt["name"] for prompt in listing.prompts] == ["greet"]
        assert [resource["uri"] for resource in listing.resources] == ["test://one"]
        assert [template["uriTemplate"] for template in listing.resource_templates] == ["test://{name}"]


async def test_lists_without_an_end_are_cut_and_said_to_be() -> None:
    async with hosted(Behaviour(endless=True, page=5)) as host, ready({"url": host.url}) as up:
        assert len(up.connection.listing.tools) == 14
        assert any("same next page twice" in note for note in up.connection.listing.skipped)
    async with hosted(Behaviour(tools=100)) as host, ready({"url": host.url}, maxItems=20) as up:
        assert len(up.connection.listing.tools) == 20
        assert any("only the first 20" in note for note in up.connection.listing.skipped)


@BOTH
async def test_a_change_of_the_list_is_heard_and_read(legacy: bool) -> None:
    async with hosted(Behaviour(legacy=legacy)) as host, ready({"url": host.url}) as up:
        method = "notifications/initialized" if legacy else "subscriptions/listen"
        await host.upstream.journal.wait(method)
        before = up.connection.listing
        await up.call("change", "brand-new")
        await up.until(lambda connection: "brand-new" in connection.listing.by_name)
        assert up.connection.listing.digest != before.digest
        assert "brand-new" not in before.by_name


@pytest.mark.parametrize("switches", [(), ("--legacy",)], ids=["modern", "legacy"])
async def test_a_change_of_the_list_is_heard_over_stdio(switches: tuple[str, ...]) -> None:
    async with ready(stdio_entry(*switches)) as up:
        await up.call("journal", "notifications/initialized" if switches else "subscriptions/listen")
        await up.call("change", "brand-new")
        await up.until(lambda connection: "brand-new" in connection.listing.by_name)


@BOTH
async def test_restarts_are_survived(legacy: bool) -> None:
    async with hosted(Behaviour(legacy=legacy)) as host, ready({"url": host.url}) as up:
        for turn in range(3):
            await host.restart()
            assert await up.text("echo", str(turn)) == str(turn)
        assert host.upstream.journal.entries.count("call echo") == 1


async def test_a_server_that_is_down_is_stale_and_comes_back_by_itself() -> None:
    async with hosted() as host, ready({"url": host.url}) as up:
        await host.stop()
        with pytest.raises(UpstreamError) as caught:
            await up.call("echo")
        assert caught.value.ran in ("no", "unknown")
        connection = await up.until(lambda connection: connection.state == "stale")
        assert "Connection refused" in (connection.reason or "")
        assert connection.listing.tools, "the last good listing still stands"
        await host.start()
        await up.until(lambda connection: connection.state == "ready")
        assert await up.text("echo", "back") == "back"


async def test_a_killed_process_over_http_is_noticed_and_its_successor_found() -> None:
    async with served_process("http") as (url, process), ready({"url": url}) as up:
        process.kill()
        await process.wait()
        with pytest.raises(UpstreamError):
            await up.call("echo")
        port = url.split(":")[2].split("/")[0]
        async with served_process("http", port=int(port)):
            up.connection._keeper.hurry()
            await up.until(lambda connection: connection.state == "ready")
            assert await up.text("echo", "x") == "x"


async def test_a_server_that_never_was_there_is_an_error_with_its_reason() -> None:
    async with watched({"url": "http://127.0.0.1:1/mcp"}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert connection.reason == "cannot be reached: Connection refused"
        with pytest.raises(UpstreamUnavailable) as caught:
            await up.call("echo")
        assert caught.value.ran == "no"


async def test_after_failed_attempts_calls_are_refused_without_waiting() -> None:
    async with watched({"url": "http://127.0.0.1:1/mcp"}) as up:
        while not up.connection._keeper._backoff.open:
            with pytest.raises(UpstreamUnavailable):
                await up.call("echo")
        with pytest.raises(UpstreamUnavailable, match="tried again in"):
            await up.call("echo")


async def test_a_call_that_hangs_times_out_and_is_cancelled_upstream() -> None:
    for legacy in (False, True):
        async with hosted(Behaviour(legacy=legacy)) as host, ready({"url": host.url}, timeout=0.2) as up:
            with pytest.raises(UpstreamTimeout) as caught:
                await up.call("hang")
            assert caught.value.ran == "unknown"
            async with asyncio.timeout(PATIENCE):
                await host.upstream.journal.wait("cancelled hang")
            assert await up.text("echo", "fine") == "fine"


@BOTH
async def test_a_cancelled_call_is_cancelled_upstream(legacy: bool) -> None:
    async with hosted(Behaviour(legacy=legacy)) as host, ready({"url": host.url}) as up:
        call = asyncio.create_task(up.call("hang"))
        await host.upstream.journal.wait("call hang")
        call.cancel()
        async with asyncio.timeout(PATIENCE):
            await host.upstream.journal.wait("cancelled hang")


@pytest.mark.parametrize("switches", [(), ("--legacy",)], ids=["modern", "legacy"])
async def test_a_cancelled_call_is_cancelled_over_stdio(switches: tuple[str, ...]) -> None:
    async with ready(stdio_entry(*switches)) as up:
        call = asyncio.create_task(up.call("hang"))
        await up.call("journal", "call hang")
        call.cancel()
        async with asyncio.timeout(PATIENCE):
            await up.call("journal", "cancelled hang")


async def test_a_server_that_answers_nothing_any_more_is_given_up_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("portal.upstream.keeper._PING_SECONDS", 0.2)
    silent = asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async with raw_upstream(hang) as raw, ready({"url": raw.url, "type": "http"}, timeout=0.1) as up:
        raw.overrides["server/discover"] = hang
        silent.set()
        for _ in range(3):
            with pytest.raises(UpstreamTimeout):
                await up.call("echo")
        connection = await up.until(lambda connection: connection.state == "stale")
        assert "does not answer" in (connection.reason or "")
        raw.overrides.clear()
        await up.until(lambda connection: connection.state == "ready")


async def test_a_slow_tool_on_a_server_that_lives_does_not_make_it_stale() -> None:
    async with hosted() as host, ready({"url": host.url}, timeout=0.1) as up:
        for _ in range(4):
            with pytest.raises(UpstreamTimeout):
                await up.call("hang")
        await host.upstream.journal.wait("server/discover", times=2)
        assert up.connection.state == "ready"
        assert await up.text("echo", "fine") == "fine"


async def test_progress_keeps_a_slow_call_alive_until_the_maximum() -> None:
    async def talk(exchange: Exchange) -> None:
        token = exchange.message["params"]["_meta"]["progressToken"]
        await exchange.stream()
        while True:
            params = {"progressToken": token, "progress": 1}
            await exchange.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
            await asyncio.sleep(0.01)

    heard = 0

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        nonlocal heard
        heard += 1

    async with raw_upstream(talk) as raw, ready({"url": raw.url}, timeout=0.3, maxTimeout=0.9) as up:
        with pytest.raises(UpstreamTimeout, match=r"within 0\.9 s"):
            await up.call("echo", context=CallContext(on_progress=on_progress))
    assert heard > 30


ENTRIES = pytest.mark.parametrize("kind", ["http-modern", "http-legacy", "stdio-modern", "stdio-legacy", "sse"])


async def with_entry(kind: str, use: Any) -> None:
    """Run `use(entry)` against a server of this kind."""
    transport, _, generation = kind.partition("-")
    if transport == "stdio":
        await use(stdio_entry(*(["--legacy"] if generation == "legacy" else [])))
        return
    async with hosted(Behaviour(legacy=generation == "legacy"), transport=transport) as host:
        await use({"url": host.url})


@ENTRIES
async def test_progress_reaches_the_call_before_its_result(kind: str) -> None:
    heard: list[object] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async def use(entry: Mapping[str, Any]) -> None:
        async with ready(entry) as up:
            assert await up.text("progress", context=CallContext(on_progress=on_progress)) == "done"
            assert heard == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]
            assert await up.text("progress") == "done"

    await with_entry(kind, use)


@ENTRIES
async def test_log_messages_reach_the_call_they_belong_to(kind: str) -> None:
    heard: list[object] = []

    async def on_log(params: Mapping[str, Any]) -> None:
        heard.append(params["data"])

    async def use(entry: Mapping[str, Any]) -> None:
        async with ready(entry) as up:
            meta = {"io.modelcontextprotocol/logLevel": "debug"}
            assert await up.text("log", "this", context=CallContext(on_log=on_log, meta=meta)) == "logged"
            assert heard == [{"said": "this"}]

    await with_entry(kind, use)


@ENTRIES
async def test_questions_reach_the_call_they_belong_to(kind: str) -> None:
    client = DownstreamClient(key="c", capabilities={"elicitation": {"form": {}}})
    introduction = Introduction(info={"name": "c", "version": "1"}, capabilities=client.capabilities)
    asked: list[object] = []

    async def on_request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append((method, params["message"]))
        return {"action": "decline"}

    async def use(entry: Mapping[str, Any]) -> None:
        async with ready(entry, options={"introduction": introduction}) as up:
            context = CallContext(client=client, on_request=on_request)
            expected = "decline asked" if up.connection.protocol == "2026-07-28" else "decline legacy"
            assert await up.text("ask", "your name?", context=context) == expected
            assert asked == [("elicitation/create", "your name?")]

    await with_entry(kind, use)


async def test_a_question_nobody_can_answer_is_refused_and_not_left_hanging() -> None:
    introduction = Introduction(info={"name": "c", "version": "1"}, capabilities={"elicitation": {"form": {}}})
    async with (
        hosted(Behaviour(legacy=True)) as host,
        ready({"url": host.url}, options={"introduction": introduction}) as up,
    ):
        assert await up.text("ask", "anybody?") == "refused -32601"
    async with hosted() as host, ready({"url": host.url}, options={"introduction": introduction}) as up:
        with pytest.raises(UpstreamError, match="nobody to answer"):
            await up.call("ask", "anybody?")


async def test_on_a_pipe_a_question_is_refused_when_two_calls_could_be_meant() -> None:
    introduction = Introduction(info={"name": "c", "version": "1"}, capabilities={"elicitation": {"form": {}}})

    async def on_request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        raise AssertionError("the wrong person was asked")

    async with ready(stdio_entry("--legacy"), options={"introduction": introduction}) as up:
        context = CallContext(on_request=on_request)
        other = asyncio.create_task(up.call("hang", context=context))
        await up.call("journal", "call hang")
        assert await up.text("ask", "who?", context=context) == "refused -32601"
        other.cancel()


async def test_a_refusal_of_the_client_goes_back_to_the_server() -> None:
    introduction = Introduction(info={"name": "c", "version": "1"}, capabilities={"elicitation": {"form": {}}})

    async def on_request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RpcError(-1, "the client said no")

    async with (
        hosted(Behaviour(legacy=True)) as host,
        ready({"url": host.url}, options={"introduction": introduction}) as up,
    ):
        assert await up.text("ask", "ok?", context=CallContext(on_request=on_request)) == "refused -1"


async def test_input_required_is_passed_on_to_a_modern_client_as_it_is() -> None:
    client = DownstreamClient(key="", capabilities={"elicitation": {"form": {}}})
    async with hosted() as host, ready({"url": host.url}) as up:
        result = await up.call("ask", "?", context=CallContext(client=client, protocol="2026-07-28"))
        assert result["resultType"] == "input_required"
        assert result["requestState"] == "asked"


async def test_calls_on_one_connection_run_at_the_same_time() -> None:
    for legacy in (False, True):
        async with hosted(Behaviour(legacy=legacy)) as host, ready({"url": host.url}) as up:
            waiting = [asyncio.create_task(up.call("hang")) for _ in range(20)]
            await host.upstream.journal.wait("call hang", times=20)
            assert await up.text("echo", "between") == "between"
            host.upstream.release.set()
            await asyncio.gather(*waiting)


async def test_a_flood_of_notifications_ends_the_link_and_not_the_portal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.upstream.connection._MAX_NOTIFICATIONS", 200)
    async with ready(stdio_entry("--legacy")) as up:
        with pytest.raises(UpstreamError, match="sent more than 200 notifications in a second"):
            await up.call("flood", "1000000")
        assert len(up.notifications) <= 400
        await up.until(lambda connection: connection.state == "ready")
        assert await up.text("echo", "fine") == "fine"


async def test_lists_that_hang_leave_the_server_waiting_alone_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.upstream.connection._LIST_SECONDS", 0.2)
    behaviour = Behaviour(hang_on_list=True)
    async with hosted(behaviour) as host, watched({"url": host.url}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert "lists cannot be read" in (connection.reason or "")
        behaviour.hang_on_list = False
        await up.until(lambda connection: connection.state == "ready")
        behaviour.hang_on_list = True
        await up.connection.refresh()
        assert up.connection.state == "stale"
        assert up.connection.listing.tools
        assert await up.text("echo", "still works") == "still works"


async def test_a_server_that_says_nothing_of_its_changes_is_listed_again_from_time_to_time() -> None:
    behaviour = Behaviour()
    async with hosted(behaviour) as host, watched({"url": host.url}, resync=0.05) as up:
        await up.until(lambda connection: connection.state == "ready")
        behaviour.more.append({"name": "later", "inputSchema": {"type": "object"}})
        await up.until(lambda connection: any(tool["name"] == "later" for tool in connection.listing.tools))


async def test_hostile_tools_are_left_out_and_named() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"properties": {"a": deep}}

    async def fine(exchange: Exchange) -> None:
        await exchange.text("fine")

    async with raw_upstream(fine) as raw:
        raw.tools += [
            {"name": "deep", "inputSchema": {"type": "object", **deep}},
            {"name": "big", "description": "x" * 300_000, "inputSchema": {"type": "object"}},
            {"name": "echo", "description": "a second echo", "inputSchema": {"type": "object"}},
            {"name": "", "inputSchema": {}},
            {"name": "n" * 300, "inputSchema": {}},
            {"name": "typed", "inputSchema": "string"},
            {"inputSchema": {}},
            "not even an object",
            None,
            {"name": "ref", "inputSchema": {"type": "object", "$ref": "http://169.254.169.254/"}},
        ]
        async with ready({"url": raw.url}) as up:
            assert list(up.connection.listing.by_name) == ["echo", "ref"]
            assert "description" not in up.connection.listing.by_name["echo"]
            assert len(up.connection.listing.skipped) == 9
            assert await up.text("echo") == "fine"


async def test_closing_fails_what_is_in_flight_and_can_be_done_twice() -> None:
    async with hosted() as host, ready({"url": host.url}) as up:
        call = asyncio.create_task(up.call("hang"))
        await host.upstream.journal.wait("call hang")
        await up.connection.aclose()
        with pytest.raises(UpstreamError):
            await call
        await up.connection.aclose()
        with pytest.raises(UpstreamUnavailable):
            await up.call("echo")


async def test_authorization_refused_at_the_door_is_the_reason_shown() -> None:
    async def never(exchange: Exchange) -> None:
        raise AssertionError("not reached")

    async def demand(exchange: Exchange) -> None:
        await exchange.answer(b"", status=401)

    async with raw_upstream(never) as raw:
        raw.overrides["server/discover"] = demand
        async with watched({"url": raw.url}) as up:
            connection = await up.until(lambda connection: connection.state == "error")
            assert (connection.reason or "").startswith(
                "asks for authorization (HTTP 401); put its token into its `headers`"
            )
            assert not [one for one in raw.exchanges if one.message.get("method") == "initialize"]


@BOTH
async def test_a_watched_resource_is_heard_of_and_stays_watched_over_a_restart(legacy: bool) -> None:
    async with hosted(Behaviour(legacy=legacy)) as host, ready({"url": host.url}) as up:
        assert await up.connection.request("resources/subscribe", {"uri": "test://one"}) == {}
        assert await up.connection.request("resources/subscribe", {"uri": "test://two"}) == {}
        await host.upstream.touch("test://two")
        assert (await up.heard("notifications/resources/updated"))["uri"] == "test://two"
        up.notifications.clear()
        await host.restart()
        await up.text("echo", "so that the restart is noticed")
        await host.upstream.journal.wait(
            "resources/subscribe" if legacy else "subscriptions/listen", 2 if legacy else 1
        )
        await host.upstream.touch("test://one")
        assert (await up.heard("notifications/resources/updated"))["uri"] == "test://one"
        assert await up.connection.request("resources/unsubscribe", {"uri": "test://one"}) == {}
        assert await up.connection.request("resources/unsubscribe", {"uri": "test://one"}) == {}


@pytest.mark.parametrize("kind", ["http-legacy", "stdio-legacy"])
async def test_a_question_whose_asking_fails_is_answered_with_an_error(kind: str) -> None:
    introduction = Introduction(info={"name": "c", "version": "1"}, capabilities={"elicitation": {"form": {}}})
    problems: list[tuple[BaseException, int]] = [
        (RuntimeError("a bug"), -32603),
        (MCPError(-7, "no"), -7),
        (asyncio.CancelledError(), -32603),
    ]

    async def use(entry: Mapping[str, Any]) -> None:
        async with ready(entry, options={"introduction": introduction}) as up:
            for problem, code in problems:
                context = CallContext(on_request=failing(problem))
                assert await up.text("ask", "?", context=context) == f"refused {code}"

    await with_entry(kind, use)


def failing(problem: BaseException) -> Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]:
    async def on_request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        raise problem

    return on_request


async def test_an_answer_to_a_question_of_a_call_that_is_over_harms_nobody() -> None:
    introduction = Introduction(info={"name": "c", "version": "1"}, capabilities={"elicitation": {"form": {}}})
    asked, answer = asyncio.Event(), asyncio.Event()

    async def on_request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.set()
        await answer.wait()
        return {"action": "decline"}

    async with (
        hosted(Behaviour(legacy=True)) as host,
        ready({"url": host.url}, options={"introduction": introduction}) as up,
    ):
        call = asyncio.create_task(up.call("ask", "?", context=CallContext(on_request=on_request)))
        await asked.wait()
        call.cancel()
        await host.upstream.journal.wait("cancelled ask")
        answer.set()
        assert await up.text("echo", "fine") == "fine"


@BOTH
async def test_nothing_is_left_behind_by_calls_that_fail_or_are_cancelled(legacy: bool) -> None:
    async def misuse(up: Watched, host: Hosted, turn: int) -> None:
        calls = len([entry for entry in host.upstream.journal.entries if entry == "call hang"])
        cancelled = asyncio.create_task(up.call("hang"))
        await host.upstream.journal.wait("call hang", calls + 1)
        cancelled.cancel()
        with pytest.raises(RpcError):
            await up.call("nothing")
        assert await up.text("echo", str(turn)) == str(turn)
        await host.upstream.journal.wait("cancelled hang", calls + 1)

    async with hosted(Behaviour(legacy=legacy)) as host, ready({"url": host.url}) as up:
        counts: list[tuple[int, int]] = []
        for turn in range(25):
            await misuse(up, host, turn)
            if turn >= 3:
                counts.append((len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())))
        files, tasks = zip(*counts, strict=True)
        assert max(files) - min(files) <= 8, files
        assert max(tasks) - min(tasks) <= 12, tasks


async def test_who_asks_for_the_lists_while_they_are_read_waits_for_the_next_reading() -> None:
    reading, going_on = asyncio.Event(), asyncio.Event()

    async def unused(exchange: Exchange) -> None:
        await exchange.error(-32601, "Method not found")

    async with raw_upstream(unused) as upstream, ready({"url": upstream.url}) as up:

        async def held_up(exchange: Exchange) -> None:
            tools = list(upstream.tools)
            reading.set()
            await going_on.wait()
            await exchange.result({"tools": tools})

        upstream.overrides["tools/list"] = held_up
        earlier = asyncio.create_task(up.connection.refresh())
        await reading.wait()
        upstream.tools = [*upstream.tools, {"name": "later", "inputSchema": {"type": "object"}}]
        asked = asyncio.create_task(up.connection.refresh())
        await asyncio.sleep(0)
        going_on.set()
        await asked
        assert "later" in up.connection.listing.by_name
        await earlier


def test_a_server_that_announces_changes_that_there_are_not_is_asked_less_and_less_often() -> None:
    pauses = [settling_seconds(vain) for vain in range(100)]
    assert pauses[0] == 0.1 and pauses == sorted(pauses) and pauses[-1] == pauses[10] == 30


async def test_a_reading_that_somebody_asks_for_does_not_wait_for_a_server_that_always_announces_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("portal.upstream.connection.settling_seconds", lambda vain: 10 * PATIENCE)
    listed = 0

    async def announce(exchange: Exchange) -> None:
        nonlocal listed
        listed += 1
        await exchange.stream()
        await exchange.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await exchange.event({"jsonrpc": "2.0", "id": exchange.id, "result": {"tools": []}})
        exchange.close()

    async def never(exchange: Exchange) -> None:
        raise AssertionError("not reached")

    async with raw_upstream(never) as raw:
        raw.overrides["tools/list"] = announce
        async with ready({"url": raw.url}) as up:
            for _ in range(3):
                await up.connection.refresh()
            assert listed == 4


@pytest.mark.parametrize("legacy", [False, True], ids=["modern", "legacy"])
async def test_what_nobody_watches_any_more_takes_no_room_though_the_server_was_away(legacy: bool) -> None:
    async with hosted(Behaviour(legacy=legacy)) as host, watched({"url": host.url}) as up:
        await up.connection.request("resources/subscribe", {"uri": "test://one"})
        assert up.connection.watched == {"test://one"}
        await host.stop()
        with suppress(UpstreamError):
            await up.connection.request("resources/unsubscribe", {"uri": "test://one"})
        assert not up.connection.watched
        await host.start()
