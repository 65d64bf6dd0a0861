"""`codemode run`: a program from a file against live servers, mocks or a recording, and the report of what happened."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portal.app import limits_of
from portal.bench import NO_INPUT, Backend, Bench, Ran, Recording, Replay, open_mocks, read_recording, write_recording
from portal.cli.exits import CommandError, Exit
from portal.cli.session import Session, connected, read_config
from portal.cli.show.console import consoles
from portal.cli.show.report import milliseconds, program_frame, run_report
from portal.cli.show.run_tokens import RunTokens, run_tokens
from portal.cli.watch import watched
from portal.upstream import CallContext
from sandbox import Limits


@dataclass(frozen=True, slots=True)
class Shown:
    """What to print: everything for a person, the whole answer as JSON, or only the result as JSON."""

    json: bool = False
    result_only: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What answers the program's calls, and what is kept of them. Without any of these: the configured servers."""

    mock: Path | None = None
    tools: Path | None = None
    record: Path | None = None
    replay: Path | None = None
    input: str | None = None
    watch: bool = False

    def __post_init__(self) -> None:
        """Raises CommandError for what cannot go together."""
        if self.mock is not None and self.replay is not None:
            raise CommandError("Either --mock or --replay: a recording answers every call itself.")
        if self.record is not None and self.replay is not None:
            raise CommandError("Either --record or --replay: a replay is the recording.")
        if self.tools is not None and self.mock is None:
            raise CommandError("--tools says which tools mocks stand for; it goes with --mock.")
        if self.input is not None and self.replay is not None:
            raise CommandError("A replay has the input it was recorded with; leave --input out.")


def read_program(file: str) -> tuple[str, str]:
    """The source and a title for it; `-` is standard input. Raises `CommandError` (usage)."""
    if file == "-":
        return sys.stdin.read(), "standard input"
    try:
        return Path(file).read_text(encoding="utf-8"), Path(file).name
    except OSError as error:
        raise CommandError(f"Cannot read the program {file}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"The program {file} is not UTF-8 text.") from error


async def run(
    file: str | None, program: tuple[str, str] | None, config: Path | None, wanted: Wanted, shown: Shown
) -> Exit:
    """Run the program, the source and title of `file`; 0 when it completed, 1 when it failed or a replay diverged."""
    if file is None and wanted.replay is None:
        raise CommandError("Name a program: a file, or - for standard input.")
    if wanted.watch and file in (None, "-"):
        raise CommandError("--watch needs a file to watch.")
    stdout, stderr = consoles()
    async with _answering(config, wanted, stderr, quiet=shown.json or shown.result_only) as answering:
        if not wanted.watch:
            return await _once(program, wanted, shown, answering, stdout, stderr)
        assert file is not None
        files = [Path(file), *(path for path in (wanted.mock, wanted.tools) if path is not None)]
        return await watched(files, lambda: _once(read_program(file), wanted, shown, answering, stdout, stderr), stderr)


@dataclass(frozen=True, slots=True)
class _Answering:
    """Where programs run, and what answers them; mocks and recordings are read anew for each run."""

    bench: Bench
    session: Session | None
    recording: Callable[[], Recording] | None

    @asynccontextmanager
    async def backend(self, wanted: Wanted) -> AsyncIterator[Backend]:
        async with AsyncExitStack() as stack:
            if self.recording is not None:
                yield Replay(self.recording()).backend()
            elif wanted.mock is not None:
                mocks = await open_mocks(stack, wanted.mock, tools=wanted.tools)
                yield mocks.backend(wall_time=self.bench.limits.wall_time)
            else:
                assert self.session is not None
                caller = stack.enter_context(self.session.caller.run(CallContext()))
                yield Backend(self.session.catalog, caller)


@asynccontextmanager
async def _answering(config: Path | None, wanted: Wanted, stderr: Console, *, quiet: bool) -> AsyncIterator[_Answering]:
    """Servers are connected only when they are what answers."""
    async with AsyncExitStack() as stack:
        session: Session | None = None
        limits = Limits()
        if wanted.mock is None and wanted.replay is None:
            _, document = read_config(config, stderr, quiet=quiet)
            limits = limits_of(document)
            session = await stack.enter_async_context(connected(document, stderr))
        elif config is not None:
            limits = limits_of(read_config(config, stderr, quiet=quiet)[1])
        folder = wanted.replay
        with stderr.status("Preparing the isolate ..."):
            bench = await stack.enter_async_context(Bench(limits))
        yield _Answering(bench, session, None if folder is None else lambda: read_recording(folder))


async def _once(
    program: tuple[str, str] | None,
    wanted: Wanted,
    shown: Shown,
    answering: _Answering,
    stdout: Console,
    stderr: Console,
) -> Exit:
    recorded = answering.recording() if answering.recording is not None else None
    if program is None:
        assert recorded is not None
        program = recorded.source, recorded.title
    source, title = program
    given = _input(wanted.input) if recorded is None else recorded.input if recorded.has_input else NO_INPUT
    async with answering.backend(wanted) as backend:
        ran = await answering.bench.run(source, backend, input=given, record=wanted.record is not None, title=title)
    kept = write_recording(ran.recording, wanted.record) if wanted.record is not None and ran.recording else None
    tokens = run_tokens(source, ran)
    same = None if recorded is None else _same(recorded, ran)
    if shown.json:
        _print_json(ran, tokens, kept, same, stdout)
    elif shown.result_only and "error" not in ran.answer:
        stdout.out(json.dumps(ran.answer.get("result"), ensure_ascii=False), highlight=False)
    else:
        if not shown.result_only:
            stdout.print(program_frame(source, title))
        (stderr if shown.result_only else stdout).print(run_report(ran.answer, ran.elapsed_ms, stdout))
        if not shown.result_only:
            if wanted.mock is not None:
                took = f"times are the program's own, under mocks; it really took {milliseconds(ran.real_ms)}"
                stdout.print(Text(took, style="dim"), soft_wrap=True)
            _print_rest(ran, tokens, kept, same, stdout)
    if not shown.json:
        for note in ran.notes:
            stderr.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)
    return Exit.OK if ran.completed else Exit.PROGRAM_FAILED


def _input(text: str | None) -> object:
    if text is None:
        return NO_INPUT
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--input is JSON, which this is not: {error}.") from error


def _same(recorded: Recording, ran: Ran) -> bool:
    """Whether a replay came to what was recorded."""
    return ran.divergence is None and _outcome(recorded.answer) == _outcome(ran.answer)


def _outcome(answer: Mapping[str, object]) -> dict[str, object]:
    return {key: answer.get(key) for key in ("status", "result", "error", "logs")}


def _print_json(ran: Ran, tokens: RunTokens, kept: Path | None, same: bool | None, stdout: Console) -> None:
    """The answer of the `code` tool, and what is known beside it."""
    document: dict[str, object] = {
        **ran.answer,
        "elapsedMs": round(ran.elapsed_ms, 3),
        "realMs": round(ran.real_ms, 3),
        "tokens": tokens.as_dict(),
    }
    if kept is not None:
        document["recording"] = str(kept)
    if same is not None:
        document["replay"] = {"diverged": ran.divergence is not None, "same": same}
    if ran.notes:
        document["notes"] = list(ran.notes)
    stdout.print_json(data=document, indent=2 if stdout.is_terminal else None)


def _print_rest(ran: Ran, tokens: RunTokens, kept: Path | None, same: bool | None, stdout: Console) -> None:
    stdout.print(Text(str(tokens), style="dim"), soft_wrap=True)
    if kept is not None:
        stdout.print(Text(f"Recorded in {kept}; it holds arguments and results as they were.", style="dim"))
    if same is not None and ran.divergence is None:
        stdout.print(
            Text("The replay came to what was recorded.", style="green")
            if same
            else Text("The same calls as recorded, but another outcome.", style="yellow")
        )
