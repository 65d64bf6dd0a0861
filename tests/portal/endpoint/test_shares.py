"""A person who takes all that they can get, and their neighbour, at one portal: what is left for the neighbour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from portal.config import parse_config
from portal.endpoint.session_room import SessionRoom
from portal.errors import NO_ROOM
from portal.http import HttpSettings
from portal.servers import Servers
from portal.shares import Shares
from portal.turns import Room
from portal.upstream import ROOM, DownstreamClient
from portal.upstream.transports.http_client import _CONNECTIONS
from tests.patience import PATIENCE
from tests.portal.endpoint.people import client_with, token_of
from tests.portal.login.guarded import EMAIL, Guarded, guarded_portal
from tests.portal.portals import MODERN
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

BOB = "bob@example.com"
HEAD = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
OPENING: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Person:
    """What a person's agent sends, as it is on the wire."""

    def __init__(self, url: str, http: httpx2.AsyncClient, end: AsyncExitStack) -> None:
        self.url = url
        self.http = http
        self._end = end

    async def open(self) -> httpx2.Response:
        return await self.http.post(self.url, json=OPENING, headers=HEAD)

    async def session(self) -> dict[str, str]:
        """The headers of a new session."""
        answer = await self.open()
        assert answer.status_code == 200, answer.text
        session = {**HEAD, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        assert (await self.http.post(self.url, json=INITIALIZED, headers=session)).status_code == 202
        return session

    async def alive(self, session: dict[str, str]) -> bool:
        return (await self.http.post(self.url, json=PING, headers=session)).status_code == 200

    async def begun(self, method: str, headers: dict[str, str], message: dict[str, Any] | None = None) -> Any:
        """An answer whose head has come, which goes on."""
        return await self._end.enter_async_context(self.http.stream(method, self.url, headers=headers, json=message))

    async def modern(self, method: str, **params: Any) -> httpx2.Response:
        headers, message = modern(method, **params)
        return await self.http.post(self.url, json=message, headers=headers)

    async def call(self, name: str, text: str = "", **more: Any) -> Any:
        """The message that answers a call of a tool."""
        answer = await self.modern("tools/call", name=name, arguments={"text": text}, **more)
        return answer.json()


def modern(method: str, capabilities: Any = None, **params: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and the message of a request of 2026-07-28."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities or {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    }
    headers = {
        **HEAD,
        "mcp-protocol-version": MODERN,
        "mcp-method": method,
        **({"mcp-name": params["name"]} if "name" in params else {}),
    }
    return headers, {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}


def refused(answer: httpx2.Response, status: int) -> bool:
    """Whether an answer says in every place that there is no room, and when to come back."""
    assert answer.status_code == status, answer.text
    assert int(answer.headers["retry-after"]) > 0
    error = answer.json()["error"]
    assert error["data"]["reason"] == ("share" if status == 429 else "full")
    return "Nothing ran." in error["message"]


@asynccontextmanager
async def two_people(
    folder: Path, host: Hosted | dict[str, str], *, signs_in: bool = False, **http: Any
) -> AsyncIterator[tuple[Person, Person]]:
    servers = {"fix": host.url} if isinstance(host, Hosted) else host
    async with AsyncExitStack() as stack:
        portal = await stack.enter_async_context(guarded_portal(folder, servers=servers, http=HttpSettings(**http)))
        people = []
        for email in (EMAIL, BOB):
            client = await stack.enter_async_context(client_with())
            client.headers.update(await credential_of(portal, email, signs_in))
            people.append(Person(portal.mcp, client, stack))
        yield people[0], people[1]


async def credential_of(portal: Guarded, email: str, signs_in: bool) -> dict[str, str]:
    """The headers of a person who has allowed an agent, or, which is quicker, of a service token."""
    if signs_in:
        return {"authorization": f"Bearer {await token_of(portal, email)}"}
    made = await portal.identity.shared.service_tokens.create(email, by="test")
    return {"CF-Access-Client-Id": made.stored.document.client_id, "CF-Access-Client-Secret": made.client_secret}


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted() as host:
        yield host
        host.upstream.release.set()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():
        pass


async def test_one_who_opens_sessions_without_end_ends_their_own_and_nobody_else_s(
    tmp_path: Path, upstream: Hosted
) -> None:
    async with two_people(tmp_path, upstream, signs_in=True, sessions=8, sessions_each=3) as (ada, bob):
        his = await bob.session()
        hers = [await ada.session() for _ in range(10)]
        assert await bob.alive(his)
        assert [await ada.alive(session) for session in hers[-4:]] == [False, True, True, True]
        gone = await ada.http.post(ada.url, json=PING, headers=hers[0])
        assert gone.status_code == 404, "the status that has a client begin another session"
        assert await bob.alive(await bob.session())


async def test_agents_that_only_ever_initialize_take_no_more_room_than_others(tmp_path: Path, upstream: Hosted) -> None:
    async with two_people(tmp_path, upstream, sessions=4, sessions_each=3) as (ada, bob):
        assert [(await ada.open()).status_code for _ in range(12)] == [200] * 12
        assert await bob.alive(await bob.session())


async def test_a_session_in_use_never_ends_for_another_one(tmp_path: Path, upstream: Hosted) -> None:
    async with two_people(tmp_path, upstream, sessions=8, sessions_each=3) as (ada, bob):
        hers = [await ada.session() for _ in range(3)]
        streams = [await ada.begun("GET", {**session, "accept": "text/event-stream"}) for session in hers]
        assert [stream.status_code for stream in streams] == [200] * 3
        assert refused(await ada.open(), 429)
        assert await bob.alive(await bob.session())
        await streams[1].aclose()

        async def opens() -> bool:
            return (await ada.open()).status_code == 200

        await until(opens)
        assert [await ada.alive(session) for session in hers] == [True, False, True]


async def test_the_session_that_was_used_longest_ago_is_the_one_that_ends(tmp_path: Path, upstream: Hosted) -> None:
    async with two_people(tmp_path, upstream, sessions=8, sessions_each=3) as (ada, _):
        first, second, third = [await ada.session() for _ in range(3)]
        assert await ada.alive(first)
        # `tools/list` takes the short way, past the SDK.
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
        assert (await ada.http.post(ada.url, json=listing, headers=second)).status_code == 200
        await ada.session()
        assert [await ada.alive(session) for session in (first, second, third)] == [True, True, False]


async def test_where_all_sessions_are_taken_whoever_has_the_most_gives_way(tmp_path: Path, upstream: Hosted) -> None:
    async with two_people(tmp_path, upstream, sessions=4, sessions_each=3) as (ada, bob):
        hers, his = [await ada.session() for _ in range(3)], [await bob.session()]
        his.append(await bob.session())
        assert [await ada.alive(session) for session in hers] == [False, True, True]
        # Now they have two each, and nobody gives way to somebody who has as much: his own ends.
        his.append(await bob.session())
        assert [await ada.alive(session) for session in hers] == [False, True, True]
        assert [await bob.alive(session) for session in his] == [False, True, True]
        for person, session in [(ada, hers[1]), (ada, hers[2]), (bob, his[1]), (bob, his[2])]:
            await person.begun("GET", {**session, "accept": "text/event-stream"})
        assert refused(await bob.open(), 503)


async def test_what_begins_no_session_takes_no_room_and_a_session_that_ends_gives_it_back(
    tmp_path: Path, upstream: Hosted
) -> None:
    async with two_people(tmp_path, upstream, sessions=8, sessions_each=2) as (ada, _):
        hers = [await ada.session() for _ in range(2)]
        for session in hers:
            await ada.begun("GET", {**session, "accept": "text/event-stream"})
        assert refused(await ada.open(), 429)
        assert (await ada.http.delete(ada.url, headers=hers[0])).status_code == 200
        for _ in range(5):
            assert (await ada.http.post(ada.url, json=PING, headers=HEAD)).status_code == 400
        assert await ada.alive(await ada.session())


async def test_past_their_part_of_the_requests_under_way_one_is_refused_and_the_other_is_not(
    tmp_path: Path, upstream: Hosted
) -> None:
    async with two_people(tmp_path, upstream, requests_each=3) as (ada, bob):
        async with asyncio.TaskGroup() as tasks:
            hanging = [tasks.create_task(ada.call("fix_hang")) for _ in range(3)]
            await upstream.upstream.journal.wait("call hang", 3)
            assert refused(await ada.modern("tools/list"), 429)
            assert (await bob.call("fix_echo", "here"))["result"]["content"][0]["text"] == "here"
            upstream.upstream.release.set()
        assert all("result" in task.result() for task in hanging)
        assert (await ada.modern("tools/list")).status_code == 200


async def test_whoever_has_all_streams_they_may_have_is_refused_until_one_ends_and_their_neighbour_is_not(
    tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.changes.MAX_STREAMS_FOR_EACH", 2)
    async with two_people(tmp_path, upstream) as (ada, bob):
        headers, message = modern("subscriptions/listen", notifications={"toolsListChanged": True})
        # At the same moment: none may slip in between the look and the count.
        asked = await asyncio.gather(*(ada.begun("POST", headers, message) for _ in range(5)))
        hers = [answer for answer in asked if answer.status_code == 200]
        assert sorted(answer.status_code for answer in asked) == [200, 200, 429, 429, 429]
        assert refused(await ada.http.post(ada.url, json=message, headers=headers), 429)
        unnamed = {key: value for key, value in headers.items() if key != "mcp-method"}
        assert (await ada.http.post(ada.url, json=message, headers=unnamed)).status_code == 400
        in_session = await ada.http.post(ada.url, json=message, headers=await ada.session())
        assert "Method not found" in in_session.text
        assert (await bob.begun("POST", headers, message)).status_code == 200
        # In these versions the id of a session means nothing, and lets nobody past the count.
        named = {**headers, "mcp-session-id": "any"}
        assert refused(await ada.http.post(ada.url, json=message, headers=named), 429)
        await hers[0].aclose()

        async def listens() -> bool:
            return bool((await ada.begun("POST", headers, message)).status_code == 200)

        await until(listens)


async def test_the_stream_of_a_client_that_left_is_given_back_though_it_had_sent_another_request_behind(
    tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.changes.MAX_STREAMS_FOR_EACH", 1)
    async with two_people(tmp_path, upstream) as (ada, _):
        headers, message = modern("subscriptions/listen", notifications={"toolsListChanged": True})
        asked = ada.http.build_request("POST", ada.url, json=message, headers=headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
        reader, writer = await asyncio.open_connection(asked.url.host, asked.url.port)
        writer.write((f"POST {asked.url.path} HTTP/1.1\r\n{head}\r\n".encode() + asked.read()) * 2)
        assert b" 200 " in await reader.readline()
        writer.transport.abort()

        async def listens() -> bool:
            return bool((await ada.begun("POST", headers, message)).status_code == 200)

        async with asyncio.timeout(PATIENCE):
            await until(listens)


async def test_a_session_that_cannot_be_ended_for_another_takes_no_room_of_it() -> None:
    shares = Shares(2, 1)

    async def end(id: str) -> None:
        raise RuntimeError

    async def send(message: Any) -> None:
        return None

    room = SessionRoom(shares, end)
    async with room.opening("ada", send) as answer:
        await answer({"type": "http.response.start", "status": 200, "headers": [(b"mcp-session-id", b"one")]})
    with pytest.raises(RuntimeError):
        async with room.opening("ada", send):
            pass
    assert not len(shares)


def watching(id: int, kind: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": f"resources/{kind}", "params": {"uri": "test://one"}}


@asynccontextmanager
async def slow_to_watch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Any, ...]]:
    """Two people, of whom each may watch one resource, the requests to watch that their server has had, and what has it
    refuse the first of these, which it does not answer before."""
    monkeypatch.setattr("portal.endpoint.resources.MAX_WATCHED_FOR_EACH", 1)
    begun: list[str] = []
    asked, refuse = asyncio.Event(), asyncio.Event()

    async def subscribe(ctx: Any, params: types.SubscribeRequestParams) -> types.EmptyResult:
        begun.append(str(params.uri))
        if len(begun) == 1:
            asked.set()
            await refuse.wait()
            raise MCPError(types.INVALID_PARAMS, "not this one")
        return types.EmptyResult()

    async with hosted(Behaviour(legacy=True)) as host, two_people(folder, host) as (ada, bob):
        host.upstream.server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, subscribe)
        hers = await ada.session()
        first = asyncio.create_task(ada.http.post(ada.url, json=watching(1, "subscribe"), headers=hers))
        await asked.wait()
        yield ada, hers, bob, first, begun, refuse


async def test_a_resource_that_is_given_up_before_its_server_has_refused_is_given_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with slow_to_watch(tmp_path, monkeypatch) as (ada, hers, _, first, _, refuse):
        given_up = await ada.http.post(ada.url, json=watching(2, "unsubscribe"), headers=hers)
        again = await ada.http.post(ada.url, json=watching(3, "subscribe"), headers=hers)
        assert '"result"' in given_up.text and '"result"' in again.text
        refuse.set()
        assert "not this one" in (await first).text
        # The second one counts, and is known: a session elsewhere has no room until it has ended.
        other = await ada.session()
        assert f'"code":{NO_ROOM}' in (await ada.http.post(ada.url, json=watching(4, "subscribe"), headers=other)).text
        await ada.http.post(ada.url, json=watching(5, "unsubscribe"), headers=hers)
        assert '"result"' in (await ada.http.post(ada.url, json=watching(6, "subscribe"), headers=other)).text


async def test_whoever_came_to_watch_what_the_first_one_was_refused_is_watched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with slow_to_watch(tmp_path, monkeypatch) as (_, _, bob, first, begun, refuse):
        his = await bob.http.post(bob.url, json=watching(1, "subscribe"), headers=await bob.session())
        assert '"result"' in his.text
        refuse.set()
        assert "not this one" in (await first).text

        async def asked_again() -> bool:
            await asyncio.sleep(0)
            return len(begun) == 2

        async with asyncio.timeout(PATIENCE):
            await until(asked_again)


async def test_one_person_s_watched_resources_leave_room_for_those_of_others(
    tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.resources.MAX_WATCHED_FOR_EACH", 2)
    async with two_people(tmp_path, upstream) as (ada, bob):

        async def watches(person: Person, session: dict[str, str], uri: str, method: str = "subscribe") -> str:
            message = {"jsonrpc": "2.0", "id": 5, "method": f"resources/{method}", "params": {"uri": uri}}
            return (await person.http.post(person.url, json=message, headers=session)).text

        hers, his = [await ada.session() for _ in range(2)], await bob.session()
        assert '"result"' in await watches(ada, hers[0], "test://one")
        assert '"result"' in await watches(ada, hers[1], "test://two")
        full = await watches(ada, hers[1], "test://three")
        assert f'"code":{NO_ROOM}' in full and '"reason":"share"' in full and '"retryAfter"' in full
        assert '"result"' in await watches(bob, his, "test://three")
        assert '"result"' in await watches(ada, hers[0], "test://one", "unsubscribe")
        assert '"result"' in await watches(ada, hers[1], "test://three")


ASKABLE: dict[str, Any] = {"elicitation": {"form": {}}}


async def test_one_person_s_unanswered_questions_leave_room_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.questions.MAX_PARKED_FOR_EACH", 2)
    async with hosted(Behaviour(legacy=True)) as host, two_people(tmp_path, host) as (ada, bob):
        for _ in range(2):
            assert (await ada.call("fix_ask", "?", capabilities=ASKABLE))["result"]["resultType"] == "input_required"
        error = (await ada.call("fix_ask", "?", capabilities=ASKABLE))["error"]
        assert error["code"] == NO_ROOM and error["data"]["reason"] == "share" and error["data"]["retryAfter"] > 0
        assert "may have had effects" in error["message"]
        assert (await bob.call("fix_ask", "?", capabilities=ASKABLE))["result"]["resultType"] == "input_required"


async def test_the_bytes_of_one_person_s_questions_leave_room_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.questions.MAX_OPEN_BYTES_FOR_EACH", 5_000)
    async with hosted(Behaviour(legacy=True)) as host, two_people(tmp_path, host) as (ada, bob):
        asked = (await ada.call("fix_ask", "?" * 4_000, capabilities=ASKABLE))["result"]
        assert asked["resultType"] == "input_required"
        # The server is told, and what it says then is the result.
        told = (await ada.call("fix_ask", "?" * 4_000, capabilities=ASKABLE))["result"]
        assert told["content"][0]["text"] == f"refused {NO_ROOM}"
        asked_him = (await bob.call("fix_ask", "?" * 4_000, capabilities=ASKABLE))["result"]
        assert asked_him["resultType"] == "input_required"
        again = {"requestState": asked["requestState"], "inputResponses": {"answer-1": {"action": "accept"}}}
        assert "result" in await ada.call("fix_ask", "?" * 4_000, capabilities=ASKABLE, **again)
        assert (await ada.call("fix_ask", "?" * 4_000, capabilities=ASKABLE))["result"][
            "resultType"
        ] == "input_required"


async def test_the_slow_calls_of_one_person_keep_nobody_from_the_server(
    tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROOM, "http", Room(most=12, each=8, kept=4, few=2))
    async with two_people(tmp_path, upstream) as (ada, bob), asyncio.TaskGroup() as tasks:
        slow = [tasks.create_task(ada.call("fix_hang")) for _ in range(20)]
        await upstream.upstream.journal.wait("call hang", 8)
        assert (await bob.call("fix_echo", "here"))["result"]["content"][0]["text"] == "here"
        assert upstream.upstream.journal.entries.count("call hang") == 8
        upstream.upstream.release.set()
        for task in slow:
            assert (await task)["result"]["content"][0]["text"] == "released"


def test_no_call_waits_for_a_connection_nor_does_what_is_no_call() -> None:
    """A ping that waited behind slow calls would time out, and end the connection for everybody."""
    assert all(room.each <= room.most - room.kept and 2 * room.most < _CONNECTIONS for room in ROOM.values())


async def test_whoever_waits_at_a_server_with_others_is_served_in_turn(
    tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROOM, "http", Room(most=3, each=2, kept=0, few=0))
    async with two_people(tmp_path, upstream) as (ada, bob), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(bob.call("fix_hang"))
        await upstream.upstream.journal.wait("call hang", 1)
        slow = [tasks.create_task(ada.call("fix_hang")) for _ in range(12)]
        await upstream.upstream.journal.wait("call hang", 3)
        his = tasks.create_task(bob.call("fix_echo", "here"))
        upstream.upstream.release.set()
        done, _ = await asyncio.wait({his, *slow}, return_when=asyncio.FIRST_COMPLETED)
        await his
        assert sum(task.done() for task in slow) < 12, "all that she had waiting went before"
        await first


async def test_the_slow_calls_of_one_server_keep_nobody_from_another(
    tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROOM, "http", Room(most=3, each=2, kept=1, few=1))
    async with hosted() as other:
        servers = {"slow": upstream.url, "quick": other.url}
        async with two_people(tmp_path, servers) as (ada, _), asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(ada.call("slow_hang"))
            await upstream.upstream.journal.wait("call hang", 2)
            assert (await ada.call("quick_echo", "here"))["result"]["content"][0]["text"] == "here"
            upstream.upstream.release.set()


async def test_a_call_that_gets_no_turn_says_so_and_when_to_come_back(
    tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROOM, "http", Room(most=4, each=2, kept=1, few=1, waiting=0))
    async with two_people(tmp_path, upstream) as (ada, bob), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(ada.call("fix_hang"))
        await upstream.upstream.journal.wait("call hang", 2)
        error = (await ada.call("fix_echo", "x"))["error"]
        assert (error["code"], error["data"]) == (NO_ROOM, {"reason": "share", "retryAfter": 15})
        assert "2 calls of yours" in error["message"] and "did not run" in error["message"]
        assert "'fix'" in error["message"]
        assert "result" in await bob.call("fix_echo", "x")
        upstream.upstream.release.set()


async def test_a_call_that_is_given_up_while_it_waits_takes_no_turn(
    tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROOM, "http", Room(most=4, each=1, kept=0, few=0))
    async with two_people(tmp_path, upstream) as (ada, _), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(ada.call("fix_hang"))
        await upstream.upstream.journal.wait("call hang", 1)
        for _ in range(3):
            with pytest.raises(httpx2.ReadTimeout):
                headers, message = modern("tools/call", name="fix_echo", arguments={"text": "never"})
                await ada.http.post(ada.url, json=message, headers=headers, timeout=0.2)
        upstream.upstream.release.set()
        await first
        assert (await ada.call("fix_echo", "last"))["result"]["content"][0]["text"] == "last"
    assert upstream.upstream.journal.entries.count("call echo") == 1


async def test_of_the_connections_for_single_clients_one_person_has_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.servers.connections.MAX_DEDICATED", {"http": (4, 2)})

    def asked_by(key: str) -> DownstreamClient:
        return DownstreamClient(key=key, capabilities={"roots": {}})

    async with hosted(Behaviour(legacy=True)) as host:
        config = parse_config({"mcpServers": {"up": {"url": host.url}}}, env={})
        async with Servers(config.servers) as servers:
            await servers.settled()
            with servers.lease() as lease:
                shared = lease.connection("up")
                hers = [lease.connection("up", asked_by(f"a{number}"), "", "ada") for number in range(4)]
                assert [one is shared for one in hers] == [False, False, True, True]
                assert lease.connection("up", asked_by("b"), "", "bob") is not shared
                await servers.release("a0")
                assert lease.connection("up", asked_by("a9"), "", "ada") is not shared


async def test_the_bytes_of_one_person_s_requests_leave_room_for_those_of_others(
    tmp_path: Path, upstream: Hosted
) -> None:
    async with two_people(tmp_path, upstream, request_bytes_each=100_000) as (ada, bob), asyncio.TaskGroup() as tasks:
        hanging = tasks.create_task(ada.call("fix_hang", "x" * 60_000))
        await upstream.upstream.journal.wait("call hang")
        assert refused(await ada.modern("tools/call", name="fix_echo", arguments={"text": "x" * 60_000}), 429)
        assert "result" in await ada.call("fix_echo", "small")
        assert "result" in await bob.call("fix_echo", "x" * 60_000)
        upstream.upstream.release.set()
        await hanging
        assert "result" in await ada.call("fix_echo", "x" * 60_000)


async def test_work_whose_client_has_left_counts_until_it_is_done(tmp_path: Path, upstream: Hosted) -> None:
    async with two_people(tmp_path, upstream, requests_each=2, sessions_each=2) as (ada, bob):
        session = await ada.session()
        for number in range(2):
            params = {"name": "fix_hang", "arguments": {"text": ""}}
            message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
            async with ada.http.stream("POST", ada.url, json=message, headers=session):
                await upstream.upstream.journal.wait("call hang", number + 1)
        message = {"jsonrpc": "2.0", "id": 7, "method": "prompts/list", "params": {}}

        async def told() -> bool:
            # Until the connections are seen to be closed it is the answer of HTTP.
            answer = await ada.http.post(ada.url, json=message, headers=session)
            return f'"code":{NO_ROOM}' in answer.text and '"reason":"share"' in answer.text

        await until(told)
        # The session has a call under way, and does not end for others.
        for _ in range(4):
            await ada.session()
        assert await ada.alive(session)
        assert "result" in await bob.call("fix_echo", "here")
        upstream.upstream.release.set()

        async def listed() -> bool:
            return '"result"' in (await ada.http.post(ada.url, json=message, headers=session)).text

        await until(listed)


async def test_what_a_client_says_of_itself_as_it_begins_a_session_is_bounded(tmp_path: Path, upstream: Hosted) -> None:
    async with two_people(tmp_path, upstream) as (ada, _):
        capabilities = {"experimental": {"more": {"text": "x" * 70_000}}}
        opening = {**OPENING, "params": {**OPENING["params"], "capabilities": capabilities}}
        answer = await ada.http.post(ada.url, json=opening, headers=HEAD)
        assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (413, "body_size")
