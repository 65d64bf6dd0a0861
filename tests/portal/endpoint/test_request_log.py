"""A request has one row, or those of its calls and its run, whatever happens to it on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.endpoint import express
from tests.patience import PATIENCE
from tests.portal.endpoint.test_params import INITIALIZE, Poster
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Heard, KeptEvents, client_of, portal_over
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
ACCEPT = types.ElicitResult(action="accept", content={})
BEGINS = ("request", "initialize", "", "ok")
LISTS = ("request", "tools/list", "", "ok")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def besides(events: KeptEvents) -> list[tuple[str, str, str, str]]:
    """What clients have not done by themselves: they begin, and ask for the schema of what they have called."""
    return [said for said in events.said if said not in (BEGINS, LISTS)]


@both
async def test_a_call_that_asks_its_person_has_the_row_of_the_call_alone(mode: str, code_tool: CodeTool) -> None:
    events, heard = KeptEvents(), Heard(ACCEPT)
    async with (
        hosted(Behaviour()) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool, events=events) as portal,
    ):
        async with client_of(portal.mcp, mode, elicitation_callback=heard.elicit) as client:
            await client.call_tool("one_ask", {"text": "your name?"})
        async with client_of(portal.code, mode, elicitation_callback=heard.elicit) as client:
            await client.call_tool("code", {"code": "return await codemode.one.ask({text: 'may I?'})"})
        assert len(heard.of("question")) == 2 and len(portal.kept.runs) == 1
        assert {(row.name, row.outcome) for row in portal.kept.records} == {("ask", "ok")}
    assert besides(events) == []


@both
async def test_a_call_that_its_client_gives_up_has_the_row_of_the_call_alone(mode: str, code_tool: CodeTool) -> None:
    events = KeptEvents()
    program = {"code": "return await codemode.one.hang({text: ''})"}
    async with (
        hosted(Behaviour()) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool, events=events) as portal,
    ):
        journal = upstream.upstream.journal
        for number, (url, name, arguments) in enumerate(
            ((portal.mcp, "one_hang", {"text": ""}), (portal.code, "code", program)), 1
        ):
            async with client_of(url, mode) as client:
                call = asyncio.create_task(client.call_tool(name, arguments))
                await journal.wait("call hang", number)
                call.cancel()
                await journal.wait("cancelled hang", number)
    # The portal has ended, and with it whatever it was still doing.
    assert [row.outcome for row in portal.kept.records] == ["cancelled"] * 2
    assert [row.outcome for row in portal.kept.runs] == ["cancelled"]
    assert besides(events) == []


@both
async def test_both_ways_of_a_request_write_the_same_row(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = []
    for short in (True, False):
        events = KeptEvents()
        if not short:
            monkeypatch.setattr(express, "recognise", lambda headers, body: None)
        async with (
            hosted(Behaviour()) as upstream,
            portal_over({"one": upstream}, events=events) as portal,
            client_of(portal.mcp, mode) as client,
        ):
            await client.list_tools()
            with pytest.raises(MCPError):
                await client.call_tool("nothing", {})
        rows.append([row._replace(at=0, us=0, session="", bytes_out=0) for row in events.rows])
        assert all((row.session != "") == (mode == LEGACY) for row in events.rows)
        assert [row.bytes_out > 1000 for row in events.rows if row.method == "tools/list"] == [True]
    assert rows[0] == rows[1]


async def test_a_request_whose_params_do_not_fit_or_whose_method_is_none_is_a_refusal_of_its_client() -> None:
    events = KeptEvents()
    async with (
        hosted(Behaviour()) as upstream,
        portal_over({"one": upstream}, events=events) as portal,
        httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as http,
    ):
        poster = Poster(http, portal.mcp)
        await poster.post("initialize", {**INITIALIZE, "clientInfo": {"name": "agent", "version": "1"}})
        assert "error" in await poster.post("tools/call", {"name": 5})
        assert "error" in await poster.post("tools/mend", {})
    assert events.said == [
        BEGINS,
        ("refusal", "tools/call", "", "error"),
        ("refusal", "tools/mend", "", "error"),
    ]
    assert [row.reason for row in events.rows] == ["", "invalid params", "unknown method"]
    assert {(row.client, row.client_version) for row in events.rows} == {("agent", "1")}
    assert len({row.session for row in events.rows}) == 1 and all(row.session for row in events.rows)


async def test_pings_and_notifications_have_no_row() -> None:
    events = KeptEvents()
    async with (
        hosted(Behaviour()) as upstream,
        portal_over({"one": upstream}, events=events) as portal,
        client_of(portal.mcp, LEGACY) as client,
    ):
        for _ in range(5):
            await client.send_ping()
    assert events.said == [BEGINS]


async def test_what_is_wrong_with_a_program_is_in_its_run(code_tool: CodeTool) -> None:
    events = KeptEvents()
    async with (
        hosted(Behaviour()) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool, events=events) as portal,
        client_of(portal.code, MODERN) as client,
    ):
        assert (await client.call_tool("code", {"code": 5})).is_error
    assert besides(events) == [] and len(portal.kept.runs) == 1
