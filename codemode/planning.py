"""Finds the plan of a program: runs it several times at once, in step, with different made-up answers.

The runs have the same virtual time and the same randomness. A call that only reads is made once, and all runs get its
answer. Any other call is written down and not made; each run gets another sample of what the tool may answer. What the
runs then do alike does not depend on those answers, and is the plan. Where they differ, the program decides by an
answer: there the plan ends.

While no answer has been made up, all runs would do the same, so there is one. A call that reads is made only where all
runs make it with the same arguments: no server is asked for something that was made up.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, NoReturn, TypeAlias

from codemode.answer import RESULT_CHARS, answer
from codemode.caller import CallOutcome, ToolCall, ToolCaller, ToolFailed, ToolReturned
from codemode.calls import wrong_arguments
from codemode.catalog import Catalog
from codemode.errors import CatalogError
from codemode.handle import KeptRuns, OwnServers, RunHandle
from codemode.offload import off_loop
from codemode.pace import Pace
from codemode.plan import FormsDiffer, Holes, PlannedCall, ProgramPlan, form_of
from codemode.results import Block
from codemode.run import Failure, Run
from codemode.samples import VARIANTS, key_of, sample
from codemode.truncation import truncate_text
from codemode.virtual_time import VirtualPace
from codemode.waits import OnWait, Waiting

_log = logging.getLogger(__name__)

MAX_ENTRIES: Final = 500
MAX_READS: Final = 200
MAX_BYTES: Final = 256 * 1024
"""Of the arguments in a plan, as JSON."""
MAX_HOLES: Final = 20_000
_NAMED_ANSWERS = 3
_NOT_HERE = "is not there while a plan is made: nothing is changed, and nothing of other runs is read"

RunOnce: TypeAlias = Callable[[ToolCaller, Pace, RunHandle], Coroutine[object, object, Block]]
"""One run of the program, with this caller: `CodeTool.run` with the rest of its arguments."""
LabelsOf: TypeAlias = Callable[[str, str], Sequence[str]]
"""The labels of a tool of a server, by its id and the raw name."""
Reads: TypeAlias = Callable[[str, str], bool]
"""Whether a tool of a server only reads."""


def only_reads(catalog: Catalog, server: str, tool: str) -> bool:
    """Whether the server says that the tool only reads."""
    entry = catalog.get(catalog.names.path(server, tool))
    return entry is not None and entry.tool.annotations.get("readOnlyHint") is True


def planned_run(run_id: str, program: str, plan: ProgramPlan) -> Run:
    """The record of a run that has made a plan: its result, or why there is none."""
    run = Run(run_id, program)
    if plan.failure is None:
        run.value, run.has_value = plan.as_dict(), True
    else:
        kind, name, message = (str(plan.failure.get(part, "")) for part in ("kind", "name", "message"))
        line, column = plan.failure.get("line"), plan.failure.get("column")
        place = (line if isinstance(line, int) else None, column if isinstance(column, int) else None)
        run.failure = Failure(kind, name, message, *place)
    return run


def planned_answer(run: Run, plan: ProgramPlan) -> Block:
    """The `CallToolResult` with a plan: in words, and as data."""
    advice = [] if plan.failure is None else plan.failure.get("advice")
    block = answer(run, [str(line) for line in advice] if isinstance(advice, list) else [])
    if plan.failure is None:
        text = plan.as_text()
        block["content"][0] = {"type": "text", "text": truncate_text(text, RESULT_CHARS) or text}
    return block


async def plan_of(
    program: str,
    run: RunOnce,
    catalog: Catalog,
    caller: ToolCaller,
    *,
    wall_time: float,
    handle: RunHandle | None = None,
    labels: LabelsOf | None = None,
    reads: Reads | None = None,
) -> ProgramPlan:
    """The plan of a program. Cancelling stops all its runs. `handle` is that of the host, and of the first run.
    `reads`: which tools only read, by default those whose server says so (`only_reads`)."""
    reads = partial(only_reads, catalog) if reads is None else reads
    digest = hashlib.sha256(program.encode("utf-8", "replace")).hexdigest()
    rehearsal = _Rehearsal(digest, run, catalog, caller, wall_time, handle, labels, reads)
    try:
        return await rehearsal.plan()
    finally:
        await rehearsal.close()


@dataclass(slots=True)
class _Step:
    """One call of the program, in the runs that have made it. `outcomes` are there when it is decided."""

    calls: dict[int, ToolCall] = field(default_factory=dict)
    outcomes: tuple[CallOutcome, ...] | None = None
    decides: bool = False
    decided: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Runner:
    """The caller of one of the runs."""

    rehearsal: _Rehearsal
    variant: int

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        return await self.rehearsal.call(self.variant, call)


class _Rehearsal:
    """The runs of one program, and what is known of its plan."""

    def __init__(
        self,
        program: str,
        run: RunOnce,
        catalog: Catalog,
        caller: ToolCaller,
        wall_time: float,
        handle: RunHandle | None,
        labels: LabelsOf | None,
        reads: Reads,
    ) -> None:
        self._program = program
        self._reads_only = reads
        self._run = run
        self._catalog = catalog
        self._caller = caller
        self._handle = handle
        self._labels = labels
        self._pace = partial(VirtualPace, time.time() * 1000, os.urandom(32), wall_time=wall_time)
        self._runs: dict[int, asyncio.Task[Block]] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._steps: dict[int, _Step] = {}
        self._entries: dict[int, PlannedCall] = {}
        self._furthest: dict[int, int] = {}
        """The last call that each of the runs has made."""
        self._answered: dict[int, str] = {}
        """The calls with a made-up answer, by position."""
        self._holes = Holes()
        self._count = itertools.count(101)
        self._reads = self._bytes = 0
        self._end: tuple[int, str] | None = None
        """The first position that the plan does not have, and why."""
        self._fault: BaseException | None = None
        self._over = asyncio.Event()
        self._given: tuple[KeptRuns | None, OwnServers | None] = (None, None)

    async def plan(self) -> ProgramPlan:
        self._start(0)
        await self._over.wait()
        if self._fault is not None:
            raise self._fault
        if self._end is not None:
            end, because = self._end
            return self._planned(end - 1, because)
        return self._planned_to_the_end()

    async def close(self) -> None:
        tasks = [*self._runs.values(), *self._work]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._handle is not None:
            # The program may run for real next.
            self._handle.runs, self._handle.servers = self._given
            self._handle.checks_arguments = True

    async def call(self, variant: int, call: ToolCall) -> CallOutcome:
        """What one of the runs gets for a call: the same as the others, or its own sample."""
        step = self._steps.setdefault(call.seq, _Step())
        step.calls[variant] = call
        self._furthest[variant] = call.seq
        self._consider_all()
        if variant == 0 or call.on_wait is None:
            await step.decided.wait()
        else:
            # The first one may wait for a person, whom these do not know of. Their clocks stand still meanwhile.
            async with call.on_wait(Waiting("the same call of another run")):
                await step.decided.wait()
        first = step.calls[0] if 0 in step.calls else call
        if (first.server, first.tool, first.arguments) != (call.server, call.tool, call.arguments):
            if call.seq not in self._answered:
                self._ends(call.seq, "the program does something else each time it runs")
        assert step.outcomes is not None, "it is decided"
        return step.outcomes[variant]

    def _start(self, variant: int) -> None:
        handle = self._handle if variant == 0 and self._handle is not None else RunHandle()
        if variant == 0:
            self._given = handle.runs, handle.servers
        handle.runs = _NoRuns(partial(self._refuse, variant, "codemode.runs"))
        handle.servers = _NoServers(partial(self._refuse, variant, "codemode.portal"))
        handle.checks_arguments = False
        task = asyncio.create_task(self._run(_Runner(self, variant), self._pace(), handle))
        self._runs[variant] = task
        task.add_done_callback(lambda _: self._ended())

    def _ended(self) -> None:
        """One of the runs has ended. The others may wait for it."""
        self._consider_all()
        if all(task.done() for task in self._runs.values()) and not self._work:
            self._over.set()

    def _consider_all(self) -> None:
        for position, step in [(at, one) for at, one in sorted(self._steps.items()) if not one.decides]:
            self._consider(position, step)
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        """Whether all is decided that comes before the end of the plan."""
        if self._end is not None:
            before = [step for position, step in self._steps.items() if position < self._end[0]]
            if all(step.decided.is_set() for step in before):
                self._over.set()

    def _consider(self, position: int, step: _Step) -> None:
        """Decide about a call once all runs have made it, or cannot make it any more."""
        if self._end is not None and position >= self._end[0]:
            return
        if not self._answered and 0 in step.calls and self._is_read(step.calls[0]):
            self._decide(position, step)
        elif len(self._runs) == 1:
            # From here on answers are made up.
            for variant in range(1, VARIANTS):
                self._start(variant)
        elif len(step.calls) == VARIANTS:
            self._decide(position, step)
        elif any(self._is_past(position, variant) for variant in self._runs if variant not in step.calls):
            self._ends(position, f"the program decides by {self._by(position)} whether it makes another call")

    def _is_past(self, position: int, variant: int) -> bool:
        """Whether a run makes no call of this number any more."""
        return self._runs[variant].done() or self._furthest.get(variant, 0) > position

    def _decide(self, position: int, step: _Step) -> None:
        step.decides = True
        task = asyncio.create_task(self._decided(position, step))
        self._work.add(task)
        task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = self._fault or fault
            self._over.set()

    async def _decided(self, position: int, step: _Step) -> None:
        """Make the call if it reads what is known, and write it down otherwise."""
        calls = [step.calls[variant] for variant in sorted(step.calls)]
        first = calls[0]
        if len({(call.server, call.tool) for call in calls}) > 1:
            return self._ends(position, f"the program decides by {self._by(position)} which tool it calls")
        try:
            # Large arguments are compared level by level.
            values = tuple(call.arguments for call in calls)
            form = await off_loop(partial(form_of, values, self._holes), first.arguments)
        except FormsDiffer:
            return self._ends(position, f"the program decides by {self._by(position)} what it sends")
        path = self._catalog.names.path(first.server, first.tool)
        is_known = all(call.arguments == first.arguments for call in calls)
        if is_known and (wrong := wrong_arguments(self._catalog, path, first.arguments)):
            outcome: CallOutcome = ToolFailed(wrong)
        elif is_known and self._is_read(first):
            if self._reads >= MAX_READS:
                return self._ends(position, f"the program reads more than {MAX_READS} times")
            self._reads += 1
            outcome = await self._read(first)
        else:
            if (outcomes := self._noted(position, first, form)) is not None:
                self._answer(step, outcomes)
            return None
        self._answer(step, (outcome,) * VARIANTS)
        return None

    def _answer(self, step: _Step, outcomes: tuple[CallOutcome, ...]) -> None:
        step.outcomes = outcomes
        step.decided.set()
        self._look_for_the_end()

    async def _read(self, call: ToolCall) -> CallOutcome:
        try:
            return await self._caller.call_tool(call)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return ToolFailed("the call was cancelled on its way")
        except Exception:  # as in a run: a fault behind the caller is one failed call, and the program must not read it
            _log.exception("plan of run %s: call %d of %s.%s failed", call.run_id, call.seq, call.server, call.tool)
            return ToolFailed("the call failed inside the portal")

    def _noted(self, position: int, call: ToolCall, form: object) -> tuple[CallOutcome, ...] | None:
        """The samples that answer a call, which is in the plan now; None where the plan has no room for it."""
        self._bytes += len(key_of(form))
        if len(self._entries) >= MAX_ENTRIES or self._bytes > MAX_BYTES or self._holes.count > MAX_HOLES:
            self._ends(position, "there is more than a plan has room for")
            return None
        entry = self._catalog.get(self._catalog.names.path(call.server, call.tool))
        made = sample(None if entry is None else entry.tool.output_schema, position, self._count)
        self._holes.add(made.holes)
        self._answered[position] = f"{call.server}.{call.tool}"
        self._entries[position] = PlannedCall(
            position=position,
            server=call.server,
            tool=call.tool,
            arguments=form,
            effect="read" if self._is_read(call) else "effect",
            line=call.line,
            labels=() if self._labels is None else tuple(self._labels(call.server, call.tool)),
        )
        return tuple(ToolReturned({} if value is None else {"structuredContent": value}) for value in made.values)

    def _is_read(self, call: ToolCall) -> bool:
        return self._reads_only(call.server, call.tool)

    def _ends(self, position: int, because: str) -> None:
        """The plan has no call from this position on."""
        if self._end is None or position < self._end[0]:
            self._end = position, because
        self._look_for_the_end()

    def _refuse(self, variant: int, name: str) -> NoReturn:
        """A run uses what is not there. The program may go on with that as it never would, so the plan ends."""
        self._ends(self._furthest.get(variant, 0) + 1, f"the program uses {name}, which {_NOT_HERE}")
        raise CatalogError(f"{name} {_NOT_HERE}")

    def _by(self, position: int) -> str:
        """The answers by which the program decides what it does at this position."""
        before = [(at, name) for at, name in sorted(self._answered.items()) if at < position]
        named = [f"call {at} ({name})" for at, name in before[-_NAMED_ANSWERS:]]
        if not named:
            return "something that is not the same each time it runs,"
        return f"the answer of {named[0]}" if len(before) == 1 else f"an answer of {', '.join(named)}"

    def _planned_to_the_end(self) -> ProgramPlan:
        """The plan where all runs have made the same calls, and have ended."""
        blocks = [self._runs[variant].result() for variant in sorted(self._runs)]
        errors = [block["structuredContent"].get("error") for block in blocks]
        last = max((0, *(position for position, step in self._steps.items() if step.decided.is_set())))
        if not any(errors):
            return self._planned(last, "")
        ours = next((error for error in errors if error is not None and error["kind"] in _NOT_OF_PROGRAM), None)
        if not self._answered or ours is not None:
            return replace(self._planned(last, ""), failure=ours or errors[0])
        if None in errors:
            return self._planned(last, f"the program decides by {self._by(last + 1)} whether it fails")
        message = str(errors[0]["message"])[:200]
        return self._planned(last, f"it fails with made-up answers, here with: {message}")

    def _planned(self, up_to: int, because: str) -> ProgramPlan:
        entries = [entry for position, entry in sorted(self._entries.items()) if position <= up_to]
        return ProgramPlan(
            program=self._program,
            entries=tuple(entries),
            reads=self._reads,
            exact_up_to=up_to,
            ends_because=because,
        )


_NOT_OF_PROGRAM = frozenset({"engine", "cancelled", "denied", "size", "lost", "expired"})
"""The kinds of failures that say nothing about what the program would do."""


class _NoRuns:
    """`codemode.runs` while a plan is made. `refuse` raises what a program gets that uses it."""

    def __init__(self, refuse: Callable[[], NoReturn]) -> None:
        self._refuse = refuse

    async def result(self, run_id: str, on_wait: OnWait) -> Run:
        self._refuse()

    async def list(self) -> list[dict[str, object]]:
        self._refuse()

    async def cancel(self, run_id: str) -> Run:
        self._refuse()


class _NoServers:
    """`codemode.portal` while a plan is made. `refuse` raises what a program gets that uses it."""

    def __init__(self, refuse: Callable[[], NoReturn]) -> None:
        self._refuse = refuse

    async def servers(self) -> list[dict[str, object]]:
        self._refuse()

    async def choose(self, server: str, *, on: bool) -> None:
        self._refuse()

    async def connect(self, server: str, on_wait: OnWait) -> bool:
        self._refuse()
