"""`portal.typeCheck`: what an operator writes, what starts, and what a client of the portal gets."""

from __future__ import annotations

from typing import Any

import pytest

from codemode import Checker, CodeTool
from portal.app.code import checker_for
from portal.cli.commands.typecheck import typecheck
from portal.cli.exits import CommandError, Exit
from portal.config.config import parse_config
from portal.errors import ConfigError, StartError
from sandbox import Engine, InProcessExecutor, Limits
from tests import node_tools
from tests.portal.portals import MODERN, client_of, portal_over
from tests.portal.upstreams.hosting import hosted

NO_COMPILER = {"CODEMODE_TYPE_CHECKER": "none"}


def setting(value: Any) -> Any:
    return parse_config({"portal": {"typeCheck": value}}, file="x.json", env={})


def test_the_setting_is_off_unless_written_and_one_of_three() -> None:
    assert parse_config({}, file="x.json", env={}).portal.type_check == "off"
    assert [setting(value).portal.type_check for value in ("off", "warn", "enforce")] == ["off", "warn", "enforce"]
    with pytest.raises(ConfigError, match=r"portal\.typeCheck"):
        setting("strict")


def test_a_portal_that_enforces_does_not_start_without_a_compiler_and_says_what_to_do() -> None:
    with pytest.raises(StartError, match=r"`enforce`, but no type checker is installed.*codemode typecheck install"):
        checker_for(setting("enforce"), NO_COMPILER)
    compiler = node_tools.needs(node_tools.tsc)
    assert checker_for(setting("enforce"), {"CODEMODE_TYPE_CHECKER": str(compiler)}).compiler is not None


@pytest.mark.parametrize("value", ["off", "warn"])
def test_a_portal_that_does_not_enforce_starts_without_a_compiler(value: str) -> None:
    assert checker_for(setting(value), NO_COMPILER).compiler is None


@pytest.mark.anyio
async def test_the_command_says_what_checks_types_here_or_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CODEMODE_TYPE_CHECKER", "none")
    assert await typecheck(None, as_json=False) == Exit.PROGRAM_FAILED
    assert "'codemode-portal[typecheck]'" in " ".join(capsys.readouterr().err.split())
    compiler = node_tools.needs(node_tools.tsc)
    monkeypatch.setenv("CODEMODE_TYPE_CHECKER", str(compiler))
    assert await typecheck(None, as_json=False) == Exit.OK
    assert str(compiler) in capsys.readouterr().out
    with pytest.raises(CommandError, match="typecheck install"):
        await typecheck("instal", as_json=False)


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_client_can_check_a_program_and_a_portal_that_enforces_refuses_it() -> None:
    checker = Checker({"CODEMODE_TYPE_CHECKER": str(node_tools.needs(node_tools.tsc))}, seconds=60)
    program = "const r = await codemode.one.echo({text: 5});\nreturn r"
    with Engine(Limits()) as engine:
        async with InProcessExecutor(engine) as executor, hosted() as upstream:
            tool = CodeTool(executor, checker=checker, type_check="enforce")
            async with (
                portal_over({"one": upstream}, code_tool=tool) as portal,
                client_of(portal.code, MODERN) as client,
            ):
                (listed,) = (await client.list_tools()).tools
                assert set(listed.input_schema["properties"]) == {"code", "check"}
                checked = await client.call_tool("code", {"code": program, "check": True})
                assert not checked.is_error
                [mistake] = checked.structured_content["result"]["diagnostics"]
                assert (mistake["line"], mistake["code"]) == (1, "TS2322")
                assert mistake["stub"].startswith("codemode.one.echo(input")
                refused = await client.call_tool("code", {"code": program})
                assert refused.is_error and refused.structured_content["error"]["kind"] == "type"
                right = await client.call_tool("code", {"code": program.replace("5", "'five'")})
                assert not right.is_error
