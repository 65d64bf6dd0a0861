"""A server whose tokens the portal asks for in its own name: real sockets, a real MCP server, every way it can fail."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from starlette.responses import JSONResponse, Response

from portal.config import HttpServer
from portal.credentials import ClientCredentials
from portal.credentials.requested import MAX_STEP_UPS
from portal.credentials.token_source import AFTER_NO_ANSWER, AFTER_REFUSAL
from portal.errors import AuthorizationRequired, UpstreamError
from tests.patience import PATIENCE
from tests.portal.credentials.authority import SECRET, Authority, Clock, Held, authority, entry, protected
from tests.portal.upstreams.hosting import Hosted
from tests.portal.upstreams.watching import Watched, server_config, watched

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

_KEY = ECKey.generate_key("P-256", private=True)
PRIVATE, PUBLIC = (_KEY.as_pem(private=private).decode() for private in (True, False))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def connected(
    host: Hosted, issuing: Authority | None, clock: Clock | None = None, **oauth: Any
) -> AsyncIterator[Watched]:
    """A connection that shows the tokens of this authority. It may be ready or not."""
    written = entry(host, issuing, **oauth)
    config = server_config(written)
    assert isinstance(config, HttpServer) and config.oauth is not None
    credential = ClientCredentials(config, config.oauth, clock=clock or Clock())
    try:
        async with watched(written, options={"credential": credential}) as up:
            await up.until(lambda connection: connection.state != "waiting")
            yield up
    finally:
        await credential.aclose()


async def reason(host: Hosted, issuing: Authority | None, **oauth: Any) -> str:
    """Why such a connection is not ready."""
    async with connected(host, issuing, **oauth) as up:
        assert up.connection.state == "error"
        return str(up.connection.reason)


async def test_the_first_refusal_leads_to_a_token_that_all_later_requests_show() -> None:
    async with authority() as issuing, protected(issuing, needed="files:read") as (guard, host):
        async with connected(host, issuing) as up:
            assert up.connection.state == "ready"
            assert await up.text("echo", "hello") == "hello"
        (asked,) = issuing.requests
        assert (asked["grant_type"], asked["resource"], asked["scope"]) == (
            "client_credentials",
            host.url,
            "files:read",
        )
        assert b64decode(asked["authorization"].removeprefix("Basic ")).decode() == f"portal:{SECRET.replace(' ', '+')}"
        assert guard.shown[0] == "" and set(guard.shown[1:]) == set(issuing.tokens)


@pytest.mark.parametrize("path", ["", "/tenants/one"])
@pytest.mark.parametrize("oidc", [False, True], ids=["oauth", "openid"])
async def test_an_authorization_server_is_found_at_every_place_of_the_specification(path: str, oidc: bool) -> None:
    async with authority(path=path, oidc=oidc) as issuing, protected(issuing) as (_, host):
        async with connected(host, issuing) as up:
            assert up.connection.state == "ready", up.connection.reason


async def test_metadata_may_be_where_only_the_challenge_says() -> None:
    async with authority() as issuing, protected(issuing, hidden="/about/this") as (_, host):
        async with connected(host, issuing) as up:
            assert up.connection.state == "ready", up.connection.reason


async def test_the_older_transport_shows_the_token_too() -> None:
    async with authority() as issuing, protected(issuing, transport="sse") as (guard, host):
        async with connected(host, issuing) as up:
            assert up.connection.state == "ready", up.connection.reason
            assert await up.text("echo", "hello") == "hello"
        assert len(issuing.requests) == 1 and guard.shown.count("") == 1


async def test_many_calls_that_are_refused_at_once_cause_one_new_token() -> None:
    async with authority() as issuing, protected(issuing) as (_, host), connected(host, issuing) as up:
        issuing.tokens.clear()
        answers = await asyncio.gather(*(up.text("echo", str(number)) for number in range(20)))
        assert answers == [str(number) for number in range(20)]
        assert len(issuing.requests) == 2


async def test_a_token_near_its_end_is_replaced_while_calls_go_on() -> None:
    clock = Clock()
    async with authority(lifetime=1000) as issuing, protected(issuing) as (guard, host):
        async with connected(host, issuing, clock) as up:
            issuing.answer = held = Held(issuing.issued)
            clock.now += 801
            assert await up.text("echo", "at once") == "at once"
            async with asyncio.timeout(PATIENCE):
                await held.arrived.wait()
            assert await up.text("echo", "still") == "still"
            first = guard.shown[-1]
            held.released.set()
            async with asyncio.timeout(PATIENCE):
                while await up.text("echo", "on") and guard.shown[-1] == first:
                    pass
        assert len(issuing.requests) == 2


async def test_a_token_that_has_ended_is_not_shown() -> None:
    clock = Clock()
    async with authority(lifetime=1000) as issuing, protected(issuing) as (guard, host):
        async with connected(host, issuing, clock) as up:
            first = guard.shown[-1]
            clock.now += 1000
            assert await up.text("echo", "new") == "new"
            assert guard.shown[-1] != first
        assert len(issuing.requests) == 2


async def test_a_token_without_a_lifetime_serves_until_it_is_refused() -> None:
    clock = Clock()
    async with authority(lifetime=None) as issuing, protected(issuing) as (_, host):
        async with connected(host, issuing, clock) as up:
            clock.now += 10 * 365 * 86_400
            assert await up.text("echo", "same") == "same"
            assert len(issuing.requests) == 1
            issuing.tokens.clear()
            assert await up.text("echo", "new") == "new"


async def test_while_the_authorization_server_is_down_a_living_token_serves_and_few_ask_it() -> None:
    clock = Clock()

    async def down(form: dict[str, str]) -> Response:
        return Response(status_code=503)

    async with authority(lifetime=1000) as issuing, protected(issuing) as (_, host):
        async with connected(host, issuing, clock) as up:
            issuing.answer = down
            clock.now += 900
            for number in range(10):
                assert await up.text("echo", str(number)) == str(number)
            clock.now += 100
            for _ in range(10):
                with pytest.raises(
                    AuthorizationRequired, match="answered a request for a token with status 503"
                ) as caught:
                    await up.text("echo", "ended")
                assert caught.value.ran == "no"
            assert len(issuing.requests) <= 3
            issuing.answer = None
            clock.now += 4 * AFTER_NO_ANSWER
            assert await up.text("echo", "up again") == "up again"


async def test_an_authorization_server_that_hangs_up_is_named_in_the_reason() -> None:
    async def hang_up(form: dict[str, str]) -> Response:
        raise ConnectionError

    async with authority() as issuing, protected(issuing) as (_, host):
        issuing.answer = hang_up
        assert f"there is no access token for it: {issuing.url} " in await reason(host, issuing)


@pytest.mark.parametrize("status", [400, 401, 200])
async def test_a_refusal_says_the_error_and_what_the_authorization_server_says_of_it_but_no_secret(status: int) -> None:
    async def refuse(form: dict[str, str]) -> Response:
        said = {"error": "invalid_client", "error_description": f"no client\nwith {SECRET}"}
        return JSONResponse(said, status_code=status)

    async with authority() as issuing, protected(issuing) as (_, host):
        issuing.answer = refuse
        why = await reason(host, issuing)
        assert f"{issuing.url} refused a token with invalid_client: no client with [redacted]" in why


async def test_after_a_refusal_the_authorization_server_is_left_alone_for_a_while() -> None:
    clock = Clock()

    async def refuse(form: dict[str, str]) -> Response:
        return JSONResponse({"error": "invalid_scope"}, status_code=400)

    async with authority() as issuing, protected(issuing) as (_, host), connected(host, issuing, clock) as up:
        issuing.answer = refuse
        issuing.tokens.clear()
        for _ in range(5):
            with pytest.raises(AuthorizationRequired, match="invalid_scope"):
                await up.call("echo")
        assert len(issuing.requests) == 2
        issuing.answer = None
        clock.now += AFTER_REFUSAL
        assert await up.text("echo", "allowed") == "allowed"


# Whom the secret is shown to


async def test_without_an_issuer_the_secret_goes_nowhere_and_the_reason_says_what_to_write() -> None:
    async with authority() as issuing, protected(issuing) as (_, host):
        why = await reason(host, None)
        assert f"it wants tokens of {issuing.issuer}. If that is where `clientId` is registered" in why
        assert issuing.requests == []


async def test_a_server_that_names_another_authorization_server_does_not_get_the_secret_there() -> None:
    async with authority() as issuing, authority() as attacker, protected(attacker) as (_, host):
        why = await reason(host, issuing)
        assert f"it wants tokens of {attacker.issuer}, and `issuer` in its `oauth` is {issuing.issuer}" in why
        assert issuing.requests == attacker.requests == []


async def test_a_server_that_turns_to_another_authorization_server_later_does_not_get_the_secret_there() -> None:
    clock = Clock()
    async with authority() as issuing, authority() as attacker, protected(issuing) as (guard, host):
        async with connected(host, issuing, clock) as up:
            guard.resource_metadata = {"authorization_servers": [attacker.issuer]}
            issuing.tokens.clear()
            with pytest.raises(AuthorizationRequired, match="it wants tokens of"):
                await up.call("echo")
        assert attacker.requests == [] and len(issuing.requests) == 1


async def test_one_of_several_authorization_servers_is_the_one_that_knows_the_client() -> None:
    async with authority() as other, authority() as issuing, protected(issuing) as (guard, host):
        guard.resource_metadata = {"authorization_servers": [other.issuer, issuing.issuer]}
        async with connected(host, issuing) as up:
            assert up.connection.state == "ready", up.connection.reason
        assert other.requests == []


async def test_metadata_of_another_resource_is_refused() -> None:
    async with authority() as issuing, protected(issuing) as (guard, host):
        guard.resource_metadata = {"resource": "https://files.example.com/mcp"}
        why = await reason(host, issuing)
        assert "its metadata is about another resource, at https://files.example.com. No token is asked for it." in why
        assert issuing.requests == []


async def test_metadata_for_the_whole_host_covers_the_server_and_names_the_resource() -> None:
    async with authority() as issuing, protected(issuing) as (guard, host):
        guard.resource_metadata = {"resource": host.url.removesuffix("/mcp") + "/"}
        async with connected(host, issuing) as up:
            assert up.connection.state == "ready", up.connection.reason
        assert issuing.requests[0]["resource"] == host.url.removesuffix("mcp")


async def test_an_authorization_server_that_is_another_than_it_says_is_refused() -> None:
    async with authority(metadata={"issuer": "https://login.example.com"}) as issuing, protected(issuing) as (_, host):
        assert "names another issuer, https://login.example.com" in await reason(host, issuing)
        assert issuing.requests == []


async def test_a_token_endpoint_at_a_plain_address_elsewhere_gets_nothing() -> None:
    metadata = {"token_endpoint": "http://login.example.com/token"}
    async with authority(metadata=metadata) as issuing, protected(issuing) as (_, host):
        assert "http://login.example.com, which its metadata or its `oauth` names, is no https URL" in await reason(
            host, issuing
        )


# What the server wants


async def test_more_scope_is_asked_for_beside_what_there_was() -> None:
    async with authority() as issuing, protected(issuing, needed="read") as (guard, host):
        async with connected(host, issuing) as up:
            guard.needed = "write"
            assert await up.text("echo", "written") == "written"
            guard.needed = "read"
            assert await up.text("echo", "read") == "read"
        assert [asked["scope"] for asked in issuing.requests] == ["read", "read write"]


async def test_scope_that_is_not_granted_is_asked_for_once() -> None:
    async def only_read(form: dict[str, str]) -> Response:
        return issuing.issue({**form, "scope": "read"})

    async with authority() as issuing, protected(issuing, needed="read") as (guard, host):
        async with connected(host, issuing) as up:
            issuing.answer = only_read
            guard.needed = "write"
            for _ in range(3):
                with pytest.raises(AuthorizationRequired, match=r"refuses access \(HTTP 403\)"):
                    await up.call("echo")
        assert len(issuing.requests) == 2


async def test_scope_that_is_refused_costs_only_the_call_that_needs_it() -> None:
    clock = Clock()

    async def refuse_more(form: dict[str, str]) -> Response:
        return issuing.issue(form) if form["scope"] == "read" else JSONResponse({"error": "invalid_scope"}, 400)

    async with authority() as issuing, protected(issuing, needed="read") as (guard, host):
        async with connected(host, issuing, clock) as up:
            issuing.answer = refuse_more
            guard.needed = "write"
            with pytest.raises(AuthorizationRequired, match="invalid_scope"):
                await up.call("echo")
            guard.needed = "read"
            assert await up.text("echo", "still there") == "still there"
            issuing.tokens.clear()
            clock.now += AFTER_REFUSAL
            assert await up.text("echo", "as before") == "as before"


async def test_scope_that_an_administrator_wrote_is_the_most_that_is_asked_for() -> None:
    async with authority() as issuing, protected(issuing, needed="read") as (guard, host):
        async with connected(host, issuing, scope="read") as up:
            guard.needed = "admin"
            with pytest.raises(AuthorizationRequired, match=r"refuses access \(HTTP 403\)"):
                await up.call("echo")
        assert [asked["scope"] for asked in issuing.requests] == ["read"]


async def test_a_server_whose_metadata_names_nonsense_is_a_reason() -> None:
    async with authority() as issuing, protected(issuing) as (guard, host):
        guard.resource_metadata = {"authorization_servers": ["https://[", issuing.issuer]}
        async with connected(host, issuing) as up:
            assert up.connection.state == "ready", up.connection.reason
        guard.resource_metadata = {"authorization_servers": ["https://["]}
        assert "it wants tokens of https://[" in await reason(host, issuing)


async def test_two_challenges_at_once_end_with_the_scopes_of_both() -> None:
    async with authority() as issuing, protected(issuing, needed="read") as (guard, host):
        async with connected(host, issuing) as up:
            issuing.answer = held = Held(issuing.issued)
            guard.needed = "a"
            first = asyncio.create_task(up.text("echo", "first"))
            async with asyncio.timeout(PATIENCE):
                await held.arrived.wait()
                guard.needed = "b"
                shown = len(guard.shown)
                second = asyncio.create_task(up.text("echo", "second"))
                while len(guard.shown) == shown:
                    await asyncio.sleep(0)
                held.released.set()
                guard.needed = "a b"
                assert [await first, await second] == ["first", "second"]
        assert issuing.requests[-1]["scope"] == "read a b"


async def test_a_server_that_always_wants_more_scope_gets_few_tokens() -> None:
    async with authority() as issuing, protected(issuing, needed="0") as (guard, host):
        async with connected(host, issuing) as up:
            for number in range(1, MAX_STEP_UPS + 10):
                guard.needed = f"{number} {number + 100}"
                with suppress(AuthorizationRequired):
                    await up.call("echo")
        assert len(issuing.requests) == MAX_STEP_UPS + 1


async def test_a_server_that_refuses_every_token_is_asked_with_two_and_says_so() -> None:
    clock = Clock()
    async with authority() as issuing, protected(issuing) as (guard, host), connected(host, issuing, clock) as up:
        guard.refusing = True
        for _ in range(5):
            with pytest.raises(AuthorizationRequired, match=r"refuses the access token that the portal was issued"):
                await up.call("echo")
        assert len(issuing.requests) == 2
        guard.refusing = False
        assert await up.text("echo", "let in") == "let in"


async def test_a_plain_403_is_an_answer_and_no_reason_for_another_token() -> None:
    async with authority() as issuing, protected(issuing) as (_, host), connected(host, issuing) as up:
        with pytest.raises(AuthorizationRequired):
            await up.call("echo", credentials={"authorization": "Bearer of-somebody-else"})
        assert len(issuing.requests) == 1


# What an administrator may say


async def test_scope_resource_and_parameters_are_as_configured() -> None:
    async with authority() as issuing, protected(issuing, needed="") as (_, host):
        oauth: dict[str, Any] = {"scope": "a  b", "resource": "https://api.example.com"}
        oauth["parameters"] = {"audience": "files"}
        async with connected(host, issuing, **oauth) as up:
            assert up.connection.state == "ready", up.connection.reason
        (asked,) = issuing.requests
        assert (asked["scope"], asked["resource"], asked["audience"]) == ("a b", "https://api.example.com", "files")


async def test_a_resource_that_the_authorization_server_does_not_take_is_left_out() -> None:
    async with authority() as issuing, protected(issuing) as (_, host):
        async with connected(host, issuing, resource="omit") as up:
            assert up.connection.state == "ready", up.connection.reason
        assert "resource" not in issuing.requests[0]


async def test_with_a_token_endpoint_no_metadata_is_asked_for() -> None:
    async with authority(metadata={"issuer": "wrong"}) as issuing, protected(issuing) as (guard, host):
        guard.resource_metadata = {"resource": "wrong"}
        async with connected(host, None, tokenEndpoint=f"{issuing.url}/token") as up:
            assert up.connection.state == "ready", up.connection.reason
        assert "" not in guard.shown


@pytest.mark.parametrize(
    ("methods", "configured", "used"),
    [
        ((), "", "basic"),
        (("client_secret_post",), "", "post"),
        (("client_secret_post", "client_secret_basic"), "", "basic"),
        (("private_key_jwt",), "", "basic"),
        (("client_secret_basic",), "client_secret_post", "post"),
    ],
)
async def test_a_secret_is_shown_in_the_way_that_the_authorization_server_takes(
    methods: tuple[str, ...], configured: str, used: str
) -> None:
    async with authority(methods=methods) as issuing, protected(issuing) as (_, host):
        async with connected(host, issuing, tokenEndpointAuthMethod=configured) as up:
            assert up.connection.state == "ready", up.connection.reason
        (asked,) = issuing.requests
        assert ("authorization" in asked) == (used == "basic")
        assert asked.get("client_secret") == (SECRET if used == "post" else None)


async def test_a_token_that_a_server_repeats_does_not_reach_an_error() -> None:
    async with authority() as issuing, protected(issuing) as (guard, host), connected(host, issuing) as up:
        guard.echoing = True
        with pytest.raises(UpstreamError, match=r"HTTP 500 with text/plain: \[redacted\]"):
            await up.call("echo")
        (token,) = issuing.tokens
        guard.echoing, guard.refusing = False, True
        with pytest.raises(UpstreamError) as caught:
            await up.call("echo")
        assert token not in str(caught.value) + str(caught.value.data)


async def test_a_token_that_was_replaced_meanwhile_does_not_reach_an_error_either() -> None:
    async with authority() as issuing, protected(issuing) as (guard, host), connected(host, issuing) as up:
        (first,) = issuing.tokens
        issuing.tokens.clear()
        assert await up.text("echo", "renewed") == "renewed"
        credential = up.connection._credential
        assert credential is not None and {first, *issuing.tokens} <= set(credential.secrets)


# The tests read with the former name of an algorithm what was signed with it.
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_keys_of_every_common_kind_sign_for_the_client() -> None:
    for key in (
        ECKey.generate_key("P-256", private=True),
        ECKey.generate_key("P-384", private=True),
        RSAKey.generate_key(2048, private=True),
        OKPKey.generate_key("Ed25519", private=True),
    ):
        for written in (key.as_pem(private=True).decode(), json.dumps(key.as_dict(private=True))):
            async with authority() as issuing, protected(issuing) as (_, host):
                async with connected(host, issuing, clientSecret="", privateKey=written, keyId="k1") as up:
                    assert up.connection.state == "ready", up.connection.reason
                (asked,) = issuing.requests
                assert asked["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
                token = jwt.decode(asked["client_assertion"], key, algorithms=["ES256", "ES384", "RS256", "EdDSA"])
                assert token.header["kid"] == "k1"
                claims = token.claims
                assert (claims["iss"], claims["sub"], claims["aud"]) == ("portal", "portal", issuing.issuer)
                assert 0 < claims["exp"] - claims["iat"] <= 300 and claims["jti"]


async def test_each_request_has_an_assertion_of_its_own() -> None:
    key = ECKey.generate_key("P-256", private=True).as_pem(private=True).decode()
    async with authority() as issuing, protected(issuing) as (_, host):
        async with connected(host, issuing, clientSecret="", privateKey=key) as up:
            issuing.tokens.clear()
            assert await up.text("echo", "again") == "again"
        first, second = (asked["client_assertion"] for asked in issuing.requests)
        assert first != second


@pytest.mark.parametrize(
    ("oauth", "why"),
    [
        ({"privateKey": "no key at all"}, "`privateKey` in its `oauth` is no private key in PEM or JWK form"),
        ({"privateKey": '{"kty": "oct", "k": "c2VjcmV0"}'}, "is no private key in PEM or JWK form"),
        ({"privateKey": PUBLIC}, "is no private key in PEM or JWK form"),
        ({"privateKey": PRIVATE, "algorithm": "RS256"}, "cannot sign with RS256. Check `algorithm`."),
    ],
)
async def test_a_key_that_cannot_sign_is_a_reason_that_does_not_quote_it(oauth: dict[str, str], why: str) -> None:
    async with authority() as issuing, protected(issuing) as (_, host):
        said = await reason(host, issuing, clientSecret="", **oauth)
        assert why in said and oauth["privateKey"][:20] not in said
        assert issuing.requests == []
