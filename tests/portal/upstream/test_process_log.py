"""What processes write besides messages is kept in files: bounded, without secrets, and by several portals at once."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from portal.upstream import ProcessLine, ProcessLogReader, ProcessLogs
from portal.upstream.process_log import FILE_BYTES, WAITING_LINES
from tests.patience import PATIENCE
from tests.portal.upstreams.hosting import stdio_entry
from tests.portal.upstreams.watching import ready, watched

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def shell(text: str, **settings: Any) -> dict[str, Any]:
    return {"command": "sh", "args": ["-c", text], **settings}


def lines_of(folder: Path, count: int = 10_000) -> list[ProcessLine]:
    reader = ProcessLogReader(folder, "up")
    try:
        return reader.newest(count)
    finally:
        reader.close()


async def kept(folder: Path, entry: dict[str, Any], **settings: Any) -> list[ProcessLine]:
    """The log after a server has failed once."""
    async with ProcessLogs(folder) as logs, watched(entry, options={"logs": logs}, **settings) as up:
        await up.until(lambda connection: connection.state == "error")
    return lines_of(folder)


async def test_both_outputs_the_start_and_the_end_of_a_process_are_kept(tmp_path: Path) -> None:
    lines = await kept(tmp_path, shell("echo on stdout; echo on stderr >&2; printf 'a question? ' >&2; exit 3"))
    first = [line for line in lines if line.pid == lines[0].pid]
    assert [line.kind for line in first][0] == "start" and first[0].text == "sh"
    assert {(line.kind, line.text) for line in first} >= {
        ("stdout", "on stdout"),
        ("stderr", "on stderr"),
        ("stderr", "a question?"),
        ("end", "exited with status 3"),
    }


async def test_a_program_that_is_not_there_is_kept_as_such(tmp_path: Path) -> None:
    lines = await kept(tmp_path, {"command": "no-such-program-anywhere"})
    assert [(line.kind, line.pid) for line in lines][:1] == [("failed", None)]
    assert "No such file" in lines[0].text


async def test_a_server_that_works_and_is_closed_says_so(tmp_path: Path) -> None:
    async with ProcessLogs(tmp_path) as logs, ready(stdio_entry(), options={"logs": logs}):
        pass
    assert [line.kind for line in lines_of(tmp_path) if line.kind in ("start", "end")] == ["start", "end"]
    assert "when the portal closed it" in lines_of(tmp_path)[-1].text


async def test_folder_and_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "servers"
    await kept(folder, shell("exit 1"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "up.log").stat().st_mode) == 0o600


SECRET = "hunter2-hunter2-hunter2"
KEY = "-----BEGIN KEY-----\nabcdefghijklmnop\nqrstuvwxyzabcdef\n-----END KEY-----"
SECRETS = """import os, sys
secret, key = os.environ["TOKEN"], os.environ["KEY"]
def say(text): os.write(2, text.encode())
say(secret[:9]); say(secret[9:] + "\\n")
say("\\x1b[1mcol\\x1b[0mour " + secret[:4] + "\\x1b[31m" + secret[4:] + "\\n")
say(key + "\\n")
for at in range(505, 516):
    say("x" * at + secret + "y" * 70000 + secret + "z" * (1020 - at) + "\\n")
say("last " + secret)
sys.exit(1)
"""


async def test_no_secret_is_kept_however_it_was_written(tmp_path: Path) -> None:
    env = {"TOKEN": SECRET, "KEY": KEY}
    lines = await kept(tmp_path, {"command": sys.executable, "args": ["-c", SECRETS], "env": env})
    text = "\n".join(line.text for line in lines)
    assert "[redacted]" in text and "last [redacted]" in text and "colour [redacted]" in text
    raw = (tmp_path / "up.log").read_text()
    for part in ("unter2", "hunter", "abcdefghij", "qrstuv"):
        assert part not in raw


async def test_nothing_that_is_kept_controls_a_terminal(tmp_path: Path) -> None:
    said = r"printf '\033[31mred\033[0m \033]0;title\007 back\b \302\233 \342\200\256turned\n' >&2; exit 1"
    lines = await kept(tmp_path, shell(said))
    text = next(line.text for line in lines if line.kind == "stderr")
    assert text.startswith("red ") and "title" not in text and "turned" in text
    assert text.isprintable()


FLOOD = """import os, sys
lines = b"".join(b"line %d of a flood of lines\\n" % n for n in range(1000))
for _ in range(300): os.write(2, lines)
os.write(2, b"the last one\\n")
sys.exit(1)
"""


async def test_a_flood_is_bounded_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    lines = await kept(tmp_path, {"command": sys.executable, "args": ["-c", FLOOD]})
    first = [line for line in lines if line.pid == lines[0].pid]
    left_out = sum(int(line.text) for line in first if line.kind == "dropped")
    whole = [line for line in first if line.kind == "stderr"]
    assert "the last one" in [line.text for line in whole]
    assert left_out + len(whole) == 300_001, "nothing is lost without a word"
    assert left_out and sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * FILE_BYTES + 65_536


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("portal.upstream.process_log.FILE_BYTES", 20_000)
    monkeypatch.setattr("portal.upstream.process_log.WRITE_SECONDS", 0.001)
    return 20_000


async def written(folder: Path, enough: Callable[[list[ProcessLine]], bool]) -> list[ProcessLine]:
    async with asyncio.timeout(PATIENCE):
        while not enough(lines := await asyncio.to_thread(lines_of, folder)):
            pass
    return lines


async def test_a_full_file_becomes_the_former_one_and_no_more_than_these_two_are_kept(
    tmp_path: Path, small_files: int
) -> None:
    async with ProcessLogs(tmp_path) as logs:
        log = logs.of("up")
        log.started(1, "sh")
        for number in range(100):
            log.wrote("stderr", [b"%d " % number + b"x" * 900])
            await written(tmp_path, lambda lines, n=number: bool(lines) and lines[-1].text.startswith(f"{n} "))  # type: ignore[misc]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["up.log", "up.log.1"]
    assert all(file.stat().st_size <= small_files for file in tmp_path.iterdir())
    numbers = [int(line.text.split()[0]) for line in lines_of(tmp_path)]
    assert numbers == list(range(numbers[0], 100)), "the newest, without a gap"


async def test_two_portals_keep_the_lines_of_both(tmp_path: Path, small_files: int) -> None:
    async with ProcessLogs(tmp_path) as one, ProcessLogs(tmp_path) as other:
        both = one.of("up"), other.of("up")
        for pid, log in enumerate(both, 1):
            log.started(pid, "sh")
        for number in range(60):
            for log in both:
                log.wrote("stderr", [b"%d " % number + b"x" * 500])
            await written(
                tmp_path,
                lambda lines, n=number: (  # type: ignore[misc]
                    {line.pid for line in lines if line.text.startswith(f"{n} ")} == {1, 2}
                ),
            )
    assert all(file.stat().st_size <= small_files + 1000 for file in tmp_path.iterdir())


async def test_following_goes_on_over_restarts_and_full_files(tmp_path: Path, small_files: int) -> None:
    reader, seen = ProcessLogReader(tmp_path, "up"), list[str]()
    assert reader.newest(10) == []
    for start in range(3):
        async with ProcessLogs(tmp_path) as logs:
            log = logs.of("up")
            log.started(start, "sh")
            for number in range(15):
                log.wrote("stderr", [b"%d.%d " % (start, number) + b"x" * 900])
                async with asyncio.timeout(PATIENCE):
                    while not (seen and seen[-1].startswith(f"{start}.{number} ")):
                        seen += [line.text for line in await asyncio.to_thread(lambda: list(reader.more()))]
    reader.close()
    told = [text.split()[0] for text in seen if "." in text]
    assert told == [f"{start}.{number}" for start in range(3) for number in range(15)]
    assert seen.count("sh") == 3


async def test_half_a_line_of_a_full_disk_costs_only_itself(tmp_path: Path) -> None:
    await kept(tmp_path, shell("echo before >&2; exit 1"))
    with (tmp_path / "up.log").open("ab") as file:
        file.write(b'{"at": 1, "pid": \n[]\n{"at": 1, "pid": 2, "kind": "other", "text": ""}\n')
        # A moment that has no date, as in a file that somebody else wrote.
        file.write(b'{"at": 253402300800000, "pid": 2, "kind": "stderr", "text": "late"}\n')
        file.write(b'{"at": -1, "pid": 2, "kind": "stderr", "text": "early"}\n')
    await kept(tmp_path, shell("echo after >&2; exit 1"))
    texts = [line.text for line in lines_of(tmp_path)]
    assert "before" in texts and "after" in texts and not {"late", "early"} & set(texts)


async def test_the_folders_that_are_made_above_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await kept(tmp_path / "state" / "portal" / "servers", shell("exit 1"))
    finally:
        os.umask(before)
    for folder in ("state", "state/portal", "state/portal/servers"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


async def test_nothing_is_kept_in_a_folder_or_file_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "up.log").touch()
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    with structlog.testing.capture_logs() as said:
        await kept(tmp_path, shell("echo for its user alone >&2; exit 1"))
    assert [one["reason"] for one in said] == ["the folder belongs to another user"]
    assert (tmp_path / "up.log").read_bytes() == b""


@pytest.mark.parametrize("obstacle", ["folder", "pipe", "link"])
async def test_a_place_that_cannot_be_written_to_keeps_no_server_from_running(tmp_path: Path, obstacle: str) -> None:
    folder, elsewhere = tmp_path / "servers", tmp_path / "elsewhere"
    if obstacle == "folder":
        folder.write_text("a file")
    else:
        folder.mkdir()
        elsewhere.write_text("of somebody")
        os.mkfifo(folder / "up.log") if obstacle == "pipe" else (folder / "up.log").symlink_to(elsewhere)
    with structlog.testing.capture_logs() as said:
        async with ProcessLogs(folder) as logs, ready(stdio_entry(), options={"logs": logs}) as up:
            assert await up.text("echo", "fine") == "fine"
    assert [one["event"] for one in said] == ["what a server writes cannot be kept"]
    assert obstacle != "link" or elsewhere.read_text() == "of somebody"


async def test_what_waits_for_the_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.upstream.process_log.WRITE_SECONDS", PATIENCE)
    async with ProcessLogs(tmp_path) as logs:
        log = logs.of("up")
        log.started(1, "sh")
        for number in range(5 * WAITING_LINES):
            log.wrote("stdout", [b"line %d" % number])
    lines = lines_of(tmp_path)
    assert lines[0].kind == "start"
    assert (lines[1].kind, lines[1].text) == ("dropped", str(4 * WAITING_LINES))
    assert lines[-1].text == f"line {5 * WAITING_LINES - 1}"
