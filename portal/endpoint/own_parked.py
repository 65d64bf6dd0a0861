"""The parked runs of one owner at one portal: what `codemode.runs` and the request that began one get of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from codemode import CatalogError, Failure, OnWait, Run, paused
from portal.endpoint.parking import LEFT, EndedRunResult, RunParking
from portal.endpoint.request import ClientRequest, RawResult
from portal.runs import DurableRuns, Owner, waits_of
from portal.state import LIVE, LabelRead, SecretUnreadable, StateUnavailable, StoredRun

CANCELLED = "the program was cancelled with codemode.runs.cancel"


class OwnParkedRuns:
    """Implements `portal.runs.ParkedRuns`."""

    def __init__(self, durable: DurableRuns, parking: RunParking, owner: Owner) -> None:
        self._durable = durable
        self._parking = parking
        self._owner = owner

    async def find(self, run_id: str) -> StoredRun | None:
        return await self._durable.find(run_id, self._parking.portal, self._owner)

    async def result(self, run_id: str, on_wait: OnWait) -> tuple[Run, Sequence[LabelRead]] | None:
        run = await self.find(run_id)
        while run is not None and run.state in LIVE:
            async with _waiting(run, on_wait):
                run = await self._durable.changed(run, self._parking.portal, self._owner)
        if run is None:
            return None
        ended = await self.ended(run)
        return ended.record, ended.read

    async def list(self) -> list[dict[str, object]]:
        return [
            {
                "id": run.id,
                "status": _status(run),
                "waiting": [one.as_dict() for one in waits_of(run)],
                "startedAt": run.created_at.isoformat(timespec="seconds"),
                "expiresAt": run.expires_at.isoformat(timespec="seconds"),
            }
            for run in await self._durable.list(self._parking.portal, self._owner)
        ]

    async def cancel(self, run_id: str) -> Run | None:
        run = await self.find(run_id)
        if run is None:
            return None
        if await self.end(run_id, CANCELLED):
            return Run(run_id, "", failure=Failure("cancelled", "RunCancelled", CANCELLED))
        return (await self.ended(run)).record

    async def left(self, run_id: str) -> None:
        """End a run whose client has left. Where the database does not answer it goes on, as one that was answered
        `paused`."""
        with suppress(StateUnavailable):
            await self.end(run_id, LEFT)

    async def end(self, run_id: str, words: str) -> bool:
        """End a run in these words; False if it had ended, or there is none."""
        return await self._durable.cancel(run_id, self._parking.portal, self._owner, words)

    async def change(self, run: StoredRun, until: float | None = None) -> None:
        """Returns when a run that was seen so waits for something else, goes on or has ended, or at this time of the
        event loop."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._durable.changed(run, self._parking.portal, self._owner)

    async def paused(self, run_id: str) -> RawResult | None:
        """The answer `paused` for a run that has not ended; None for any other."""
        run = await self.find(run_id)
        return None if run is None or run.state not in LIVE else paused(run.id, waits_of(run), [])

    async def ended(self, run: StoredRun) -> EndedRunResult:
        """What is kept of a run that has ended.

        Raises:
            CatalogError: nothing, or it cannot be read.
        """
        try:
            found = await self._parking.result(run)
        except SecretUnreadable as error:
            raise CatalogError(f"the result of the run {run.id!r} cannot be read: {error}") from None
        if found is None:
            raise CatalogError(f"the run {run.id!r} has no result that is kept")
        return found


def parked_runs_of(durable: DurableRuns | None, parking: RunParking | None, owner: Owner) -> OwnParkedRuns | None:
    """The parked runs of an owner; None where no runs are parked."""
    return None if durable is None or parking is None else OwnParkedRuns(durable, parking, owner)


def owner_of(request: ClientRequest) -> Owner:
    """Whose runs a request begins: those of a person with one client, which is known by its token, or else by the name
    with which it introduces itself."""
    if client_id := request.context.source.client_id:
        return Owner(request.context.identity, f"token:{client_id}")
    client = request.context.client
    return Owner(request.context.identity, "" if client is None else f"name:{client.info.get('name')}")


@asynccontextmanager
async def _waiting(run: StoredRun, on_wait: OnWait) -> AsyncIterator[None]:
    """A block in which a program waits for the people that a run waits for while it is parked."""
    async with AsyncExitStack() as stack:
        for one in waits_of(run) if run.state == "parked" else ():
            await stack.enter_async_context(on_wait(one))
        yield


def _status(run: StoredRun) -> str:
    if run.state == "parked":
        return "paused"
    if run.state in LIVE:
        return "running"
    return "completed" if run.state == "completed" else "failed"
