"""What the operator wrote into the configuration in confidence reaches no client, no log and no health page."""

from __future__ import annotations

import io
import json
import logging
from base64 import b64encode
from collections.abc import Iterator

import pytest
import structlog

from portal.logs.setup import configure_logging
from tests.end_to_end.whole import LEGACY, MODERN, Raw, whole
from tests.portal.upstreams.hosting import real_stdio_entry
from tests.portal.upstreams.raw import Exchange, raw_upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
HEADER, TOKEN, USER, PASSWORD = "header-4711-secret", "token-0815-secret", "user-1234-secret", "p%40ss-9876-secret"
QUERY, ENVIRONMENT, ARGUMENT = "query-5555-secret", "env-7777-secret", "argument-8888-secret"
BASIC = b64encode(f"{USER}:{PASSWORD.replace('%40', '@')}".encode()).decode()
SECRETS = (HEADER, TOKEN, USER, PASSWORD, PASSWORD.replace("%40", "@"), QUERY, ENVIRONMENT, ARGUMENT, BASIC)
FAILURES = ("html", "rpc", "data", "status", "status json", "garbage", "cut", "event", "redirect", "huge")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that `codemode serve` would log, at its most talkative."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    written = io.StringIO()
    configure_logging(level="debug", terminal=False, stream=written)
    yield written
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


async def telltale(exchange: Exchange) -> None:
    """Repeat everything the portal sent, in the way of failing that the arguments ask for."""
    told = json.dumps({"headers": dict(exchange.headers), "path": exchange.path})
    how = exchange.message["params"]["arguments"]["how"]
    match how:
        case "html":
            await exchange.answer(f"<h1>{told}</h1>".encode(), kind="text/html")
        case "rpc":
            await exchange.error(-32000, told)
        case "data":
            error = {"code": -32000, "message": "no", "data": {"request": [json.loads(told), told]}}
            await exchange.answer(json.dumps({"jsonrpc": "2.0", "id": exchange.id, "error": error}).encode())
        case "status":
            await exchange.answer(told.encode(), status=500, kind="text/plain")
        case "status json":
            await exchange.error(-32001, told, status=400)
        case "garbage":
            await exchange.answer(f"{{ {told}".encode())
        case "cut":
            await exchange.head(200, "content-type: application/json", "content-length: 100000")
            await exchange.send(told.encode())
            exchange.abort()
        case "event":
            await exchange.stream()
            await exchange.event(told)
            exchange.close()
        case "redirect":
            await exchange.answer(told.encode(), status=302, also=f"location: http://127.0.0.1:9/{TOKEN}?key={QUERY}")
        case "huge":
            await exchange.answer((told * 50_000).encode())


@pytest.mark.parametrize("version", [MODERN, LEGACY])
async def test_no_secret_leaves_the_portal_however_a_server_fails(version: str, log: io.StringIO) -> None:
    async with raw_upstream(telltale) as upstream:
        address = upstream.url.removeprefix("http://")
        entries = {
            "web": {
                "url": f"http://{USER}:{PASSWORD}@{address}?key={QUERY}",
                "headers": {"X-Api-Key": HEADER, "X-Other": f"Bearer {TOKEN}"},
            },
            "gone": {"url": f"http://{USER}:{PASSWORD}@127.0.0.1:9/mcp?key={QUERY}", "headers": {"X-Api-Key": HEADER}},
            "none": {"command": "no-such-program", "args": ["--token", ARGUMENT], "env": {"KEY": ENVIRONMENT}},
        }
        async with whole(entries) as portal:
            said: list[str] = []
            async with Raw(portal.code, version) as code, Raw(portal.mcp, version) as plain:
                for how in FAILURES:
                    params = {"name": "web_echo", "arguments": {"how": how}}
                    said.append((await plain.post("tools/call", params)).text)
                    program = f"""
                        try {{ await codemode.web.echo({{how: {how!r}}}) }}
                        catch (e) {{ return [e.name, e.message, e.code ?? null, e.data ?? null, String(e.stack)] }}
                    """
                    found = await code.run(program)
                    assert found["result"][0] == "ToolError", found
                    said.append(json.dumps(found))
                    said.append(json.dumps(await code.run(f"return await codemode.web.echo({{how: {how!r}}})")))
                looks = ("codemode.describe('gone')", "codemode.search('')", "codemode.tools()", "codemode.gone.x()")
                said += [json.dumps(await code.run(f"return await {look}")) for look in looks]
                said.append((await code.post("tools/list", {})).text)
                said.append((await plain.post("tools/list", {})).text)
                assert len(upstream.calls) == 3 * len(FAILURES)
            said.append(json.dumps(await portal.health()))
            said.append(repr(portal.instance.servers.snapshot))
    said.append(b"".join(portal.sink.lines).decode())
    said.append(log.getvalue())
    seen = json.dumps(dict(upstream.calls[0].headers)) + upstream.calls[0].path
    assert all(secret in seen for secret in (HEADER, TOKEN, BASIC, QUERY))  # the upstream did have them
    leaks = [
        (secret, text[max(0, text.index(secret) - 200) :][:400])
        for text in said
        for secret in SECRETS
        if secret in text
    ]
    assert leaks == []


async def test_a_process_that_dies_shouting_its_environment_and_arguments_is_not_quoted(log: io.StringIO) -> None:
    shouting = "import os, sys; sys.exit(' '.join([os.environ['KEY'], *sys.argv]))"
    entry = real_stdio_entry()
    entries = {
        "shouts": {
            "command": entry["command"],
            "args": ["-c", shouting, f"--api-key={ARGUMENT}", "--password", PASSWORD],
            "env": {"KEY": ENVIRONMENT},
        }
    }
    async with whole(entries) as portal, Raw(portal.code) as raw:
        said = [(await raw.post("tools/list", {})).text, json.dumps(await portal.health())]
        assert "shouts" in said[0]
    said.append(log.getvalue())
    assert [secret for secret in SECRETS if any(secret in text for text in said)] == []
