"""The servers that a program names, as far as its text shows them."""

from __future__ import annotations

import pytest

from codemode import asks_for_servers, computes_servers, named_servers

SERVERS = ("slow", "my-server", "3d")


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ("await codemode.slow.echo({})", {"slow"}),
        ("await codemode . slow\n  .echo({})", {"slow"}),
        ("await codemode?.slow?.echo({})", {"slow"}),
        ('await codemode["slow"].echo({})', {"slow"}),
        ("await codemode['my-server'].echo({})", {"my-server"}),
        ("await codemode.my_server.echo({})", {"my-server"}),
        ("await codemode._3d.echo({})", {"3d"}),
        ("await codemode.slow_echo({})", {"slow"}),
        ('await codemode["slow_echo"]({})', {"slow"}),
        ("const {slow} = codemode; await slow.echo({})", {"slow"}),
        ("const { up, slow } = codemode", {"slow"}),
        ("await tools.slow.echo({}) // as codemode does", {"slow"}),
        ('const name = "slow"; await tools[name].echo({}) // codemode', {"slow"}),
        ("const c = codemode; await c.slow.echo({})", {"slow"}),
        ("async (tools) => tools.slow.echo({})", {"slow"}),
        ('const name = "slow"; await codemode[name].echo({})', {"slow"}),
        ('await codemode.describe("slow.echo")', {"slow"}),
        ("await codemode.describe(['up.echo', `my_server`])", {"my-server"}),
        ('await codemode.search("echo", {server: "slow"})', {"slow"}),
        ("await codemode.slow.echo({}); await codemode.my_server.echo({})", {"slow", "my-server"}),
        ("await codemode.up.echo({})", set()),
        ("await codemode.slowly.echo({}); await codemode.up.slow({})", set()),
        ('await codemode.up.echo({text: "slow"})', set()),
        ("const r = await codemode.up.echo({}); return r.slow", set()),
        ("return 1 + 2 // slow", set()),
        ("await notcodemode.slow.echo({})", set()),
        ("", set()),
    ],
)
def test_a_server_is_named_as_programs_name_servers(program: str, named: set[str]) -> None:
    assert named_servers(program, SERVERS) == named


@pytest.mark.parametrize(
    ("program", "asks"),
    [
        ('await codemode.search("refund")', True),
        ('await codemode.search(["refund", "post a message"])', True),
        ("await codemode.tools({})", True),
        ("Object.keys(codemode)", True),
        ('"slow" in codemode', True),
        ("for (const name in codemode) {}", True),
        ("const {search} = codemode", True),
        ('await codemode.describe("up.echo")', False),
        ("await codemode.up.search({})", False),
        ("codemode.emit({})", False),
        ("await codemode.up.echo({text: 'no tools'})", False),
        ("await tools.search('refund')", True),
        ("return 1", False),
    ],
)
def test_a_program_asks_what_servers_there_are(program: str, asks: bool) -> None:
    assert asks_for_servers(program) == asks


@pytest.mark.parametrize(
    ("program", "computes"),
    [
        ('const name = ["sl", "ow"].join(""); await codemode[name].echo({})', True),
        ('await codemode["sl" + "ow"].echo({})', True),
        ('await codemode?.["sl" + "ow"].echo({})', True),
        ("await codemode[`${name}`].echo({})", True),
        ("await codemode[input.server][input.tool]({})", True),
        ('await codemode[atob("c2xvdw==") + ".echo"]({})', True),
        ("await tools[path]({})", True),
        ("await codemode.describe(path)", True),
        ("await codemode.describe([path])", True),
        ('const name = "slow"; await codemode[name].echo({})', False),
        ('const path = "up.echo"; await codemode[path]({})', False),
        ("for (const [server, tool] of [['up', 'echo']]) await codemode[server][tool]({})", False),
        ('await codemode["slow_" + tool]({})', False),
        ('await codemode["up"].echo({}); await codemode[name].echo({})', True),
        ('await codemode["up"].echo({})', False),
        ("await codemode.up[tool]({})", False),
        ('await codemode.describe("up.echo")', False),
        ("const tools = await codemode.up.list({}); return tools[at]", False),
        ("const {tools} = await codemode.up.list({}); return tools[0]", False),
        ("return 1", False),
    ],
)
def test_a_program_computes_the_name_of_a_server(program: str, computes: bool) -> None:
    assert computes_servers(program, ("up", *SERVERS)) == computes
