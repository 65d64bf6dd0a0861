"""`codemode test`: runs programs with expected results, and reports in the manner of pytest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from portal.bench import (
    Case,
    CaseResult,
    Suite,
    find_cases,
    junit_xml,
    select_cases,
    updated_expectations,
    write_expectations,
)
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import must_exist
from portal.cli.show.console import consoles
from portal.cli.show.progress import StepBar
from portal.cli.show.report import program_frame, run_report

NOTHING_FOUND = 5
"""The exit code when there are no tests, as in pytest."""

_MARKS = {
    "passed": (".", "green", "PASSED"),
    "failed": ("F", "bold red", "FAILED"),
    "error": ("E", "bold red", "ERROR"),
    "skipped": ("s", "yellow", "SKIPPED"),
}
_FRAME_LINES = 5


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """Options of the command. `words` selects tests by name, `junit` is a file for the results."""

    places: tuple[Path, ...]
    words: str | None = None
    first_only: bool = False
    update: bool = False
    junit: Path | None = None
    verbose: bool = False
    as_json: bool = False


async def test(options: SuiteOptions) -> int:
    """Run the tests. The exit code is 0 if all passed, 1 if one failed, 5 if there are none."""
    stdout, stderr = consoles()
    must_exist(*options.places, what="file or folder")
    all_cases = find_cases(list(options.places))
    cases = select_cases(all_cases, options.words)
    left_out = len(all_cases) - len(cases)
    # Marks and reports are for people; with --json there is none, but a line that says how far it is.
    shown = None if options.as_json else stdout
    if shown is not None:
        selection = f", {left_out} deselected" if left_out else ""
        shown.print(Text(f"collected {_count(len(all_cases), 'test')}{selection}"), soft_wrap=True)
    started = time.perf_counter()
    with StepBar(stderr, "Running tests", quiet=shown is not None) as bar:
        results = await _run(cases, options, shown, bar)
    seconds = time.perf_counter() - started
    changed = _update(results) if options.update else []
    bad = [result for result in results if result.state in ("failed", "error") and result not in changed]
    if shown is None:
        stdout.print_json(data=_report_json(results, changed, left_out, seconds))
    else:
        _report(results, changed, bad, shown)
        shown.print(_summary(results, changed, left_out, seconds))
    if options.junit is not None:
        _write(options.junit, junit_xml(results, seconds))
    if not results:
        return NOTHING_FOUND
    return Exit.PROGRAM_FAILED if bad else Exit.OK


async def _run(cases: Sequence[Case], options: SuiteOptions, stdout: Console | None, bar: StepBar) -> list[CaseResult]:
    results: list[CaseResult] = []
    title = ""
    async with Suite() as suite:
        # --update brings every test up to date, so it does not stop at the first that differs.
        async for result in suite.results(cases, stop_early=options.first_only and not options.update):
            results.append(result)
            bar.at(len(results), len(cases))
            if stdout is None:
                continue
            mark, style, word = _MARKS[result.state]
            if options.verbose:
                stdout.print(Text.assemble(f"{result.case.id} ", (word, style)), soft_wrap=True)
                continue
            if result.case.title != title:
                stdout.print(Text(f"{'' if not title else chr(10)}{result.case.title} "), end="", soft_wrap=True)
                title = result.case.title
            stdout.print(Text(mark, style=style), end="")
    if title and stdout is not None:
        stdout.print()
    return results


def _report(
    results: Sequence[CaseResult], changed: Sequence[CaseResult], bad: Sequence[CaseResult], stdout: Console
) -> None:
    """Print what failed and why, and a line for each test that was updated or failed."""
    if bad:
        _failures(bad, stdout)
    for result in changed:
        stdout.print(Text(f"UPDATED {result.case.id}", style="yellow"), soft_wrap=True)
    for result in bad:
        stdout.print(Text(_brief(result), style="red"), soft_wrap=True)


def _report_json(
    results: Sequence[CaseResult], changed: Sequence[CaseResult], left_out: int, seconds: float
) -> dict[str, object]:
    return {
        "tests": [
            {
                "id": result.case.id,
                "state": "updated" if result in changed else result.state,
                "reason": result.reason,
                "mismatches": [{"title": one.title, "lines": list(one.lines)} for one in result.mismatches],
                "answer": None if result.program_run is None else result.program_run.answer,
            }
            for result in results
        ],
        "deselected": left_out,
        "seconds": round(seconds, 3),
    }


def _update(results: Sequence[CaseResult]) -> list[CaseResult]:
    """The results whose tests were updated. Expectations are written where they differed or were missing."""
    changed = []
    for result in results:
        if result.program_run is not None and (
            result.state == "failed" or (result.state == "passed" and not result.case.expect)
        ):
            write_expectations(result.case, updated_expectations(result.case.expect, result.program_run))
            changed.append(result)
    return changed


def _failures(bad: Sequence[CaseResult], stdout: Console) -> None:
    stdout.print()
    stdout.print(Rule(Text("FAILURES", style="bold"), characters="="))
    for result in bad:
        stdout.print(Rule(Text(result.case.id, style="bold red"), characters="_"))
        if result.reason is not None:
            stdout.print(Padding(Text(result.reason, style="red"), (0, 0, 1, 0)))
        for mismatch in result.mismatches:
            stdout.print(Text(mismatch.title, style="bold"))
            for line in mismatch.lines:
                stdout.print(Text(f"  {line}", style=_diff_style(line)), soft_wrap=True)
            stdout.print()
        if result.program_run is not None:
            _frame(result, stdout)
            stdout.print(run_report(result.program_run.answer, result.program_run.elapsed_ms, stdout))
            for note in result.program_run.notes:
                stdout.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)
            stdout.print()


def _frame(result: CaseResult, stdout: Console) -> None:
    """Print the lines of the program near the failure, or all of a short program."""
    assert result.program_run is not None and result.case.program is not None
    lines = result.source.rstrip("\n").split("\n")
    error = result.program_run.answer.get("error")
    line = error.get("line") if isinstance(error, dict) else None
    first = max(1, (line or 1) - _FRAME_LINES)
    shown = lines[first - 1 : (line or 2 * _FRAME_LINES) + _FRAME_LINES]
    highlight = {line} if isinstance(line, int) else None
    title = str(result.case.program)
    stdout.print(program_frame("\n".join(shown), title, first_line=first, highlight=highlight))


def _diff_style(line: str) -> str:
    return {"-": "red", "+": "green"}.get(line[:1], "dim")


def _brief(result: CaseResult) -> str:
    word = _MARKS[result.state][2]
    why = result.reason or f"{' and '.join(mismatch.about for mismatch in result.mismatches)} not as expected"
    return f"{word} {result.case.id} - {why.splitlines()[0]}"


def _summary(results: Sequence[CaseResult], changed: Sequence[CaseResult], left_out: int, seconds: float) -> Rule:
    states = [result.state for result in results if result not in changed]
    counts = [
        *((states.count(state), state) for state in ("failed", "passed", "skipped")),
        (len(changed), "updated"),
        (left_out, "deselected"),
    ]
    parts = [f"{number} {word}" for number, word in counts if number]
    if errors := states.count("error"):
        parts.append(_count(errors, "error"))
    style = "bold red" if {"failed", "error"} & set(states) else "bold green" if results else "bold yellow"
    text = f"{', '.join(parts) or 'no tests ran'} in {seconds:.2f}s"
    return Rule(Text(text, style=style), characters="=", style=style)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"Cannot write {file}: {error.strerror or error}.") from error
