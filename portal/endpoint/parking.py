"""Parks the runs of one portal in its database, and ends those that were parked: what is stored of them, and in which
words. When a parked run goes on is for others to say (`portal.runs.DurableRuns`)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import orjson
from starlette.types import Scope

from codemode import Failure, ParkedProgram, Run, Waiting, answer_to, ended_as_bytes, ended_from_bytes
from portal.config import RunSettings
from portal.endpoint.parked import ParkedRequest, checkpoint, read_checkpoint, request_of
from portal.endpoint.request import RawResult
from portal.identity import Identity, caller_document, caller_from
from portal.runs import LiveRun, NextPark
from portal.state import (
    AlreadyExists,
    EndOfRun,
    EndState,
    FinishedRun,
    LabelRead,
    Parking,
    ParkReason,
    RunClaim,
    RunDocument,
    StateUnavailable,
    StoredRun,
    WaitOfRun,
)
from portal.upstream import CallContext

if TYPE_CHECKING:
    from portal.state import Store

T = TypeVar("T")

MOST_WAITS: Final = 64
MAX_RESULT_BYTES: Final = 4 * 1024 * 1024
MOST_WORDS: Final = 2048
LEFT: Final = "its client left before it had its answer"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
"""Seconds until a database that does not answer is asked again, the first time and at most: each time twice as long."""
_STATES: Final[Mapping[str, EndState]] = {
    "denied": "denied",
    "cancelled": "cancelled",
    "expired": "expired",
    "lost": "lost",
}
_OWN_WORDS: Final = ("lost", "expired", "cancelled", "denied")
"""Kinds of ends that this portal gives a run, in words of its own."""
_REASONS: Final[Sequence[ParkReason]] = ("login", "approval", "question", "uncertain")
"""What a run waits for, the first of them that it does. Of a decided approval it hears whatever its reason is."""


class WrittenLogins(Protocol):
    """Logins that are written down, and known again (`portal.oauth.Logins`)."""

    def document_of(self, identity: Identity) -> Mapping[str, object]: ...

    async def again(self, document: Mapping[str, object]) -> Identity | None: ...


class KnownCallers:
    """In the place of logins where this portal signs nobody in: callers are who they were."""

    def document_of(self, identity: Identity) -> Mapping[str, object]:
        return caller_document(identity)

    async def again(self, document: Mapping[str, object]) -> Identity | None:
        return caller_from(document)


@dataclass(frozen=True, slots=True)
class EndedRunResult:
    """What is kept of a run that has ended: its record, the answer to the request that began it, and what it has
    read."""

    record: Run
    answer: RawResult
    read: Sequence[LabelRead] = ()


class RunParking:
    """Parks runs of the portal with this id. `logins` write down who began them; by default callers are who they
    were."""

    def __init__(
        self,
        store: Store,
        portal: str,
        logins: WrittenLogins | None,
        settings: Callable[[], RunSettings],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.rows = store.runs
        self._store = store
        self.logins: WrittenLogins = logins or KnownCallers()
        self.portal = portal
        self._settings = settings
        self._now = now

    @property
    def on(self) -> bool:
        """Whether runs are parked."""
        return self._settings().durable != "off"

    def request(self, scope: Scope, context: CallContext, holder: str, at: int) -> ParkedRequest:
        """What is kept of the request behind a run that began `at` (microseconds since 1970)."""
        principal = context.principal
        login = None if principal is None else self.logins.document_of(principal)
        return request_of(scope, login=login, source=context.source, holder=holder, at=at)

    async def following(
        self, run: LiveRun, parked: ParkedProgram, request: ParkedRequest, claim: RunClaim | None
    ) -> NextPark:
        """What is to be stored of a parked program; `claim` is there if it was parked before.

        Raises:
            ValueError: too much would be kept of its request.
        """
        data = checkpoint(request, await asyncio.to_thread(parked.as_bytes))
        # While its plan is not approved, a timer of it that is due changes nothing.
        wakes = parked.wake_at if request.adherence is None or request.adherence.agreed else None
        expires_at = self._now() + timedelta(seconds=self._settings().expires)
        parking = Parking(
            id=run.id,
            portal=self.portal,
            subject=run.owner.person,
            client=run.owner.client,
            reason=reason_of(parked.waiting, wakes=wakes is not None),
            wake_at=None if wakes is None else datetime.fromtimestamp(wakes / 1000, UTC),
            expires_at=expires_at if claim is None else claim.run.expires_at,
            document=document_of(parked.run, request, shown_waits(parked)),
        )
        return NextPark(parking, data)

    async def park(self, following: NextPark, *, since: int) -> None:
        """Store a program that is parked for the first time. It began `since` (microseconds since 1970).

        Raises:
            RunsFull, RunTooLarge, DocumentInvalid, StateUnavailable: it is not stored.
        """
        await self._stored(following)
        if following.parking.reason == "login":
            await until_done(lambda: self._look_for_login(following.parking, since))

    async def _stored(self, following: NextPark) -> None:
        """As `park`. A program that may be stored does not go on beside what is stored of it: it is tried again until
        that is known."""
        try:
            await self.rows.park(following.parking, following.checkpoint)
            return
        except StateUnavailable as error:
            if error.ran == "no":
                raise
        # `AlreadyExists`: it is stored, and another process has taken it up meanwhile.
        with suppress(AlreadyExists):
            await until_done(lambda: self.rows.park(following.parking, following.checkpoint))

    async def _look_for_login(self, parking: Parking, since: int) -> None:
        began = datetime.fromtimestamp(since / 1_000_000, UTC)
        if await self._store.credentials.changed_since(parking.subject, began):
            # The person was faster than this writing, and nobody would tell of that login again.
            await self.rows.ready(parking.id)

    async def left(self, run_id: str) -> None:
        """End a run whose client has left while it was being parked."""
        await self.rows.cancel(run_id, LEFT)

    async def end(self, run_id: str, words: str) -> StoredRun | None:
        """End a run that somebody has ended while it was being parked, as soon as the database answers: it would go on
        elsewhere. None if it has ended meanwhile."""
        return await until_done(lambda: self.rows.cancel(run_id, words))

    def lost(self, claim: RunClaim, why: str) -> FinishedRun:
        """The end of a run that cannot go on."""
        return self.ended(claim, Failure("lost", "RunLost", f"The run was parked and cannot go on: {why}"))

    def ended(self, claim: RunClaim, failure: Failure) -> FinishedRun:
        """The end of a claimed run without a result, in words of our own."""
        end = end_of(failure)
        document = claim.run.document.model_copy(update={"end": end, "waits": ()})
        return FinishedRun(state_of(failure), self._now() + timedelta(seconds=self._settings().expires), document)

    async def finished(self, record: Run, answer: RawResult, request: ParkedRequest) -> FinishedRun:
        """How a run ended, with its result for as long as the settings say."""
        document = document_of(record, request, ()).model_copy(update={"end": end_of(record.failure)})
        result = await asyncio.to_thread(_result, record, answer, request)
        if len(result) > MAX_RESULT_BYTES:
            line = f"its {len(record.emitted)} emitted blocks are too large to be kept, and are left out"
            record = replace(record, emitted=[])
            answer = {**answer, "content": [*answer["content"][:1], {"type": "text", "text": line}]}
            result = await asyncio.to_thread(_result, record, answer, request)
        keep_until = self._now() + timedelta(seconds=self._settings().expires)
        return FinishedRun(state_of(record.failure), keep_until, document, result)

    async def result(self, run: StoredRun) -> EndedRunResult | None:
        """What is kept of a run that has ended. Without its record there is the end alone, in words; None for a run
        that has not ended.

        Raises:
            SecretUnreadable: it was changed, or its key is gone.
        """
        end = run.document.end
        if end is None:
            return None
        data = await self.rows.result(run.id)
        if data is not None:
            return await asyncio.to_thread(_read_result, data)
        record = Run(run.id, "", failure=Failure(end.kind or "cancelled", end.name or "RunEnded", end.words))
        return EndedRunResult(record, answer_to(record, []))


def reason_of(waiting: Sequence[Waiting], *, wakes: bool) -> ParkReason:
    """Why a run is parked: what it waits for, a timer, or else another process."""
    kinds = {one.kind for one in waiting}
    found = next((reason for reason in _REASONS if reason in kinds), None)
    return found or ("sleep" if wakes else "drain")


def document_of(record: Run, request: ParkedRequest, waiting: Sequence[Waiting]) -> RunDocument:
    """What may be shown of a run."""
    client = request.source.client
    waits = [WaitOfRun(kind=one.kind, tool=one.tool[:600], url=(one.url or "")[:2048]) for one in waiting]
    return RunDocument(
        program=hashlib.sha256(record.program.encode("utf-8", "replace")).hexdigest(),
        client_name="" if client is None else str(client.info.get("name") or "")[:256],
        login="" if request.login is None else str(request.login.get("family") or "")[:128],
        calls=len(record.calls),
        waits=tuple(waits[:MOST_WAITS]),
    )


def state_of(failure: Failure | None) -> EndState:
    """The state in which a run has ended."""
    return "completed" if failure is None else _STATES.get(failure.kind, "failed")


def end_of(failure: Failure | None) -> EndOfRun:
    """How a run has ended. The words of a program's own error may be values of it, and are left out."""
    if failure is None:
        return EndOfRun(state="completed")
    state = state_of(failure)
    words = failure.message[:MOST_WORDS] if failure.kind in _OWN_WORDS else ""
    return EndOfRun(state=state, kind=failure.kind[:32], name=failure.name[:128] if words else "", words=words)


def shown_waits(parked: ParkedProgram) -> Sequence[Waiting]:
    """What a parked program waits for, in words: for people, or for its own timer."""
    if parked.waiting or parked.wake_at is None:
        return parked.waiting
    at = datetime.fromtimestamp(parked.wake_at / 1000, UTC).isoformat(timespec="seconds")
    return (Waiting(f"Its own timer is due at {at}", kind="timer", repeatable=True),)


async def until_done(work: Callable[[], Awaitable[T]]) -> T:
    """What it returns, as soon as the database answers."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return await work()
        except StateUnavailable:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _result(record: Run, answer: RawResult, request: ParkedRequest) -> bytes:
    packed = ended_as_bytes(record)
    return checkpoint(request, len(packed).to_bytes(8, "little") + packed + orjson.dumps(answer))


def _read_result(data: bytes) -> EndedRunResult:
    request, data = read_checkpoint(data)
    size = int.from_bytes(data[:8], "little")
    answer = orjson.loads(data[8 + size :])
    return EndedRunResult(ended_from_bytes(data[8 : 8 + size]), answer, request.read)
