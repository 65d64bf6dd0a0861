"""The same program, tested from Python."""

from pathlib import Path
from typing import Any

from portal.bench.blocking import Codemode

PROGRAM = Path("waiting.js")


def test_the_dearest_order_comes_first(codemode: Codemode) -> None:
    result = codemode.run(PROGRAM, mocks="mocks.json", input={"limit": 5})
    assert [row["name"] for row in result.value] == ["Bo", "Ada"]
    assert [call.tool for call in result.calls] == ["shop.list_orders", "shop.get_customer", "shop.get_customer"]
    assert result.logs == ["2 orders"]


def test_mocks_are_functions_too(codemode: Codemode) -> None:
    calls: list[dict[str, Any]] = []

    def list_orders(arguments: dict[str, Any]) -> dict[str, Any]:
        calls.append(arguments)
        return {"total": 0, "orders": []}

    mocks = {"shop.list_orders": list_orders}
    result = codemode.run(PROGRAM, mocks=mocks, tools="tools.json", input={"limit": 1})
    assert result.value == [] and calls == [{"status": "paid", "limit": 1}]
