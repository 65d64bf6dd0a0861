"""Servers whose tokens come of a person's sign-in: real sockets, a real MCP server, two authorization servers."""

from __future__ import annotations

import asyncio
import sqlite3
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from starlette.responses import JSONResponse, Response
from structlog.testing import capture_logs

from portal.config import HttpServer
from portal.credentials import SIGN_IN, ServerCredentials, forget_sign_ins, keep_sign_in
from portal.credentials.by_sign_in import BySignIn, IdentityAssertion, TokenExchange
from portal.credentials.grants import CREDENTIAL
from portal.credentials.token_source import AFTER_REFUSAL
from portal.credentials.tokens import MAX_TOKEN
from portal.errors import AuthorizationRequired, UpstreamUnavailable
from portal.identity import OnBehalf
from portal.servers import Servers
from portal.state import KeyRing, SecretUnreadable, Store, plain
from tests.patience import PATIENCE
from tests.portal.credentials.authority import SECRET, Authority, Held, Protected, authority, entry, protected
from tests.portal.credentials.identity_provider import (
    CLIENT,
    CLIENT_SECRET,
    EXCHANGE,
    ID_JAG,
    IdentityProvider,
    Trusting,
    identity_provider,
)
from tests.portal.credentials.times import Times
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted
from tests.portal.upstreams.watching import Watched, server_config, watched

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
ASSERTION, TOKEN = "id_jag", "token_exchange"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Place:
    """A protected server, its authorization server, an identity provider that it trusts, and a store of the portal."""

    def __init__(
        self,
        host: Hosted,
        guard: Protected,
        trusting: Trusting[IdentityProvider],
        times: Times,
        url: str,
        keys: KeyRing,
    ) -> None:
        self.host, self.guard, self.trusting, self.times = host, guard, trusting, times
        self._url, self._keys = url, keys

    @property
    def issuing(self) -> Authority:
        return self.trusting.issuing

    @property
    def provider(self) -> IdentityProvider:
        return self.trusting.provider

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        async with Store.open(self._url, self._keys, clock=self.times) as store:
            yield store

    async def offer(self, store: Store, **config: Any) -> None:
        """Have the identity provider among those of the portal."""
        changed = {"client_id": CLIENT, "issuer": self.provider.url, "keep_tokens": True, **config}
        document = {"name": "Acme ID", "type": "oidc", "config": changed}
        await store.create(plain("identity_provider"), "idp", document, by="test", secret=CLIENT_SECRET.encode())

    async def sign_in(self, store: Store, sub: str = "ada", **changes: Any) -> None:
        await keep_sign_in(store, self.times, self.provider.signed_in(sub, **changes))

    def written(self, **oauth: Any) -> dict[str, Any]:
        return entry(self.host, self.issuing, **{"grant": ASSERTION, "identityProvider": "idp", **oauth})

    def credential(self, store: Store, sub: str = "ada", **oauth: Any) -> BySignIn:
        config = server_config(self.written(**oauth))
        assert isinstance(config, HttpServer) and config.oauth is not None
        made = IdentityAssertion if config.oauth.grant == ASSERTION else TokenExchange
        return made(
            config,
            config.oauth,
            store,
            f"idp:{sub}",
            clock=self.times.steady,
            now=self.times,
            sleep=self.times.sleep,
        )

    @asynccontextmanager
    async def person(self, store: Store, sub: str = "ada", **oauth: Any) -> AsyncIterator[Watched]:
        """A connection that shows the tokens of this person. It may be ready or not."""
        credential = self.credential(store, sub, **oauth)
        try:
            async with watched(self.written(**oauth), options={"credential": credential}) as up:
                await up.until(lambda connection: connection.state != "waiting")
                yield up
        finally:
            await credential.aclose()

    async def reason(self, store: Store, sub: str = "ada", **oauth: Any) -> str:
        """Why the connection of this person is not ready. No secret is in it, nor in a log."""
        with capture_logs() as logged:
            async with self.person(store, sub, **oauth) as up:
                assert up.connection.state == "error"
                reason = str(up.connection.reason)
        told = f"{reason} {logged} {up.connection}"
        shown = [form.get(name, "") for form in self.provider.requests + self.issuing.requests for name in _SECRET]
        for secret in filter(None, (*shown, *self.provider.refreshes, SECRET, CLIENT_SECRET)):
            assert all(part not in told for part in secret.split(".") if len(part) >= 16)
        return reason


_SECRET = ("subject_token", "assertion", "refresh_token", "client_secret")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    keys, times = KeyRing.open(tmp_path / "state.key"), Times()
    async with identity_provider(times) as provider, authority() as issuing, protected(issuing) as (guard, host):
        yield Place(host, guard, Trusting(issuing, provider), times, new_state(tmp_path), keys)


# The whole way


async def test_a_sign_in_at_the_portal_lets_a_person_into_a_server(place: Place) -> None:
    place.guard.needed = "files:read"
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        async with place.person(store) as up:
            assert up.connection.state == "ready", up.connection.reason
            assert await up.text("echo", "hello") == "hello"
        assert await store.credentials.list(CREDENTIAL) == []
    (asked,) = place.provider.requests
    assert (asked["grant_type"], asked["requested_token_type"]) == (EXCHANGE, ID_JAG)
    assert asked["subject_token_type"] == "urn:ietf:params:oauth:token-type:id_token"
    assert (asked["audience"], asked["resource"], asked["scope"]) == (
        place.issuing.issuer,
        place.host.url,
        "files:read",
    )
    assert b64decode(asked["authorization"].removeprefix("Basic ")).decode().startswith("the+portal:the+secret%3A+")
    (shown,) = place.issuing.requests
    assert shown["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert b64decode(shown["authorization"].removeprefix("Basic ")).decode().startswith("portal:")
    assert "subject_token" not in shown
    assert set(place.trusting.people.values()) == {"ada"}


@pytest.mark.parametrize("which", ["id_token", "access_token"])
async def test_an_authorization_server_exchanges_a_token_of_the_sign_in(place: Place, which: str) -> None:
    place.guard.needed = "files:read"
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        oauth: dict[str, Any] = {"grant": TOKEN, "subjectToken": which, "parameters": {"audience": "files"}}
        async with place.person(store, **oauth) as up:
            assert up.connection.state == "ready", up.connection.reason
            assert await up.text("echo", "hello") == "hello"
    assert place.provider.requests == []
    (asked,) = place.issuing.requests
    assert (asked["grant_type"], asked["audience"], asked["scope"]) == (EXCHANGE, "files", "files:read")
    assert (asked["resource"], asked["subject_token_type"]) == (
        place.host.url,
        f"urn:ietf:params:oauth:token-type:{which}",
    )
    assert set(place.trusting.people.values()) == {"ada"}


async def test_each_person_s_calls_show_that_person_s_token(place: Place) -> None:
    async with place.store() as store:
        await place.offer(store)
        for sub in ("ada", "eve"):
            await place.sign_in(store, sub)
        async with place.person(store, "ada") as ada, place.person(store, "eve") as eve:
            for up, sub in ((ada, "ada"), (eve, "eve"), (ada, "ada")):
                before = len(place.guard.shown)
                assert await up.text("echo", "on") == "on"
                assert {place.trusting.people[token] for token in place.guard.shown[before:]} == {sub}


async def test_each_person_is_offered_the_server_by_their_sign_in_and_told_where_it_is_missing(place: Place) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        configs = {"up": server_config(place.written())}
        ada, eve = (OnBehalf(f"idp:{sub}", advice="log in at the page") for sub in ("ada", "eve"))
        async with ServerCredentials(store) as credentials, Servers(configs, credentials=credentials) as servers:
            await servers.settled()
            for person in (ada, eve):
                await servers.know(person)
                await servers.arrived(["up"], on_behalf=person)
            assert "echo" in servers.snapshot_for(ada).servers["up"].listing.by_name
            reason = servers.snapshot_for(eve).unavailable()["up"]
            assert "Sign in to the portal" in reason and "log in at the page" not in reason
            call = "tools/call", {"name": "echo", "arguments": {"text": "x"}}
            with servers.lease(eve) as lease:
                connection = lease.connection("up")
                with pytest.raises(UpstreamUnavailable) as caught:
                    await connection.request(*call)
                assert lease.login_required(connection, caught.value) is None
            await place.sign_in(store, "eve")
            async with asyncio.timeout(PATIENCE):
                while servers.snapshot_for(eve).servers["up"].state != "ready":
                    await servers.know(eve)
                    await asyncio.sleep(0.05)
            before = len(place.guard.shown)
            with servers.lease(eve) as lease:
                await lease.connection("up").request(*call)
            assert {place.trusting.people[token] for token in place.guard.shown[before:]} == {"eve"}


@pytest.mark.parametrize("grant", [ASSERTION, TOKEN])
async def test_a_token_is_asked_for_again_near_its_end_and_when_it_is_refused(place: Place, grant: str) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        async with place.person(store, grant=grant) as up:
            first = place.guard.shown[-1]
            place.times.now += timedelta(seconds=801)
            async with asyncio.timeout(PATIENCE):
                while place.guard.shown[-1] == first:
                    assert await up.text("echo", "on") == "on"
            place.issuing.tokens.clear()
            assert await asyncio.gather(*(up.text("echo", "on") for _ in range(5))) == ["on"] * 5
    assert len(place.issuing.requests) == 3 and place.provider.renewals == 0
    if grant == ASSERTION:
        assert len({form["assertion"] for form in place.issuing.requests}) == 3


async def test_more_scope_is_asked_for_at_both_places_and_less_is_taken(place: Place) -> None:
    place.guard.needed = "read"
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        async with place.person(store) as up:
            place.guard.needed = "write"
            assert await up.text("echo", "on") == "on"
            assert [form["scope"] for form in place.provider.exchanges] == ["read", "read write"]
            place.provider.assertion = {"scope": "write"}
            place.issuing.tokens.clear()
            assert await up.text("echo", "on") == "on"
    assert [form["scope"] for form in place.issuing.requests] == ["read", "read write", "write"]


# Without a sign-in that serves


@pytest.mark.parametrize("grant", [ASSERTION, TOKEN])
async def test_without_a_kept_sign_in_the_reason_says_to_sign_in_again(place: Place, grant: str) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store, "eve")
        reason = await place.reason(store, "ada", grant=grant)
        assert "nothing is kept of a sign-in there. Sign in to the portal again, with Acme ID." in reason
    assert place.provider.requests == place.issuing.requests == []


async def test_a_sign_in_and_a_sign_out_are_taken_up_at_once(place: Place) -> None:
    async with place.store() as store:
        await place.offer(store)
        async with place.person(store) as up:
            credential = up.connection._credential
            assert isinstance(credential, BySignIn)
            assert up.connection.state == "error" and not await credential.reload()
            await place.sign_in(store)
            assert await credential.reload() and not await credential.reload()
            assert await up.text("echo", "on") == "on"
            await forget_sign_ins(store, "idp:eve")
            assert not await credential.reload()
            await forget_sign_ins(store, "idp:ada")
            assert await credential.reload()
            before = len(place.guard.shown)
            with pytest.raises(AuthorizationRequired, match="nothing is kept of a sign-in there"):
                await up.call("echo")
            assert len(place.guard.shown) == before


async def test_the_credentials_of_an_instance_follow_sign_ins(place: Place) -> None:
    async with place.store() as store, ServerCredentials(store) as credentials:
        await place.offer(store)
        heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        credentials.publish_to(lambda server, subject: heard.put_nowait((server, subject)))
        config = server_config(place.written())
        credential = credentials.of_person(config, "idp:ada")
        assert isinstance(credential, BySignIn) and credentials.of(config) is None
        assert credentials.of_person(server_config({"url": place.host.url}), "idp:ada") is None
        try:
            options = {"credential": credential}
            async with watched(place.written(), options=options) as up:
                await up.until(lambda connection: connection.state == "error")
                await place.sign_in(store)
                async with asyncio.timeout(PATIENCE):
                    assert await heard.get() == ("up", "idp:ada")
                assert await up.text("echo", "on") == "on"
        finally:
            await credential.aclose()


async def test_the_setting_of_the_provider_and_its_name_in_the_entry_are_checked(place: Place) -> None:
    async with place.store() as store:
        why = (
            "`identityProvider` in its `oauth` is idp, and the portal has no such identity provider for OpenID Connect"
        )
        assert why in await place.reason(store)
        await place.offer(store, keep_tokens=False)
        await place.sign_in(store)
        reason = await place.reason(store)
        assert "must write `keep_tokens: true` into the `config` of the identity provider idp" in reason
    assert place.provider.requests == place.issuing.requests == []


@pytest.mark.parametrize("config", [{"client_id": "another"}, {"issuer": "https://login.example.com"}])
async def test_a_sign_in_at_what_the_provider_was_before_is_none(place: Place, config: dict[str, Any]) -> None:
    async with place.store() as store:
        await place.offer(store, **config)
        await place.sign_in(store)
        assert "nothing is kept of a sign-in there" in await place.reason(store)
    assert place.provider.requests == []


async def test_a_token_of_the_sign_in_opens_only_in_its_own_row(place: Place, tmp_path: Path) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store, "ada")
        await place.sign_in(store, "eve")
        rows = {one.key.subject: one.key for one in await store.credentials.list(SIGN_IN)}
        secret = await store.credentials.secret(SIGN_IN, rows["idp:ada"])
        assert secret is not None
    file = tmp_path / "state.db"
    for part in ("eyJ", *place.provider.refreshes):
        assert part.encode() not in file.read_bytes()
    with sqlite3.connect(file) as database:
        (sealed,) = database.execute("select secret from credentials where subject = 'idp:ada'").fetchone()
        database.execute("update credentials set secret = ? where subject = 'idp:eve'", (sealed,))
    database.close()
    async with place.store() as store:
        with pytest.raises(SecretUnreadable):
            await store.credentials.secret(SIGN_IN, rows["idp:eve"])
        reason = await place.reason(store, "eve")
        assert "was changed or belongs elsewhere. Sign in to the portal again, with Acme ID." in reason
    assert place.provider.requests == []


# A sign-in whose tokens have ended


@pytest.mark.parametrize("grant", [ASSERTION, TOKEN])
async def test_an_id_token_that_has_ended_is_renewed_at_the_provider(place: Place, grant: str) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        async with place.person(store, grant=grant) as up:
            for hours in (1, 2):
                place.times.now += timedelta(hours=1)
                assert await up.text("echo", "on") == "on"
                assert place.provider.renewals == hours
    assert not place.provider.reused


async def test_a_living_id_token_is_not_renewed(place: Place) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.times.now += timedelta(minutes=55)
        async with place.person(store) as up:
            assert up.connection.state == "ready", up.connection.reason
    assert place.provider.renewals == 0


async def test_an_access_token_of_the_provider_is_renewed_after_its_own_lifetime(place: Place) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.provider.without_id_token = True
        async with place.person(store, grant=TOKEN, subjectToken="access_token") as up:
            place.times.now += timedelta(minutes=20)
            assert await up.text("echo", "on") == "on"
    assert place.provider.renewals == 1 and set(place.trusting.people.values()) == {"ada"}


async def test_a_refresh_that_brings_no_id_token_leaves_the_former_one_as_it_was(place: Place) -> None:
    by_access = {"grant": TOKEN, "subjectToken": "access_token"}
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.provider.without_id_token = True
        place.times.now += timedelta(minutes=20)
        async with place.person(store, **by_access) as up, place.person(store) as other:
            assert up.connection.state == other.connection.state == "ready", other.connection.reason
        assert place.provider.renewals == 1
        place.times.now += timedelta(minutes=40)
        assert "Acme ID gives no new ID token without a sign-in" in await place.reason(store)
        place.provider.without_id_token = False
        async with place.person(store) as up:
            assert up.connection.state == "ready", up.connection.reason
    assert place.provider.renewals == 3 and not place.provider.reused


async def test_of_many_credentials_in_two_processes_one_renews_the_sign_in(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        await place.offer(one)
        await place.sign_in(one)
        async with place.person(one) as first, place.person(one) as second, place.person(other) as third:
            for _ in range(3):
                place.times.now += timedelta(hours=2)
                calls = [up.text("echo", "on") for up in (first, second, third) for _ in range(3)]
                assert await asyncio.gather(*calls) == ["on"] * 9
    assert place.provider.renewals == 3 and not place.provider.reused


async def test_without_a_refresh_token_a_sign_in_that_has_ended_must_be_made_again(place: Place) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store, refresh=False)
        place.times.now += timedelta(hours=1)
        reason = await place.reason(store)
        assert (
            "Your ID token of Acme ID has ended, and there is no refresh token. Sign in to the portal again" in reason
        )
        await place.sign_in(store, refresh=False)
        async with place.person(store) as up:
            assert up.connection.state == "ready", up.connection.reason
    assert place.provider.renewals == 0


async def test_a_sign_in_that_ended_at_the_provider_must_be_made_again(place: Place) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.provider.refreshes.clear()
        place.times.now += timedelta(hours=1)
        reason = await place.reason(store)
        assert "refused a token with invalid_grant. Sign in to the portal again, with Acme ID." in reason
        asked = place.provider.renewals
        assert "invalid_grant. Sign in" in await place.reason(store)
    assert place.provider.renewals == asked == 1


async def test_a_provider_that_gives_no_new_id_token_wants_a_sign_in(place: Place) -> None:
    place.provider.without_id_token = True
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.times.now += timedelta(hours=1)
        assert "Acme ID gives no new ID token without a sign-in. Sign in to the portal" in await place.reason(store)
    assert place.provider.exchanges == []


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "eve"},
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"nonce": "another"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"sub": None},
    ],
    ids=str,
)
async def test_an_id_token_that_is_about_somebody_or_something_else_goes_nowhere(
    place: Place, claims: dict[str, Any]
) -> None:
    place.provider.claims = claims
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.times.now += timedelta(hours=1)
        reason = await place.reason(store)
        assert "Acme ID answered with an ID token that does not hold" in reason
        assert "An administrator must ask the operator of the identity provider." in reason
    assert place.provider.exchanges == place.issuing.requests == []


async def test_an_id_token_under_a_key_that_was_published_just_now_holds_and_under_another_does_not(
    place: Place,
) -> None:
    new = ECKey.generate_key("P-256", {"kid": "two"}, private=True)
    first = place.provider.key

    async def renew(form: dict[str, str]) -> Response:
        place.provider.key = new
        answer = await place.provider.usual(form)
        place.provider.published = [first, new] if published else [first]
        return answer

    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        for published in (True, False):
            place.provider.key, place.provider.published = first, [first]
            place.provider.answer = renew
            await place.sign_in(store)
            place.times.now += timedelta(hours=1)
            credential = place.credential(store)
            try:
                subject = credential._sign_in.token()
                if published:
                    assert (await subject).token.count(".") == 2
                else:
                    with pytest.raises(Exception, match="signed by a key that is not published"):
                        await subject
            finally:
                await credential.aclose()


async def test_a_token_that_the_provider_knows_no_more_is_renewed_once(place: Place) -> None:
    known = False

    async def forgetful(form: dict[str, str]) -> Response:
        if form["grant_type"] == EXCHANGE and (not known or place.provider.renewals == 0):
            return JSONResponse({"error": "invalid_request"}, 400)
        return await place.provider.usual(form)

    place.provider.answer = forgetful
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        async with place.person(store) as up:
            assert up.connection.state == "error" and len(place.provider.requests) == 3
            known = True
            place.times.now += timedelta(seconds=10 * AFTER_REFUSAL)
            assert await up.text("echo", "on") == "on"
    assert place.provider.renewals == 1


async def test_a_refresh_token_is_not_used_while_nobody_could_check_what_it_brings(place: Place) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.times.now += timedelta(hours=1)
        place.provider.down = "jwks"
        assert "Acme ID cannot be asked: The identity provider answered with status 503." in await place.reason(store)
        assert place.provider.renewals == 0
        place.provider.down = ""
        async with place.person(store) as up:
            assert up.connection.state == "ready", up.connection.reason
        assert place.provider.renewals == 1


async def test_a_server_that_refuses_a_living_id_token_costs_the_sign_in_of_no_other(place: Place) -> None:
    async def refuse(form: dict[str, str]) -> Response:
        return JSONResponse({"error": "invalid_grant"}, 400)

    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.provider.refreshes.clear()
        place.issuing.answer = refuse
        assert "Sign in to the portal again, with Acme ID." in await place.reason(store, grant=TOKEN)
        assert place.provider.renewals == 1
        place.issuing.answer = place.trusting
        async with place.person(store) as up:
            assert up.connection.state == "ready", up.connection.reason


@pytest.mark.parametrize("grant", [ASSERTION, TOKEN])
async def test_a_token_that_comes_after_its_person_has_signed_out_is_not_shown(place: Place, grant: str) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        async with place.person(store, grant=grant) as up:
            credential = up.connection._credential
            assert isinstance(credential, BySignIn)
            place.issuing.tokens.clear()
            place.issuing.answer = held = Held(place.trusting)
            call = asyncio.ensure_future(up.call("echo"))
            async with asyncio.timeout(PATIENCE):
                await held.arrived.wait()
                await forget_sign_ins(store, "idp:ada")
                assert await credential.reload()
                before = len(place.guard.shown)
                held.released.set()
                with pytest.raises(AuthorizationRequired, match="nothing is kept of a sign-in there"):
                    await call
            assert len(place.guard.shown) == before


# Whom an assertion goes to


async def test_a_server_that_names_another_authorization_server_gets_no_assertion_there(place: Place) -> None:
    async with authority() as attacker, place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.guard.resource_metadata = {"authorization_servers": [attacker.issuer]}
        for grant in (ASSERTION, TOKEN):
            reason = await place.reason(store, grant=grant)
            assert f"it wants tokens of {attacker.issuer}, and `issuer` in its `oauth` is" in reason
        assert attacker.requests == place.issuing.requests == place.provider.requests == []


async def test_a_server_that_turns_to_another_authorization_server_later_gets_no_assertion_there(place: Place) -> None:
    async with authority() as attacker, place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        async with place.person(store) as up:
            place.guard.resource_metadata = {"authorization_servers": [attacker.issuer]}
            place.issuing.tokens.clear()
            with pytest.raises(AuthorizationRequired, match="it wants tokens of"):
                await up.call("echo")
        assert attacker.requests == [] and len(place.provider.exchanges) == 1


async def test_an_assertion_is_not_for_a_resource_elsewhere(place: Place) -> None:
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.guard.resource_metadata = {"resource": "https://files.example.com/mcp"}
        assert "its metadata is about another resource" in await place.reason(store)
    assert place.provider.requests == []


# What is refused, and by whom


@pytest.mark.parametrize(
    "assertion",
    [
        {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"},
        {"issued_token_type": None},
        {"issued_token_type": ["x"]},
        {"access_token": "no JWT"},
        {"access_token": "a.b"},
        {"access_token": "a.b." + "c" * MAX_TOKEN},
        {"access_token": ""},
    ],
    ids=lambda assertion: str(assertion)[:60],
)
async def test_what_is_no_identity_assertion_goes_nowhere(place: Place, assertion: dict[str, Any]) -> None:
    place.provider.assertion = assertion
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        reason = await place.reason(store)
        assert "something else" in reason
    assert place.issuing.requests == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("access_denied", "Acme ID does not let you use it, and no sign-in changes that: ask its administrators."),
        ("invalid_grant", "Acme ID does not let you use it, and no sign-in changes that: ask its administrators."),
        ("login_required", "Sign in to the portal again, with Acme ID."),
        ("invalid_target", "An administrator must let the portal's client at Acme ID ask for identity assertions"),
        ("unauthorized_client", "An administrator must let the portal's client at Acme ID"),
        ("unsupported_grant_type", "An administrator must let the portal's client at Acme ID"),
        ("temporarily_unavailable", "refused a token with temporarily_unavailable"),
    ],
)
async def test_a_refusal_of_the_identity_provider_says_who_can_help(place: Place, code: str, words: str) -> None:
    async def refuse(form: dict[str, str]) -> Response:
        # The whole token, its payload alone, and the client's secret.
        said = f"not {form['subject_token']}, {form['subject_token'].split('.')[1]}, {CLIENT_SECRET}"
        return JSONResponse({"error": code, "error_description": said}, 400)

    place.provider.answer = refuse
    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store, refresh=False)
        reason = await place.reason(store)
        assert f"{place.provider.url} refused a token with {code}: not [redacted], [redacted], [redacted]." in reason
        assert words in reason
    assert place.issuing.requests == []


@pytest.mark.parametrize("grant", [ASSERTION, TOKEN])
@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "access_denied"])
async def test_a_refusal_of_the_server_s_authorization_server_says_who_can_help(
    place: Place, grant: str, code: str
) -> None:
    async def refuse(form: dict[str, str]) -> Response:
        said = form.get("assertion") or form["subject_token"]
        return JSONResponse({"error": code, "error_description": f"{said} {SECRET}"}, 400)

    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store, refresh=False)
        place.issuing.answer = refuse
        reason = await place.reason(store, grant=grant)
        assert f"{place.issuing.url} refused a token with {code}: [redacted] [redacted]." in reason
        if code == "access_denied":
            assert f"{place.issuing.url} does not let you use it, and no sign-in changes that" in reason
        else:
            assert "of Acme ID" in reason and "An administrator must check with its operator that" in reason


@pytest.mark.parametrize("more", [{"issued_token_type": ID_JAG}, {"token_type": "N_A"}], ids=str)
async def test_an_exchange_that_brings_no_access_token_is_refused(place: Place, more: dict[str, str]) -> None:
    async def answer(form: dict[str, str]) -> Response:
        body = {"access_token": "other-token", "token_type": "Bearer", "expires_in": 60}
        return JSONResponse({**body, "issued_token_type": form["requested_token_type"], **more})

    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        place.issuing.answer = answer
        reason = await place.reason(store, grant=TOKEN)
        assert "answered an exchange with something else than an access token" in reason
    assert set(place.guard.shown) == {""}


async def test_while_the_identity_provider_is_down_a_living_token_serves_and_the_sign_in_is_kept(place: Place) -> None:
    async def down(form: dict[str, str]) -> Response:
        return Response(status_code=503)

    async with place.store() as store:
        await place.offer(store)
        await place.sign_in(store)
        async with place.person(store) as up:
            place.provider.answer = down
            place.times.now += timedelta(seconds=900)
            assert await up.text("echo", "on") == "on"
            place.times.now += timedelta(hours=1)
            with pytest.raises(AuthorizationRequired, match="with status 503") as caught:
                await up.call("echo")
            assert caught.value.ran == "no"
            place.provider.answer = None
            place.times.now += timedelta(minutes=10)
            assert await up.text("echo", "up again") == "up again"


# What is kept


async def test_a_sign_in_replaces_the_former_one_and_without_tokens_deletes_it(place: Place) -> None:
    async with place.store() as store:
        await place.sign_in(store, "ada")
        await place.sign_in(store, "eve")
        await place.sign_in(store, "ada", issuer="https://moved.example")
        rows = await store.credentials.list(SIGN_IN, subject="idp:ada")
        assert [one.key.issuer for one in rows] == ["https://moved.example"]
        signed_in = place.provider.signed_in("ada")
        await keep_sign_in(store, place.times, replace(signed_in, tokens=None))
        assert [one.key.subject for one in await store.credentials.list(SIGN_IN)] == ["idp:eve"]


async def test_what_no_provider_s_setting_keeps_is_deleted_from_the_start_and_after_each_change(place: Place) -> None:
    kind = plain("identity_provider")
    async with place.store() as store:
        await place.sign_in(store)

        async def gone() -> None:
            async with asyncio.timeout(PATIENCE):
                while await store.credentials.list(SIGN_IN):
                    await asyncio.sleep(0)

        async with ServerCredentials(store):
            await gone()
            await place.offer(store)
            await place.sign_in(store)
            await store.create(kind, "other", {"type": "oidc", "config": {}}, by="test")
            assert [one.key.subject for one in await store.credentials.list(SIGN_IN)] == ["idp:ada"]
            config = {"client_id": CLIENT, "issuer": place.provider.url}
            await store.replace(kind, "idp", {"type": "oidc", "config": config}, by="test")
            await gone()


@pytest.mark.parametrize("id_token", ["a.b." + "c" * MAX_TOKEN, "no JWT", ""], ids=lambda token: token[:10])
async def test_an_id_token_that_cannot_be_kept_costs_no_sign_in(place: Place, id_token: str) -> None:
    async with place.store() as store:
        await place.sign_in(store)
        with capture_logs() as logged:
            await place.sign_in(store, id_token=id_token)
        assert await store.credentials.list(SIGN_IN) == []
        assert "not kept" in str(logged) and (not id_token or id_token not in str(logged))
