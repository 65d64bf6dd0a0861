"""Rows of the log as they come: no gap, none twice, within bounds, and only for as long as the client may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from portal.admin import log_stream
from portal.admin.log_stream import LogStream, StreamRoom
from portal.logs import CallLog, Filters, Tail, newest_id, tail
from tests.patience import PATIENCE
from tests.portal.admin.conftest import Api
from tests.portal.admin.test_logs import MCP, logged, place_in, token_with
from tests.portal.logs.rows import row
from tests.portal.logs.stopped import stopped

pytestmark = pytest.mark.anyio


@dataclass
class Event:
    id: str = ""
    name: str = ""
    data: Any = None


class Following:
    """A client that follows the log."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def block(self) -> Event:
        """The next block of lines, also one that is no event. Raises StopAsyncIteration at the end."""
        found = Event()
        async with asyncio.timeout(PATIENCE):
            while line := await anext(self._lines):
                name, _, value = line.partition(": ")
                if name == "id":
                    found.id = value
                elif name == "event":
                    found.name = value
                elif name == "data":
                    found.data = orjson.loads(value)
        return found

    async def event(self) -> Event:
        while (found := await self.block()).data is None:
            pass
        return found

    async def names(self, number: int) -> list[str]:
        return [(await self.event()).data["name"] for _ in range(number)]


@asynccontextmanager
async def following(
    api: Api, path: str = "/logs/tail", token: str = "", last: str = "", **query: Any
) -> AsyncIterator[Following]:
    """A client that has begun to follow."""
    headers = {"Authorization": f"Bearer {token or api.token}"} | ({"Last-Event-ID": last} if last else {})
    async with (
        httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http,
        http.stream("GET", api.at(f"{MCP}{path}"), headers=headers, params=query) as response,
    ):
        client = Following(response)
        if response.status_code == 200:
            await client.block()
        yield client


async def test_rows_come_as_they_are_stored_those_of_other_processes_too(tmp_path: Path) -> None:
    async with logged(tmp_path, [row(0, name="before")]) as (api, log), following(api) as client:
        assert client.response.headers["content-type"].startswith("text/event-stream")
        log.write(row(1, name="own"))
        first = await client.event()
        assert first.data["name"] == "own" and first.data["capability"] == "own" and first.id == str(first.data["id"])
        async with CallLog.open(place_in(tmp_path)) as other:
            other.write(row(2, name="other"))
            assert await client.names(1) == ["other"]


async def test_filters_hold_and_the_path_is_one(tmp_path: Path) -> None:
    async with (
        logged(tmp_path, []) as (api, log),
        following(api, "/servers/mail/logs/tail", failed=True) as one,
        following(api, "/portals/team/logs/tail") as two,
    ):
        for n in range(20):
            changes: Any = {"server": ("mail", "files")[n % 2], "outcome": ("ok", "timeout")[n % 4 // 2]}
            log.write(row(n, name=f"n{n}", portal="team" if n % 5 == 0 else "", **changes))
        assert await one.names(5) == [f"n{n}" for n in range(20) if n % 2 == 0 and n % 4 // 2]
        assert await two.names(4) == ["n0", "n5", "n10", "n15"]


async def test_a_client_that_comes_back_has_no_gap_and_nothing_twice(tmp_path: Path) -> None:
    async with logged(tmp_path, []) as (api, log):

        async def write() -> None:
            for n in range(600):
                log.write(row(n, name=f"n{n}"))
                if n % 20 == 0:
                    await asyncio.sleep(0.002)

        async with following(api) as client:
            writing = asyncio.create_task(write())
            seen = [await client.event()]
        while len(seen) < 600:
            async with following(api, last=seen[-1].id) as client:
                seen += [await client.event() for _ in range(min(37, 600 - len(seen)))]
        await writing
        assert [one.data["name"] for one in seen] == [f"n{n}" for n in range(600)]
        assert len({one.id for one in seen}) == 600
        # From an id on, as the page says it.
        async with following(api, after=seen[-3].id) as client:
            assert await client.names(2) == ["n598", "n599"]
        # An id that there is not yet: from now on.
        async with following(api, last=str(10**17)) as client:
            log.write(row(700, name="last"))
            assert await client.names(1) == ["last"]


async def test_an_idle_client_gets_signs_of_life_with_the_id_to_come_back_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(log_stream, "CHECK_SECONDS", 0.01)
    async with logged(tmp_path, []) as (api, log), following(api, name="nothing") as client:
        log.write(row(1))
        await log.stored()
        newest = await log.database.read(newest_id)
        while (block := await client.block()).id != str(newest):
            assert block.data is None


async def test_a_stream_ends_when_the_token_is_revoked_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "CHECK_SECONDS", 0.01)
    async with logged(tmp_path, []) as (api, log):
        token = await token_with(api, "Logs Read")
        async with following(api, token=token) as client, api.async_sdk() as sdk:
            log.write(row(1, name="seen"))
            assert await client.names(1) == ["seen"]
            (id,) = [
                one.id async for one in sdk.accounts.tokens.list(account_id=api.account) if one.name == "Logs Read"
            ]
            await sdk.accounts.tokens.delete(str(id), account_id=api.account)
            log.write(row(2, name="unseen"))
            end = await client.event()
            assert end.name == "end" and "may not read" in end.data["reason"]
            with pytest.raises(StopAsyncIteration):
                await client.block()
        async with following(api, token=token) as client:
            assert client.response.status_code == 401


async def test_no_row_is_sent_once_the_token_has_lost_its_permission(tmp_path: Path) -> None:
    async with logged(tmp_path, []) as (api, log):
        token = await token_with(api, "Logs Read")
        async with following(api, token=token) as client, api.async_sdk() as sdk:
            tokens: Any = sdk.accounts.tokens
            (found,) = [one async for one in tokens.list(account_id=api.account) if one.name == "Logs Read"]
            groups: Any = tokens.permission_groups
            other = [one.id async for one in groups.list(account_id=api.account) if one.name == "Zero Trust Read"]
            policy = {
                "effect": "allow",
                "permission_groups": [{"id": other[0]}],
                "resources": {f"com.cloudflare.api.account.{api.account}": "*"},
            }
            await tokens.update(found.id, account_id=api.account, name="Logs Read", policies=[policy])
            log.write(row(1, name="unseen"))
            assert (await client.event()).name == "end"


async def test_the_end_of_the_portal_is_the_end_of_its_streams(tmp_path: Path) -> None:
    async with logged(tmp_path, []) as (api, _), following(api) as client:
        api.admin.close_streams()
        end = await client.event()
        assert end.name == "end" and "stopped" in end.data["reason"]
        with pytest.raises(StopAsyncIteration):
            await client.block()


async def test_streams_are_bounded_for_a_token_and_come_free_again(tmp_path: Path) -> None:
    async with logged(tmp_path, []) as (api, log):
        async with following(api) as one:
            exits = [following(api) for _ in range(log_stream.STREAMS_EACH - 1)]
            clients = [one, *[await exit.__aenter__() for exit in exits]]
            async with following(api) as refused:
                assert refused.response.status_code == 429 and refused.response.headers["retry-after"]
            token = await token_with(api, "Logs Read")
            async with following(api, token=token) as other:
                log.write(row(1, name="seen"))
                assert await other.names(1) == await clients[-1].names(1) == ["seen"]
            await exits[0].__aexit__(None, None, None)
            async with asyncio.timeout(PATIENCE):
                while True:
                    async with following(api) as again:
                        if again.response.status_code == 200:
                            break
            for exit in exits[1:]:
                await exit.__aexit__(None, None, None)


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30])
async def test_a_last_id_that_is_none_is_refused(tmp_path: Path, last: str) -> None:
    async with logged(tmp_path, []) as (api, _), following(api, last=last) as client:
        assert client.response.status_code == 400


async def test_a_head_request_is_answered_and_holds_nothing(tmp_path: Path) -> None:
    async with logged(tmp_path, []) as (api, _), httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.head(api.at(f"{MCP}/logs/tail"), headers=api.headers())
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")


async def test_a_client_that_does_not_read_is_ended_and_nothing_is_kept_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "SEND_SECONDS", 0.05)
    sent: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return await asyncio.Future[dict[str, Any]]()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if b"data:" in sent[-1]:
            await asyncio.Future[None]()

    async def permitted() -> None:
        return None

    async with CallLog.open(place_in(tmp_path)) as log:
        following_log, room = Tail(log), StreamRoom()
        for n in range(300):
            log.write(row(n))
        await log.stored()
        stream = LogStream(following_log, Filters(), 0, room, "token", permitted)
        async with asyncio.timeout(PATIENCE):
            await stream({"type": "http", "method": "GET"}, receive, send)
        assert b"".join(sent).count(b"data:") == tail.TAIL_ROWS and len(room) == 0
        assert not following_log._wakes and following_log._looking is None


async def test_a_log_that_does_not_answer_for_a_while_costs_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_AGAIN_SECONDS", 0.01)
    async with logged(tmp_path, []) as (api, log), following(api) as client:
        async with stopped(log.database) as gone:
            gone.set()
            for n in range(10):
                log.write(row(n, name=f"n{n}"))
            await log.stored()
        assert await client.names(10) == [f"n{n}" for n in range(10)]
