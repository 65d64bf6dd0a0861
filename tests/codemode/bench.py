"""A small company of tools and a caller that remembers, so that a test reads as: this program, this answer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from codemode import CallOutcome, Catalog, CodeTool, ToolCall, ToolReturned
from sandbox import Engine, InProcessExecutor, Limits
from stubs import Server, Tool

SEARCH_INPUT = {
    "type": "object",
    "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
    "required": ["query"],
}
FIX = Server(
    "fix",
    "Fixtures",
    "Things to test with",
    (
        Tool("search", None, "Search the things.", SEARCH_INPUT, {"type": "object"}),
        Tool("my-tool", None, "A tool whose name is no identifier."),
        Tool("delete", None, "A tool whose name is a reserved word."),
        Tool("then", None, "A tool that must not make its server a promise."),
        Tool("3d", None, "A tool whose name begins with a digit."),
        Tool("echo", None, "Returns its arguments."),
        Tool("slow", None, "Never returns."),
    ),
)
CLOCK = Server(
    "time-zone", None, "Clocks", (Tool("now", None, "The time."), Tool("search", None, "Search zones."), Tool("echo"))
)
CATALOG = Catalog.build([FIX, CLOCK], {"broken": "connection refused"})

Handler = Callable[[ToolCall], Any]


@dataclass
class Recorder:
    """A `ToolCaller`: by default a tool returns its arguments. A handler returns a result, an outcome or raises."""

    handlers: Mapping[str, Handler] = field(default_factory=dict)
    calls: list[ToolCall] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    cancelled: int = 0

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        self.calls.append(call)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            if call.tool == "slow" and call.tool not in self.handlers:
                await asyncio.Event().wait()
            handler = self.handlers.get(call.tool)
            found = call.arguments if handler is None else handler(call)
            if inspect.isawaitable(found):
                found = await found
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return ToolReturned({"structuredContent": found}) if isinstance(found, dict) else found

    @property
    def names(self) -> list[str]:
        return [f"{call.server}.{call.tool}" for call in self.calls]


@dataclass(frozen=True)
class Answer:
    """A `CallToolResult`, easier to ask."""

    raw: dict[str, Any]

    @property
    def ok(self) -> bool:
        assert self.raw["isError"] is (self.structured["status"] == "failed")
        return not self.raw["isError"]

    @property
    def structured(self) -> dict[str, Any]:
        found: dict[str, Any] = self.raw["structuredContent"]
        return found

    @property
    def value(self) -> Any:
        assert self.ok, self.text
        return self.structured["result"]

    @property
    def error(self) -> dict[str, Any]:
        assert not self.ok, self.text
        found: dict[str, Any] = self.structured["error"]
        return found

    @property
    def text(self) -> str:
        found: str = self.raw["content"][0]["text"]
        return found

    @property
    def calls(self) -> list[tuple[str, str]]:
        return [(call["tool"], call["status"]) for call in self.structured["calls"]]


@dataclass
class Bench:
    """Runs programs against one catalog and one caller."""

    tool: CodeTool
    catalog: Catalog = CATALOG
    caller: Any = field(default_factory=Recorder)

    async def run(self, code: str, **arguments: Any) -> Answer:
        return Answer(await self.tool.run({"code": code, **arguments}, self.catalog, self.caller))


Engines = Callable[[Limits], Engine]


@asynccontextmanager
async def bench(
    engines: Engines, limits: Limits | None = None, catalog: Catalog = CATALOG, **handlers: Handler
) -> AsyncIterator[Bench]:
    """A `Bench` on an executor of its own. A handler's name is the raw name of a tool, `_` standing for `-`."""
    async with InProcessExecutor(engines(limits or Limits())) as executor:
        named = {name.replace("_", "-"): handler for name, handler in handlers.items()}
        yield Bench(CodeTool(executor), catalog, Recorder(named))


async def run(engines: Engines, code: str, **handlers: Any) -> Answer:
    """The answer to one program, on an executor of its own."""
    async with bench(engines, **handlers) as b:
        return await b.run(code)
