"""How many bytes a parked program is in a database."""

import pytest

from codemode import Catalog, CodeTool, common_preload
from sandbox import WorkerExecutor
from stubs import Server, Tool
from tests.codemode.bench import Bench
from tests.codemode.test_parking import Desk, parked, resumed

pytestmark = pytest.mark.anyio


async def test_a_parked_program_over_fifty_tools_is_stored_in_few_bytes() -> None:
    """Its names and the script that defines `codemode` are not repeated in it."""
    tools = Catalog.build([Server(f"s{n}", tools=tuple(Tool(f"list_{m}") for m in range(10))) for n in range(5)])
    code = "const a = await codemode.s1.list_1({}); return [a, Object.keys(codemode.s4).length]"
    async with WorkerExecutor(workers=1, common=common_preload()) as executor:
        program = await parked(Bench(CodeTool(executor), tools), code)
        assert len(program.frozen) < 16 * 1024
        answer = await resumed(Bench(CodeTool(executor), tools), program, Desk({1: {"n": 1}}))
        assert answer.value == [{"n": 1}, 10]
