"""An agent that makes no mistake: it completes a task in three ways, and counts what a model reads and writes for it.

One call completes a task, and the tool answers with a result of a fixed size. Code mode saves more where a task takes
several calls: this is what it costs where it can save least.

Every text is the real one: the programs run in isolates, and what is counted is the text of their answers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.arguments import required_arguments
from benchmarks.tasks import Task
from codemode import Catalog, CodeTool, ToolCall, ToolReturned
from codemode.description import EXAMPLE, EXAMPLE_WORDS, declared_tools, with_declarations, with_servers
from sandbox import Engine, InProcessExecutor

RESULT = '{"id":"a7f3","status":"done","count":3,"items":["first","second","third"]}'


@dataclass(slots=True)
class Transcript:
    """The tokens of a completed task. `before`: what the model reads first; `turns`: what it writes and then reads."""

    before: int
    turns: list[tuple[int, int]] = field(default_factory=list)

    @property
    def once(self) -> int:
        """The tokens of all texts, each counted once."""
        return self.before + sum(written + read for written, read in self.turns)

    @property
    def read(self) -> int:
        """The tokens that the model reads: before each call and before its last words, everything until then."""
        total = now = self.before
        for written, read in self.turns:
            now += written + read
            total += now
        return total


@dataclass(frozen=True, slots=True)
class Agent:
    """Completes tasks with `tool`. `tokens` counts."""

    tool: CodeTool
    tokens: Callable[[str], int]

    async def listed(self, task: Task, catalog: Catalog) -> Transcript:
        """The task with the tools themselves, all of them listed under their own names, and one call."""
        tools = [_read({**tool, "name": tool["rawName"]}) for tool in catalog.tools()]
        server, tool = task.right[0]
        call = {"name": tool, "arguments": _arguments(catalog, catalog.names.path(server, tool))}
        return Transcript(self._count(tools) + self.tokens(task.words), [(self._count(call), self.tokens(RESULT))])

    async def declared(self, task: Task, catalog: Catalog) -> Transcript:
        """The task with `code` whose description declares all tools, and one program."""
        transcript = self._code(with_declarations(catalog, declared_tools(catalog)), task)
        await self._work(transcript, catalog.names.path(*task.right[0]), catalog)
        return transcript

    async def searched(self, task: Task, catalog: Catalog) -> Transcript:
        """The task with `code` whose description shows how to find tools: a program that does, and one that works."""
        transcript = self._code(with_servers(catalog), task)
        await self._work(transcript, await self._find(transcript, task, catalog), catalog)
        return transcript

    def _code(self, description: str, task: Task) -> Transcript:
        definition = {**self.tool.definition(Catalog.build([])), "description": description}
        return Transcript(self._count(_read(definition)) + self.tokens(task.words))

    async def _find(self, transcript: Transcript, task: Task, catalog: Catalog) -> str:
        """The path of a right tool that the answer of a program declares.

        Where the words of the task do not find one, the agent searches once more, with the words of the tool's name.
        """
        right: list[str] = [tool["path"] for tool in catalog.tools() if (tool["server"], tool["rawName"]) in task.right]
        for words in (task.words, _words(catalog.names.path(*task.right[0]))):
            shown = await self._run(transcript, EXAMPLE.replace(EXAMPLE_WORDS, words), catalog)
            if found := next((path for path in right if _declares(shown, path)), None):
                return found
        raise RuntimeError(f"no search finds a tool for {task.words!r}")

    async def _work(self, transcript: Transcript, path: str, catalog: Catalog) -> None:
        """Calls the tool. Raises RuntimeError where the program does not return what the tool answered."""
        program = f"return codemode.{path}({_json(_arguments(catalog, path))});"
        shown = await self._run(transcript, program, catalog)
        if shown != RESULT:
            raise RuntimeError(f"{program} answered {shown}")

    async def _run(self, transcript: Transcript, program: str, catalog: Catalog) -> str:
        """The text that the model reads as the answer of a program."""
        answer = await self.tool.run({"code": program}, catalog, _Caller())
        shown = "\n".join(block["text"] for block in answer["content"])
        transcript.turns.append((self._count({"name": "code", "arguments": {"code": program}}), self.tokens(shown)))
        return shown

    def _count(self, value: object) -> int:
        return self.tokens(_json(value))


@asynccontextmanager
async def agent(tokens: Callable[[str], int]) -> AsyncIterator[Agent]:
    """An agent with an engine of its own."""
    with Engine() as engine:
        async with InProcessExecutor(engine) as executor:
            yield Agent(CodeTool(executor), tokens)


class _Caller:
    """Answers every call with the same result."""

    async def call_tool(self, call: ToolCall) -> ToolReturned:
        return ToolReturned({"content": [{"type": "text", "text": RESULT}]})


def _read(tool: Mapping[str, object]) -> dict[str, object]:
    """What clients show a model of a tool."""
    return {name: tool[name] for name in ("name", "description", "inputSchema") if name in tool}


def _arguments(catalog: Catalog, path: str) -> dict[str, object]:
    entry = catalog.get(path)
    if entry is None:
        raise KeyError(path)
    return required_arguments(entry.tool.input_schema)


def _words(path: str) -> str:
    return path.partition(".")[2].replace("_", " ")


def _declares(shown: str, path: str) -> bool:
    server, _, tool = path.partition(".")
    return f" {server}: {{" in shown and f" {tool}(" in shown


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
