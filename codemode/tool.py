"""The `code` tool: its definition for a catalog, and a run from arguments to answer."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar

from codemode.advice import advise, being_read
from codemode.answer import OUTPUT_SCHEMA, answer
from codemode.bounded import RecentlyUsed
from codemode.caller import CallOutcome, ToolCall, ToolCaller, ToolFailed
from codemode.calls import Calls, LogDiffers
from codemode.catalog import Catalog
from codemode.check.checker import MOST_INLINE, Checker
from codemode.check.finding import place
from codemode.description import description
from codemode.driver import Continuation, ParkedState, drive, lost, repeat, replay
from codemode.entry import as_expression, may_stand_alone, may_take_globals, uncalled, without_given_parameters
from codemode.exports import Script, as_script, may_have_modules
from codemode.handle import RunHandle
from codemode.meaning.meanings import Meanings
from codemode.modules import blanked, imports
from codemode.offload import off_loop
from codemode.pace import Pace, RealPace
from codemode.parking import LoggedResume, ParkedProgram, ProgramLog
from codemode.places import placed, within
from codemode.plan import ProgramPlan
from codemode.planning import LabelsOf, Reads, plan_of
from codemode.preload import preload
from codemode.recorded import RecordedParts
from codemode.recording import Replayed, RunRecording, comparison
from codemode.remarks import remark
from codemode.results import Block
from codemode.run import Failure, Run, is_of_isolate
from codemode.source import extract
from codemode.syntax import RETURN_OUTSIDE, explained, may_be_explained
from codemode.threads import on_behalf_of
from codemode.tokens import tokenize
from codemode.typescript import MAX_PLACED_CHARS, JavaScript, TypeScript, TypeScriptError, looks_typed
from sandbox import EngineError, Execution, Executor, ForeignImage, Image

_log = logging.getLogger(__name__)

T = TypeVar("T")
Arguments: TypeAlias = Mapping[str, Any]
TypeCheck = Literal["off", "warn", "enforce"]

NAME = "code"
PLAN: Final = "plan"
"""In the place of `check`: the plan of the program is wanted."""
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
PLANNING_SCHEMA: dict[str, Any] = {
    **INPUT_SCHEMA,
    "properties": {
        **INPUT_SCHEMA["properties"],
        "check": {
            "enum": [False, True, PLAN],
            "description": "true: only check the program against the tools; run nothing. "
            '"plan": list the calls that it would make; only those that read are made.',
        },
    },
}


@dataclass(frozen=True, slots=True)
class Repetition:
    """A program repeated from its log: its record, without a value where the log ends before the program does, and the
    first `difference`, in words; None when it did all that the log has."""

    run: Run
    difference: str | None = None


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A text to run. `own_lines`: how many lines it had before something was added; `placed`: whether they are the
    program's."""

    text: str
    own_lines: int | None = None
    placed: bool = True


@dataclass(frozen=True, slots=True)
class _Job:
    """What a run works with."""

    catalog: Catalog
    caller: ToolCaller
    identity: str
    pace: Pace | None
    handle: RunHandle | None
    may_park: bool = False


class _Nobody:
    """The caller of a run that makes no calls."""

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        return ToolFailed("a program that is repeated calls nobody")


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

    def definition(self, catalog: Catalog, *, plans: bool = False) -> dict[str, Any]:
        """The MCP tool `code`. Its description has at most 600 tokens, however many tools the catalog has. `plans`: it
        offers to say what a program would do."""
        return {
            "name": NAME,
            "title": "Run code",
            "description": description(catalog),
            "inputSchema": PLANNING_SCHEMA if plans else INPUT_SCHEMA,
            "outputSchema": OUTPUT_SCHEMA,
            "annotations": {"readOnlyHint": False, "destructiveHint": True, "openWorldHint": True},
        }

    async def run(
        self,
        arguments: Arguments,
        catalog: Catalog,
        caller: ToolCaller,
        *,
        identity: str = "",
        run_id: str | None = None,
        pace: Pace | None = None,
        handle: RunHandle | None = None,
    ) -> Block:
        """Run `arguments["code"]` and return the raw `CallToolResult`. Nothing that a program does raises.

        With `check: true` nothing runs, and the result is `CheckResult.as_dict()`. Cancelling the task stops the
        program and its calls. `identity`: the executor's queue is fair between identities. `pace`: the time and the
        randomness of this run, by default the real ones. `handle`: of a host that follows the run, or may end it.
        """
        ended = await self._first(arguments, catalog, run_id, _Job(catalog, caller, identity, pace, handle))
        assert not isinstance(ended, ParkedProgram)
        return ended

    async def begin(
        self,
        arguments: Arguments,
        catalog: Catalog,
        caller: ToolCaller,
        *,
        handle: RunHandle,
        identity: str = "",
        run_id: str | None = None,
        pace: Pace | None = None,
    ) -> Block | ParkedProgram:
        """As `run`, for a program that may park: then the result is the program, for `resume`, and nothing of it is
        left here."""
        job = _Job(catalog, caller, identity, pace, handle, may_park=True)
        return await self._first(arguments, catalog, run_id, job)

    async def resume(
        self,
        parked: ParkedProgram,
        catalog: Catalog,
        caller: ToolCaller,
        *,
        identity: str = "",
        pace: Pace | None = None,
        handle: RunHandle | None = None,
        tail: Sequence[LoggedResume] = (),
    ) -> Block | ParkedProgram:
        """Go on with a parked program, as `begin`: its pending calls are made again. Today's `catalog` checks their
        arguments, while the program keeps the stubs that it began with. `parked` belongs to the run from now on.

        In the build that froze it, it is thawed. In another one it first repeats its log; where it then calls something
        else, the run fails as `lost`, and no call leaves. `tail`: what its journal has since it was parked. What the
        journal of the handle raises comes out of here.
        """
        run, handle = parked.run, handle or RunHandle()
        handle.record = run
        handle.records = parked.log.recorded is not None
        job = _Job(catalog, caller, identity, pace, handle, may_park=True)
        try:
            ended = await self._go_on(run, parked, tail, job)
        except EngineError as error:
            run.failure = Failure.of_engine(error)
            ended = None
        if ended is not None:
            return ended
        run.cancel_pending()
        return await self._answer(run, parked.source, catalog)

    async def plan(
        self,
        arguments: Arguments,
        catalog: Catalog,
        caller: ToolCaller,
        *,
        identity: str = "",
        run_id: str | None = None,
        handle: RunHandle | None = None,
        labels: LabelsOf | None = None,
        reads: Reads | None = None,
    ) -> ProgramPlan:
        """What `arguments["code"]` would do: calls that only read are made, all others are written down and not made.
        `handle`: of a host that follows it, or may end it. `labels`: those of tools, for the plan. `reads`: which tools
        only read, by default those whose server says so."""
        program = {name: value for name, value in arguments.items() if name != "check"}

        async def once(caller: ToolCaller, pace: Pace, handle: RunHandle) -> Block:
            return await self.run(program, catalog, caller, identity=identity, run_id=run_id, pace=pace, handle=handle)

        return await plan_of(
            str(program.get("code")),
            once,
            catalog,
            caller,
            wall_time=self._executor.limits.wall_time,
            handle=handle,
            labels=labels,
            reads=reads,
        )

    async def replay(self, log: ProgramLog, catalog: Catalog, *, identity: str = "") -> Repetition:
        """Repeat what a program did, from its log alone: no call leaves. The catalog only says what its names are."""
        if not log.whole:
            return Repetition(Run("replay", log.source), "the log has been cut: it was over its limit")
        run, limits = Run("replay", log.source), self._executor.limits
        execution = self._executor.execution(await self._image(catalog), identity=identity)
        pace, handle = RealPace(log.now), RunHandle()
        calls = Calls(run, catalog, _Nobody(), limits, pace, handle, None, followed=False, taken=())
        return Repetition(run, await replay(run, log, execution, calls))

    async def repeat(self, recording: RunRecording, *, identity: str = "") -> Replayed:
        """Repeat a recorded run under the limits of today, and say what is different. Calls nobody, and needs nothing
        but the recording.

        Raises:
            EngineError: it cannot run here now.
            TimeoutError: it took longer than a run may.
        """
        log, limits = recording.log, self._executor.limits
        names = recording.names
        key = "" if names is None else f"recorded {hashlib.sha256(names.encode('utf-8', 'replace')).hexdigest()}"
        image = await self._image_named(key, lambda: names)
        run, handle = Run("replay", log.source), RunHandle()
        nothing, pace = Catalog.build(()), RealPace(log.now)
        calls = Calls(run, nothing, _Nobody(), limits, pace, handle, None, followed=False, taken=())
        differs: LogDiffers | None = None
        ended = False
        async with asyncio.timeout(limits.wall_time):
            try:
                ended = await repeat(run, log, self._executor.execution(image, identity=identity), calls)
            except LogDiffers as difference:
                differs = difference
        build = await self._executor.build()
        return await off_loop(lambda: comparison(recording, run, build, ended=ended, differs=differs), run.value)

    async def _first(
        self, arguments: Arguments, catalog: Catalog, run_id: str | None, job: _Job
    ) -> Block | ParkedProgram:
        run_id = run_id or f"exec_{secrets.token_hex(12)}"
        if wrong := _wrong_arguments(arguments):
            return answer(Run(run_id, "", failure=Failure("denied", "TypeError", wrong)), [])
        limits = self._executor.limits
        # A program may stand in prose, but the length of that is bounded too.
        sent = arguments["code"][: 2 * limits.source + 1]
        program = await off_loop(lambda: extract(sent), sent)
        run = Run(run_id, program.text, note=program.note)
        if job.handle is not None:
            job.handle.record = run
            if job.handle.ending is not None:
                # It was ended while it waited to begin.
                run.failure = job.handle.ending
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
            parked = await self._run(run, script, program.typescript, job)
        except EngineError as error:
            run.failure = Failure.of_engine(error)
        else:
            if parked is not None:
                return parked
        return await self._answer(run, source, catalog)

    async def _answer(self, run: Run, source: str, catalog: Catalog) -> Block:
        """The answer to a run that has ended, with advice and remarks."""
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

    async def _run(self, run: Run, script: Script, typescript: bool, job: _Job) -> ParkedProgram | None:
        """Run a program as JavaScript, and if that does not parse, as TypeScript."""
        source, own = script.text, None
        if script.call:
            source, own = f"{source}\n;{script.call}", source.count("\n") + 1
            run.entered = True
        stripped: JavaScript | TypeScriptError | None = None
        if typescript or looks_typed(source):
            stripped = await self._javascript(source)
        if not isinstance(stripped, JavaScript):
            parked = await self._attempt(run, script.text, _Attempt(source, own), job)
            if parked is not None or run.failure is None or run.failure.kind != "syntax":
                return parked
            untyped, run.failure = run.failure, None
            stripped = stripped or await self._javascript(source)
            if isinstance(stripped, TypeScriptError) or stripped.text == source:
                run.failure = _syntax_error(script.text, untyped, stripped)
                return None
        return await self._attempt(run, script.text, _Attempt(stripped.text, own, stripped.own_lines), job)

    async def _attempt(self, run: Run, source: str, attempt: _Attempt, job: _Job) -> ParkedProgram | None:
        """Run one text. If it does nothing but define the function that its environment calls, call that too."""
        image, limits = await self._image(job.catalog), self._executor.limits
        while True:
            log = await self._log_of(attempt, job) if job.may_park else None
            parking = await drive(
                run,
                attempt.text,
                self._executor.execution(image, identity=job.identity),
                catalog=job.catalog,
                caller=job.caller,
                limits=limits,
                pace=job.pace,
                begin=job.catalog.begin,
                handle=job.handle,
                likeness=self._meanings,
                log=log,
            )
            if parking is not None and log is not None:
                return await self._parked(run, source, attempt, log, parking, is_part=job.catalog.is_part)
            following = await _following(run, attempt)
            if following is None:
                return None
            attempt = following

    async def _log_of(self, attempt: _Attempt, job: _Job) -> ProgramLog:
        catalog, log = job.catalog, ProgramLog(attempt.text, job.catalog.begin)
        if job.handle is not None and job.handle.records:
            names = None if catalog.is_part else catalog.table
            log.recorded = RecordedParts(names, await self._executor.build())
        return log

    async def _go_on(
        self, run: Run, parked: ParkedProgram, tail: Sequence[LoggedResume], job: _Job
    ) -> ParkedProgram | None:
        """Go on with a program until its end, or until it parks again."""
        log, attempt = parked.log, _Attempt(parked.log.source, parked.own_lines, parked.placed)
        execution = await self._thawed(parked, job.identity)
        thawed = execution is not None
        if execution is None:
            if not log.whole:
                run.failure = lost(run, "another version froze it, and its log was too long to be kept")
                return None
            image = await self._image_of(job.catalog, is_common=parked.is_part)
            execution = self._executor.execution(image, identity=job.identity)
        parking = await drive(
            run,
            log.source,
            execution,
            catalog=job.catalog,
            caller=job.caller,
            limits=self._executor.limits,
            pace=job.pace,
            handle=job.handle,
            likeness=self._meanings,
            log=log,
            continuation=Continuation(parked, thawed, tail),
        )
        if parking is not None:
            return await self._parked(run, parked.source, attempt, log, parking, is_part=parked.is_part)
        following = await _following(run, attempt)
        return None if following is None else await self._attempt(run, parked.source, following, job)

    async def _thawed(self, parked: ParkedProgram, identity: str) -> Execution | None:
        """The frozen program; None where it is of another build, or damaged."""
        if parked.build != await self._executor.build():
            return None
        try:
            return self._executor.thaw(parked.frozen, identity=identity)
        except ForeignImage as error:
            _log.warning("run %s: its frozen program cannot be thawed: %s", parked.run.id, error)
            return None

    async def _parked(
        self, run: Run, source: str, attempt: _Attempt, log: ProgramLog, parking: ParkedState, *, is_part: bool
    ) -> ParkedProgram:
        return ParkedProgram(
            run=run,
            source=source,
            own_lines=attempt.own_lines,
            placed=attempt.placed,
            is_part=is_part,
            log=log.write(),
            frozen=parking.frozen,
            build=await self._executor.build(),
            pending=parking.pending,
            waiting=parking.waiting,
            wake_at=parking.wake_at,
            wall_used=parking.wall_used,
            excused=parking.excused,
            elapsed=parking.elapsed,
            taken=parking.taken,
        )

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
        return await self._image_of(catalog, is_common=catalog.is_part)

    async def _image_of(self, catalog: Catalog, *, is_common: bool) -> Image:
        name = "" if is_common else catalog.tools_id
        return await self._image_named(name, lambda: None if is_common else catalog.table)

    async def _image_named(self, name: str, table: Callable[[], str | None]) -> Image:
        """The image of this name, made from this table if there is none yet. All catalogs of parts have that of ""."""
        task = self._images.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            # For nobody in particular: others must not wait until it is the turn of whoever asks first.
            with on_behalf_of(""):
                task = asyncio.create_task(self._make_image(table))
            self._images.put(name, task)
        # Another run may wait for the same image: a cancelled run must not cancel its making.
        return task.result() if task.done() else await asyncio.shield(task)

    async def _make_image(self, table: Callable[[], str | None]) -> Image:
        return await self._executor.image(await asyncio.to_thread(lambda: preload(table())))


async def _following(run: Run, attempt: _Attempt) -> _Attempt | None:
    """What to run after an attempt that has ended: its text with the call of a function that it only defines, if it did
    nothing. Otherwise the failure gets its place in the program."""
    if run.failure is not None and attempt.own_lines is not None:
        run.failure = within(run.failure, attempt.own_lines)
    if _did_nothing(run) and (call := await _call_of_entry(attempt.text, run.program)) is not None:
        run.logs.clear()
        run.entered = True
        return replace(attempt, text=f"{attempt.text}\n;{call}", own_lines=attempt.text.count("\n") + 1)
    if run.failure is not None and not attempt.placed:
        # The positions are those of the transformer's output, not of the program.
        run.failure = replace(run.failure, line=None, column=None, stack=None)
    return None


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


def _wrong_arguments(arguments: Arguments) -> str | None:
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
