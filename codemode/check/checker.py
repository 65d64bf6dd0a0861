"""Checks programs against the tools of a catalog: for certain mistakes, then syntax, then types, the costliest last."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from codemode.bounded import RecentlyUsed
from codemode.catalog import Catalog
from codemode.check.certain import certain_findings, suspicious
from codemode.check.compiler import Compiler, Diagnostic, compile_program, find
from codemode.check.context import Context
from codemode.check.declared import declarations_for, isolate_declarations
from codemode.check.finding import MAX_FINDINGS, MAX_MESSAGE_CHARS, MISSING_AWAIT, SYNTAX, UNKNOWN_TOOL, Finding, place
from codemode.check.install import HOW_TO
from codemode.check.relevance import Complaint, relevant
from codemode.errors import CheckUnavailable
from codemode.run import Failure
from codemode.typescript import JavaScript, TypeScript, TypeScriptError, printed

SECONDS = 10.0
AT_ONCE = 2
_REMEMBERED = 64
MOST_INLINE = 8 * 1024  # characters of a program that the event loop reads itself
_MOST_WAITING = 64
_MOST_COMPLAINTS, _MOST_COMPLAINT_CHARS = 300, 2_000
MAX_CHARS = 64 * 1024
_FUNCTION = ("export async function program() {\n", "\n}")
_LINE = re.compile(r"\r\n|[\n\r\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The findings of a check.

    `by`: what checked the program. `unchecked`: why nothing checked its types; one of the two is None. `certain`: the
    program would go wrong for sure.
    """

    findings: tuple[Finding, ...] = ()
    by: str | None = None
    unchecked: str | None = None
    certain: bool = False

    @property
    def ok(self) -> bool:
        """Whether everything was checked, without a finding."""
        return not self.findings and self.unchecked is None

    def in_words(self) -> list[str]:
        """A heading, then each finding with its stub; empty for a program without mistakes."""
        heading = f"Check: {self.unchecked}" if self.unchecked else "Check:"
        return [] if self.ok else [heading, *_lines(self.findings)]

    def advice(self) -> list[str]:
        """The lines to add to the failure: the stub of its finding, then the other findings with theirs."""
        first = self._gravest
        if first is None:
            return []
        return _lines((first, *(one for one in self.findings if one != first)))[1:]

    @property
    def _gravest(self) -> Finding | None:
        """The finding that a program is refused for: a certain one before the others."""
        certain = (one for one in self.findings if self.certain and one.code in (UNKNOWN_TOOL, MISSING_AWAIT))
        return next(certain, self.findings[0] if self.findings else None)

    def as_failure(self) -> Failure:
        """The failure of a program that is not run for this result."""
        if self._gravest is not None:
            return self._gravest.as_failure()
        return Failure(
            "type", "TypeCheckError", f"this portal runs only programs whose types are checked: {self.unchecked}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The result as data: `{ok, diagnostics}`, and `checkedBy` or `unchecked`."""
        members: dict[str, Any] = {"ok": self.ok}
        members["diagnostics"] = [finding.as_dict() for finding in self.findings]
        return members | ({"unchecked": self.unchecked} if self.unchecked is not None else {"checkedBy": self.by})


def _lines(findings: Iterable[Finding]) -> list[str]:
    """Each finding on a line, with its stub on the next one where no line before has it."""
    lines: list[str] = []
    stubs: set[str] = set()
    for finding in findings:
        lines.append(finding.as_line())
        if finding.stub is not None and finding.stub not in stubs and finding.stub not in finding.message:
            lines.append(f"  {finding.stub}")
            stubs.add(finding.stub)
    return lines


_NO_FINDINGS = CheckResult(by="text")


class Checker:
    """Checks programs. At most `AT_ONCE` compilers run, and the last results are remembered.

    `environment`: the variables that tell where a compiler may be. The search for it happens at first use, and again
    after an installation.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, *, seconds: float = SECONDS) -> None:
        self._environment = environment
        self._seconds = seconds
        self._compiler: Compiler | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._remembered: RecentlyUsed[tuple[str, str], tuple[Finding, ...]] = RecentlyUsed(_REMEMBERED)

    @property
    def compiler(self) -> Compiler | None:
        """The compiler that checks types; None when this machine has none."""
        if self._compiler is None or not self._compiler.path.is_file():
            self._compiler = find(self._environment)
        return self._compiler

    async def certain(self, program: str, catalog: Catalog, typescript: TypeScript) -> CheckResult:
        """The mistakes that are certain from the text alone. Takes microseconds for a program without any."""
        if "codemode" not in program:
            return _NO_FINDINGS
        large = len(program) > MOST_INLINE
        if not (await asyncio.to_thread(suspicious, program, catalog) if large else suspicious(program, catalog)):
            return _NO_FINDINGS
        findings = await typescript.run(lambda: certain_findings(program, catalog, printed))
        return CheckResult(tuple(findings), by="text", certain=True) if findings else _NO_FINDINGS

    async def check(self, program: str, catalog: Catalog, typescript: TypeScript) -> CheckResult:
        """All mistakes that can be known before a program runs. Raises nothing."""
        certain = (await self.certain(program, catalog, typescript)).findings
        stripped = await typescript.javascript(program)
        if isinstance(stripped, TypeScriptError):
            if stripped.line is None:
                return CheckResult(certain, unchecked=stripped.message, certain=bool(certain))
            syntax = Finding(stripped.line, stripped.column or 1, SYNTAX, stripped.message[:MAX_MESSAGE_CHARS])
            return CheckResult((syntax,), by="parser")
        compiler = self.compiler
        try:
            if compiler is None:
                raise CheckUnavailable(f"no type checker is installed ({HOW_TO})")
            typed = await self._typed(compiler, program, stripped, catalog)
        except CheckUnavailable as error:
            words = f"only syntax and tool names were checked, not types: {error}"
            return CheckResult(certain, unchecked=words, certain=bool(certain))
        return CheckResult(_together(certain, typed), by=str(compiler), certain=bool(certain))

    async def _typed(
        self, compiler: Compiler, program: str, stripped: JavaScript, catalog: Catalog
    ) -> tuple[Finding, ...]:
        if len(program) > MAX_CHARS:
            raise CheckUnavailable(f"the program is longer than {MAX_CHARS:,} characters")
        tools = await asyncio.to_thread(declarations_for, program, catalog)
        key = (program, tools)
        if (remembered := self._remembered.get(key)) is not None:
            return remembered
        declarations = {"codemode.d.ts": tools, "isolate.d.ts": isolate_declarations()}
        is_typed = stripped.text != program
        # Compilers do not check the value of a `return` outside a function.
        head, tail = _FUNCTION if stripped.returns else ("", "")
        async with self._turn():
            diagnostics = await compile_program(
                compiler, head + program + tail, declarations, typed=is_typed, seconds=self._seconds
            )

        def judge() -> tuple[Finding, ...]:
            complaints = _complaints(program, diagnostics, lines_before=len(head) and 1)
            context = Context(program, stripped)
            if context.uncertain is not None and any(one.offset >= context.uncertain for one in complaints):
                line, _ = place(program, context.uncertain)
                raise CheckUnavailable(f"a slash or bracket in line {line} can be read in two ways")
            return tuple(relevant(complaints, context, catalog))

        findings = await asyncio.to_thread(judge) if diagnostics else ()
        self._remembered.put(key, findings)
        return findings

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A place among the running compilers. Raises `CheckUnavailable` when too many wait or the wait is too long."""
        if self._waiting >= _MOST_WAITING:
            raise CheckUnavailable("too many programs wait to be checked")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise CheckUnavailable(f"the type checker was busy for {self._seconds:g} s") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()


def _together(certain: tuple[Finding, ...], typed: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Both kinds in order, without the compiler's findings about mistakes that are certain already."""
    places = {(one.line, one.column) for one in certain}
    unawaited = {one.line for one in certain if one.code == MISSING_AWAIT}
    rest = [
        one
        for one in typed
        if (one.line, one.column) not in places and not (one.line in unawaited and "Promise<" in one.message)
    ]
    return tuple(sorted((*certain, *rest), key=lambda one: (one.line, one.column))[:MAX_FINDINGS])


def _complaints(program: str, diagnostics: list[Diagnostic], lines_before: int) -> list[Complaint]:
    """Diagnostics with offsets into the program. Compilers count lines as JavaScript does, columns in UTF-16 units."""
    starts = [0, *(match.end() for match in _LINE.finditer(program))]
    return [
        Complaint(
            _offset(program, starts, one.line - lines_before, one.column),
            one.number,
            one.message[:_MOST_COMPLAINT_CHARS],
        )
        for one in diagnostics[:_MOST_COMPLAINTS]
    ]


def _offset(program: str, starts: list[int], line: int, column: int) -> int:
    line = max(1, min(line, len(starts)))
    start = starts[line - 1]
    end = starts[line] if line < len(starts) else len(program)
    text = program[start:end]
    if text.isascii():
        return start + max(0, min(column - 1, len(text)))
    units = 0
    for index, character in enumerate(text):
        if units >= column - 1:
            return start + index
        units += 2 if character > "\uffff" else 1
    return end
