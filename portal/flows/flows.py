"""What everybody has read of what is labelled, and whether they may make a call after it.

    admit            before a call: does a rule refuse it? from memory alone
    hand_over        before its result reaches the caller: what it has read counts from now on
    hand_over_run    before the answer of a program reaches the client: what it has read counts anew

What is read, and a rule is about, is written into the database before the result is handed over, so that it holds after
a restart and in other processes. It is written for longer than it counts (`SLACK`): for so long later reads change
memory alone. Without a database it is in memory alone, and so are labels that no rule is about yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING

import structlog

from portal.errors import CallDenied, Ran, StoreUnavailable
from portal.flows.decisions import NO_FLOWS, FlowRefusal, FlowSettings, Labels, RunLabels, refusals
from portal.state import LABELS_READ, Clock, Follower, LabelRead, StateUnavailable

if TYPE_CHECKING:
    from portal.state import Store

SLACK = timedelta(minutes=5)
KEPT_AFTER_ITS_END = timedelta(hours=1)
"""So long a row stays that counts no more: other processes may not have heard of it yet."""
MOST_PEOPLE = 100_000
MOST_WHILE_STRANGERS = MOST_PEOPLE // 2
"""With so many, no further network of strangers is taken: they must not use up the room of those who sign in."""
MOST_CLIENTS = 32
"""Of one person. What further ones read counts for all clients of that person."""
ANY_CLIENT = ""
"""No client is known, as behind a service token: what it reads counts for all, and what any has read counts for it."""
OPERATOR = "operator"
"""Who calls where nobody signs in."""
POLICY = "data-flow"
_LONGEST_KEY = 200
_STRANGER = "address:"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledCall:
    """A call of something that has labels. `person` and `client` are who makes it, `tool` is "" for what is no tool,
    `name` is that of the tool or prompt, or the URI of the resource. `run` is what its program has read."""

    person: str
    client: str
    portal: str
    server: str
    tool: str
    name: str
    labels: Labels
    run: RunLabels | None

    @property
    def by_stranger(self) -> bool:
        """Whether nobody has signed in: then it counts for whoever calls from that network."""
        return self.person.startswith(_STRANGER)


@dataclass(slots=True)
class _Kept:
    """What counts, and until when the database has it; without one, `stored` is None."""

    read: LabelRead
    stored: datetime | None


class Flows:
    """One for an instance: what somebody reads at one of its portals counts at all of them, because it is the same
    model that has read it. An async context manager. `settings` may be replaced at any time."""

    def __init__(self, now: Clock, store: Store | None = None) -> None:
        self.settings: FlowSettings = NO_FLOWS
        self.now = now
        self._store = store
        # By person, then by client and label.
        self._people: dict[str, dict[tuple[str, str], _Kept]] = {}
        self._last = 0
        self._behind = False
        self._writing = asyncio.Lock()
        self._follower: Follower | None = None
        self._log = structlog.get_logger("portal.flows")

    async def __aenter__(self) -> Flows:
        """
        Raises:
            StateUnavailable: what was read before cannot be read from the database.
        """
        if self._store is not None:
            self._follower = Follower(self._store, {LABELS_READ}, self._follow, self._unavailable)
            await self._follow()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._follower is not None:
            await self._follower.aclose()

    def labelled(
        self, *, person: str, client: str, portal: str, server: str, tool: str, name: str, run: RunLabels | None
    ) -> LabelledCall | None:
        """The call as it matters here; None for one of something that has no labels. `person` is the holder of the
        call (`portal.shares`), "" for the operator where nobody signs in."""
        labels = self.settings.labels_of(server, tool)
        if not labels:
            return None
        return LabelledCall(
            person=_key(person) or OPERATOR,
            client=_key(client),
            portal=portal,
            server=server,
            tool=tool,
            name=name,
            labels=labels,
            run=run,
        )

    def admit(
        self, call: LabelledCall, approved: Callable[[FlowRefusal], bool] = lambda refused: False
    ) -> FlowRefusal | None:
        """Whether a rule refuses the call now. Its params were fixed before: what is read later cannot be in them.
        `approved` says of a refusal whether people let the call pass.

        Raises:
            StoreUnavailable: a rule is about the call, and whether something was read elsewhere cannot be known now; or
                what the call reads could not be written.
            CallDenied: what it reads could not be kept.
        """
        refusals = self.refused(call)
        refused = next((one for one in refusals if one.asks is None or not approved(one)), None)
        if refused is not None:
            return refused
        if refusals:
            self._require_known(refusals[0].rule)
        if self._store is not None and self._store.health != "ok" and self._unwritten(call, self.now()):
            raise _not_written("no")
        self._require_room(call, "no")
        return None

    def refused(self, call: LabelledCall) -> Sequence[FlowRefusal]:
        """The refusals of all rules that do not allow that something goes to what this call is for; of those that ask
        nobody first.

        Raises:
            StoreUnavailable: a rule is about the call, and whether something was read elsewhere cannot be known now.
        """
        about = [rule for rule in self.settings.rules if rule.is_about(call.labels, call.server, call.tool)]
        if not about:
            return ()
        read = self.read_by(call.person, call.client)
        refused = refusals(about, call.labels, call.server, call.tool, read, call.run)
        if not refused:
            self._require_known(about[0].name)
        return refused

    def _require_known(self, rule: str) -> None:
        """Raises `StoreUnavailable` if something may have been read elsewhere that is not known here."""
        if self._store is not None and (self._behind or self._store.health == "unavailable"):
            words = (
                "The portal's database does not answer, so it is not known what you have read elsewhere, and a "
                f"data-flow rule ({rule!r}) is about this call. Nothing was sent. Try again."
            )
            raise StoreUnavailable(words, ran="no", seconds=5)

    def read_by(self, person: str, client: str) -> Mapping[str, LabelRead]:
        """What counts now for this person, or for this client of theirs; of each label what counts longest."""
        found = self._people.get(person)
        if not found:
            return {}
        now, per_client = self.now(), self.settings.per_client and client != ANY_CLIENT
        counting: dict[str, LabelRead] = {}
        for (of_client, label), kept in found.items():
            read = kept.read
            if read.until <= now or (per_client and of_client not in (client, ANY_CLIENT)):
                continue
            if label not in counting or counting[label].until < read.until:
                counting[label] = read
        return counting

    async def hand_over(self, call: LabelledCall) -> None:
        """What the call has read counts from now on, and its result, or a part of it, may be handed over.

        Raises:
            StoreUnavailable: it could not be written.
            CallDenied: there is no room for one more person.
        """
        self._require_room(call, "yes")
        if self._store is not None and self._unwritten(call, self.now()):
            try:
                await self._write(call, self._store)
            except StateUnavailable as error:
                raise _not_written("yes") from error
        now = self.now()
        # No rule is about what there is no room for, or it would have been refused.
        people = self._people.setdefault(call.person, {}) if self._has_room(call) else {}
        client = self._place(call)
        for label in call.labels:
            kept = people.get((client, label))
            read = self._read(call, label, client, now, 0 if kept is None else kept.read.number)
            if kept is None:
                people[client, label] = _Kept(read, None)
            else:
                kept.read = read
            if call.run is not None:
                call.run.add(read)

    async def hand_over_run(self, person: str, client: str, run: RunLabels) -> None:
        """What a run has read counts from now on, and its answer may be handed over. `person` and `client` are as for
        `labelled`.

        Raises:
            StoreUnavailable: it could not be written.
            CallDenied: there is no room for one more person.
        """
        for read in tuple(run):
            call = LabelledCall(
                person=_key(person) or OPERATOR,
                client=_key(client),
                portal=read.portal,
                server=read.server,
                tool=read.tool,
                name=read.tool,
                labels=frozenset({read.label}),
                run=run,
            )
            await self.hand_over(call)

    async def purge(self) -> None:
        """Drop what does not count any more, from memory and from the database.

        Raises:
            StateUnavailable: the database does not take it now.
        """
        now = self.now()
        for person in list(self._people):
            counting = {key: kept for key, kept in self._people[person].items() if kept.read.until > now}
            if counting:
                self._people[person] = counting
            else:
                del self._people[person]
        if self._store is not None:
            await self._store.labels.purge(now - KEPT_AFTER_ITS_END)

    async def settled(self, seconds: float) -> None:
        """Return when every change that the store has told of was followed, or after `seconds`."""
        if self._follower is not None:
            await self._follower.settled(seconds)

    def _read(self, call: LabelledCall, label: str, client: str, now: datetime, number: int = 0) -> LabelRead:
        return LabelRead(
            person=call.person,
            client=client,
            label=label,
            portal=call.portal,
            server=call.server,
            tool=_short(call.name),
            at=now,
            until=now + self.settings.window,
            number=number,
        )

    def _place(self, call: LabelledCall) -> str:
        """The client for which it is kept."""
        found = self._people.get(call.person)
        if not found or any((call.client, label) in found for label in call.labels):
            return call.client
        clients = {client for client, _ in found}
        return call.client if call.client in clients or len(clients) < MOST_CLIENTS else ANY_CLIENT

    def _unwritten(self, call: LabelledCall, now: datetime) -> bool:
        """Whether the database does not have yet what counts after a read now, and a rule is about."""
        watched = self.settings.watched(call.labels)
        if not watched:
            return False
        found, client, until = self._people.get(call.person, {}), self._place(call), now + self.settings.window
        for label in watched:
            kept = found.get((client, label))
            if kept is None or kept.stored is None or kept.stored < until:
                return True
        return False

    async def _write(self, call: LabelledCall, store: Store) -> None:
        # One at a time: of many calls of a program that end together, one writes for all.
        async with self._writing:
            now = self.now()
            if not self._unwritten(call, now):
                return
            until = now + self.settings.window + SLACK
            client, watched = self._place(call), sorted(self.settings.watched(call.labels))
            reads = [replace(self._read(call, label, client, now), until=until) for label in watched]
            written = await store.labels.put(reads)
            people = self._people.setdefault(call.person, {})
            for read in written:
                counts = replace(read, until=now + self.settings.window)
                people[read.client, read.label] = _Kept(counts, until)

    def _has_room(self, call: LabelledCall) -> bool:
        if call.person in self._people:
            return True
        return len(self._people) < (MOST_WHILE_STRANGERS if call.by_stranger else MOST_PEOPLE)

    def _require_room(self, call: LabelledCall, ran: Ran) -> None:
        if self._has_room(call) or not self.settings.watched(call.labels):
            return
        told = "The call ran, and its result was not handed over." if ran == "yes" else "Nothing was sent."
        reason = f"The portal cannot keep in mind for one more caller what was read of what is labelled. {told}"
        raise CallDenied(reason, policy=POLICY, server=call.server, ran=ran)

    async def _follow(self) -> None:
        """Take up what was written since, here and by other processes."""
        assert self._store is not None
        try:
            while rows := await self._store.labels.after(self._last):
                now = self.now()
                for row in rows:
                    self._take_up(row, now)
                self._last = rows[-1].number
        except StateUnavailable:
            self._behind = True
            raise
        self._behind = False

    def _take_up(self, row: LabelRead, now: datetime) -> None:
        people = self._people.get(row.person)
        kept = people.get((row.client, row.label)) if people is not None else None
        if kept is not None and kept.read.number >= row.number:
            return
        if row.until > now:
            # It may be of somebody's last day here: no bound keeps out what counts.
            self._people.setdefault(row.person, {})[row.client, row.label] = _Kept(row, row.until)
        elif people is not None and kept is not None:
            del people[row.client, row.label]
            if not people:
                del self._people[row.person]

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.debug("what others have read cannot be read now", reason=str(error))


def _not_written(ran: Ran) -> StoreUnavailable:
    what = "The call ran, and its result was not handed over" if ran == "yes" else "Nothing was sent"
    words = (
        "What this call reads is labelled for data-flow rules, and that it was read could not be written into the "
        f"portal's database. {what}. Try again."
    )
    return StoreUnavailable(words, ran=ran, seconds=5)


def _key(text: str) -> str:
    """A text as it is kept, at most `_LONGEST_KEY` characters: anything else by its hash."""
    if len(text) <= _LONGEST_KEY and text.isprintable():
        return text
    return f"sha256:{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _short(name: str) -> str:
    """The name of a tool or a URI, as it is shown: a few characters, and printable."""
    name = name[:_LONGEST_KEY]
    return name if name.isprintable() else "".join(one if one.isprintable() else "\ufffd" for one in name)
