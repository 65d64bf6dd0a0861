"""A code or refresh token is exchanged whole or not at all, at either authorization server."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.identity import Identity
from portal.oauth.grants import REUSE_SECONDS
from portal.oauth.signing import SigningKeys
from portal.state import Kind
from portal.state.tokens import Tokens
from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.oauth.exchanges import SERVERS, Exchanges, client_of

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
KINDS = ["code", "refresh"]
Stop = Callable[[Guarded, Path, pytest.MonkeyPatch], AbstractContextManager[None]]


@asynccontextmanager
async def exchanging(folder: Path, server: str) -> AsyncIterator[tuple[Guarded, Exchanges]]:
    async with guarded_portal(folder) as portal, browser_at(portal.url) as browser:
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            yield portal, await client_of(server, portal, browser, http)


@contextmanager
def policies_fail(portal: Guarded, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(identity: Identity) -> bool:
        raise RuntimeError("the policies cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr(portal.rules, "allowed", fail)
        yield


@contextmanager
def cancelled_at_the_policies(portal: Guarded, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def cancel(identity: Identity) -> bool:
        cancel_this_request()
        return True

    with monkeypatch.context() as patch:
        patch.setattr(portal.rules, "allowed", cancel)
        yield


def store_fails_at(kind: str) -> Stop:
    @contextmanager
    def stop(portal: Guarded, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        # The table that the trigger reads does not exist, so the database fails at this insert, and at no other.
        trigger = f"CREATE TRIGGER failing BEFORE INSERT ON tokens WHEN NEW.kind = '{kind}'"
        run(folder, f"{trigger} BEGIN SELECT * FROM missing; END")
        yield
        run(folder, "DROP TRIGGER failing")

    return stop


def cancelled_at(kind: str) -> Stop:
    @contextmanager
    def stop(portal: Guarded, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        issue = Tokens.issue

        async def cancel(tokens: Tokens, issued: Kind[Any], token: str, **values: Any) -> None:
            if issued.name == kind:
                cancel_this_request()
            await issue(tokens, issued, token, **values)

        with monkeypatch.context() as patch:
            patch.setattr(Tokens, "issue", cancel)
            yield

    return stop


@contextmanager
def signing_fails(portal: Guarded, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    async def fail(keys: SigningKeys, claims: dict[str, Any], **header: Any) -> str:
        raise RuntimeError("the key cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr(SigningKeys, "sign", fail)
        yield


def run(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "state.db") as database:
        database.execute(statement)
    database.close()


def cancel_this_request() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


STOPS: dict[str, Stop] = {
    "the policies fail": policies_fail,
    "cancelled at the policies": cancelled_at_the_policies,
    "the store fails at the access token": store_fails_at("access"),
    "the store fails at the refresh token": store_fails_at("refresh"),
    "cancelled at the access token": cancelled_at("access"),
    "cancelled at the refresh token": cancelled_at("refresh"),
}
# Of the two, only the server for applications signs something.
SIGNING: dict[str, dict[str, Stop]] = {
    "for MCP clients": {},
    "for applications": {"signing the ID token fails": signing_fails},
}


@pytest.mark.parametrize("server", SERVERS)
async def test_an_exchange_that_stops_midway_leaves_the_code_or_token_good_for_a_retry(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exchanging(tmp_path, server) as (portal, client):
        for name, stop in {**STOPS, **SIGNING[server]}.items():
            for kind in KINDS:
                token = await client.new(kind)
                # Not on the loop: it waits for a lock that the portal holds until the loop goes on.
                stopping = stop(portal, tmp_path, monkeypatch)
                await asyncio.to_thread(stopping.__enter__)
                stopped = await client.exchange(kind, token)
                await asyncio.to_thread(stopping.__exit__, None, None, None)
                assert stopped.status_code == (503 if "store" in name else 500), (name, kind)
                retried = await client.exchange(kind, token)
                assert retried.status_code == 200, (name, kind, retried.text)
                assert await client.opens(retried.json()["access_token"]), (name, kind)
                renewed = await client.exchange("refresh", retried.json()["refresh_token"])
                assert renewed.status_code == 200, (name, kind)


@pytest.mark.parametrize("server", SERVERS)
async def test_of_two_exchanges_of_a_code_at_once_one_succeeds_and_the_family_ends(tmp_path: Path, server: str) -> None:
    async with exchanging(tmp_path, server) as (_, client):
        token = await client.new("code")
        answers = await asyncio.gather(client.exchange("code", token), client.exchange("code", token))
        assert sorted(answer.status_code for answer in answers) == [200, 400]
        won = next(answer.json() for answer in answers if answer.status_code == 200)
        assert not await client.opens(won["access_token"])
        assert (await client.exchange("refresh", won["refresh_token"])).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", SERVERS)
async def test_a_second_use_ends_the_family(tmp_path: Path, server: str, kind: str) -> None:
    async with exchanging(tmp_path, server) as (portal, client):
        token = await client.new(kind)
        first = (await client.exchange(kind, token)).json()
        assert await client.opens(first["access_token"])
        if kind == "refresh":
            # Until then it may be another window of the client (`test_rotation`).
            portal.clock.ahead += timedelta(seconds=REUSE_SECONDS + 1)
        assert (await client.exchange(kind, token)).json()["error"] == "invalid_grant"
        assert not await client.opens(first["access_token"])
        assert (await client.exchange("refresh", first["refresh_token"])).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", SERVERS)
async def test_a_no_of_the_policies_ends_the_family(tmp_path: Path, server: str, kind: str) -> None:
    async with exchanging(tmp_path, server) as (portal, client):
        token = await client.new(kind)
        portal.rules.allowed = lambda identity: False
        refused = await client.exchange(kind, token)
        assert refused.json() == {"error": "invalid_grant", "error_description": "Denied by the policy 'Staff'."}
        portal.rules.allowed = lambda identity: True
        assert (await client.exchange(kind, token)).json()["error"] == "invalid_grant"
