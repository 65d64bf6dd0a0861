"""A portal that is led back to itself says so and goes on without that server, where the document could not show it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from portal.app import Instance, Parts, serving
from portal.config import parse_config
from tests.patience import PATIENCE
from tests.portal.app.proxying import proxied
from tests.portal.cli.command import as_process
from tests.portal.portals import client_of, opened

pytestmark = pytest.mark.anyio

ITSELF = "leads back to this portal itself, and is not served; remove it from the portal"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def state_of(instance: Instance, server: str) -> str:
    """Why a server is not ready, as soon as that is known."""
    async with asyncio.timeout(PATIENCE):
        found = (await instance.servers.settled()).servers[server]
    assert found.state == "error"
    return str(found.reason)


async def with_server(instance: Instance, **entry: Any) -> None:
    """Let the portal take up a server that leads wherever it does."""
    await instance.servers.apply(parse_config({"mcpServers": {"again": entry}}, env={}).servers)


async def test_through_a_proxy_it_finds_itself() -> None:
    async with opened({"mcpServers": {}}, parts=Parts(code=None)) as instance, serving(instance) as url:
        async with proxied(url) as elsewhere:
            await with_server(instance, url=f"{elsewhere}/mcp")
            assert await state_of(instance, "again") == ITSELF


async def test_by_a_path_of_another_portal_of_its_own_it_finds_itself() -> None:
    document: dict[str, Any] = {"mcpServers": {}, "portals": {"docs": {"servers": []}}}
    async with opened(document, parts=Parts(code=None)) as instance, serving(instance) as url:
        async with proxied(url) as elsewhere:
            await with_server(instance, url=f"{elsewhere}/docs/mcp", type="http")
            assert await state_of(instance, "again") == ITSELF


async def test_by_a_redirect_it_finds_itself() -> None:
    async with opened({"mcpServers": {}}, parts=Parts(code=None)) as instance, serving(instance) as url:
        async with proxied(url, moved="/moved") as elsewhere:
            await with_server(instance, url=f"{elsewhere}/moved", type="http")
            assert await state_of(instance, "again") == ITSELF


async def test_by_a_bridge_that_nobody_knows_it_finds_itself(tmp_path: Path) -> None:
    script = tmp_path / "wrapper.sh"
    async with opened({"mcpServers": {}}, parts=Parts(code=None)) as instance, serving(instance) as url:
        script.write_text(f"#!/bin/sh\nexec {sys.executable} -m portal.cli stdio --mode tools --url {url}/mcp\n")
        script.chmod(0o700)
        home = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
        await with_server(instance, command=str(script), env=home)
        assert await state_of(instance, "again") == ITSELF


async def test_of_two_portals_that_name_each_other_the_second_leaves_the_first_out() -> None:
    document: dict[str, Any] = {"mcpServers": {}}
    async with (
        opened(document, parts=Parts(code=None)) as one,
        serving(one) as url_of_one,
        opened(document, parts=Parts(code=None)) as two,
        serving(two) as url_of_two,
    ):
        await with_server(one, url=f"{url_of_two}/mcp")
        assert (await one.servers.settled()).servers["again"].state == "ready"
        await with_server(two, url=f"{url_of_one}/mcp")
        assert await state_of(two, "again") == ITSELF


async def test_a_client_sees_the_mark_in_the_first_answer_of_both_generations() -> None:
    marks = []
    async with opened({"mcpServers": {}}, parts=Parts(code=None)) as instance, serving(instance) as url:
        for mode in ("legacy", "auto"):
            async with client_of(f"{url}/mcp", mode) as client:
                found = client.session.initialize_result if mode == "legacy" else client.session.discover_result
                assert found is not None and found.meta is not None
                marks.append(found.meta["codemode-portal/instances"])
    assert marks[0] == marks[1] and len(marks[0]) == 1


def test_a_document_that_starts_its_own_portal_through_a_script_ends_in_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "start.sh"
    file = tmp_path / "codemode.json"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m portal.cli stdio --config "{file}"\n')
    script.chmod(0o700)
    env = {"PYTHONPATH": str(Path(__file__).parents[3])}
    file.write_text(json.dumps({"mcpServers": {"again": {"command": str(script), "env": env}}}))
    params = {
        "name": "code",
        "arguments": {"code": "return codemode.again.x({})"},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    done = as_process(tmp_path, "stdio", stdin=json.dumps(request) + "\n")
    (answer,) = done.stdout.splitlines()
    assert json.loads(answer)["result"]["structuredContent"]["status"] == "failed"
    assert done.stderr.count("it would start itself without end") == 1
