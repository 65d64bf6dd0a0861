"""The credential of a login: shown, replaced by one process at a time, and never lost without a reason."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from portal.config import HttpServer
from portal.credentials import GrantedCredential, save_login
from portal.credentials.grants import CREDENTIAL, OWN, CredentialDocument, SealedGrant, state_of
from portal.credentials.metadata import ServerMetadata
from portal.credentials.token_source import AFTER_NO_ANSWER, AFTER_REFUSAL
from portal.errors import AuthorizationRequired
from portal.state import CredentialKey, KeyRing, Store
from tests.patience import PATIENCE
from tests.portal.credentials.authority import Authority, Held, Protected, authority, protected
from tests.portal.credentials.times import Times
from tests.portal.state.databases import new_state
from tests.portal.state.troubles import locked
from tests.portal.upstreams.hosting import Hosted
from tests.portal.upstreams.watching import Watched, server_config, watched

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
HOUR = 3600


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Lost(Response):
    """An answer that breaks off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": False})


class Rotating:
    """Answers refreshes as an authorization server that rotates: each refresh token works once, and using one again
    takes back everything that came of the login.
    """

    def __init__(self, issuing: Authority) -> None:
        self.issuing = issuing
        self.valid = ""
        self.used: set[str] = set()
        self.revoked = False
        self.faults: list[Response | str] = []
        issuing.answer = self

    def login(self) -> tuple[str, str]:
        """The access and the refresh token of a new login."""
        access, self.valid = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.used, self.revoked = set(), False
        self.issuing.tokens[access] = ""
        return access, self.valid

    async def __call__(self, form: dict[str, str]) -> Response:
        fault = self.faults.pop(0) if self.faults else ""
        if isinstance(fault, Response):
            return fault
        refresh = form["refresh_token"]
        if refresh in self.used:
            self.revoked = True
            self.issuing.tokens.clear()
        if self.revoked or refresh != self.valid:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self.used.add(refresh)
        access, self.valid = self.login_again()
        if fault == "lost":
            return Lost()
        body = {"access_token": access, "token_type": "Bearer", "expires_in": HOUR, "refresh_token": self.valid}
        return JSONResponse(body)

    def login_again(self) -> tuple[str, str]:
        access, refresh = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.issuing.tokens[access] = ""
        return access, refresh


class Place:
    """A protected server, its authorization server, a store, and processes that share them."""

    def __init__(self, host: Hosted, guard: Protected, rotating: Rotating, url: str, keys: KeyRing) -> None:
        self.host, self.guard, self.rotating = host, guard, rotating
        self.times = Times(datetime(2026, 1, 1, tzinfo=UTC))
        self.state, self._keys = url, keys

    @property
    def issuing(self) -> Authority:
        return self.rotating.issuing

    def key(self) -> CredentialKey:
        return CredentialKey(OWN, "up", self.issuing.issuer, self.host.url, "client")

    def store(self) -> Store:
        return Store.open(self.state, self._keys, clock=self.times)

    async def log_in(self, store: Store, **changes: Any) -> None:
        access, refresh = self.rotating.login()
        now = self.times()
        document = CredentialDocument(
            state="ready", granted_at=now, issued_at=now, expires_at=now + timedelta(seconds=HOUR)
        )
        grant = SealedGrant(
            access=access,
            refresh=refresh,
            server=ServerMetadata(issuer=self.issuing.issuer, token_endpoint=f"{self.issuing.url}/token"),
        )
        await save_login(store, self.key(), document, grant.model_copy(update=changes))

    @asynccontextmanager
    async def process(self, store: Store, **oauth: Any) -> AsyncIterator[Watched]:
        """A connection of one process."""
        entry: dict[str, Any] = {"url": self.host.url, "type": "http", "oauth": oauth}
        config = server_config(entry)
        assert isinstance(config, HttpServer)
        credential = GrantedCredential(
            config, store, OWN, "log in", now=self.times, steady=self.times.steady, sleep=self.times.sleep
        )
        try:
            async with watched(entry, options={"credential": credential}) as up:
                await up.until(lambda connection: connection.state != "waiting")
                yield up
        finally:
            await credential.aclose()

    async def stored(self, store: Store) -> CredentialDocument:
        found = await store.credentials.get(CREDENTIAL, self.key())
        assert found is not None
        return found.document


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    keys = KeyRing.open(tmp_path / "state.key")
    async with authority() as issuing, protected(issuing) as (guard, host):
        yield Place(host, guard, Rotating(issuing), new_state(tmp_path), keys)


async def test_the_token_of_a_login_is_shown(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            assert await up.text("echo", "hello") == "hello"
        assert place.issuing.requests == [] and "" not in place.guard.shown


async def test_without_a_login_the_reason_says_how_to_log_in(place: Place) -> None:
    async with place.store() as store, place.process(store) as up:
        assert up.connection.state == "error"
        assert "asks for authorization (HTTP 401); log in; or put" in str(up.connection.reason)
        assert up.connection.status == 401


async def test_a_token_is_replaced_near_its_end_while_calls_go_on_and_after_it_while_they_wait(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            for passed in (0.81 * HOUR, HOUR, 10 * HOUR):
                first = place.guard.shown[-1]
                place.times.now += timedelta(seconds=passed)
                async with asyncio.timeout(PATIENCE):
                    while place.guard.shown[-1] == first:
                        assert await up.text("echo", "on") == "on"
        asked = place.issuing.requests[0]
        assert (asked["grant_type"], asked["resource"]) == ("refresh_token", place.host.url)
        assert asked["client_id"] == "client"
        assert len(place.issuing.requests) == 3


async def test_of_two_processes_one_replaces_the_token_and_both_show_the_new_one(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        await place.log_in(one)
        async with place.process(one) as first, place.process(other) as second:
            for _ in range(3):
                place.times.now += timedelta(hours=2)
                calls = [up.text("echo", "on") for up in (first, second) for _ in range(5)]
                assert await asyncio.gather(*calls) == ["on"] * 10
        assert len(place.issuing.requests) == 3 and not place.rotating.revoked


async def test_a_token_that_the_server_refuses_is_replaced_once(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            place.issuing.tokens.clear()
            assert await asyncio.gather(*(up.text("echo", "on") for _ in range(5))) == ["on"] * 5
            assert len(place.issuing.requests) == 1
            place.guard.refusing = True
            for _ in range(3):
                with pytest.raises(AuthorizationRequired, match="refuses the access token"):
                    await up.call("echo")
            assert len(place.issuing.requests) <= 2


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_while_the_authorization_server_is_down_the_login_is_kept(place: Place, status: int) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            place.times.now += timedelta(hours=1)
            for _ in range(4):
                place.rotating.faults = [Response(status_code=status)]
                with pytest.raises(AuthorizationRequired, match=f"status {status}"):
                    await up.call("echo")
                assert (await place.stored(store)).state == "unknown"
                place.times.now += timedelta(minutes=10)
            assert await up.text("echo", "up again") == "up again"
            assert (await place.stored(store)).state == "ready"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for the store are shorter."""
    monkeypatch.setattr("portal.state.database.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("portal.state.database.CARE_SECONDS", 0.05)
    monkeypatch.setattr("portal.state.database.MOST_CARE_SECONDS", 0.1)
    monkeypatch.setattr("portal.credentials.renewal.STORE_AGAIN_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_a_new_pair_that_cannot_be_stored_is_used_and_stored_when_it_can(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        held = Held(place.rotating)
        async with place.process(store) as up:
            place.issuing.answer = held
            place.times.now += timedelta(hours=1)
            waiting = asyncio.create_task(up.text("echo", "on"))
            async with asyncio.timeout(PATIENCE):
                await held.arrived.wait()
                with locked(place.state):
                    held.released.set()
                    assert await waiting == "on"
                    assert await up.text("echo", "again") == "again"
                    assert (await place.stored(store)).state == "refreshing"
                while (await place.stored(store)).state != "ready":
                    await asyncio.sleep(0.02)
            place.issuing.answer = place.rotating
        # Another process has nothing but what is stored.
        async with place.process(store) as up:
            place.times.now += timedelta(hours=2)
            assert await up.text("echo", "later") == "later"
        assert len(place.issuing.requests) == 2 and not place.rotating.revoked


@pytest.mark.usefixtures("impatient")
async def test_closing_waits_for_a_pair_that_cannot_be_stored_yet(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        held, stack = Held(place.rotating), AsyncExitStack()
        up = await stack.enter_async_context(place.process(store))
        place.issuing.answer = held
        place.times.now += timedelta(hours=1)
        waiting = asyncio.create_task(up.text("echo", "on"))
        async with asyncio.timeout(PATIENCE):
            await held.arrived.wait()
            with locked(place.state):
                held.released.set()
                assert await waiting == "on"
                closing = asyncio.create_task(stack.aclose())
                await asyncio.sleep(0)
            await closing
        assert (await place.stored(store)).state == "ready"


@pytest.mark.usefixtures("impatient")
async def test_while_the_store_takes_nothing_no_refresh_token_leaves_and_the_login_works_soon_after(
    place: Place,
) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            place.times.now += timedelta(hours=1)
            with locked(place.state):
                for _ in range(8):
                    with pytest.raises(AuthorizationRequired, match="database does not answer") as refused:
                        await up.call("echo")
                    assert "state.db" not in str(refused.value)
                    place.times.now += timedelta(seconds=1)
                assert place.issuing.requests == []
            async with asyncio.timeout(PATIENCE):
                while store.health != "ok":
                    await asyncio.sleep(0.02)
            place.times.now += timedelta(seconds=1)
            assert await up.text("echo", "on") == "on"


async def test_an_answer_that_is_lost_is_asked_for_once_more_and_then_a_login_is_needed(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            place.times.now += timedelta(hours=1)
            # The request arrives and rotates the token; the answer does not arrive, and a second use takes all back.
            place.rotating.faults = ["lost"]
            with pytest.raises(AuthorizationRequired, match=r"invalid_grant\. Log in\."):
                await up.call("echo")
            document = await place.stored(store)
            assert document.state == "needs_reauth" and "invalid_grant" in document.reason
            assert len(place.issuing.requests) == 2
            with pytest.raises(AuthorizationRequired, match="invalid_grant"):
                await up.call("echo")
            assert len(place.issuing.requests) == 2


async def test_an_authorization_server_that_takes_all_back_is_never_asked_twice(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store, rotating="strict") as up:
            place.times.now += timedelta(hours=1)
            place.rotating.faults = ["lost"]
            with pytest.raises(AuthorizationRequired, match=r"may have been used\. Log in\."):
                await up.call("echo")
        assert len(place.issuing.requests) == 1 and not place.rotating.revoked
        assert (await place.stored(store)).state == "needs_reauth"


async def test_a_new_login_is_taken_up_where_the_former_one_had_ended(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store, refresh="")
        async with place.process(store) as up:
            credential = up.connection._credential
            assert isinstance(credential, GrantedCredential)
            place.times.now += timedelta(hours=1)
            with pytest.raises(AuthorizationRequired, match="there is no refresh token. Log in"):
                await up.call("echo")
            assert (await place.stored(store)).state == "needs_reauth"
            await place.log_in(store)
            assert await credential.reload()
            assert await up.text("echo", "new") == "new"
            assert not await credential.reload()


async def test_a_server_that_wants_more_does_not_cost_the_outcome_of_a_refresh(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        held = Held(place.rotating)
        async with place.process(store) as up:
            place.issuing.answer = held
            place.times.now += timedelta(seconds=0.9 * HOUR)
            assert await up.text("echo", "on") == "on"
            async with asyncio.timeout(PATIENCE):
                await held.arrived.wait()
                place.guard.needed = "more"
                with pytest.raises(AuthorizationRequired, match="wants more permissions"):
                    await up.call("echo")
                place.guard.needed = ""
                held.released.set()
                while (await place.stored(store)).issued_at != place.times.now:
                    await asyncio.sleep(0)
            place.issuing.answer = place.rotating
            place.times.now += timedelta(hours=2)
            assert await up.text("echo", "later") == "later"
        assert not place.rotating.revoked


async def test_the_outcome_of_a_refresh_is_not_stored_over_another_login(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        held = Held(place.rotating)
        async with place.process(store) as up:
            place.issuing.answer = held
            place.times.now += timedelta(seconds=0.9 * HOUR)
            assert await up.text("echo", "on") == "on"
            async with asyncio.timeout(PATIENCE):
                await held.arrived.wait()
            await store.credentials.delete(CREDENTIAL, place.key())
            await place.log_in(store)
            secret = await store.credentials.secret(CREDENTIAL, place.key())
            place.issuing.answer = place.rotating
            held.released.set()
        assert await store.credentials.secret(CREDENTIAL, place.key()) == secret


async def test_a_gateway_s_error_costs_a_strict_login_and_no_other(place: Place) -> None:
    async with place.store() as store:
        for rotating, state in (("tolerant", "unknown"), ("strict", "needs_reauth")):
            await place.log_in(store)
            async with place.process(store, rotating=rotating) as up:
                place.times.now += timedelta(hours=1)
                place.rotating.faults = [Response(status_code=502)]
                with pytest.raises(AuthorizationRequired, match="502"):
                    await up.call("echo")
            assert (await place.stored(store)).state == state


@pytest.mark.parametrize("code", ["temporarily_unavailable", "server_error", "slow_down"])
async def test_an_error_that_passes_costs_no_login(place: Place, code: str) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            place.times.now += timedelta(hours=1)
            place.rotating.faults = [JSONResponse({"error": code}, 400)]
            with pytest.raises(AuthorizationRequired, match=code):
                await up.call("echo")
            place.times.now += timedelta(seconds=AFTER_NO_ANSWER)
            assert await up.text("echo", "again") == "again"


async def test_a_login_is_used_again_when_what_was_configured_wrongly_is_mended(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            place.times.now += timedelta(hours=1)
            place.rotating.faults = [JSONResponse({"error": "invalid_client"}, 401)]
            with pytest.raises(AuthorizationRequired, match="invalid_client"):
                await up.call("echo")
            assert (await place.stored(store)).state == "misconfigured"
            place.times.now += timedelta(seconds=AFTER_REFUSAL)
            assert await up.text("echo", "mended") == "mended"
        assert (await place.stored(store)).state == "ready"


async def test_a_refresh_that_is_under_way_ends_before_its_process_does(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        held = Held(place.rotating)
        async with place.process(store) as up:
            place.issuing.answer = held
            place.times.now += timedelta(seconds=0.9 * HOUR)
            assert await up.text("echo", "on") == "on"
            async with asyncio.timeout(PATIENCE):
                await held.arrived.wait()
            asyncio.get_running_loop().call_soon(held.released.set)
        document = await place.stored(store)
        assert document.state == "ready" and document.issued_at == place.times.now
        place.issuing.answer = place.rotating
        async with place.process(store) as up:
            assert await up.text("echo", "next") == "next"


async def test_a_login_that_was_ended_is_shown_no_longer(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            credential = up.connection._credential
            assert isinstance(credential, GrantedCredential)
            await store.credentials.delete(CREDENTIAL, place.key())
            assert await credential.reload()
            shown = len(place.guard.shown)
            with pytest.raises(AuthorizationRequired, match="asks for authorization"):
                await up.call("echo")
            assert set(place.guard.shown[shown:]) == {""}


async def test_a_token_is_not_shown_to_a_server_at_another_place(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        (stored,) = await store.credentials.list(CREDENTIAL)
        secret = await store.credentials.secret(CREDENTIAL, stored.key)
        assert secret is not None
        await store.credentials.delete(CREDENTIAL, stored.key)
        elsewhere = replace(stored.key, resource="https://files.example.com/mcp")
        await store.credentials.put(CREDENTIAL, elsewhere, stored.document, secret)
        async with place.process(store) as up:
            assert up.connection.state == "error"
        assert set(place.guard.shown) == {""}


async def test_more_permissions_are_noted_for_the_next_login(place: Place) -> None:
    async with place.store() as store:
        await place.log_in(store)
        async with place.process(store) as up:
            place.guard.needed = "files:write"
            with pytest.raises(
                AuthorizationRequired, match=r"wants more permissions than the login has \(files:write\)"
            ):
                await up.call("echo")
        assert (await place.stored(store)).wanted_scope == "files:write"


# What holds if a process ends between two steps of a refresh


class Killed(BaseException):
    """The process ends here."""


class DyingStore(Store):
    """A store whose process ends before or after one of its writes."""

    dies = ""

    def arm(self, when: str) -> None:
        self.dies = when
        self.credentials.lease = self._dying(self.credentials.lease, "lease")  # type: ignore[method-assign]
        self.credentials.settle = self._dying(self.credentials.settle, "settle")  # type: ignore[method-assign]

    def _dying(self, write: Any, name: str) -> Any:
        async def written(*args: Any, **more: Any) -> Any:
            if self.dies == f"before {name}":
                raise Killed
            found = await write(*args, **more)
            if self.dies == f"after {name}":
                raise Killed
            return found

        return written


@pytest.mark.parametrize("when", ["before lease", "after lease", "before settle", "after settle"])
@pytest.mark.parametrize("rotating", ["tolerant", "strict"])
async def test_a_process_that_ends_anywhere_in_a_refresh_loses_no_login_without_a_reason(
    place: Place, when: str, rotating: str, tmp_path: Path
) -> None:
    keys = KeyRing.open(tmp_path / "state.key")
    async with place.store() as store:
        await place.log_in(store)
        dying = DyingStore.open(new_state(tmp_path), keys, clock=place.times)
        async with dying, place.process(dying, rotating=rotating) as up:
            credential = up.connection._credential
            assert isinstance(credential, GrantedCredential)
            dying.arm(when)
            place.times.now += timedelta(hours=1)
            with pytest.raises(Killed):
                await credential._renewal.replaced()
        sent = len(place.issuing.requests)
        assert sent == (when in ("before settle", "after settle"))
        stored = await store.credentials.get(CREDENTIAL, place.key())
        if when in ("after lease", "before settle"):
            assert state_of(stored, place.times()) == "refreshing"
            assert state_of(stored, place.times() + timedelta(seconds=20)) == "unknown"
        async with place.process(store, rotating=rotating) as up:
            document = await place.stored(store)
            if when == "before settle" or (when == "after lease" and rotating == "strict"):
                # Nobody can know whether the refresh token was used. The reason says so, or the refusal.
                assert up.connection.state == "error"
                assert document.state == "needs_reauth"
                assert "nobody knows" in document.reason or "invalid_grant" in document.reason
                assert rotating == "tolerant" or not place.rotating.revoked
            else:
                assert up.connection.state == "ready", up.connection.reason
                assert await up.text("echo", "on") == "on" and document.state == "ready"
