"""`codemode logs`, as an operator runs it, over a log that a portal has written."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from portal.cli.exits import Exit
from portal.logs import CallLog, LogKey, LogPlace
from portal.logs.batch import sign, store
from tests.patience import PATIENCE
from tests.portal.cli.command import as_forked, in_process
from tests.portal.logs.rows import AT, batch_of, row

pytestmark = pytest.mark.anyio

DAY = 86_400_000_000
ROWS = [
    row(1, email="ada@example.com", client="claude", client_version="2", policy="gateway:Cards"),
    row(2, server="mail", name="send", outcome="denied", policy="staff", reason="Denied by the policy 'Staff'."),
    row(3, kind="run", server="", name="code", run="exec_1", tokens_saved=40),
    row(4, run="exec_1", call=1, parent="exec_1", name="evil\x1b[31m"),
    row(5, outcome="timeout", reason="UpstreamTimeout", policy="gateway:Noted"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A folder with a configuration whose log has these rows."""
    (tmp_path / "codemode.json").write_text(
        json.dumps({"mcpServers": {}, "portal": {"logs": {"database": "sqlite:///logs.db"}}})
    )
    place = LogPlace(url=f"sqlite:///{tmp_path}/logs.db", folder=tmp_path)
    async with CallLog.open(place) as log:
        await log.database.write(partial(store, batch=batch_of("i", 1, ROWS), now=AT + DAY))
        await log.database.write(partial(sign, key=LogKey.open(place.key), now=AT + DAY))
        yield tmp_path


async def codemode(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(in_process, folder, *arguments)


def lines(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line]


async def test_the_newest_rows_are_shown_last(folder: Path) -> None:
    done = await asyncio.to_thread(as_forked, folder, "logs")
    shown = lines(done.stdout)
    assert done.returncode == Exit.OK and len(shown) == 5
    assert "files.read 1.5 ms  ada@example.com  claude 2" in shown[0] and shown[0].endswith("gateway:Cards")
    assert "denied" in shown[1] and "mail.send" in shown[1] and "staff: Denied by the policy 'Staff'." in shown[1]
    assert "run      code" in shown[2] and "exec_1" in shown[2] and "exec_1#1" in shown[3]
    assert shown[4].endswith("gateway:Noted: UpstreamTimeout")
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--server", "mail"], [2]),
        (["--failed"], [2, 5]),
        (["--run", "exec_1"], [3, 4]),
        (["--outcome", "timeout"], [5]),
        (["--policy", "gateway:Cards"], [1]),
        (["--trace", "none"], []),
        (["--kind", "run"], [3]),
        (["--client", "claude"], [1]),
        (["--who", "ada", "-n", "2"], [4, 5]),
        (["--since", "2000-01-01", "--until", "2001-01-01T00:00:00+02:00"], []),
        (["--since", "1s"], []),
        (["--name", "read", "--server", "files", "--limit", "1"], [5]),
    ],
)
async def test_filters_and_pages_are_those_of_the_log(folder: Path, options: list[str], found: list[int]) -> None:
    done = await codemode(folder, "logs", "--json", *options)
    shown = [json.loads(line) for line in lines(done.stdout)]
    assert [one["at"] for one in shown] == [row(number).at for number in found]
    assert all(one["id"] and one["time"].endswith("Z") and "session" not in one for one in shown)
    if found:
        older = await codemode(folder, "logs", "--json", *options, "--before", str(shown[0]["id"]))
        assert all(json.loads(line)["id"] < shown[0]["id"] for line in lines(older.stdout))


async def test_what_is_not_there_is_said(folder: Path) -> None:
    assert "No row of the log is like that." in (await codemode(folder, "logs", "--server", "none")).stdout
    assert "Older ones: --before" in (await codemode(folder, "logs", "-n", "2")).stderr


async def test_verification_says_what_was_changed_and_ends_with_one(folder: Path) -> None:
    done = await asyncio.to_thread(as_forked, folder, "logs", "verify")
    assert done.returncode == Exit.OK and "The log is whole: 5 rows in 1 batches." in done.stdout
    key = next(line for line in lines(done.stdout) if line.startswith("Trusted key: ")).removeprefix("Trusted key: ")
    assert (await codemode(folder, "logs", "verify", "--key", key)).returncode == Exit.OK
    other = await codemode(folder, "logs", "verify", "--key", "ab" * 32)
    assert other.returncode == Exit.PROGRAM_FAILED and "is not trusted" in other.stdout
    with closing(sqlite3.connect(folder / "logs.db")) as database, database:
        database.execute("UPDATE calls SET outcome = 'ok' WHERE number = 2")
    done = await codemode(folder, "logs", "verify")
    assert done.returncode == Exit.PROGRAM_FAILED and "a row of batch 1" in done.stdout
    document = json.loads((await codemode(folder, "logs", "verify", "--json")).stdout)
    assert document["whole"] is False and document["rows"] == 5 and document["faults"]


async def test_following_shows_rows_as_they_come(folder: Path) -> None:
    command = ["-u", "-m", "portal.cli", "logs", "--follow", "--json", "-n", "1"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert json.loads(await process.stdout.readline())["at"] == row(5).at
            place = LogPlace(url=f"sqlite:///{folder}/logs.db", folder=folder)
            async with CallLog.open(place) as log:
                log.write(row(6, name="later"))
                await log.stored()
                assert json.loads(await process.stdout.readline())["name"] == "later"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize(
    ("portal", "words"),
    [
        ({}, "has no log"),
        ({"logs": {"enabled": False}, "state": "sqlite:///state.db"}, "has no log"),
        ({"logs": {"database": "sqlite:///none.db"}}, "there is no log yet"),
        ({"logs": {"database": "mysql://x/y"}}, "there is no log in 'mysql'"),
    ],
)
def test_without_a_log_the_command_says_what_to_do(tmp_path: Path, portal: dict[str, object], words: str) -> None:
    (tmp_path / "codemode.json").write_text(json.dumps({"mcpServers": {}, "portal": portal}))
    for arguments in (["logs"], ["logs", "verify"]):
        done = in_process(tmp_path, *arguments)
        assert done.returncode == Exit.USAGE and words in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["codemode.json"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "yesterday"],
        ["--until", "25h61"],
        ["-n", "0"],
        ["--kind", "tools"],
        ["--outcome", "refused"],
    ],
)
async def test_a_mistake_is_said_in_a_sentence(folder: Path, arguments: list[str]) -> None:
    done = await codemode(folder, "logs", *arguments)
    assert done.returncode == Exit.USAGE and "Traceback" not in done.stderr
    assert (await codemode(folder, "logs", "verify", "--key", "zz")).returncode == Exit.USAGE
