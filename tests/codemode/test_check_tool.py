"""The `code` tool with a check before the run: what an agent is told, and that nothing ran."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import jsonschema_rs
import pytest

from codemode import Checker, CodeTool
from codemode.answer import OUTPUT_SCHEMA
from codemode.tool import INPUT_SCHEMA, TypeCheck
from sandbox import Engine, InProcessExecutor, Limits
from tests.codemode.bench import Answer, Bench, Recorder
from tests.codemode.checking import CATALOG, NO_COMPILER, native
from tests.codemode.counting import counted

pytestmark = pytest.mark.anyio
Engines = Callable[[Limits], Engine]

WRONG_TYPE = "const r = await codemode.mail.send({to: 'a', body: 5}); return r"
RIGHT = "const r = await codemode.mail.send({to: 'a'}); return r.to"
ANSWERED = jsonschema_rs.validator_for(OUTPUT_SCHEMA)


@asynccontextmanager
async def tool(
    engines: Engines, type_check: TypeCheck = "off", environment: dict[str, str] | None = None
) -> AsyncIterator[Bench]:
    async with InProcessExecutor(engines(Limits())) as executor:
        checker = Checker(NO_COMPILER if environment is None else environment, seconds=60)
        yield Bench(CodeTool(executor, checker=checker, type_check=type_check), CATALOG, Recorder())


def calls(b: Bench) -> list[str]:
    found: list[str] = b.caller.names
    return found


def checked(answer: Answer) -> Answer:
    """An answer whose structured content is what the tool's output schema says."""
    ANSWERED.validate(answer.structured)
    return answer


async def test_a_wrong_path_fails_as_running_it_would_but_before_anything_ran(engines: Engines) -> None:
    async with tool(engines) as b:
        found = checked(await b.run("await codemode.mail.send({to: 'a'});\n  await codemode.mail.sent({to: 'b'})"))
        assert calls(b) == [] and found.structured["calls"] == []
        error = found.error
        assert (error["kind"], error["name"]) == ("exception", "UnknownToolError")
        assert (error["line"], error["column"]) == (2, 9)
        assert error["snippet"].startswith("2 |   await codemode.mail.sent")
        assert "nothing was run" in found.text
        assert "codemode.mail.send(input: { to: string; body?: string })" in found.text


async def test_a_missing_await_is_refused_with_what_to_write(engines: Engines) -> None:
    async with tool(engines) as b:
        found = checked(await b.run("const r = codemode.mail.send({to: 'a'});\nreturn r.to"))
        assert (found.error["kind"], found.error["name"]) == ("type", "MissingAwaitError")
        assert "const r = await codemode.mail.send(…)" in found.text
        assert calls(b) == []


async def test_lines_and_columns_are_those_inside_the_fence(engines: Engines) -> None:
    async with tool(engines) as b:
        found = await b.run("Here:\n\n```ts\nconst a: number = 1;\nreturn codemode.mail.sent()\n```\nDone.")
        assert (found.error["line"], found.error["column"]) == (2, 8)


async def test_several_mistakes_are_told_at_once(engines: Engines) -> None:
    async with tool(engines) as b:
        found = checked(await b.run("await codemode.mail.sent();\nawait codemode.shop.orders();\nreturn 1"))
        assert [one["line"] for one in found.structured["check"]["diagnostics"]] == [1, 2]
        assert "line 2, column 7: codemode.shop.orders does not exist" in found.text


@pytest.mark.parametrize("code", ["return 1 + 1", "return (await codemode.mail.send({to: 'a'})).to", RIGHT])
async def test_a_program_that_is_right_is_answered_as_ever(engines: Engines, code: str) -> None:
    async with tool(engines) as b:
        found = checked(await b.run(code))
        assert found.ok and "check" not in found.structured


# --- check: true ---------------------------------------------------------------------------------------------------


async def test_check_true_runs_nothing_and_reports(engines: Engines) -> None:
    async with tool(engines, environment=native()) as b:
        found = checked(await b.run(WRONG_TYPE, check=True))
        assert calls(b) == [] and found.structured["calls"] == []
        value = found.value
        assert (value["ok"], value["checkedBy"]) == (False, "TypeScript")
        [mistake] = value["diagnostics"]
        assert (mistake["line"], mistake["column"], mistake["code"]) == (1, 46, "TS2322")
        assert mistake["message"] == "Type 'number' is not assignable to type 'string'."
        assert mistake["stub"].startswith("codemode.mail.send(input: { to: string; body?: string })")


async def test_check_true_says_when_there_is_nothing_to_say(engines: Engines) -> None:
    async with tool(engines, environment=native()) as b:
        found = checked(await b.run(RIGHT, check=True))
        assert found.value == {"ok": True, "diagnostics": [], "checkedBy": "TypeScript"}
        assert calls(b) == []


async def test_check_true_without_a_compiler_checks_what_it_can_and_says_what_it_could_not(engines: Engines) -> None:
    async with tool(engines) as b:
        value = checked(await b.run("return codemode.mail.sent()", check=True)).value
        assert value["ok"] is False and value["diagnostics"][0]["code"] == "unknown-tool"
        assert "codemode typecheck install" in value["unchecked"]
        value = (await b.run(WRONG_TYPE, check=True)).value
        assert (value["ok"], value["diagnostics"]) == (False, [])
        assert "not types" in value["unchecked"]


async def test_check_true_reports_a_syntax_error(engines: Engines) -> None:
    async with tool(engines) as b:
        value = (await b.run("const a = 1;\nreturn const", check=True)).value
        assert [(one["line"], one["code"]) for one in value["diagnostics"]] == [(2, "syntax")]


async def test_check_false_is_as_good_as_nothing(engines: Engines) -> None:
    async with tool(engines) as b:
        assert (await b.run(RIGHT, check=False)).value == "a"


@pytest.mark.parametrize(("extra", "said"), [({"check": "yes"}, "check is true or false"), ({"chek": True}, "chek")])
async def test_a_wrong_check_is_refused_by_name(engines: Engines, extra: dict[str, object], said: str) -> None:
    async with tool(engines) as b:
        found = await b.run(RIGHT, **extra)
        assert found.error["kind"] == "denied" and said in found.text
        assert calls(b) == []


def test_the_input_schema_has_check_and_code_and_nothing_else() -> None:
    valid = jsonschema_rs.validator_for(INPUT_SCHEMA).is_valid
    assert valid({"code": "1"}) and valid({"code": "1", "check": True})
    assert not valid({"check": True}) and not valid({"code": "1", "check": 1}) and not valid({"code": "1", "x": 1})


# --- what a portal chooses -----------------------------------------------------------------------------------------


async def test_off_leaves_types_to_the_run(engines: Engines) -> None:
    async with tool(engines, environment=native()) as b:
        found = await b.run(WRONG_TYPE)
        assert found.error["kind"] == "exception" and "check" not in found.structured


async def test_warn_runs_and_says_what_was_found(engines: Engines) -> None:
    async with tool(engines, "warn", native()) as b:
        found = checked(
            await b.run("const r = await codemode.mail.send({to: 'a', bodi: 'x'}); console.log(1); return r.to")
        )
        assert found.value == "a" and calls(b) == ["mail.send"]
        assert found.structured["check"]["diagnostics"][0]["code"] == "TS2353"
        texts = [block["text"] for block in found.raw["content"]]
        assert texts[0] == "a"
        assert texts[1].startswith("Check:\nline 1, column 46: ") and "bodi" in texts[1]
        assert texts[2] == "Logs:\n1"


async def test_warn_is_silent_about_a_program_that_is_right(engines: Engines) -> None:
    async with tool(engines, "warn", native()) as b:
        found = checked(await b.run(RIGHT))
        assert len(found.raw["content"]) == 1
        assert found.structured["check"] == {"ok": True, "diagnostics": [], "checkedBy": "TypeScript"}


async def test_warn_without_a_compiler_says_so_in_every_answer(engines: Engines) -> None:
    async with tool(engines, "warn") as b:
        found = checked(await b.run(RIGHT))
        assert found.value == "a"
        assert "not types" in found.raw["content"][1]["text"]


async def test_warn_refuses_what_is_certain(engines: Engines) -> None:
    async with tool(engines, "warn", native()) as b:
        found = await b.run("await codemode.mail.send({to: 5});\nreturn codemode.mail.sent()")
        assert found.error["name"] == "UnknownToolError" and found.error["line"] == 2
        assert "line 1, column 27: Type 'number'" in found.text
        assert calls(b) == []


async def test_enforce_runs_what_is_right_and_refuses_the_rest(engines: Engines) -> None:
    async with tool(engines, "enforce", native()) as b:
        assert (await b.run(RIGHT)).value == "a"
        found = checked(await b.run("await codemode.mail.list();\n" + WRONG_TYPE))
        assert calls(b) == ["mail.send"]
        error = found.error
        assert (error["kind"], error["name"]) == ("type", "TypeCheckError")
        assert (error["line"], error["column"]) == (2, 46)
        assert "codemode.mail.send(input" in found.text and "nothing was run" in found.text


async def test_enforce_runs_nothing_it_could_not_check(engines: Engines) -> None:
    async with tool(engines, "enforce") as b:
        found = checked(await b.run(RIGHT))
        assert found.error["kind"] == "type" and "no type checker is installed" in found.text
        assert calls(b) == []


async def test_enforce_names_a_syntax_error_for_what_it_is(engines: Engines) -> None:
    async with tool(engines, "enforce", native()) as b:
        found = checked(await b.run("return const"))
        assert (found.error["kind"], found.error["name"], found.error["line"]) == ("syntax", "SyntaxError", 1)


async def test_a_refusal_costs_at_most_300_tokens(engines: Engines) -> None:
    async with tool(engines, "enforce", native()) as b:
        many = "\n".join(
            f"await codemode.shop.list_orders({{status: 'x{n}', limit: 'y', stauts: 1}});" for n in range(30)
        )
        found = checked(await b.run(many))
        assert counted(found.text) <= 300
        assert len(found.structured["check"]["diagnostics"]) == 20
