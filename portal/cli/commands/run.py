"""`codemode run`: runs a program against live servers, mocks or a recording, and reports what happened."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portal.app import limits_of
from portal.bench import (
    NO_INPUT,
    Backend,
    Bench,
    ProgramRun,
    Recording,
    Replay,
    open_mocks,
    read_recording,
    write_recording,
)
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import must_exist, no_file
from portal.cli.session import CommandSession, connect, read_config
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine
from portal.cli.show.report import milliseconds, program_frame, run_report
from portal.cli.show.run_tokens import RunTokens, run_tokens
from portal.cli.watch import run_on_change
from portal.upstream import CallContext
from sandbox import Limits

NO_INPUT_NOTE = (
    "`input` is the value of --input, and there is none: add --input JSON, for example --input '{\"limit\": 3}'."
)


@dataclass(frozen=True, slots=True)
class RunOutput:
    """The form of the output: a report for a person, the whole answer as JSON, or the result alone as JSON."""

    json: bool = False
    result_only: bool = False


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of the command. Without `mock` and `replay` the configured servers answer the program's calls."""

    mock: Path | None = None
    tools: Path | None = None
    record: Path | None = None
    replay: Path | None = None
    input: str | None = None
    watch: bool = False
    plan: bool = False

    def __post_init__(self) -> None:
        """Raises CommandError for options that exclude each other."""
        if self.mock is not None and self.replay is not None:
            raise CommandError("Either --mock or --replay: a recording answers every call itself.")
        if self.record is not None and self.replay is not None:
            raise CommandError("Either --record or --replay: a replay is the recording.")
        if self.plan and (self.record is not None or self.replay is not None):
            raise CommandError("--plan runs nothing that could be recorded or replayed.")
        if self.tools is not None and self.mock is None:
            raise CommandError("--tools says which tools mocks stand for; it goes with --mock.")
        if self.input is not None and self.replay is not None:
            raise CommandError("A replay has the input it was recorded with; leave --input out.")


def read_program(file: str) -> tuple[str, str]:
    """The source of the program and a title for it. `-` is standard input.

    Raises:
        CommandError: the file cannot be read.
    """
    if file == "-":
        return sys.stdin.read(), "standard input"
    try:
        return Path(file).read_text(encoding="utf-8"), Path(file).name
    except FileNotFoundError as error:
        raise CommandError(no_file(file, "program")) from error
    except OSError as error:
        raise CommandError(f"Cannot read the program {file}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"The program {file} is not UTF-8 text.") from error


async def run(
    file: str | None, program: tuple[str, str] | None, config: Path | None, options: RunOptions, output: RunOutput
) -> Exit:
    """Run a program. `program` is the source and title of `file`.

    The exit code is 0 if the program completed, 1 if it failed or a replay diverged. With `plan` it is 0
    if there is one.
    """
    if file is None and options.replay is None:
        raise CommandError("Name a program: a file, or - for standard input.")
    if options.watch and file in (None, "-"):
        raise CommandError("--watch needs a file to watch.")
    must_exist(options.mock, options.tools)
    must_exist(options.replay, what="recording")
    stdout, stderr = consoles()
    quiet = output.json or output.result_only
    async with _open_setup(config, options, stderr, quiet=quiet, silent=output.result_only) as setup:
        if not options.watch:
            return await _run_once(program, options, output, setup, stdout, stderr)
        assert file is not None
        files = [Path(file), *(path for path in (options.mock, options.tools) if path is not None)]
        return await run_on_change(
            files, lambda: _run_once(read_program(file), options, output, setup, stdout, stderr), stderr
        )


@dataclass(frozen=True, slots=True)
class _RunSetup:
    """The parts of a run. Mocks and recordings are read again for each run, because `--watch` may change them."""

    bench: Bench
    session: CommandSession | None
    recording: Callable[[], Recording] | None

    @asynccontextmanager
    async def backend(self, options: RunOptions) -> AsyncIterator[Backend]:
        async with AsyncExitStack() as stack:
            if self.recording is not None:
                yield Replay(self.recording()).backend()
            elif options.mock is not None:
                mocks = await open_mocks(stack, options.mock, tools=options.tools)
                yield mocks.backend(wall_time=self.bench.limits.wall_time, delays=not options.plan)
            else:
                assert self.session is not None
                caller = stack.enter_context(self.session.caller.run(CallContext()))
                yield Backend(self.session.catalog, caller)


@asynccontextmanager
async def _open_setup(
    config: Path | None, options: RunOptions, stderr: Console, *, quiet: bool, silent: bool
) -> AsyncIterator[_RunSetup]:
    """The parts of a run. Servers are connected only if they answer the calls. `silent`: no progress is shown."""
    async with AsyncExitStack() as stack:
        session: CommandSession | None = None
        limits = Limits()
        if options.mock is None and options.replay is None:
            _, document = read_config(config, stderr, quiet=quiet)
            limits = limits_of(document)
            session = await stack.enter_async_context(connect(document, stderr, quiet=silent))
        elif config is not None:
            limits = limits_of(read_config(config, stderr, quiet=quiet)[1])
        folder = options.replay
        with WaitLine(stderr, "Preparing the isolate ...", quiet=silent):
            bench = await stack.enter_async_context(Bench(limits))
        yield _RunSetup(bench, session, None if folder is None else lambda: read_recording(folder))


async def _run_once(
    program: tuple[str, str] | None,
    options: RunOptions,
    output: RunOutput,
    setup: _RunSetup,
    stdout: Console,
    stderr: Console,
) -> Exit:
    recorded = setup.recording() if setup.recording is not None else None
    if program is None:
        assert recorded is not None
        program = recorded.source, recorded.title
    source, title = program
    program_input = _input(options.input) if recorded is None else recorded.input if recorded.has_input else NO_INPUT
    if options.plan:
        return await _plan_once(source, title, options, output, setup, stdout, stderr)
    async with setup.backend(options) as backend:
        with WaitLine(stderr, f"Running {title} ...", quiet=output.result_only):
            program_run = await setup.bench.run(
                source, backend, input=program_input, record=options.record is not None, title=title
            )
    recording_dir = (
        write_recording(program_run.recording, options.record)
        if options.record is not None and program_run.recording
        else None
    )
    if options.input is None and options.replay is None and _misses_input(program_run.answer):
        program_run = replace(program_run, notes=(*program_run.notes, NO_INPUT_NOTE))
    tokens = run_tokens(source, program_run)
    same = None if recorded is None else _same(recorded, program_run)
    if output.json:
        _print_json(program_run, tokens, recording_dir, same, stdout)
    elif output.result_only and "error" not in program_run.answer:
        stdout.print_json(data=program_run.answer.get("result"), indent=None)
    else:
        if not output.result_only:
            stdout.print(program_frame(source, title))
        (stderr if output.result_only else stdout).print(run_report(program_run.answer, program_run.elapsed_ms, stdout))
        if not output.result_only:
            if options.mock is not None:
                took = f"times are the program's own, under mocks; it really took {milliseconds(program_run.real_ms)}"
                stdout.print(Text(took, style="dim"), soft_wrap=True)
            _print_rest(program_run, tokens, recording_dir, same, stdout)
    if not output.json:
        for note in program_run.notes:
            stderr.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)
    return Exit.OK if program_run.completed else Exit.PROGRAM_FAILED


async def _plan_once(
    source: str,
    title: str,
    options: RunOptions,
    output: RunOutput,
    setup: _RunSetup,
    stdout: Console,
    stderr: Console,
) -> Exit:
    """Show what a program would do."""
    async with setup.backend(options) as backend:
        with WaitLine(stderr, f"Planning {title} ...", quiet=output.result_only):
            plan = await setup.bench.plan(source, backend, input=_input(options.input))
    if output.json or output.result_only:
        stdout.print_json(data=plan.as_dict(), indent=2 if output.json and stdout.is_terminal else None)
    else:
        stdout.print(program_frame(source, title))
        stdout.print(Text(plan.as_text()), soft_wrap=True)
    return Exit.OK if plan.failure is None else Exit.PROGRAM_FAILED


def _misses_input(answer: Mapping[str, object]) -> bool:
    """Whether a program failed because it has no `input`."""
    error = answer.get("error")
    return isinstance(error, Mapping) and str(error.get("message")) == "input is not defined"


def _input(text: str | None) -> object:
    if text is None:
        return NO_INPUT
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--input is JSON, which this is not: {error}.") from error


def _same(recorded: Recording, program_run: ProgramRun) -> bool:
    """Whether the outcome of a replay equals the recorded one."""
    return program_run.divergence is None and _outcome(recorded.answer) == _outcome(program_run.answer)


def _outcome(answer: Mapping[str, object]) -> dict[str, object]:
    return {key: answer.get(key) for key in ("status", "result", "error", "logs")}


def _print_json(
    program_run: ProgramRun, tokens: RunTokens, recording_dir: Path | None, same: bool | None, stdout: Console
) -> None:
    """Print the answer of the `code` tool, with times, tokens, recording and notes."""
    document: dict[str, object] = {
        **program_run.answer,
        "elapsedMs": round(program_run.elapsed_ms, 3),
        "realMs": round(program_run.real_ms, 3),
        "tokens": tokens.as_dict(),
    }
    if recording_dir is not None:
        document["recording"] = str(recording_dir)
    if same is not None:
        document["replay"] = {"diverged": program_run.divergence is not None, "same": same}
    if program_run.notes:
        document["notes"] = list(program_run.notes)
    stdout.print_json(data=document, indent=2 if stdout.is_terminal else None)


def _print_rest(
    program_run: ProgramRun, tokens: RunTokens, recording_dir: Path | None, same: bool | None, stdout: Console
) -> None:
    stdout.print(Text(str(tokens), style="dim"), soft_wrap=True)
    if recording_dir is not None:
        stdout.print(Text(f"Recorded in {recording_dir}; it holds arguments and results as they were.", style="dim"))
    if same is not None and program_run.divergence is None:
        stdout.print(
            Text("The replay came to what was recorded.", style="green")
            if same
            else Text("The same calls as recorded, but another outcome.", style="yellow")
        )
