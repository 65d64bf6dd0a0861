"""Persons at a server that wants a login: whose token a call shows, what each of them is offered, and what a login
changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from portal.config.config import ServerConfig, parse_config
from portal.credentials import OWN, ServerCredentials, log_out, stored_logins
from portal.credentials.outbound import Outbound
from portal.errors import AuthorizationRequired, LoginRequired, ServerUnknown, UpstreamUnavailable
from portal.identity import NOBODY, OnBehalf
from portal.servers import Servers, Snapshot
from portal.state import KeyRing, Store
from portal.upstream import DownstreamClient
from tests.patience import PATIENCE
from tests.portal.credentials.authority import Authority, Protected, authority, protected, saved_login
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
ADA, BOB = (OnBehalf(name, advice="log in at https://portal/servers") for name in ("ada", "bob"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Place:
    """A server behind an authorization server, and a store. `servers` are those of one process."""

    issuing: Authority
    guard: Protected
    host: Hosted
    url: str
    keys: KeyRing

    def store(self) -> Store:
        return Store.open(self.url, self.keys)

    @property
    def configs(self) -> dict[str, ServerConfig]:
        entries = {"files": {"url": self.host.url, "type": "http"}}
        return dict(parse_config({"mcpServers": entries}, env={}).servers)

    async def log_in(self, store: Store, subject: str, client: str = "client", refresh: str = "") -> str:
        """The access token of a new login."""
        return await saved_login(store, self.issuing, self.host, subject, "files", client, refresh)

    async def log_out(self, store: Store, subject: str) -> None:
        for stored in await stored_logins(store, subject=subject):
            async with Outbound(self.host.url) as outbound:
                await log_out(store, stored, outbound, None)

    @asynccontextmanager
    async def servers(self, store: Store) -> AsyncIterator[Servers]:
        async with (
            ServerCredentials(store) as credentials,
            Servers(self.configs, credentials=credentials) as servers,
        ):
            await servers.settled()
            yield servers


@asynccontextmanager
async def place_over(folder: Path, behaviour: Behaviour | None = None) -> AsyncIterator[Place]:
    keys = KeyRing.open(folder / "state.key")
    async with authority() as issuing, protected(issuing, behaviour=behaviour) as (guard, host):
        yield Place(issuing, guard, host, new_state(folder), keys)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with place_over(tmp_path) as made:
        yield made


async def call(servers: Servers, on_behalf: OnBehalf, text: str = "hello", **options: Any) -> str:
    await servers.know(on_behalf)
    with servers.lease(on_behalf) as lease:
        connection = lease.connection("files", **options)
        params = {"name": "echo", "arguments": {"text": text}}
        try:
            result = await connection.request("tools/call", params)
        except (AuthorizationRequired, UpstreamUnavailable) as error:
            raise lease.login_required(connection, error) or error from None
        block: Any = list(result["content"])[0]  # type: ignore[call-overload]
        return str(block["text"])


async def unavailable(form: dict[str, str]) -> Response:
    return Response(status_code=503)


def tools(snapshot: Snapshot) -> set[str]:
    return {str(tool["name"]) for tool in snapshot.servers["files"].tools}


async def until(servers: Servers, on_behalf: OnBehalf, so: Callable[[Snapshot], bool]) -> Snapshot:
    """What is offered to somebody, once it is so."""
    changed = asyncio.Event()
    ends = [servers.subscribe(lambda old, new: changed.set()), servers.on_person(lambda subject: changed.set())]
    try:
        async with asyncio.timeout(PATIENCE):
            while not so(servers.snapshot_for(on_behalf)):
                changed.clear()
                await changed.wait()
    finally:
        for end in ends:
            end()
    return servers.snapshot_for(on_behalf)


def shown_with(host: Hosted) -> str:
    """The token that came with the last call."""
    return host.upstream.seen_headers[-1]["authorization"].removeprefix("Bearer ")


async def touched(host: Hosted, heard: asyncio.Queue[tuple[str, str]]) -> tuple[str, str]:
    """What is heard first when something at the server changes, which it does until something is heard."""
    async with asyncio.timeout(PATIENCE):
        while heard.empty():
            await host.upstream.touch("test://one")
            await asyncio.sleep(0.05)
    return heard.get_nowait()


@pytest.mark.parametrize("legacy", [False, True])
async def test_each_call_shows_the_token_of_the_person_behind_it(tmp_path: Path, legacy: bool) -> None:
    async with place_over(tmp_path, Behaviour(legacy=legacy)) as place, place.store() as store:
        tokens = {ADA: await place.log_in(store, "ada"), BOB: await place.log_in(store, "bob")}
        async with place.servers(store) as servers:
            for person in (ADA, BOB, ADA, BOB):
                assert await call(servers, person) == "hello"
                assert shown_with(place.host) == tokens[person]
            client = DownstreamClient(key="s1", capabilities={"elicitation": {}})
            assert await call(servers, BOB, client=client) == "hello"
            assert shown_with(place.host) == tokens[BOB]


async def test_calls_of_two_persons_at_once_keep_their_tokens(place: Place) -> None:
    async with place.store() as store:
        people = [OnBehalf(f"person {number}") for number in range(20)]
        tokens = {person.subject: await place.log_in(store, person.subject) for person in people}
        async with place.servers(store) as servers:
            seen: dict[str, str] = {}

            async def noted(ctx: Any, call_next: Any) -> Any:
                if ctx.method == "tools/call":
                    token = ctx.request.headers["authorization"].removeprefix("Bearer ")
                    seen[ctx.params["arguments"]["text"]] = token
                return await call_next(ctx)

            place.host.upstream.server.middleware.append(noted)
            calls = [call(servers, person, f"{person.subject}/{turn}") for turn in range(5) for person in people]
            await asyncio.gather(*calls)
            assert len(seen) == 100
            assert all(tokens[text.partition("/")[0]] == token for text, token in seen.items())


async def test_without_a_login_a_call_says_so_and_never_uses_the_portals_own(place: Place) -> None:
    async with place.store() as store:
        own = await place.log_in(store, OWN)
        async with place.servers(store) as servers:
            await until(servers, NOBODY, lambda snapshot: snapshot.servers["files"].state == "ready")
            place.guard.shown.clear()
            with pytest.raises(LoginRequired) as caught:
                await call(servers, ADA)
            assert caught.value.message == "you have not logged in to it; log in at https://portal/servers"
            assert (caught.value.subject, caught.value.login, caught.value.ran) == ("ada", "", "no")
            assert place.guard.shown == []
            # Where the portal's login serves everybody, it serves her too.
            assert await call(servers, OnBehalf("ada", frozenset({"files"}))) == "hello"
            assert shown_with(place.host) == own


async def test_a_person_whose_login_had_ended_before_this_process_connected_is_asked_for_a_new_one(
    place: Place,
) -> None:
    async with place.store() as store:
        await place.log_in(store, "ada")
        place.issuing.tokens.clear()
        async with place.servers(store) as servers:
            await servers.know(ADA)
            snapshot = await until(servers, ADA, lambda found: found.servers["files"].state == "error")
            assert snapshot.servers["files"].wants_login
            missing = servers.missing_login("files", ADA)
            assert "The server refuses its token, and there is no refresh token" in missing.message
            assert "log in at https://portal/servers" in missing.message and missing.login
            await place.log_in(store, "ada")
            await until(servers, ADA, lambda found: found.servers["files"].state == "ready")
            assert await call(servers, ADA) == "hello"


async def test_a_person_whose_token_cannot_be_replaced_now_is_not_asked_to_log_in(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store, "ada", refresh="the refresh token")
        place.issuing.tokens.clear()
        place.issuing.answer = unavailable
        async with place.servers(store) as servers:
            await servers.know(ADA)
            snapshot = await until(servers, ADA, lambda found: found.servers["files"].state == "error")
            assert not snapshot.servers["files"].wants_login
            assert "status 503" in str(snapshot.servers["files"].reason)


async def test_a_person_at_an_open_server_shows_nothing_even_after_the_portal_has_logged_in(place: Place) -> None:
    async with hosted() as host, place.store() as store:
        place.host = host
        async with place.servers(store) as servers:
            assert await call(servers, ADA) == "hello"
            assert "authorization" not in host.upstream.seen_headers[-1]
            with servers.lease(ADA) as lease:
                connection = lease.connection("files")
                await place.log_in(store, OWN)
                async with asyncio.timeout(PATIENCE):
                    while not (own := servers._generations[-1].slots["files"].own.credential) or not own.present:
                        await asyncio.sleep(0.01)
                await connection.request("tools/call", {"name": "echo", "arguments": {"text": "x"}})
                assert "authorization" not in host.upstream.seen_headers[-1]


async def test_whoever_has_logged_in_sees_what_the_server_lists_for_them_and_nobody_else_does(tmp_path: Path) -> None:
    async with place_over(tmp_path) as place, place.store() as store:
        token = await place.log_in(store, "ada")
        place.host.behaviour.of_token[token] = "ada-only"
        async with place.servers(store) as servers:
            assert servers.snapshot.servers["files"].state == "error"
            await servers.know(ADA)
            snapshot = await until(servers, ADA, lambda snapshot: snapshot.servers["files"].state == "ready")
            assert {"echo", "ada-only"} <= tools(snapshot)
            await servers.know(BOB)
            assert servers.snapshot_for(BOB).unavailable() == {
                "files": "you have not logged in to it; log in at https://portal/servers"
            }
            assert tools(servers.snapshot_for(BOB)) == tools(servers.snapshot) == set()


async def test_lists_that_are_for_everybody_are_shown_to_everybody_and_private_ones_are_not(tmp_path: Path) -> None:
    for scope, seen in (("public", True), ("private", False)):
        async with place_over(tmp_path, Behaviour(cache_scope=scope)) as place, place.store() as store:  # type: ignore[arg-type]
            await place.log_in(store, OWN)
            async with place.servers(store) as servers:
                await until(servers, NOBODY, lambda snapshot: snapshot.servers["files"].state == "ready")
                await servers.know(ADA)
                assert ("echo" in tools(servers.snapshot_for(ADA))) is seen
                await place.log_in(store, "ada")
                assert await servers.logged_in(required("ada"), PATIENCE)
                snapshot = await until(servers, ADA, lambda snapshot: "echo" in tools(snapshot))
                assert (snapshot is servers.snapshot) is seen
            await place.log_out(store, "ada")
            await place.log_out(store, OWN)


def required(subject: str, login: str = "") -> LoginRequired:
    return LoginRequired("", advice="", server="files", subject=subject, login=login)


async def test_a_login_at_another_process_is_followed_and_so_is_a_logout(place: Place) -> None:
    async with place.store() as store, place.store() as elsewhere, place.servers(store) as servers:
        with pytest.raises(LoginRequired) as caught:
            await call(servers, ADA)
        heard = asyncio.Event()
        servers.on_person(lambda subject: heard.set())
        waiting = asyncio.create_task(servers.logged_in(caught.value, PATIENCE))
        await place.log_in(elsewhere, "ada")
        assert await waiting
        assert await call(servers, ADA) == "hello"
        assert heard.is_set()
        await place.log_out(elsewhere, "ada")
        await until(servers, ADA, lambda snapshot: not tools(snapshot))
        with pytest.raises(LoginRequired):
            await call(servers, ADA)


async def test_another_login_of_the_same_person_is_waited_for_after_one_that_does_not_do(place: Place) -> None:
    async with place.store() as store, place.servers(store) as servers:
        place.issuing.tokens.pop(await place.log_in(store, "ada"))
        with pytest.raises(LoginRequired) as caught:
            await call(servers, ADA)
        assert caught.value.login and caught.value.message.endswith("; log in at https://portal/servers")
        assert "there is no refresh token" in caught.value.reason
        assert not await servers.logged_in(caught.value, 0)
        await place.log_in(store, "ada")
        assert await servers.logged_in(caught.value, PATIENCE)
        assert await call(servers, ADA) == "hello"


async def test_a_session_is_not_kept_over_a_login_as_somebody_else(tmp_path: Path) -> None:
    async with place_over(tmp_path, Behaviour(legacy=True)) as place, place.store() as store:
        await place.log_in(store, "ada")
        async with place.servers(store) as servers:
            await call(servers, ADA)
            session = place.host.upstream.seen_headers[-1]["mcp-session-id"]
            with pytest.raises(LoginRequired):
                await call(servers, BOB)
            token = await place.log_in(store, "ada", "another client")
            await until(servers, ADA, lambda snapshot: True)
            async with asyncio.timeout(PATIENCE):
                while await call(servers, ADA) == "hello" and shown_with(place.host) != token:
                    pass
            assert place.host.upstream.seen_headers[-1]["mcp-session-id"] != session


async def test_calls_under_way_end_before_their_connection_does(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store, "ada")
        async with place.servers(store) as servers:
            await servers.know(ADA)
            with servers.lease(ADA) as lease:
                hanging = asyncio.create_task(
                    lease.connection("files").request("tools/call", {"name": "hang", "arguments": {}})
                )
                await place.host.upstream.journal.wait("call hang")
                token = await place.log_in(store, "ada")
                async with asyncio.timeout(PATIENCE):
                    while await call(servers, ADA) == "hello" and shown_with(place.host) != token:
                        pass
                place.host.upstream.release.set()
                assert "released" in str((await hanging)["content"])


async def test_idle_connections_are_closed_and_made_again_with_the_lists_that_were_known(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.servers.servers.IDLE_SECONDS", 0.5)
    async with place.store() as store:
        await place.log_in(store, "ada")
        async with place.servers(store) as servers:
            await servers.know(ADA)
            await until(servers, ADA, lambda snapshot: "echo" in tools(snapshot))
            slot = servers._generations[-1].slots["files"]
            async with asyncio.timeout(PATIENCE):
                while slot._persons:
                    await asyncio.sleep(0.05)
            await servers.know(ADA)
            assert "echo" in tools(servers.snapshot_for(ADA))
            assert await call(servers, ADA) == "hello"


async def test_persons_who_are_offered_the_same_share_what_is_made_of_it(place: Place) -> None:
    async with place.store() as store:
        people = [OnBehalf(f"person {number}") for number in range(5)]
        for person in people:
            await place.log_in(store, person.subject)
        async with place.servers(store) as servers:
            for person in people:
                await servers.know(person)
                await until(servers, person, lambda snapshot: "echo" in tools(snapshot))
            # A snapshot that somebody got while the server's own state still changed is not the one of the others.
            await until(servers, people[0], lambda first: all(servers.snapshot_for(one) is first for one in people))
            without = [OnBehalf("nobody 1"), OnBehalf("nobody 2")]
            for person in without:
                await servers.know(person)
            assert servers.snapshot_for(without[0]) is servers.snapshot_for(without[1])


async def test_a_person_s_lists_are_waited_for_however_long_ago_somebody_else_came(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.store() as store, place.servers(store) as servers:
        for person in (ADA, BOB):
            await place.log_in(store, person.subject)
        await servers.know(ADA)
        with monkeypatch.context() as long_ago:
            long_ago.setattr("portal.servers.slot.time.time", lambda: 1.0)
            assert tools(servers.snapshot_for(ADA)) == set()
        await servers.know(BOB)
        assert "echo" in tools(await servers.arrived(["files"], PATIENCE, BOB))


async def test_what_a_server_tells_a_person_is_not_told_to_others(place: Place) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with place.store() as store:
        await place.log_in(store, "ada")
        async with place.servers(store) as servers:
            servers.on_notification(lambda server, subject, method, params: heard.put_nowait((subject, method)))
            await servers.know(ADA)
            await until(servers, ADA, lambda snapshot: "echo" in tools(snapshot))
            with servers.lease(ADA) as lease:
                await lease.connection("files").request("resources/subscribe", {"uri": "test://one"})
            assert await touched(place.host, heard) == ("ada", "notifications/resources/updated")


async def test_as_many_persons_as_there_is_room_for_are_connected(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.servers.slot.MAX_PERSONS", 1)
    async with place.store() as store:
        for subject in ("ada", "bob"):
            await place.log_in(store, subject)
        async with place.servers(store) as servers:
            assert await call(servers, ADA) == "hello"
            assert await call(servers, BOB) == "hello"
            await servers.know(ADA)
            with servers.lease(ADA) as lease:
                hanging = asyncio.create_task(
                    lease.connection("files").request("tools/call", {"name": "hang", "arguments": {}})
                )
                await place.host.upstream.journal.wait("call hang")
                with pytest.raises(UpstreamUnavailable, match="1 persons are calling it now"):
                    await call(servers, BOB)
                place.host.upstream.release.set()
                await hanging


async def test_a_person_for_whom_there_is_no_room_is_told_so_by_that_server_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.servers.slot.MAX_PERSONS", 1)
    async with place.store() as store:
        for subject in ("ada", "bob"):
            await place.log_in(store, subject)
        async with place.servers(store) as servers:
            await servers.know(ADA)
            with servers.lease(ADA) as lease:
                hanging = asyncio.create_task(
                    lease.connection("files").request("tools/call", {"name": "hang", "arguments": {}})
                )
                await place.host.upstream.journal.wait("call hang")
                await servers.know(BOB)
                assert servers.snapshot_for(BOB).servers["files"].state == "waiting"
                # Another login of his is followed too.
                await place.log_in(store, "bob", "another client")
                await place.log_in(store, "ada", "another client")
                assert await servers.logged_in(required("ada"), PATIENCE)
                place.host.upstream.release.set()
                await hanging


async def test_a_login_that_ended_is_shown_no_more_to_whoever_was_not_known_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.credentials.credentials.MAX_PERSONS", 1)
    async with place.store() as store:
        await place.log_in(store, "ada")
        async with place.servers(store) as servers:
            assert await call(servers, ADA) == "hello"
            await servers.know(BOB)
            await place.log_out(store, "ada")
            place.guard.shown.clear()
            with pytest.raises(LoginRequired):
                await call(servers, ADA)
            assert place.guard.shown == [] and tools(servers.snapshot_for(ADA)) == set()
            for client in ("another client", "a third client"):
                await servers.know(BOB)
                token = await place.log_in(store, "ada", client)
                assert await call(servers, ADA) == "hello"
                assert shown_with(place.host) == token


async def test_a_login_is_waited_for_however_many_others_come_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.credentials.credentials.MAX_PERSONS", 1)
    async with place.store() as store, place.servers(store) as servers:
        with pytest.raises(LoginRequired) as caught:
            await call(servers, ADA)
        waiting = asyncio.create_task(servers.logged_in(caught.value, PATIENCE))
        await asyncio.sleep(0)
        await servers.know(BOB)
        await place.log_in(store, "ada")
        assert await waiting


async def test_a_login_is_waited_for_no_longer_than_its_server_is_there(place: Place) -> None:
    async with place.store() as store, place.servers(store) as servers:
        with pytest.raises(LoginRequired) as caught:
            await call(servers, ADA)
        waiting = asyncio.create_task(servers.logged_in(caught.value, 2 * PATIENCE))
        await asyncio.sleep(0)
        await servers.apply({})
        async with asyncio.timeout(PATIENCE):
            assert not await waiting
        with pytest.raises(ServerUnknown, match="there is no server 'files'"):
            servers.missing_login("files", ADA)


async def test_a_call_that_fails_with_a_former_login_needs_no_login_beyond_the_one_that_came_meanwhile(
    place: Place,
) -> None:
    async with place.store() as store:
        await place.log_in(store, "ada")
        async with place.servers(store) as servers:
            await servers.know(ADA)
            with servers.lease(ADA) as lease:
                former = lease.connection("files")
                place.issuing.tokens.clear()
                with pytest.raises((AuthorizationRequired, UpstreamUnavailable)) as refused:
                    await former.request("tools/call", {"name": "echo", "arguments": {"text": "x"}})
                await place.log_in(store, "ada")
                async with asyncio.timeout(PATIENCE):
                    while lease.connection("files") is former:
                        await asyncio.sleep(0)
                required = lease.login_required(former, refused.value)
            assert required is not None and await servers.logged_in(required, 0)
            assert await call(servers, ADA) == "hello"


async def test_whoever_has_logged_in_since_a_server_showed_them_nothing_needs_no_other_login(place: Place) -> None:
    async with place.store() as store, place.servers(store) as servers:
        await servers.know(ADA)
        await until(servers, ADA, lambda found: found.servers["files"].wants_login)
        await place.log_in(store, "ada")
        await until(servers, ADA, lambda found: found.servers["files"].state == "ready")
        # What asks has a snapshot of the time before.
        assert await servers.logged_in(servers.missing_login("files", ADA), 0)


async def test_what_a_former_login_was_called_with_is_closed_with_its_server(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store, "ada")
        async with place.servers(store) as servers:
            await servers.know(ADA)
            with servers.lease(ADA) as lease:
                former = lease.connection("files")
                hanging = asyncio.create_task(former.request("tools/call", {"name": "hang", "arguments": {}}))
                await place.host.upstream.journal.wait("call hang")
                token = await place.log_in(store, "ada")
                async with asyncio.timeout(PATIENCE):
                    while await call(servers, ADA) == "hello" and shown_with(place.host) != token:
                        pass
                await servers.apply({})
                place.host.upstream.release.set()
                await hanging
            # The lease was the last: its server is closed, and all that was connected to it.
            async with asyncio.timeout(PATIENCE):
                while servers._closing:
                    await asyncio.sleep(0.01)
            with pytest.raises(UpstreamUnavailable):
                async with asyncio.timeout(PATIENCE):
                    await former.request("ping", {})


async def test_persons_share_what_a_server_offers_while_it_is_away_and_nothing_of_it_stays(tmp_path: Path) -> None:
    async with place_over(tmp_path, Behaviour(cache_scope="public")) as place, place.store() as store:
        people = [OnBehalf(f"person {number}") for number in range(5)]
        for subject in (OWN, *(person.subject for person in people)):
            await place.log_in(store, subject)
        async with place.servers(store) as servers:
            await until(servers, NOBODY, lambda snapshot: snapshot.servers["files"].state == "ready")
            for person in people:
                assert await call(servers, person) == "hello"
            slot = servers._generations[-1].slots["files"]
            for turn in range(20):
                for person in people:
                    slot._persons[person.subject].shared._set("stale", f"it is away ({turn})", 503)
                offered = [servers.snapshot_for(person) for person in people]
                assert len({id(snapshot) for snapshot in offered}) == 1
                assert offered[0].servers["files"].status == 503
            assert len(servers._of_content) == 1


async def test_what_a_person_watches_is_watched_with_the_next_login_too(place: Place) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with place.store() as store:
        await place.log_in(store, "ada")
        async with place.servers(store) as servers:
            servers.on_notification(lambda server, subject, method, params: heard.put_nowait((subject, method)))
            await servers.know(ADA)
            with servers.lease(ADA) as lease:
                former = lease.connection("files")
                await former.request("resources/subscribe", {"uri": "test://one"})
            await place.log_in(store, "ada", "another client")
            async with asyncio.timeout(PATIENCE):
                while servers._generations[-1].slots["files"]._persons["ada"].shared is former:
                    await asyncio.sleep(0.01)
            await former.aclose()
            while not heard.empty():
                heard.get_nowait()
            assert await touched(place.host, heard) == ("ada", "notifications/resources/updated")


async def test_a_connection_over_which_a_person_watches_something_is_not_idle(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.store() as store:
        for subject in ("ada", "bob"):
            await place.log_in(store, subject)
        async with place.servers(store) as servers:
            for person in (ADA, BOB):
                assert await call(servers, person) == "hello"
            with servers.lease(ADA) as lease:
                watched = lease.connection("files")
                await watched.request("resources/subscribe", {"uri": "test://one"})
            slot = servers._generations[-1].slots["files"]
            assert slot.idle(-1.0) == [] and set(slot._persons) == {"ada"}
            # Of two who do nothing else, the one who watches nothing gives way.
            assert await call(servers, BOB) == "hello"
            assert await call(servers, ADA) == "hello" and await call(servers, BOB) == "hello"
            monkeypatch.setattr("portal.servers.slot.MAX_PERSONS", 2)
            await place.log_in(store, "eve")
            assert await call(servers, OnBehalf("eve")) == "hello"
            assert set(slot._persons) == {"ada", "eve"}
            with servers.lease(ADA) as lease:
                await watched.request("resources/unsubscribe", {"uri": "test://one"})
            slot.idle(-1.0)
            assert slot._persons == {}


async def test_what_a_server_says_of_itself_to_one_person_is_not_shown_to_another(tmp_path: Path) -> None:
    async with (
        place_over(tmp_path, Behaviour(legacy=True)) as place,
        place.store() as store,
        place.servers(store) as servers,
    ):
        for person in (ADA, BOB):
            place.host.upstream.server.title = f"Files of {person.subject}"
            await place.log_in(store, person.subject)
            await servers.know(person)
            snapshot = await until(servers, person, lambda snapshot: "echo" in tools(snapshot))
            assert snapshot.servers["files"].offer.name == f"Files of {person.subject}"
