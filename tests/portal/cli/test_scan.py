"""`codemode scan`, as an operator runs it, over real files."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portal.cli.exits import Exit
from portal.cli.show.sightings import WIDE
from portal.shadow import LogRequest
from tests.portal.cli.command import COLUMNS, as_forked, in_process
from tests.portal.shadow.logs import SECRET, WRITERS, combined, har, nginx, squid_connect

REQUEST = LogRequest(
    host="mcp.example.com",
    path="/mcp",
    method="POST",
    status=200,
    at=1_796_000_000.0,
    address="192.0.2.7",
    user="alice",
    agent="claude-code/2.1 (cli)",
)


def write(folder: Path, *lines: str, name: str = "access.log") -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def found(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def places(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [f"{sighting['host']}{sighting['path'] or ''}" for sighting in found(done)["sightings"]]


def scan(folder: Path, *arguments: str, stdin: str = "", columns: int = COLUMNS) -> subprocess.CompletedProcess[str]:
    return in_process(folder, "scan", *arguments, stdin=stdin, columns=columns)


def test_what_goes_around_the_portals_is_shown_with_who_and_when(tmp_path: Path) -> None:
    write(tmp_path, nginx(REQUEST), nginx(replace(REQUEST, path="/shop", method="GET", host="shop.example.com")))
    done = as_forked(tmp_path, "scan", "access.log")
    assert done.returncode == Exit.PROGRAM_FAILED
    for word in ("likely", "mcp.example.com/mcp", "alice 192.0.2.7", "claude-code/2.1", "2026-11-30 00:53"):
        assert word in done.stdout
    assert "shop.example.com" not in done.stdout
    assert "Around the portals: 1 likely." in done.stdout and "Lines read: 2. Not understood: 0." in done.stdout


def test_nothing_certain_or_likely_ends_with_0(tmp_path: Path) -> None:
    write(tmp_path, squid_connect(REQUEST))
    done = scan(tmp_path, "access.log")
    assert done.returncode == Exit.OK and "possible  mcp.example.com" in done.stdout
    write(tmp_path, combined(replace(REQUEST, path="/")))
    done = scan(tmp_path, "access.log")
    assert done.returncode == Exit.OK and "Around the portals: nothing." in done.stdout


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
@pytest.mark.parametrize("width", [60, WIDE])
def test_no_secret_of_a_log_is_ever_shown(tmp_path: Path, form: Sequence[str], width: int) -> None:
    names = []
    for name, (writer, _) in WRITERS.items():
        names.append(write(tmp_path, writer(REQUEST), name=name).name)
    odd = f"GET /mcp?token={SECRET}", f'{{"authorization": "{SECRET}"}}', f"{SECRET} {SECRET}"
    names.append(write(tmp_path, *odd, name="odd.log").name)
    done = scan(tmp_path, *form, *names, columns=width)
    assert done.returncode == Exit.PROGRAM_FAILED and "tools/call" in done.stdout
    for planted in (SECRET, SECRET[:8], "token", "Bearer"):
        assert planted not in done.stdout + done.stderr


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_a_hostile_user_agent_controls_no_terminal(tmp_path: Path, form: Sequence[str]) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\u202e[bold]claude-code\x9b31m"
    request = replace(REQUEST, agent=hostile, user="al\x1b[31mice")
    write(tmp_path, nginx(request), "\x1b[31mno line \u202e at all")
    done = scan(tmp_path, *form, "access.log")
    assert done.returncode == Exit.PROGRAM_FAILED
    assert [letter for letter in "\x1b\x07\x9b\u202e" if letter in done.stdout + done.stderr] == []
    assert "[bold]" in done.stdout


def test_files_are_recognised_by_themselves_packed_or_not_and_from_standard_input(tmp_path: Path) -> None:
    packed = tmp_path / "old.log.gz"
    packed.write_bytes(gzip.compress(f"{nginx(REQUEST)}\n".encode()) + gzip.compress(f"{nginx(REQUEST)}\n".encode()))
    write(tmp_path, har(replace(REQUEST, path="/other/mcp")), name="traffic.dat")
    done = scan(tmp_path, "--json", "old.log.gz", "traffic.dat", "-", stdin=nginx(replace(REQUEST, path="/third/mcp")))
    assert places(done) == ["mcp.example.com/other/mcp", "mcp.example.com/mcp", "mcp.example.com/third/mcp"]
    assert [file["formats"] for file in found(done)["files"]] == [{"json": 2}, {"har": 1}, {"json": 1}]
    [first, *_] = found(done)["sightings"]
    assert (first["certainty"], first["methods"], first["configured_here"]) == ("certain", ["tools/call"], None)


def test_a_packed_file_that_ends_too_early_says_so(tmp_path: Path) -> None:
    whole = gzip.compress(f"{combined(replace(REQUEST, path='/'))}\n".encode() * 1_000)
    (tmp_path / "cut.log.gz").write_bytes(whole[:-12])
    done = scan(tmp_path, "cut.log.gz")
    assert done.returncode == Exit.USAGE
    assert "cut.log.gz: its end could not be read" in done.stderr


def test_lines_that_are_none_are_counted_and_the_first_shown_by_their_shape(tmp_path: Path) -> None:
    write(tmp_path, "Nov 29 host app: Hello", *["?" * 30] * 20, nginx(REQUEST))
    done = scan(tmp_path, "access.log")
    assert "Lines read: 1. Not understood: 21." in done.stdout
    assert "access.log, line 1 (22 bytes): Aaa 99 aaaa aaa: Aaaaa" in done.stdout
    assert done.stdout.count("(30 bytes)") == 4


def configuration(folder: Path) -> None:
    document = {
        "mcpServers": {"tickets": {"url": "https://tickets.example.com/mcp"}, "files": {"command": "x"}},
        "portal": {"port": 8787},
        "portals": {"docs": {"hostname": "docs.example.com"}},
    }
    (folder / "codemode.json").write_text(json.dumps(document))


def test_traffic_through_the_portals_of_the_configuration_is_counted_and_their_servers_are_named(
    tmp_path: Path,
) -> None:
    configuration(tmp_path)
    through = [replace(REQUEST, host="docs.example.com"), replace(REQUEST, host="agents.example.com")]
    local = nginx(replace(REQUEST, host="localhost")).replace('"localhost"', '"localhost:8787"')
    around = replace(REQUEST, host="tickets.example.com")
    write(tmp_path, *map(nginx, through), local, nginx(around), nginx(replace(around, agent="codemode-portal")))
    done = scan(tmp_path, "access.log", "--portal", "https://agents.example.com/mcp")
    assert done.returncode == Exit.PROGRAM_FAILED and "Using ./codemode.json" in done.stderr
    assert "Configured here, and agents go around the portal: tickets." in done.stdout
    assert "Through the portals: 3 requests." in done.stdout
    assert "By the portals themselves: 1 request." in done.stdout
    done = scan(
        tmp_path, "access.log", "--portal", "https://agents.example.com", "--json", "--portal-address", "192.0.2.7"
    )
    assert (done.returncode, found(done)["by_portals"]) == (Exit.OK, 2)


def test_times_and_hosts_narrow_what_is_shown(tmp_path: Path) -> None:
    requests = [replace(REQUEST, at=at, host=f"mcp.{host}.test") for at, host in ((1_000_000_000, "old"), (2e9, "new"))]
    write(tmp_path, *map(nginx, requests))
    for options, hosts in (
        (("--since", "2026-11-29"), ["mcp.new.test/mcp"]),
        (("--until", "2026-11-29T08:00:00+01:00"), ["mcp.old.test/mcp"]),
        (("--since", "7d", "--until", "1h"), []),
        (("--host", "*.new.test"), ["mcp.new.test/mcp"]),
        (("--host", "mcp.old.test", "--host", "mcp.new.test"), ["mcp.new.test/mcp", "mcp.old.test/mcp"]),
    ):
        done = scan(tmp_path, "access.log", "--json", *options)
        assert places(done) == hosts, options
        assert done.returncode == (Exit.PROGRAM_FAILED if hosts else Exit.OK)


def test_the_host_of_a_log_that_names_none_can_be_said(tmp_path: Path) -> None:
    write(tmp_path, combined(REQUEST))
    assert "?/mcp" in scan(tmp_path, "access.log").stdout
    assert "shop.example.com/mcp" in scan(tmp_path, "access.log", "--site", "shop.example.com").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("missing.log",), "There is no file missing.log."),
        ((".",), ". is a folder"),
        (("packed.log",), "write `zstdcat packed.log | codemode scan -`"),
        (("access.log", "--since", "yesterday"), "--since: 'yesterday' is no time"),
        (("access.log", "--host", "a b"), "--host: 'a b' is no host"),
        (("access.log", "--site", "/"), "--site: '/' is no host"),
        (("access.log", "--portal", "agents.example.com"), "--portal must be a URL such as https://"),
        (("access.log", "--config", "missing.json"), "There is no configuration file missing.json."),
    ],
)
def test_a_mistake_is_2_and_one_sentence(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    write(tmp_path, nginx(REQUEST))
    (tmp_path / "packed.log").write_bytes(b"\x28\xb5\x2f\xfd....")
    done = scan(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("width", [40, 60, 80, WIDE - 1, WIDE, 160])
def test_the_report_fits_the_screen(tmp_path: Path, width: int) -> None:
    long = replace(REQUEST, host=f"mcp.{'a' * 60}.example.com", agent="agent " * 30)
    write(tmp_path, *(nginx(replace(long, user=f"user-{at}")) for at in range(9)), nginx(REQUEST))
    printed = scan(tmp_path, "access.log", columns=width).stdout
    assert max(map(len, printed.splitlines())) <= width
    assert "and others, 6 requests" in " ".join(printed.split())
