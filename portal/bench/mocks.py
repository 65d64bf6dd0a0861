"""Mocks: answers in place of upstream servers, from a file of data, Python or JavaScript, or from a mapping.

No server is contacted. A call that no mock answers is an error that says so. With saved tools, the stubs, the search
and the check of arguments are those of the real servers, and a mock of an unknown tool is refused. Without saved tools,
the tools are those that the mocks name, and they accept any object.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from codemode import CallOutcome, Catalog, ToolCall, ToolFailed, ToolReturned, VirtualPace
from portal.bench import mock_functions
from portal.bench.backend import Backend
from portal.bench.json_checks import check_keys
from portal.bench.mock_isolate import IsolateMocks, MockIsolate
from portal.bench.mock_rules import Reply, Turns, parse_rules
from portal.bench.tool_lists import read_servers, servers_of
from portal.bench.virtual_time import parse_seed, parse_time
from portal.config import YAML, read_document
from portal.errors import InputError
from stubs import Server, Tool

_DOCUMENT = ("mocks", "tools", "now", "seed")
_SHOWN = 200

Answer = Callable[[dict[str, object], float], Awaitable[Reply | None]]
"""The answer to a call with these arguments at this time, or None if no mock is for them."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The mocks of one run, by path as written. `finish` is awaited at the end of the run."""

    by_path: Mapping[str, Answer]
    finish: Callable[[], Awaitable[None]] | None = None


class Mocks:
    """Mocks for any number of runs, from `open_mocks` or `Mocks.of`. Runs share no state."""

    def __init__(
        self,
        title: str,
        paths: Sequence[str],
        fresh: Callable[[float], Answers],
        *,
        servers: Sequence[Server] | None = None,
        now: float | None = None,
        seed: bytes | None = None,
    ) -> None:
        """Raises `InputError` if a mock is for a tool that `servers` does not have."""
        self.title = title
        self.catalog = Catalog.build(_named(paths) if servers is None else servers)
        self._places = {path: _place(self.catalog, path, title) for path in paths}
        self._fresh = fresh
        self._now = now
        self._seed = seed

    @classmethod
    def of(cls, mocks: Mapping[str, object], *, servers: Sequence[Server] | None = None, title: str = "mocks") -> Mocks:
        """Mocks from a mapping of paths to rules or functions of the arguments. Raises `InputError`."""
        _split(mocks, title)
        file = Path(title)
        return cls(title, list(mocks), lambda now: Answers(by_path=_from_mapping(mocks, file)), servers=servers)

    def backend(
        self, *, now: float | None = None, seed: bytes | None = None, wall_time: float = 60.0, delays: bool = True
    ) -> Backend:
        """A backend for one run, in virtual time.

        Time starts at `now`, or the time that the mocks set, or else the present. `wall_time` is in seconds. Without
        `delays` every mock answers at once, whatever the pace of the run.
        """
        start = now if now is not None else self._now
        pace = VirtualPace(start, seed if seed is not None else self._seed, wall_time=wall_time)
        answers = self._fresh(pace.begin()[0])
        by_place = {place: answers.by_path[path] for path, place in self._places.items()}
        caller = _MockCaller(self.catalog, by_place, pace, self.title, delays)
        return Backend(self.catalog, caller, pace, answers.finish, notes=caller.notes)


async def open_mocks(stack: AsyncExitStack, file: Path, *, tools: Path | None = None) -> Mocks:
    """The mocks in a file. `tools` are saved tools, which take precedence over those that the file names.

    An isolate for JavaScript closes with the stack.

    Raises:
        InputError: the file cannot be used.
    """
    saved = None if tools is None else read_servers(tools)
    if file.suffix in (".json", *YAML):
        return _of_document(read_document(file), file, saved)
    if file.suffix == ".py":
        return _of_python(file, saved)
    if file.suffix in (".js", ".mjs"):
        mocks_file = await stack.enter_async_context(IsolateMocks(file))
        return Mocks(str(file), mocks_file.paths, lambda now: _in_isolate(mocks_file, now), servers=saved)
    raise InputError(f"Mocks are a file of .json, .yaml, .py or .js; {file} is none of these.")


def document_mocks(document: object, where: str, folder: Path, saved: Sequence[Server] | None) -> Mocks:
    """Mocks from a document `{"mocks": {...}, "tools"?, "now"?, "seed"?}`, whose paths are relative to `folder`."""
    content = check_keys(document, _DOCUMENT, where)
    mocks = content.get("mocks")
    if not isinstance(mocks, Mapping):
        raise InputError(f'{where} needs "mocks": an object from server.tool to what it answers.')
    rules = {str(path): parse_rules(value, f"{where}: mocks.{path}") for path, value in mocks.items()}
    if saved is None and (tools := content.get("tools")) is not None:
        saved = read_servers(folder / tools) if isinstance(tools, str) else servers_of(tools, where)
    return Mocks(
        where,
        list(rules),
        lambda now: Answers(by_path={path: _turns(Turns(one)) for path, one in rules.items()}),
        servers=saved,
        now=None if "now" not in content else parse_time(content["now"], f"{where}: now"),
        seed=None if "seed" not in content else parse_seed(content["seed"], f"{where}: seed"),
    )


def _of_document(document: object, file: Path, saved: Sequence[Server] | None) -> Mocks:
    return document_mocks(document, str(file), file.parent, saved)


def _of_python(file: Path, saved: Sequence[Server] | None) -> Mocks:
    code = mock_functions.compile_file(file)
    module = mock_functions.run_file(code, file)
    mocks = mock_functions.mocks_in(module, file)
    if not mocks:
        raise InputError(
            f"{file} has no mocks: define functions named server__tool, or {mock_functions.MAPPING} = "
            '{"server.tool": function}.'
        )
    _split(mocks, str(file))
    tools = module.get(mock_functions.TOOLS)
    if saved is None and tools is not None:
        saved = read_servers(file.parent / tools) if isinstance(tools, str | Path) else servers_of(tools, str(file))

    def fresh(now: float) -> Answers:
        again = mock_functions.mocks_in(mock_functions.run_file(code, file), file)
        return Answers(by_path=_from_mapping(again, file))

    return Mocks(str(file), list(mocks), fresh, servers=saved)


def _split(mocks: Mapping[str, object], where: str) -> None:
    """Check the rules among the mocks, so that a mistake is found before a run."""
    for path, value in mocks.items():
        if not callable(value):
            parse_rules(value, f"{where}: {path}")


def _from_mapping(mocks: Mapping[str, object], file: Path) -> dict[str, Answer]:
    return {
        path: _function(value, file) if callable(value) else _turns(Turns(parse_rules(value, f"{file}: {path}")))
        for path, value in mocks.items()
    }


def _turns(turns: Turns) -> Answer:
    async def answer(arguments: dict[str, object], now: float) -> Reply | None:
        return turns.reply(arguments)

    return answer


def _function(function: mock_functions.Function, file: Path) -> Answer:
    async def answer(arguments: dict[str, object], now: float) -> Reply | None:
        return Reply(await mock_functions.call_function(function, arguments, file))

    return answer


def _in_isolate(mocks_file: IsolateMocks, now: float) -> Answers:
    isolate = mocks_file.isolate(now)

    def answer_of(path: str) -> Answer:
        async def answer(arguments: dict[str, object], now: float) -> Reply | None:
            return await isolate.reply(path, arguments, now)

        return answer

    return Answers(by_path={path: answer_of(path) for path in mocks_file.paths}, finish=_closing(isolate))


def _closing(isolate: MockIsolate) -> Callable[[], Awaitable[None]]:
    return isolate.aclose


@dataclass
class _MockCaller:
    """The `ToolCaller` of one run."""

    catalog: Catalog
    answers: Mapping[str, Answer]
    pace: VirtualPace
    title: str
    delays: bool = True
    notes: list[str] = field(default_factory=list)
    _checked: set[str] = field(default_factory=set)

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        path = self.catalog.names.path(call.server, call.tool)
        answer = self.answers.get(path)
        if answer is None:
            return ToolFailed(f"{path} is not mocked; {self.title} has: {', '.join(sorted(self.answers)) or 'nothing'}")
        reply = await answer(call.arguments, self.pace.now())
        if reply is None:
            return ToolFailed(f"no mock of {path} in {self.title} answers call {call.seq}: {_short(call.arguments)}")
        self._note(path, reply.outcome)
        if self.delays:
            await self.pace.sleep(reply.delay_ms)
        return reply.outcome

    def _note(self, path: str, outcome: CallOutcome) -> None:
        """Note, once for each tool, that a mock's answer does not fit the tool's output schema."""
        entry = self.catalog.get(path)
        if path in self._checked or entry is None or entry.tool.output_schema is None or entry.tool.output_inferred:
            return
        if not isinstance(outcome, ToolReturned) or (value := outcome.result.get("structuredContent")) is None:
            return
        # The check for arguments, used with the output schema in place of an input schema.
        imagined = Catalog.build([Server("output", tools=(Tool("value", input_schema=entry.tool.output_schema),))])
        if wrong := imagined.argument_check("output.value").mismatches(value):
            self._checked.add(path)
            wrong = [line.replace("input", "result", 1) for line in wrong]
            self.notes.append(f"the mock of {path} answers what its output schema does not allow: {'; '.join(wrong)}")


def _named(paths: Sequence[str]) -> list[Server]:
    """The servers that the paths name, with tools that have no schema."""
    servers: dict[str, dict[str, Tool]] = {}
    for path in paths:
        server, separator, tool = path.removeprefix("codemode.").partition(".")
        if not separator or not server or not tool:
            raise InputError(f"A mock is named server.tool; {path!r:.100} is not.")
        servers.setdefault(server, {})[tool] = Tool(tool)
    return [Server(server, tools=tuple(tools.values())) for server, tools in servers.items()]


def _place(catalog: Catalog, path: str, title: str) -> str:
    keys = catalog.names.resolve(path)
    if len(keys) == 1:
        return catalog.names.path(*keys[0])
    if keys:
        raise InputError(f"{title}: {path!r:.100} means several tools; name one as server.tool.")
    raise InputError(f"{title} mocks {path!r:.100}, and there is no such tool. {catalog.nearest(path)}")


def _short(arguments: Mapping[str, object]) -> str:
    text = json.dumps(arguments, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
