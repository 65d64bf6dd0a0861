"""The messages of `codemode serve`: text on a terminal, events in a log, the same facts in both."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
import structlog
from rich.console import Console

from codemode import CatalogServer
from portal.cli.show.announce import Events, Screens, announcer_for, changed_servers
from portal.cli.show.call_lines import CallLines
from portal.cli.show.console import PortalConsole
from portal.config.config import parse_config
from portal.logs.setup import configure_logging
from portal.servers.snapshot import ServerSnapshot, Snapshot
from portal.upstream import Listing
from stubs import Server

URL = "http://127.0.0.1:8787/mcp"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], _ = before
    root.setLevel(before[1])
    structlog.reset_defaults()


@pytest.fixture
def waiting() -> Snapshot:
    """Two servers that have not answered yet."""
    document = {"mcpServers": {"shop": {"command": "x"}, "desk": {"url": "http://127.0.0.1:1/mcp"}}}
    configs = parse_config(document).servers.values()
    servers = {
        config.id: ServerSnapshot(id=config.id, config=config, catalog=CatalogServer(Server(config.id)))
        for config in configs
    }
    return Snapshot(servers=servers)


@pytest.fixture
def failed(waiting: Snapshot) -> Snapshot:
    """One of them has failed."""
    shop = replace(waiting.servers["shop"], state="error", reason="no such program")
    return replace(waiting, version=waiting.version + 1, servers={**waiting.servers, "shop": shop})


def screen() -> Console:
    return PortalConsole(file=io.StringIO(), force_terminal=True, color_system=None, width=120)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def log(level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level=level, terminal=False, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_only_what_differs_is_news(waiting: Snapshot, failed: Snapshot) -> None:
    assert changed_servers(waiting, waiting) == []
    assert [server.id for server in changed_servers(waiting, failed)] == ["shop"]
    assert [server.id for server in changed_servers(replace(waiting, servers={}), waiting)] == ["shop", "desk"]
    listed = replace(waiting.servers["shop"], listing=Listing(tools=({"name": "a"},)))
    assert changed_servers(waiting, replace(waiting, servers={"shop": listed})) == [listed]


def test_a_screen_shows_how_to_connect_then_the_servers_then_changes(waiting: Snapshot, failed: Snapshot) -> None:
    console = screen()
    shows = Screens(console)
    with shows.preparing():
        shows.prepared(2.0, {"landlock": "this kernel has none"})
        shows.listening(URL, {"Docs": [f"{URL}/docs"]})
        shows.servers_changed(waiting, failed)
        assert "no such program" not in shown(console)
        shows.settled(failed)
        shows.servers_changed(waiting, failed)
        shows.reload_waits(["portal.port"])
        shows.reload_refused("codemode.json: wrong")
    text = shown(console)
    order = ["compiled and cached", "landlock", f"Listening on {URL}", "Docs", "claude mcp add", "no such program"]
    assert [part for part in order if part not in text] == []
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert "Taken up at the next start: portal.port" in text
    assert "shop: error, no such program" in text and "codemode.json: wrong" in text


def test_a_line_to_paste_is_never_broken() -> None:
    console = PortalConsole(file=io.StringIO(), width=40)
    Screens(console).listening(URL, {})
    pasted = [line for line in shown(console).split("\n") if "claude mcp add" in line]
    assert pasted == [f"  claude mcp add --transport http codemode '{URL}?codemode=search_and_execute'"]


def test_events_carry_the_same_facts_as_fields(waiting: Snapshot, failed: Snapshot) -> None:
    stream = log()
    shows = Events(structlog.get_logger())
    shows.listening(URL, {})
    shows.servers_changed(waiting, failed)
    shows.settled(failed)
    listening, server, settled = lines(stream)
    assert (listening["event"], listening["url"], listening["level"]) == ("listening", URL, "info")
    assert (server["server"], server["state"], server["reason"], server["level"]) == (
        "shop",
        "error",
        "no such program",
        "warning",
    )
    assert settled["states"] == {"shop": "error", "desk": "waiting"}


def test_a_terminal_gets_screens_and_a_pipe_events() -> None:
    logger = structlog.get_logger()
    assert isinstance(announcer_for(screen(), logger), Screens)
    assert isinstance(announcer_for(PortalConsole(file=io.StringIO()), logger), Events)


def test_the_standard_librarys_loggers_come_out_in_the_same_form() -> None:
    stream = log()
    logging.getLogger("uvicorn.error").info("repeats what the portal says")
    logging.getLogger("some.library").warning("worth %s", "knowing")
    [line] = lines(stream)
    assert (line["event"], line["level"]) == ("worth knowing", "warning")


def test_a_call_is_one_line_for_people_and_the_record_itself_for_machines() -> None:
    record = (
        b'{"event":"call","time":"2026-06-30T12:00:01Z","server":"shop","kind":"tool","name":"get_order","duration_ms":3.2,'
        b'"outcome":"tool_error","run_id":"run_1"}\n'
    )
    console, stream = screen(), io.StringIO()
    CallLines(stream, console).write(record)
    CallLines(stream, None).write(record)
    assert shown(console) == "12:00:01 tool_error  shop.get_order 3.2 ms  run run_1\n"
    assert json.loads(stream.getvalue())["name"] == "get_order"


def test_dropped_records_are_told() -> None:
    console = screen()
    CallLines(io.StringIO(), console).write(b'{"event":"calls_dropped","count":7}\n')
    assert "calls_dropped" in shown(console) and "7" in shown(console)
