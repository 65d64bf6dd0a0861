"""`codemode.runs` inside a program: the runs that it may come back for, which the host keeps.

A run that answered `paused` goes on without its request. A later program gets its result. The logs, calls and emitted
blocks of the run come with the answer of that program, once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial

import orjson

from codemode.errors import CatalogError
from codemode.handle import RunHandle
from codemode.outcome import encode
from codemode.results import Block
from codemode.run import Failure, Rejection, Run, RunCall, RunFailed
from sandbox import HostCall, LogLine, Settlement

FUNCTIONS = ("runs.result", "runs.list", "runs.cancel")
_MOST_ID_CHARS, _MOST_FETCHING_CHARS = 100, 500
_FETCHES = re.compile(
    r"(?:return\s+)?(?:await\s+)?codemode\s*\.\s*runs\s*\.\s*result\(\s*([\"'`])([\w-]{1,100})\1\s*\)\s*;?"
)


def only_fetches(program: str) -> str | None:
    """The id of the run whose result is all that a program gets; None for any other program."""
    text = program.strip()
    found = _FETCHES.fullmatch(text) if len(text) <= _MOST_FETCHING_CHARS else None
    return None if found is None else found[2]


class RunCalls:
    """Serves `codemode.runs` for one run. `emit` adds a block to the answer, or raises CatalogError."""

    def __init__(self, run: Run, handle: RunHandle, emit: Callable[[Block], None], taken: Iterable[str] = ()) -> None:
        self._run = run
        self._handle = handle
        self._emit = emit
        self.taken = set(taken)

    async def settle(self, call: HostCall, argument: object) -> Settlement:
        """The answer to a call of `runs.result`, `runs.list` or `runs.cancel`. Raises CatalogError for wrong ids."""
        runs = self._handle.runs
        if runs is None:
            raise CatalogError("no runs are kept here: a program runs to its end")
        if call.name == "runs.list":
            return Settlement.value(call.id, await runs.list())
        if not isinstance(argument, str) or not 0 < len(argument) <= _MOST_ID_CHARS:
            raise CatalogError(f'takes the id of a run, like "exec_5f2c", got {argument!r:.100}')
        if argument == self._run.id:
            raise CatalogError("this program is that run itself")
        if call.name == "runs.cancel":
            record = await runs.cancel(argument)
            self._take(record)
            return Settlement.value(call.id, record.failure is not None and record.failure.kind == "cancelled")
        record = await runs.result(argument, partial(self._handle.waits.wait, call.id))
        self._take(record)
        if record.failure is not None:
            return self._rejecting(call.id, record.failure)
        return Settlement.value(call.id, orjson.Fragment(encode(record.value) or b"null"))

    def _rejecting(self, call_id: int, failure: Failure) -> Settlement:
        self._run.causes.append(RunFailed(failure.message, failure.name, failure))
        properties: dict[str, object] = {"kind": failure.kind}
        if isinstance(cause := failure.cause, Rejection):
            properties["tool"] = cause.tool
            properties |= {} if cause.code is None else {"code": cause.code}
            properties |= {} if cause.data is None else {"data": cause.data}
        return Settlement.error(call_id, name=failure.name, message=failure.message, properties=properties)

    def _take(self, record: Run) -> None:
        """Add what the answer of a run has besides its result."""
        if record.id in self.taken:
            return
        self.taken.add(record.id)
        self._run.logs += record.logs
        self._run.calls += [
            RunCall(one.seq, one.tool, one.at, one.status, one.ms, one.run or record.id) for one in record.calls
        ]
        left_out = 0
        for block in record.emitted:
            try:
                self._emit(block)
            except CatalogError:
                left_out += 1
        if left_out:
            line = f"{left_out} blocks that {record.id} emitted are left out: this answer has no room for them"
            self._run.logs.append(LogLine("warn", line))
