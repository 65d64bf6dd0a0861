"""Work on large values runs off the event loop, work on small ones in it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import ToolCall, ToolReturned
from codemode.offload import INLINE, heavy, off_loop
from sandbox import Engine, Limits
from tests.codemode.bench import bench
from tests.patience import PATIENCE
from tests.strategies import json_values

Engines = Callable[[Limits], Engine]
pytestmark = pytest.mark.anyio
JSON = json_values(st.integers(), st.floats(allow_nan=False), st.text(), keys=st.text(), size=10, leaves=30)


@pytest.mark.parametrize(
    ("value", "is_heavy"),
    [
        (None, False),
        ("x" * INLINE, False),
        ("x" * (INLINE + 1), True),
        ({"x" * (INLINE + 1): 1}, True),
        ([0] * 1_000, False),
        ([0] * 10_000, True),
        ({str(n): n for n in range(10_000)}, True),
        ([["x" * 1_000] for _ in range(100)], True),
        ([[]] * 10_000_000, True),
    ],
)
def test_weight_is_that_of_all_parts(value: Any, is_heavy: bool) -> None:
    assert heavy(value) is is_heavy


def test_a_nest_of_any_depth_is_weighed() -> None:
    nest: Any = []
    for _ in range(100_000):
        nest = [nest]
    assert heavy(nest) is True


@given(JSON)
def test_what_is_not_heavy_is_small_as_json(value: Any) -> None:
    assert heavy(value) or len(json.dumps(value, ensure_ascii=False)) <= 8 * INLINE


async def test_small_work_is_done_at_once_and_large_work_while_the_loop_goes_on() -> None:
    here = threading.get_ident()
    assert await off_loop(threading.get_ident, "small") == here
    turned = threading.Event()

    def waits_for_the_loop() -> bool:
        return turned.wait(PATIENCE)

    asyncio.get_running_loop().call_soon(turned.set)
    assert await off_loop(waits_for_the_loop, "x" * (INLINE + 1)) is True


class Watched(dict[str, Any]):
    """A tool's result that knows which thread reads its content."""

    thread: int | None = None

    def get(self, key: str, default: Any = None) -> Any:
        self.thread = threading.get_ident()
        return super().get(key, default)


@pytest.mark.parametrize(("numbers", "in_the_loop"), [(10, True), (20_000, False)])
async def test_a_large_result_of_a_tool_is_converted_off_the_loop(
    engines: Engines, numbers: int, in_the_loop: bool
) -> None:
    text = json.dumps([n / 7 for n in range(numbers)])
    result = Watched(content=[{"type": "text", "text": text}])

    async def echo(call: ToolCall) -> ToolReturned:
        return ToolReturned(result)

    async with bench(engines, echo=echo) as b:
        found = await b.run("return (await codemode.fix.echo()).length")
    assert found.structured["result"] == numbers
    assert (result.thread == threading.get_ident()) is in_the_loop
