"""The `code` tool: its definition for a catalog, and a run from arguments to answer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

from codemode.advice import advise, being_read
from codemode.answer import OUTPUT_SCHEMA, answer
from codemode.bounded import RecentlyUsed
from codemode.caller import ToolCaller
from codemode.catalog import Catalog
from codemode.check.checker import MOST_INLINE, Checker
from codemode.check.finding import place
from codemode.description import description
from codemode.driver import drive
from codemode.entry import as_expression, may_stand_alone, may_take_globals, uncalled, without_given_parameters
from codemode.exports import Script, as_script, may_have_modules
from codemode.handle import RunHandle
from codemode.meaning.meanings import Meanings
from codemode.modules import blanked, imports
from codemode.offload import off_loop
from codemode.pace import Pace
from codemode.places import placed, within
from codemode.remarks import remark
from codemode.run import Failure, Run, is_of_isolate
from codemode.source import extract
from codemode.syntax import RETURN_OUTSIDE, explained, may_be_explained
from codemode.threads import on_behalf_of
from codemode.tokens import tokenize
from codemode.typescript import MAX_PLACED_CHARS, JavaScript, TypeScript, TypeScriptError, looks_typed
from sandbox import EngineError, Executor, Image

T = TypeVar("T")
TypeCheck = Literal["off", "warn", "enforce"]

NAME = "code"
MAX_IMAGES = 64

INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "description": "The program: JavaScript or TypeScript; `return` gives the result."},
        "check": {"type": "boolean", "description": "true: only check the program against the tools; run nothing."},
    },
    "required": ["code"],
    "additionalProperties": False,
}


class CodeTool:
    """Runs programs for any number of catalogs on one executor, which the caller closes.

    `type_check`: "off" runs every program that has no certain mistake; "warn" also adds the findings of the `checker`
    to the answer; "enforce" runs only programs without findings.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        typescript: TypeScript | None = None,
        checker: Checker | None = None,
        type_check: TypeCheck = "off",
        meanings: Meanings | None = None,
    ) -> None:
        """`meanings`: for programs that search by meaning too. It belongs to the caller, who closes it."""
        self._executor = executor
        self._meanings = meanings
        self._typescript = typescript or TypeScript()
        self._checker = checker or Checker()
        self._type_check = type_check
        self._images: RecentlyUsed[str, asyncio.Task[Image]] = RecentlyUsed(MAX_IMAGES)

    def warm(self) -> None:
        """Compile the TypeScript transformer in the background: the first program would wait half a second for it."""
        self._typescript.warm()

    async def prepare(self, catalog: Catalog) -> None:
        """Make everything that a catalog's first run and first search need, off the event loop."""
        self.warm()
        await asyncio.to_thread(catalog.prepare)
        await self._image(catalog)
        if self._meanings is not None:
            # Nobody waits for the vectors: until they are there, tools are found by their words.
            await asyncio.to_thread(self._meanings.prepare, catalog.parts)

    def definition(self, catalog: Catalog) -> dict[str, Any]:
        """The MCP tool `code`. Its description has at most 600 tokens, however many tools the catalog has."""
        return {
            "name": NAME,
            "title": "Run code",
            "description": description(catalog),
            "inputSchema": INPUT_SCHEMA,
            "outputSchema": OUTPUT_SCHEMA,
            "annotations": {"readOnlyHint": False, "destructiveHint": True, "openWorldHint": True},
        }

    async def run(
        self,
        arguments: Mapping[str, Any],
        catalog: Catalog,
        caller: ToolCaller,
        *,
        identity: str = "",
        run_id: str | None = None,
        pace: Pace | None = None,
        handle: RunHandle | None = None,
    ) -> dict[str, Any]:
        """Run `arguments["code"]` and return the raw `CallToolResult`. Nothing that a program does raises.

        With `check: true` nothing runs, and the result is `CheckResult.as_dict()`. Cancelling the task stops the
        program and its calls. `identity`: the executor's queue is fair between identities. `pace`: the time and the
        randomness of this run, by default the real ones. `handle`: of a host that follows the run, or may end it.
        """
        run_id = run_id or f"exec_{secrets.token_hex(12)}"
        if wrong := _wrong_arguments(arguments):
            return answer(Run(run_id, "", failure=Failure("denied", "TypeError", wrong)), [])
        limits = self._executor.limits
        # A program may stand in prose, but the length of that is bounded too.
        sent = arguments["code"][: 2 * limits.source + 1]
        program = await off_loop(lambda: extract(sent), sent)
        run = Run(run_id, program.text, note=program.note)
        if handle is not None:
            handle.record = run
            if handle.ending is not None:
                # It was ended while it waited to begin.
                run.failure = handle.ending
                return answer(run, [])
        if (size := len(program.text.encode())) > limits.source:
            message = f"the program has {size:,} bytes or more, at most {limits.source:,} are allowed"
            run.failure = Failure("size", "RangeError", message)
            return answer(run, [])
        script = await _script(run.program)
        source = script.text
        if arguments.get("check"):
            run.value = (await self._checker.check(source, catalog, self._typescript)).as_dict()
            run.has_value = True
            return answer(run, [])
        if advice := await self._check(run, source, catalog):
            return answer(run, advice)
        try:
            await self._run(run, script, program.typescript, catalog, caller, identity, pace, handle)
        except EngineError as error:
            run.failure = Failure.of_engine(error)
        advice = await _advice(run, source, catalog)
        if run.failure is None and run.note is None:
            run.note = await _off_loop(lambda: remark(run, source, catalog), source)
        # Truncating a megabyte measures its parts again and again.
        return await off_loop(lambda: answer(run, advice), run.value)

    async def _check(self, run: Run, source: str, catalog: Catalog) -> list[str]:
        """Check a program before it runs. Returns advice when it must not run, after setting the run's failure."""
        if self._type_check == "off":
            result = await self._checker.certain(source, catalog, self._typescript)
        else:
            result = await self._checker.check(source, catalog, self._typescript)
            run.check = result.as_dict()
        must_not_run = result.certain or (self._type_check == "enforce" and not result.ok)
        if not must_not_run:
            if self._type_check != "off":
                run.notes = result.in_words()
            return []
        run.check = result.as_dict()
        run.failure = result.as_failure()
        return ["Found before running: nothing was run.", *result.advice()]

    async def _run(
        self,
        run: Run,
        script: Script,
        typescript: bool,
        catalog: Catalog,
        caller: ToolCaller,
        identity: str,
        pace: Pace | None,
        handle: RunHandle | None,
    ) -> None:
        """Run a program as JavaScript, and if that does not parse, as TypeScript."""

        async def attempt(text: str, lines: int | None = None) -> None:
            execution = self._executor.execution(image, identity=identity)
            limits = self._executor.limits
            await drive(
                run,
                text,
                execution,
                catalog=catalog,
                caller=caller,
                limits=limits,
                pace=pace,
                begin=catalog.begin,
                handle=handle,
                likeness=self._meanings,
            )
            if run.failure is not None and lines is not None:
                run.failure = within(run.failure, lines)
            if _did_nothing(run) and (call := await _call_of_entry(text, run.program)) is not None:
                run.logs.clear()
                run.entered = True
                await attempt(f"{text}\n;{call}", text.count("\n") + 1)

        image = await self._image(catalog)
        source, own = script.text, None
        if script.call:
            source, own = f"{source}\n;{script.call}", source.count("\n") + 1
            run.entered = True
        stripped: JavaScript | TypeScriptError | None = None
        if typescript or looks_typed(source):
            stripped = await self._javascript(source)
        if isinstance(stripped, JavaScript):
            await attempt(stripped.text, own)
        else:
            await attempt(source, own)
            if run.failure is None or run.failure.kind != "syntax":
                return
            untyped, run.failure = run.failure, None
            stripped = stripped or await self._javascript(source)
            if isinstance(stripped, TypeScriptError) or stripped.text == source:
                run.failure = _syntax_error(script.text, untyped, stripped)
                return
            await attempt(stripped.text, own)
        if run.failure is not None and not stripped.own_lines:
            # The positions are those of the transformer's output, not of the program.
            run.failure = replace(run.failure, line=None, column=None, stack=None)

    async def _javascript(self, source: str) -> JavaScript | TypeScriptError:
        """The program without its types, and without imports of which it uses types only."""
        if "import" not in source or len(source) > MAX_PLACED_CHARS or not (found := imports(source)):
            return await self._typescript.javascript(source)
        names = {name for one in found for name in one.names}
        without = blanked(source, [(one.start, one.end) for one in found])
        stripped = await self._typescript.javascript(without)
        used = {token.key for token in tokenize(without)}
        if all(one.names for one in found) and names <= used and isinstance(stripped, JavaScript):
            if not names & {token.key for token in tokenize(stripped.text)}:
                return stripped
        # The transformer would leave out an import that the program does not use.
        line, column = place(source, found[0].start)
        return TypeScriptError(f'cannot import "{found[0].module[:100]}"', line, column)

    async def _image(self, catalog: Catalog) -> Image:
        """The image for programs over a catalog.

        A catalog of whole servers has an image of its own, which its first run makes; it is kept for the catalogs used
        last. The catalogs of parts have one in common, and each run begins with the names of its own (`Catalog.begin`).
        """
        name = "" if catalog.is_part else catalog.tools_id
        task = self._images.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            # For nobody in particular: others must not wait until it is the turn of whoever asks first.
            with on_behalf_of(""):
                task = asyncio.create_task(self._make_image(catalog))
            self._images.put(name, task)
        # Another run may wait for the same image: a cancelled run must not cancel its making.
        return task.result() if task.done() else await asyncio.shield(task)

    async def _make_image(self, catalog: Catalog) -> Image:
        return await self._executor.image(await asyncio.to_thread(lambda: catalog.preload))


async def _script(program: str) -> Script:
    """The program that runs: blanks where it has words of a module, takes globals as parameters, or calls itself."""
    modules, parameters, alone = may_have_modules(program), may_take_globals(program), may_stand_alone(program)
    if len(program) > MAX_PLACED_CHARS or not (modules or parameters or alone):
        return Script(program)

    def prepare() -> Script:
        script = as_script(program) if modules else Script(program)
        text = without_given_parameters(script.text) if parameters else script.text
        return replace(script, text=as_expression(text) if alone else text)

    return await _off_loop(prepare, program)


def _did_nothing(run: Run) -> bool:
    """Whether a run completed without a result, a call or a word of its own."""
    if run.failure is not None or run.has_value or run.calls or run.emitted:
        return False
    return all(is_of_isolate(line) for line in run.logs)


async def _call_of_entry(text: str, program: str) -> str | None:
    """The call of the function that a program defines for its environment to call; None where there is none."""
    if len(text) > MAX_PLACED_CHARS or ("function" not in text and "=>" not in text):
        return None
    return await asyncio.to_thread(uncalled, text, program)


async def _advice(run: Run, source: str, catalog: Catalog) -> list[str]:
    """What to write instead, a line each. The failure gets its true cause and place where the engine missed them."""
    failure = run.failure
    if failure is None:
        return []
    if may_be_explained(failure):
        known = await asyncio.to_thread(explained, failure, source)
        if known is not None:
            run.failure, advice = known
            return advice
    if failure.stack is not None and "new" in source:
        failure = run.failure = await asyncio.to_thread(placed, failure, source)
    if (read := being_read(failure)) is not None:
        run.failure, advice = read
        return advice
    return await _off_loop(lambda: advise(failure, catalog, source, run.returned, called=bool(run.calls)), source)


async def _off_loop(work: Callable[[], T], program: str) -> T:
    """The result of `work`, which may read a program: in a thread where that takes longer than a thread does."""
    return work() if len(program) <= MOST_INLINE else await asyncio.to_thread(work)


def _wrong_arguments(arguments: Mapping[str, Any]) -> str | None:
    """The mistake in the arguments of `code`, in words that tell an agent how to repair it; None without one."""
    others = [str(name)[:60] for name in arguments if name not in INPUT_SCHEMA["properties"]]
    if others:
        return f"code takes `code` and `check`; remove {', '.join(others[:10])}. Nothing was run."
    # Models write null for what they leave out.
    code, check = arguments.get("code"), arguments.get("check")
    if check is not None and not isinstance(check, bool):
        return f"check is true or false, got {_json_type(check)}. Nothing was run."
    if not isinstance(code, str):
        return f'code takes {{"code": string}}, the program as text; got {_json_type(code)}. Nothing was run.'
    return None


def _json_type(value: object) -> str:
    """The type of a JSON value as JSON Schema calls it; "nothing" for null."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return "nothing" if value is None else names.get(type(value), "something else")


def _syntax_error(source: str, untyped: Failure, typed: JavaScript | TypeScriptError) -> Failure:
    """The error for a program in neither language: that of the parser that got further."""
    if isinstance(typed, JavaScript):
        return untyped
    # What misses at the end of a function is behind the program for the engine, which then speaks of another form.
    if untyped.message == RETURN_OUTSIDE and (typed.line is not None or typed.message.startswith("Unexpected")):
        if typed.line is None:
            return Failure("syntax", "SyntaxError", "the program ends too early", *place(source, len(source.rstrip())))
        return Failure("syntax", "SyntaxError", typed.message, typed.line, typed.column)
    if typed.line is None:
        return untyped
    if untyped.line is not None and (untyped.line, untyped.column or 0) >= (typed.line, typed.column or 0):
        return untyped
    return Failure("syntax", "SyntaxError", typed.message, typed.line, typed.column)
