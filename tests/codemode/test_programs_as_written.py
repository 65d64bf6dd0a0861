"""Programs as agents write them: each either means what its author means, or the error says what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox import Engine, Limits
from tests.codemode.bench import Answer, bench

Engines = Callable[[Limits], Engine]
FENCE = "`" * 3
pytestmark = pytest.mark.anyio


async def run(engines: Engines, code: str, **handlers: Any) -> Answer:
    async with bench(engines, **handlers) as b:
        return await b.run(code)


# --- which text is the program -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        f'/*\n{FENCE}js\nreturn await codemode.fix.echo({{}})\n{FENCE}\n*/\nreturn "right";',
        'const text = `\n~~~js\nreturn await codemode.fix.echo({})\n~~~\n`;\nreturn text.length && "right"',
    ],
)
async def test_an_example_in_a_comment_or_text_of_a_program_is_not_run(engines: Engines, code: str) -> None:
    found = await run(engines, code)
    assert found.value == "right" and found.calls == []


async def test_which_of_two_blocks_ran_is_in_the_answer(engines: Engines) -> None:
    found = await run(engines, f"{FENCE}js\nreturn 1\n{FENCE}\nand then\n{FENCE}js\nreturn 22\n{FENCE}")
    assert found.value == 22
    assert "2 blocks of code" in found.raw["content"][1]["text"]
    assert "2 blocks of code" in found.structured["note"]


async def test_which_of_two_blocks_failed_is_in_the_advice(engines: Engines) -> None:
    found = await run(engines, f"{FENCE}js\nconst x = 1\n{FENCE}\nand then\n{FENCE}js\nreturn x + missing\n{FENCE}")
    assert "2 blocks of code" in found.text
    assert "2 blocks of code" in found.error["advice"][-1]


# --- advice --------------------------------------------------------------------------------------------------------


async def test_advice_is_in_the_structured_content_too(engines: Engines) -> None:
    found = await run(engines, "return require('fs')")
    [advice] = found.error["advice"]
    assert advice.startswith("A program has no modules") and advice in found.text
    assert "advice" not in (await run(engines, "throw new Error('mine')")).error
