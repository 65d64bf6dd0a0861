"""The log of an instance: a row for each call and run, however it ends, and nothing of its content."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from portal.app import Instance, Parts, log_place, serving
from portal.config import parse_config
from portal.errors import StartError
from portal.logs import CallLog, Discard, Filters, LogDatabase, LogKey, LogPlace, LogRow, after, verify
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Kept, client_of, opened
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

SECRET = "a-secret-of-somebody-5f0c"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def document(folder: Path, upstream: Hosted, **portal: Any) -> dict[str, Any]:
    url = f"sqlite:///{folder}/logs.db"
    return {"mcpServers": {"up": {"url": upstream.url}}, "portal": {"logs": {"database": url}, **portal}}


async def stored(place: LogPlace, filters: Filters | None = None) -> list[LogRow]:
    """The rows of a log that nobody writes any more; they verify."""
    database = LogDatabase(place.url)
    await database.open(make=False)
    try:
        report = await database.read(partial(verify, trusted=[LogKey.open(place.key).public]))
        assert report.is_whole and report.unsigned == 0, report
        return [one.row for one in await database.read(partial(after, filters=filters or Filters(), id=0))]
    finally:
        await database.close()


def place_of(config: dict[str, Any]) -> LogPlace:
    found = log_place(parse_config(config, env={}))
    assert found is not None
    return found


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_each_call_and_run_is_a_row_and_none_has_a_word_of_its_content(
    tmp_path: Path, mode: str, code_tool: Any
) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream)
        async with opened(config, parts=Parts(code=code_tool)) as instance:
            await instance.servers.settled()
            async with serving(instance) as url:
                async with client_of(f"{url}/mcp", mode) as client:
                    await client.call_tool("up_echo", {"text": SECRET})
                    await client.call_tool("up_fail", {"text": SECRET})
                async with client_of(f"{url}/mcp?codemode=search_and_execute", mode) as client:
                    program = f"const a = await codemode.up.echo({{text: '{SECRET}'}}); return [1]"
                    await client.call_tool("code", {"code": program})
                    await client.call_tool("code", {"code": f"throw new Error('{SECRET}')"})
                    await client.call_tool("code", {"code": f"await codemode.up.fail({{text: '{SECRET}'}})"})
    rows = await stored(place_of(config))
    calls, runs = [row for row in rows if row.kind == "tool"], [row for row in rows if row.kind == "run"]
    assert [(row.name, row.outcome) for row in calls] == [
        ("echo", "ok"),
        ("fail", "tool_error"),
        ("echo", "ok"),
        ("fail", "tool_error"),
    ]
    assert [(row.name, row.outcome, row.reason) for row in runs] == [
        ("code", "ok", ""),
        ("code", "error", "exception"),
        ("code", "error", "exception"),
    ]
    assert [(row.run, row.call, row.parent) for row in calls[:2]] == [("", 0, "")] * 2
    assert [(row.run, row.call, row.parent) for row in calls[2:]] == [
        (run.run, 1, run.run) for run in (runs[0], runs[2])
    ]
    assert {row.kind for row in rows} == {"request", "tool", "run"}
    for row in rows:
        assert row.us > 0 and row.client and row.protocol and row.bytes_out > 0
        assert row.bytes_in > 0 or row.kind == "request"
        assert (row.session != "") == (mode == LEGACY)
    for row in calls:
        assert row.server == "up" and row.method == "tools/call" and row.upstream_protocol
        assert row.server_url == upstream.url and row.bytes_in > len(SECRET)
    # What the program kept to itself no model has read.
    assert runs[0].tokens_saved > 0 and runs[0].bytes_out == len("[1]")
    for file in tmp_path.iterdir():
        assert SECRET.encode() not in file.read_bytes(), file


async def test_what_changes_of_the_log_is_taken_up_or_waits_for_the_next_start(tmp_path: Path) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream)
        async with opened(config, parts=Parts(code=None)) as instance:
            log = instance.shared.log
            assert isinstance(log, CallLog) and log._settings().keep_days == 30
            config["portal"]["logs"] |= {"keepDays": 7, "whenFull": "block"}
            assert await instance.apply(parse_config(config, env={})) == ()
            assert (log._settings().keep_days, log._settings().when_full) == (7, "block")
            config["portal"]["logs"] |= {"database": f"sqlite:///{tmp_path}/other.db", "keepDays": 9}
            assert await instance.apply(parse_config(config, env={})) == ("portal.logs",)
            assert log._settings().keep_days == 7


@pytest.mark.parametrize(
    ("portal", "file"),
    [
        ({}, None),
        ({"state": "sqlite:////here/state.db"}, "/here/state-logs.db"),
        ({"state": "sqlite:////here/state.db", "logs": {"enabled": False}}, None),
        ({"logs": {}}, "state-logs.db"),
        ({"logs": {"database": "sqlite:////there/calls.db"}}, "/there/calls.db"),
    ],
)
def test_a_log_is_beside_the_database_unless_the_document_says_otherwise(
    portal: dict[str, Any], file: str | None
) -> None:
    place = log_place(parse_config({"portal": portal}, env={}))
    if file is None:
        assert place is None
        return
    assert place is not None and place.url.endswith(file)
    assert place.url == f"sqlite:///{place.folder / place.name}.db"


def test_the_journals_of_a_log_on_a_server_are_this_user_s_and_of_that_server_alone() -> None:
    places = [
        log_place(parse_config({"portal": {"state": url}}, env={}))
        for url in ("postgresql://u:word@one/x", "postgresql://u:other@one/x", "postgresql://two/x")
    ]
    names = [place.name for place in places if place is not None]
    assert names[0] == names[1] != names[2]
    assert all(place is not None and place.folder.name == "codemode-portal" for place in places)


@pytest.mark.parametrize("what", ["a key", "a journal", "a database"])
async def test_a_log_that_cannot_be_used_ends_the_start_with_what_to_do(tmp_path: Path, what: str) -> None:
    file = {"a key": "logs.key", "a journal": "logs-0.journal", "a database": "logs.db"}[what]
    (tmp_path / file).write_bytes(b"something else " * 1000)
    config = {"mcpServers": {}, "portal": {"logs": {"database": f"sqlite:///{tmp_path}/logs.db"}}}
    with pytest.raises(StartError, match=f"the log cannot be used: .*{file}"):
        async with Instance.open(parse_config(config, env={}), Discard(), parts=Parts(code=None)):
            pass


async def test_a_database_that_fails_while_the_portal_runs_costs_no_call(tmp_path: Path) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream)
        async with opened(config, parts=Parts(code=None)) as instance:
            await instance.servers.settled()
            log = instance.shared.log
            assert log is not None
            async with serving(instance) as url, client_of(f"{url}/mcp", MODERN) as client:
                await client.call_tool("up_echo", {"text": "before"})
                await log.stored()
                # Another process keeps the lock of the file.
                holder = await asyncio.create_subprocess_exec(
                    "python3", "-c", _HOLD, str(tmp_path / "logs.db"), stdin=-1, stdout=-1
                )
                assert holder.stdout is not None and await holder.stdout.readline() == b"held\n"
                for number in range(20):
                    await client.call_tool("up_echo", {"text": str(number)})
                holder.kill()
                await holder.wait()
    assert len(await stored(place_of(config), Filters(kind="tool"))) == 21


_HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


async def test_where_rows_are_taken_by_somebody_else_there_is_no_log(tmp_path: Path) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream)
        async with opened(config, parts=Parts(code=None, records=Kept())) as instance:
            assert instance.shared.log is None
    assert list(tmp_path.iterdir()) == []
