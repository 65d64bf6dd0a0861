"""Of secrets that a gateway stops, nothing is left anywhere but where they came from: every byte is searched.

`codemode serve` has everything on that writes something down: identity, the log with kept contents, lines at their most
talkative, exports to a collector and to a file, traces, numbers. Secrets go out and come in, in and outside programs.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from portal.dlp import rules_folder
from tests.clients.serving import Served, serving
from tests.deep import times
from tests.end_to_end.leaking import (
    ANSWERS,
    ARGUMENTS,
    REQUESTS,
    RESULTS,
    WAYS,
    Message,
    Sought,
    Teller,
    at_server,
    calling,
    invented,
    labelled,
    leaks,
    literal,
)
from tests.forked import finished
from tests.patience import PATIENCE
from tests.portal.export.receivers import Receiver as Collector
from tests.portal.export.receivers import receiver
from tests.portal.login.browser import browser_at
from tests.portal.oauth.agent import Agent
from tests.portal.oauth.test_served import META, Address, claim
from tests.portal.observe.receiver import Receiver, receiving
from tests.portal.upstreams.raw import Raw, raw_upstream

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]
_ZEROS = re.compile(rb"\0{64,}")
METRICS = "a-token-for-the-metrics-0815"
FIELDS = (
    *("RowID", "Datetime", "Error", "Method", "PromptGetName", "ResourceReadURI", "ServerID", "ServerURL", "SessionID"),
    *("ToolCallName", "UserEmail", "UserID", "ClientName", "Findings", "Kind", "Labels", "Name", "Outcome", "Policy"),
)
CREDENTIALS = 'any(dlp.profiles[*] in {"credentials"})'
BLOCKS, REDACTS, NOTES = "blocks", "redacts", "notes"
SERVERS = (BLOCKS, REDACTS, NOTES)


def rules() -> list[dict[str, Any]]:
    """What is done about secrets on the way to and from each server, and in the text of programs."""
    return [
        {"name": "note", "action": "log", "traffic": f'{CREDENTIALS} and mcp.server.id == "{NOTES}"'},
        {"name": "take out", "action": "redact", "traffic": f'{CREDENTIALS} and mcp.server.id == "{REDACTS}"'},
        {"name": "block", "action": "block", "traffic": f'{CREDENTIALS} and not mcp.server.id in {{"{NOTES}"}}'},
    ]


@dataclass
class Busy:
    """A served portal, and what is around it."""

    folder: Path
    served: Served
    address: Address
    agent: Agent
    upstreams: dict[str, Raw]
    teller: Teller
    collector: Collector
    spans: Receiver
    account: str = ""
    api: str = ""
    answers: dict[str, bytes] = field(default_factory=dict)
    """What the client was answered, by what it asked."""

    async def send(self, label: str, message: Message, url: str = "", *, trace: str = "") -> None:
        method, params = message
        named = params.get("name", params.get("uri"))
        meta = {**META, "progressToken": label, "io.modelcontextprotocol/logLevel": "debug"}
        if trace:
            meta["traceparent"] = f"00-{trace}-00f067aa0ba902b7-01"
        answer = await self.agent.http.post(
            url or self.address.mcp,
            json={"jsonrpc": "2.0", "id": label, "method": method, "params": {**params, "_meta": meta}},
            headers={
                "Accept": "application/json, text/event-stream",
                "Authorization": f"Bearer {self.agent.tokens['access_token']}",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": method,
                **({"Mcp-Name": named} if named is not None else {}),
            },
            timeout=PATIENCE,
        )
        said = f"{answer.status_code} {dict(answer.headers)}\n".encode() + answer.content
        self.answers[label] = self.answers.get(label, b"") + said

    async def run(self, label: str, program: str) -> None:
        await self.send(
            label,
            ("tools/call", {"name": "code", "arguments": {"code": program}}),
            f"{self.address.mcp}?codemode=search_and_execute",
        )


def document(folder: Path, upstreams: dict[str, Raw], spans: str, *, gateway: bool) -> dict[str, Any]:
    return {
        "mcpServers": {name: {"url": raw.url} for name, raw in upstreams.items()},
        "portal": {
            "state": f"sqlite:///{folder}/state/state.db",
            "identity": {},
            "logLevel": "debug",
            "logs": {"contents": {"calls": [{"server": "*", "arguments": True, "results": True}]}},
            "traces": {"endpoint": spans, "sample": 1},
            "metrics": {"token": METRICS},
            "exports": {"allowPrivate": True, "folders": [f"{folder}/exported"]},
            "secureWebGateway": gateway,
            "gateway": {"rules": rules()},
        },
    }


@asynccontextmanager
async def busy(folder: Path, secrets: list[Sought], *, gateway: bool = True) -> AsyncIterator[Busy]:
    (folder / "state").mkdir()
    teller = Teller(secrets)
    async with AsyncExitStack() as stack:
        upstreams = {name: await stack.enter_async_context(raw_upstream(teller)) for name in SERVERS}
        for raw in upstreams.values():
            teller.prepare(raw)
        collector = await stack.enter_async_context(receiver())
        spans = await stack.enter_async_context(receiving())
        config = document(folder, upstreams, spans.url, gateway=gateway)
        served = stack.enter_context(serving(config, folder))
        address = Address(served.url)
        browser = await stack.enter_async_context(browser_at(address.url))
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        agent = Agent(address, http)  # type: ignore[arg-type]
        await claim(served, browser)
        await agent.log_in(browser)
        made = await asyncio.to_thread(
            finished, "api-token", "ci", "--state", config["portal"]["state"], environment={"COLUMNS": "200"}
        )
        account = made.stderr.split("account ")[1].split(";")[0].strip()
        portal = Busy(folder, served, address, agent, upstreams, teller, collector, spans, account, made.stdout.strip())
        for destination in (f"{collector.url}/in", f"file://{folder}/exported"):
            body = {
                "destination_conf": destination,
                "enabled": True,
                "output_options": {"field_names": [*FIELDS]},
            }
            await admin(portal, "logpush/jobs", body)
        yield portal


async def admin(portal: Busy, path: str, body: object = None) -> bytes:
    """What the admin API answers."""
    url = f"{portal.address.url}/client/v4/accounts/{portal.account}/{path}"
    answer = await portal.agent.http.request(
        "GET" if body is None else "POST",
        url,
        headers={"Authorization": f"Bearer {portal.api}"},
        timeout=PATIENCE,
        json=body,
    )
    assert answer.is_success, answer.text
    return answer.content


async def send_everything(portal: Busy, secrets: list[Sought], few: int, servers: Sequence[str]) -> None:
    """All kinds of calls with a few secrets, and some kinds with all of them. What is told to `notes` has its label."""
    turns = iter(range(1_000_000))

    def some() -> Sought:
        return secrets[next(turns) % few]

    for server in servers:
        for kind, made in ARGUMENTS.items():
            arguments = made(some())
            await portal.send(
                f"{server} out {kind}", ("tools/call", {"name": f"{server}_take", "arguments": arguments})
            )
            for caught in (True, False):
                await portal.run(f"{server} out {kind} in a program", calling(server, "take", arguments, caught=caught))
        for kind, message in REQUESTS.items():
            await portal.send(f"{server} out {kind}", message(server, some()))
        for how in (*RESULTS, *WAYS):
            asked = {"how": how, "which": next(turns) % few}
            await portal.send(f"{server} in {how}", ("tools/call", {"name": f"{server}_tell", "arguments": asked}))
            for caught in (True, False):
                await portal.run(f"{server} in {how} in a program", calling(server, "tell", asked, caught=caught))
        for kind, (method, params) in ANSWERS.items():
            portal.teller.next = next(turns) % few
            await portal.send(f"{server} in {kind}", (method, at_server(server, params)))
        for number, one in enumerate(secrets):
            await portal.send(
                f"{server} out", ("tools/call", {"name": f"{server}_take", "arguments": {"text": one.text}})
            )
            asked = {"how": "text", "which": number}
            await portal.send(f"{server} in", ("tools/call", {"name": f"{server}_tell", "arguments": asked}))
    await stray(portal, some)
    for one in secrets:
        await portal.run("program", f"const s = {json.dumps(one.text)}; return await codemode.{NOTES}.take({{}})")


async def stray(portal: Busy, some: Callable[[], Sought]) -> None:
    """What no call is made with: names of what is not there, and what a program says of itself."""
    for server in SERVERS:
        one = some().secret
        await portal.send("stray tool", ("tools/call", {"name": f"{server}_{one}", "arguments": {}}))
        await portal.send("stray prompt", ("prompts/get", {"name": f"{server}_{one}"}))
        await portal.send("stray resource", ("resources/read", {"uri": f"mcp-server://{one}/a"}))
        await portal.send("stray scheme", ("resources/read", {"uri": f"nobody://{quote(one, '')}"}))
        await portal.send("stray completion", ("completion/complete", {"ref": {"type": "ref/prompt", "name": one}}))
        await portal.send("stray method", (one, {}))
        await portal.send("stray level", ("logging/setLevel", {"level": one}))
        await portal.send("stray argument", ("tools/call", {"name": f"{server}_number", "arguments": {"n": one}}))
        await portal.send("stray query", ("tools/list", {}), f"{portal.address.mcp}?codemode={quote(one, '')}")
        await portal.send("stray path", ("tools/list", {}), f"{portal.address.url}/{quote(one, '')}/mcp")
        for program in (
            f"throw Object.assign(new Error({literal(one)}), {{name: {literal(one)}}})",
            f"throw {literal(one)}",
            f"console.log({literal(one)}); return codemode[{literal(one)}].take({{}})",
            f"return await codemode.{server}[{literal(one)}]({{}})",
            f"return await codemode.{server}.number({{n: {literal(one)}}})",
            f"return await codemode.search({literal(one)})",
            f"return await codemode.describe({literal(one)})",
        ):
            await portal.run("stray program", program)


LAST = "4bf92f3577b34da6a3ce929d0e0e4736"
"""The trace of the last call."""


async def everywhere(portal: Busy) -> dict[str, bytes]:
    """All that there is outside, by place: read while the portal runs."""
    places: dict[str, bytes] = {}
    await portal.send(f"{NOTES} last", ("tools/call", {"name": f"{NOTES}_take", "arguments": {}}), trace=LAST)
    logs = "access/ai-controls/mcp/logs"
    async with asyncio.timeout(PATIENCE):
        while not (last := json.loads(await admin(portal, f"{logs}?trace={LAST}"))["result"]):
            pass
    before = ""
    while True:
        text = await admin(portal, f"{logs}?limit=500{before}")
        page = json.loads(text)
        places[f"rows{before}"] = text
        for row in page["result"]:
            if row["kind"] == "run" and row["id"] % 4 == 0:
                places[f"row {row['id']}"] = await admin(portal, f"{logs}/{row['id']}")
        if not page["result_info"]["more"]:
            break
        before = f"&before={page['result_info']['before']}"
    await portal.collector.until(lambda: (ids := portal.collector.ids()) != [] and ids[-1] >= last[0]["id"])
    await portal.spans.until(lambda one: any(span.trace == LAST for span in one.spans))
    for path in ("logpush/jobs", "gateway/rules", "dlp/profiles", "access/ai-controls/mcp/servers"):
        places[f"admin API, {path}"] = await admin(portal, path)
    metrics = await portal.agent.http.get(
        f"{portal.address.url}/metrics", headers={"Authorization": f"Bearer {METRICS}"}
    )
    assert b"codemode_calls_total" in metrics.content
    places["metrics"] = metrics.content
    for path in ("healthz", "readyz"):
        places[path] = (await portal.agent.http.get(f"{portal.address.url}/{path}")).content
    for number, body in enumerate(portal.spans.bodies):
        places[f"spans {number}"] = body
    for number, one in enumerate(portal.collector.requests):
        places[f"export {number}"] = one.text.encode()
    assert portal.spans.faults == []
    return places


def in_files(folder: Path) -> dict[str, bytes]:
    # Most of a journal is empty.
    found = {str(file): _ZEROS.sub(b"\0", file.read_bytes()) for file in folder.rglob("*") if file.is_file()}
    for file in folder.rglob("*.db"):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
                found[f"{file.name} {table}"] = b"\n".join(
                    b"|".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in row) for row in rows
                )
        connection.close()
    return found


async def searched(
    folder: Path, secrets: list[Sought], few: int, *, gateway: bool, servers: Sequence[str] = SERVERS
) -> dict[str, bytes]:
    """What there is after everything was sent, by place; what a client and a server may know is left out."""
    async with busy(folder, secrets, gateway=gateway) as portal:
        await send_everything(portal, secrets, few, servers)
        places = await everywhere(portal)
        places |= {f"file, while it runs: {name}": data for name, data in in_files(folder).items()}
        served, upstreams, answers = portal.served, portal.upstreams, portal.answers
    places |= {f"file: {name}": data for name, data in in_files(folder).items()}
    with pytest.raises(AssertionError, match="the portal ended"):
        while True:
            served.next_event()
    places["lines"] = "\n".join(map(json.dumps, served.events)).encode()
    # A stray request is answered with its own words. What `notes` is sent is meant to pass, and so is what it says.
    for server in (BLOCKS, REDACTS):
        places[f"sent to {server}"] = b"\n".join(
            json.dumps([dict(one.headers), one.path, one.message]).encode() for one in upstreams[server].exchanges
        )
    places |= {f"answer: {label}": text for label, text in answers.items() if not label.startswith((NOTES, "stray"))}
    return places


@pytest.mark.parametrize("step", times(16, 1))
async def test_nothing_is_left_of_secrets_that_the_gateway_stops(tmp_path: Path, step: int) -> None:
    secrets = invented()
    few = len(secrets)
    secrets += (await asyncio.to_thread(labelled, rules_folder()))[::step]
    places = await searched(tmp_path, secrets, few, gateway=True)
    found = leaks(places, secrets)
    assert found == [], "\n".join(f"{place}: {what}" for place, what in found)


async def test_without_the_gateway_the_search_finds_them_in_every_kind_of_place(tmp_path: Path) -> None:
    secrets = invented()[:3]
    found = leaks(await searched(tmp_path, secrets, len(secrets), gateway=False, servers=[BLOCKS]), secrets)
    places = {place.replace(str(tmp_path), "") for place, _ in found}
    for kind in ("rows", "export", "lines", "answer: blocks in text", "answer: blocks in structure", "sent to blocks"):
        assert any(place.startswith(kind) for place in places), (kind, places)
    for end in ("state-logs.db", "state-logs.db calls", ".ndjson"):
        assert any(place.startswith("file") and place.endswith(end) for place in places), (end, places)
