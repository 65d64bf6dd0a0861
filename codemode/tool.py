"""The `code` tool: its definition for a catalog, and a run from arguments to answer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from codemode.advice import advise
from codemode.answer import OUTPUT_SCHEMA, answer
from codemode.bounded import Bounded
from codemode.caller import ToolCaller
from codemode.catalog import Catalog
from codemode.check.checker import Checker
from codemode.description import description
from codemode.driver import drive
from codemode.offload import beside
from codemode.pace import Pace
from codemode.run import Failure, Run
from codemode.source import extract
from codemode.typescript import JavaScript, TypeScript, TypeScriptError, looks_typed
from sandbox import EngineError, Executor, Image

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
    """Runs programs for any number of catalogs on one executor, which stays the caller's to close.

    `type_check`: "off" runs programs unless they are certain to go wrong, "warn" adds what the `checker` finds in their
    types to the answer, "enforce" runs only programs that it finds nothing in.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        typescript: TypeScript | None = None,
        checker: Checker | None = None,
        type_check: TypeCheck = "off",
    ) -> None:
        self._executor = executor
        self._typescript = typescript or TypeScript()
        self._checker = checker or Checker()
        self._type_check = type_check
        self._images: Bounded[str, asyncio.Task[Image]] = Bounded(MAX_IMAGES)

    def warm(self) -> None:
        """Start in the background what the first program in TypeScript would wait half a second for."""
        self._typescript.warm()

    async def prepare(self, catalog: Catalog) -> None:
        """Make everything a catalog needs, off the event loop, so that its first run and first search are quick."""
        self.warm()
        await asyncio.to_thread(catalog.prepare)
        await self._image(catalog)

    def definition(self, catalog: Catalog) -> dict[str, Any]:
        """The MCP tool: its description stays within 600 tokens however many tools the catalog has."""
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
    ) -> dict[str, Any]:
        """Run `arguments["code"]` and return the raw `CallToolResult`; nothing a program does raises.

        With `check: true` nothing runs, and the result is what `Checked.as_dict` holds. Cancelling the task stops the
        program and its calls. `identity` is whom the executor's queue is fair to. `pace` is the clock and the chance of
        this run, the real ones when not given.
        """
        run_id = run_id or f"exec_{secrets.token_hex(12)}"
        if wrong := _wrong_arguments(arguments):
            return answer(Run(run_id, "", failure=Failure("denied", "TypeError", wrong)), [])
        limits = self._executor.limits
        program = extract(arguments["code"][: 2 * limits.source + 1])  # with prose around it, but not without end
        run = Run(run_id, program.text)
        if (size := len(program.text.encode())) > limits.source:
            message = f"the program has {size:,} bytes or more, at most {limits.source:,} are allowed"
            run.failure = Failure("size", "RangeError", message)
            return answer(run, [])
        if arguments.get("check"):
            run.value = (await self._checker.check(run.program, catalog, self._typescript)).as_dict()
            run.has_value = True
            return answer(run, [])
        if advice := await self._refused(run, catalog):
            return answer(run, advice)
        try:
            await self._run(run, program.typescript, catalog, caller, identity, pace)
        except EngineError as error:
            run.failure = Failure.of_engine(error)
        advice = advise(run.failure, catalog, run.program) if run.failure is not None else []
        # Cutting a megabyte down to what is shown measures its parts again and again.
        return await beside(lambda: answer(run, advice), run.value)

    async def _refused(self, run: Run, catalog: Catalog) -> list[str]:
        """Check a program before it runs. Advice when it must not run, and then the run has failed; else nothing."""
        if self._type_check == "off":
            checked = await self._checker.certain(run.program, catalog, self._typescript)
        else:
            checked = await self._checker.check(run.program, catalog, self._typescript)
            run.check = checked.as_dict()
        refused = checked.certain or (self._type_check == "enforce" and not checked.ok)
        if not refused:
            if self._type_check != "off":
                run.notes = checked.in_words()
            return []
        run.check = checked.as_dict()
        run.failure = checked.as_failure()
        return ["Found before running: nothing was run.", *checked.in_words(beside_failure=True)]

    async def _run(
        self, run: Run, typescript: bool, catalog: Catalog, caller: ToolCaller, identity: str, pace: Pace | None
    ) -> None:
        image = await self._image(catalog)
        stripped: JavaScript | TypeScriptError | None = None
        if typescript or looks_typed(run.program):
            stripped = await self._typescript.javascript(run.program)

        async def attempt(source: str) -> None:
            execution = self._executor.execution(image, identity=identity)
            limits = self._executor.limits
            await drive(run, source, execution, catalog=catalog, caller=caller, limits=limits, pace=pace)

        if isinstance(stripped, JavaScript):
            await attempt(stripped.text)
        else:
            await attempt(run.program)
            if run.failure is None or run.failure.kind != "syntax":
                return
            untyped, run.failure = run.failure, None
            stripped = stripped or await self._typescript.javascript(run.program)
            if isinstance(stripped, TypeScriptError) or stripped.text == run.program:
                run.failure = _syntax_error(untyped, stripped)
                return
            await attempt(stripped.text)
        if run.failure is not None and not stripped.own_lines:
            run.failure = replace(run.failure, line=None, column=None, stack=None)

    async def _image(self, catalog: Catalog) -> Image:
        """The image of a catalog: made once, by whoever asks first, kept for the catalogs used last."""
        task = self._images.get(catalog.tools_id)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.create_task(self._make_image(catalog))
            self._images.put(catalog.tools_id, task)
        # Another run may wait for the same image: being cancelled stops this one only.
        return task.result() if task.done() else await asyncio.shield(task)

    async def _make_image(self, catalog: Catalog) -> Image:
        return await self._executor.image(await asyncio.to_thread(lambda: catalog.preload))


def _wrong_arguments(arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with the arguments of `code`, in words an agent can repair them from."""
    others = [str(name)[:60] for name in arguments if name not in INPUT_SCHEMA["properties"]]
    if others:
        return f"code takes `code` and `check`; remove {', '.join(others[:10])}. Nothing was run."
    if not isinstance(arguments.get("check", False), bool):
        return f"check is true or false, got {type(arguments['check']).__name__}. Nothing was run."
    code = arguments.get("code")
    if not isinstance(code, str):
        got = "nothing" if "code" not in arguments else type(code).__name__
        return f'code takes {{"code": string}}, the program as text; got {got}. Nothing was run.'
    return None


def _syntax_error(untyped: Failure, typed: JavaScript | TypeScriptError) -> Failure:
    """Where a program is neither language, the error of the parser that got further."""
    if isinstance(typed, JavaScript) or typed.line is None:
        return untyped
    if untyped.line is not None and (untyped.line, untyped.column or 0) >= (typed.line, typed.column or 0):
        return untyped
    return Failure("syntax", "SyntaxError", typed.message, typed.line, typed.column)
