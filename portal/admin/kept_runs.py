"""Runs that outlive their process, as operations need them: read, cancelled, and told what became of a call.

They are the rows of `Store.runs`. A run under way in this process has a row too once it was parked: that one is shown
as the process knows it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias

import orjson

from portal.admin.api import errors
from portal.admin.api.errors import AdminError, Problem, conflict, invalid, not_found
from portal.admin.run_shapes import ShownCall, ShownRun, kept_run, members_of_kept, shown_kept_call
from portal.identity import Identity
from portal.login import People
from portal.runs import RunStory
from portal.state import LIVE, RunFilter, RunState, SecretUnreadable, Store, StoredCall, StoredRun, Verdict

EndRun: TypeAlias = Callable[[str, str], Awaitable[bool]]


class OutlivingRuns:
    """`end` ends a run in these words, whichever process has it, and says whether it had not ended; it writes its row.
    Without it nothing is written."""

    def __init__(self, store: Store, people: People, end: EndRun | None = None) -> None:
        self._rows = store.runs
        self._people = people
        self._end = end

    async def unended(
        self, portal: str | None, subject: str | None, email: str | None, *, but: Collection[str], limit: int
    ) -> list[ShownRun]:
        """Those that have not ended, newest first, without those that are shown already (`but`)."""
        found = await self._rows.list(RunFilter(portal=portal, subject=subject, states=LIVE))
        return (await self._shown([one for one in found if one.id not in but], email))[:limit]

    async def in_state(
        self,
        state: RunState,
        portal: str | None,
        subject: str | None,
        email: str | None,
        *,
        before: str | None,
        limit: int,
    ) -> tuple[list[ShownRun], str | None]:
        """A page of those in a state, and the id to go on before, None at the end.

        Raises:
            AdminError: there is no run to go on before.
        """
        last = None if before is None else await self._rows.get(before)
        if before is not None and last is None:
            raise invalid("before_run is the id of a run that there is")
        query = RunFilter(portal=portal, subject=subject, states=(state,), before=last, limit=limit)
        found = await self._rows.list(query)
        return await self._shown(found, email), found[-1].id if len(found) == limit else None

    async def find(self, id: str) -> StoredRun | None:
        return await self._rows.get(id)

    async def person(self, run: StoredRun) -> Identity | None:
        return await self._people.known(run.subject)

    async def calls(self, run: StoredRun, *, with_arguments: bool) -> tuple[tuple[ShownCall, ...], bool]:
        """The calls that are kept of it, and whether arguments of any are with them: of those that are uncertain.

        Raises:
            AdminError: the arguments cannot be opened.
        """
        shown, opened = list[ShownCall](), False
        for call in await self._rows.calls(run.id):
            arguments = await self._arguments(run, call) if with_arguments and call.state == "unknown" else None
            opened = opened or arguments is not None
            shown.append(shown_kept_call(call, run, arguments))
        return tuple(shown), opened

    async def cancel(self, id: str, words: str) -> bool:
        """End a run, whichever process runs it, and withdraw its approvals. False if it has ended, or there is none."""
        if self._end is not None:
            return await self._end(id, words)
        return await self._rows.cancel(id, words) is not None

    async def resolve(self, id: str, call: int, verdict: Verdict, answer: object = None) -> StoredRun:
        """The run after somebody has said what became of a call, by its number.

        Raises:
            AdminError: there is no such run, or nobody has to say this of that call.
        """
        run = await self._rows.get(id)
        if run is None:
            raise not_found("run")
        found = next((one for one in await self._rows.calls(id) if one.seq == call), None)
        if found is None:
            raise AdminError(404, [Problem(errors.NOT_FOUND, "this run has kept no call of that number")])
        encoded = orjson.dumps(answer) if verdict == "happened" else None
        if not await self._rows.resolve(id, found.call, verdict, encoded):
            raise conflict("what became of this call is known: nobody has to say so, or somebody has")
        return await self._rows.get(id) or run

    async def _arguments(self, run: StoredRun, call: StoredCall) -> str | None:
        try:
            found = await self._rows.arguments(run.id, call.call)
        except SecretUnreadable as error:
            message = f"the arguments of a call of this run cannot be opened: {error}"
            raise AdminError(503, [Problem(errors.UNAVAILABLE, message)]) from None
        return None if found is None else found.decode(errors="replace")

    async def _shown(self, found: Sequence[StoredRun], email: str | None) -> list[ShownRun]:
        people = {subject: await self._people.known(subject) for subject in {one.subject for one in found}}
        shown = [kept_run(one, people[one.subject]) for one in found]
        return [one for one in shown if email is None or one.email.lower() == email.lower()]


def with_kept(story: RunStory, run: StoredRun) -> dict[str, object]:
    """What its row adds to a run that is known from this process or the log."""
    live = story.run.outcome == "running"
    here = {} if live or run.state not in LIVE else {"outcome": run.state}
    return {**members_of_kept(run), **here}
