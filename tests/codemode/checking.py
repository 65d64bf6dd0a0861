"""A catalog with types worth checking, the compiler for it, and short ways to ask what a check finds."""

from __future__ import annotations

from typing import Any

from codemode import Catalog
from codemode.check.certain import certain_findings, suspicious
from codemode.check.checker import Checker, CheckResult
from codemode.check.finding import Finding
from codemode.typescript import TypeScript, printed
from stubs import Server, Tool
from tests import node_tools


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
ORDER = _object("id status total", id=TEXT, status=TEXT, total=NUMBER, note=TEXT, lines={"type": "array"})
SHOP = Server(
    "shop",
    "Shop",
    "Orders and customers",
    (
        Tool(
            "list_orders",
            None,
            "Orders, newest first.",
            _object(
                status={"enum": ["open", "shipped", "cancelled"]},
                limit={"type": "integer"},
                tags={"type": "array", "items": TEXT},
                between={"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2},
            ),
            _object("orders", orders={"type": "array", "items": ORDER}, next=TEXT),
        ),
        Tool("get_order", None, "One order.", _object("id", id=TEXT), ORDER),
        Tool(
            "create-order",
            None,
            "A new order.",
            _object("customer lines", customer=TEXT, lines={"type": "array", "items": _object("sku", sku=TEXT)}),
            {"oneOf": [_object("id", id=TEXT), _object("error", error=TEXT)]},
        ),
        Tool("note", None, "Says nothing of what it returns.", _object("text", text=TEXT)),
    ),
)
MAIL = Server(
    "mail", None, "Mail", (Tool("send", None, "Send.", _object("to", to=TEXT, body=TEXT)), Tool("list"), Tool("get"))
)
CATALOG = Catalog.build([SHOP, MAIL], {"crm": "connection refused"})


def at_once(program: str, catalog: Catalog = CATALOG) -> list[Finding]:
    """What is said of a program without a compiler; the quick look agrees."""
    found = certain_findings(program, catalog, printed)
    assert not found or suspicious(program, catalog), "the quick look would have let it pass"
    return found


def native() -> dict[str, str]:
    """The environment of a checker that uses TypeScript's compiler; skips where npm is absent."""
    return {"CODEMODE_TYPE_CHECKER": str(node_tools.needs(node_tools.tsc))}


NO_COMPILER = {"CODEMODE_TYPE_CHECKER": "none"}


async def checked(program: str, environment: dict[str, str], catalog: Catalog = CATALOG) -> CheckResult:
    return await Checker(environment, seconds=60).check(program, catalog, TypeScript(seconds=60))
