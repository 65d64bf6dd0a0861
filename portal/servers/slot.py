"""One configured server: its connections, and what it offers to the portal itself and to each person.

A server that wants a login shows itself to whoever has logged in. The portal's own login, where there is one, lists it
for everybody, unless the server says that its lists are one caller's (`cacheScope`, MCP 2026-07-28). A person calls it
with their own login only: never with the portal's, and never on a connection that shows another one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from weakref import WeakValueDictionary

import structlog

import stubs
from codemode import CatalogServer
from portal.bounded import Bounded
from portal.config import ServerConfig
from portal.credentials import ServerCredentials, may_log_in
from portal.errors import LoginRequired, UpstreamUnavailable
from portal.identity import OnBehalf
from portal.pins import Pinning, ScreenedListing, screen
from portal.servers.connections import Connections
from portal.servers.snapshot import LearnedOutputs, ServerSnapshot, offer_of
from portal.upstream import (
    NO_PROCESS_LOGS,
    Connection,
    Credential,
    DownstreamClient,
    Introduction,
    Listing,
    NegotiationCache,
    ProcessLogs,
    State,
)

# Persons with connections of their own to one server, and persons whose last listing is kept while they have none.
MAX_PERSONS, MAX_LISTINGS = 2_000, 10_000
MAX_VARIANTS = 1_024
_UNLISTED = Listing()
_NOT_LOGGED_IN = "you have not logged in to it"


class Offers:
    """What is made of a server's listing: its approved part (`pins`), and types that were learned (`outputs`)."""

    def __init__(self, outputs: LearnedOutputs | None, pins: Pinning | None) -> None:
        self._outputs = outputs
        self._pins = pins
        self._log = structlog.get_logger("portal.servers")

    def screened(self, config: ServerConfig, listing: Listing) -> ScreenedListing:
        if not config.pin:
            return ScreenedListing(listing)
        if self._pins is not None:
            return self._pins.screen(config.id, listing)
        if listing.digest:
            fix = "Restart with portal.pinned or portal.state."
            self._log.error("a pinned server has no place for approvals; it shows nothing", server=config.id, fix=fix)
        return screen(listing, {})

    def learned(self, config: ServerConfig, listing: Listing) -> Mapping[str, stubs.Schema]:
        outputs = self._outputs if config.learn_output else None
        return {} if outputs is None else outputs.of(config.id, listing.tools)


Changed = Callable[["Slot", str], None]
Notified = Callable[[str, str, str, Mapping[str, object]], None]


class Slot:
    """`changed(slot, subject)` is called when something has changed for a person, or with "" for the portal itself;
    `notified(server, subject, method, params)` for a notification that belongs to no call.
    """

    def __init__(
        self,
        config: ServerConfig,
        credentials: ServerCredentials,
        offers: Offers,
        introduction: Introduction,
        changed: Changed,
        notified: Notified,
        logs: ProcessLogs = NO_PROCESS_LOGS,
    ) -> None:
        self.config = config
        self._credentials = credentials
        self._offers = offers
        self._introduction = introduction
        self._changed = changed
        self._notified = notified
        self._logs = logs
        self._negotiated = NegotiationCache()
        self._personal = credentials.is_personal(config)
        self._persons: dict[str, Connections] = {}
        self._bare: Connections | None = None
        self._published: Listing | None = None
        # Equal listings of many persons are one object, and so is what follows from them: views are shared by it.
        self._listings: WeakValueDictionary[str, Listing] = WeakValueDictionary()
        # By person: the login with which the lists were read, and these.
        self._listings_of: Bounded[str, tuple[str, Listing]] = Bounded(MAX_LISTINGS)
        self._variants: Bounded[object, ServerSnapshot] = Bounded(MAX_VARIANTS)
        self._closing: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("portal.servers")
        self.own = self._connect(credentials.of(config), "")

    def start(self) -> None:
        self.own.start()

    async def aclose(self) -> None:
        await asyncio.gather(*(connections.aclose() for connections in self._all))
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._negotiated.aclose()

    @property
    def protocol(self) -> str | None:
        """The protocol version that was agreed with it, by whichever connection."""
        return next((found for connections in self._all if (found := connections.shared.protocol)), None)

    @property
    def instances(self) -> frozenset[str]:
        """The portals that it is or leads to, by their marks."""
        return self.own.shared.instances

    # Connections

    def connection(
        self, on_behalf: OnBehalf, client: DownstreamClient | None, protocol: str, holder: str = ""
    ) -> Connection:
        """The connection for a call by `client`, which speaks `protocol` to the portal, in the part of `holder`.

        Raises:
            LoginRequired: the person has not logged in to it, and has to.
            UpstreamUnavailable: that cannot be told now.
        """
        subject = on_behalf.at(self.config.id)
        if not self._personal or not subject:
            return self.own.of(client, protocol, holder)
        if not self._credentials.knows(subject):
            raise UpstreamUnavailable("whether you have logged in to it cannot be read now", server=self.config.id)
        if (connections := self._of_person(subject)) is not None:
            return connections.of(client, protocol, holder)
        if self._wants_login:
            raise self.login_required(on_behalf, "")
        if self._bare is None:
            self._bare = self._connect(None, "", lists=False, listing=self.own.shared.listing)
            self._bare.start()
        return self._bare.of(client, protocol, holder)

    def login_required(
        self, on_behalf: OnBehalf, login: str, reason: str = "", status: int | None = None
    ) -> LoginRequired:
        """The error for a call that needs a login of this person. `login` is the one that does not do (`login`), ""
        where there was none, and `reason` says why."""
        return LoginRequired(
            reason.rstrip(".") or _NOT_LOGGED_IN,
            advice=on_behalf.advice,
            server=self.config.id,
            subject=on_behalf.at(self.config.id),
            login=login,
            status=status,
        )

    def missing_login(self, on_behalf: OnBehalf) -> LoginRequired:
        """The same for a server that shows this person nothing before: they never logged in, or their login had ended
        before this process could read what it lists. If no login of theirs was refused, any that there is does."""
        connections = self._persons.get(on_behalf.at(self.config.id))
        if connections is None or not connections.shared.refused:
            return self.login_required(on_behalf, "")
        shared = connections.shared
        return self.login_required(on_behalf, shared.login, shared.reason or "", shared.status)

    def may_log_in(self, on_behalf: OnBehalf) -> bool:
        """Whether it is a login of theirs that calls on their behalf show."""
        return may_log_in(self.config) and self._personal and bool(on_behalf.at(self.config.id))

    def whose(self, on_behalf: OnBehalf) -> str:
        """Whose connections a call uses, as a text that is another one for other connections."""
        subject = on_behalf.at(self.config.id)
        if not self._personal or not subject:
            return "portal"
        return f"person {subject}" if self.login(subject) else "nobody"

    def began(self, on_behalf: OnBehalf) -> float:
        """When the state began of the connection that decides what it offers to somebody (Unix time). Snapshots do not
        say it: persons who are offered the same share one."""
        subject = on_behalf.at(self.config.id)
        if not self._personal or not subject or self._listed_for_all:
            return self.own.shared.since
        connections = self._persons.get(subject)
        return connections.shared.since if connections is not None else time.time()

    def login(self, subject: str) -> str:
        """What tells a person's login from another one, "" for none (`ServerCredentials.login`)."""
        return self._credentials.login(self.config, subject) if self._personal else ""

    def meet(self, subject: str) -> None:
        """Connect for a person who is here, if it is only by their connection that they see what the server lists.

        Without room for them they see nothing of it, and the error of a call says why.
        """
        if not self._personal:
            return
        held = self._persons.get(subject)
        if held is not None and held.login != self.login(subject):
            # It was another while the person was not here, and nobody was told.
            self.login_changed(subject)
            self._changed(self, subject)
        elif not self._listed_for_all:
            with suppress(UpstreamUnavailable):
                self._of_person(subject)

    def login_changed(self, subject: str) -> None:
        """A person has logged in or out: what showed the former login ends with the calls that are under way. What they
        watch is watched with the new one."""
        watched = self._leave(subject)
        if watched or not self._listed_for_all:
            with suppress(UpstreamUnavailable):
                self._of_person(subject, watched)

    def release(self, client_key: str) -> list[Connection]:
        """The connections of a client that has left, to be closed."""
        return [connection for connections in self._all for connection in connections.release(client_key)]

    def idle(self, seconds: float) -> list[Connection]:
        """The connections of single clients that were not used for so long, to be closed. Persons who were not here
        for so long have none afterwards; they get others when they come back."""
        oldest = time.monotonic() - seconds
        for subject in [subject for subject, one in self._persons.items() if one.used < oldest and not one.in_use]:
            self._leave(subject)
        if self._bare is not None and self._bare.used < oldest and not self._bare.in_use:
            bare, self._bare = self._bare, None
            self._close(bare)
        return [connection for connections in self._all for connection in connections.idle(oldest)]

    @property
    def _all(self) -> Iterator[Connections]:
        yield self.own
        if self._bare is not None:
            yield self._bare
        yield from tuple(self._persons.values())

    @property
    def _wants_login(self) -> bool:
        """Whether it lets nobody in without a credential, as far as that is known."""
        own = self.own.credential
        return self.own.shared.refused or (own is not None and own.present)

    @property
    def _listed_for_all(self) -> bool:
        """Whether everybody may see what it lists for the portal itself."""
        listing = self.own.shared.listing
        return bool(listing.digest) and not listing.private

    def _of_person(self, subject: str, watched: Collection[str] = ()) -> Connections | None:
        """The connections with a person's login, None without one. New ones watch the resources of these URIs.

        Raises:
            UpstreamUnavailable: there is no room for new ones.
        """
        login = self.login(subject)
        if (held := self._persons.get(subject)) is not None and held.login != login:
            watched = self._leave(subject)
        connections = self._persons.pop(subject, None)
        if connections is None:
            credential = self._credentials.of_person(self.config, subject)
            if credential is None:
                return None
            self._make_room()
            lists = not self._listed_for_all
            known = self._last_listing(subject) if lists else self.own.shared.listing
            connections = self._connect(credential, subject, login=login, lists=lists, listing=known, watched=watched)
            connections.start()
        # At the end again: the first is whoever was here longest ago.
        self._persons[subject] = connections
        connections.used = time.monotonic()
        return connections

    def _make_room(self) -> None:
        """
        Raises:
            UpstreamUnavailable: as many persons as can be connected have calls under way.
        """
        if len(self._persons) < MAX_PERSONS:
            return
        idle = next((subject for subject, one in self._persons.items() if not one.in_use), None)
        if idle is None:
            idle = next((subject for subject, one in self._persons.items() if not one.busy), None)
        if idle is None:
            raise UpstreamUnavailable(f"{MAX_PERSONS} persons are calling it now; try again", server=self.config.id)
        self._leave(idle)

    def _leave(self, subject: str) -> Collection[str]:
        """Give up a person's connections. The URIs of the resources that were watched over them."""
        connections = self._persons.pop(subject, None)
        if connections is None:
            return ()
        if connections.lists and connections.shared.listing.digest:
            self._listings_of[subject] = connections.login, connections.shared.listing
        self._close(connections)
        return connections.shared.watched

    def _last_listing(self, subject: str) -> Listing | None:
        """What the server listed last for a person with the login that they have now; None if that is not known."""
        login, listing = self._listings_of.get(subject) or ("", None)
        return listing if login == self.login(subject) else None

    def _close(self, connections: Connections) -> None:
        task = asyncio.create_task(connections.drain())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _connect(
        self,
        credential: Credential | None,
        subject: str,
        *,
        login: str = "",
        lists: bool = True,
        listing: Listing | None = None,
        watched: Collection[str] = (),
    ) -> Connections:
        def on_change() -> None:
            if not subject:
                self._own_changed()
            elif (held := self._persons.get(subject)) is not None and held is connections:
                held.shared.listing = self._one_object(held.shared.listing)
                self._changed(self, subject)

        connections = Connections(
            self.config,
            credential,
            self._introduction,
            self._negotiated,
            login=login,
            lists=lists,
            listing=listing,
            watched=watched,
            logs=self._logs,
            on_change=on_change if lists or subject else lambda: None,
            on_notification=lambda method, params: self._notified(self.config.id, subject, method, params),
        )
        return connections

    def _own_changed(self) -> None:
        listed_for_all, listing = self._listed_for_all, self.own.shared.listing
        for connections in (self._bare, *self._persons.values()):
            if connections is not None and not connections.lists:
                # Which arguments are repeated in headers is read from it.
                connections.shared.listing = listing
        self._changed(self, "")
        if not listed_for_all:
            for subject in [subject for subject, one in self._persons.items() if not one.lists]:
                self.login_changed(subject)
                self._changed(self, subject)

    def _one_object(self, listing: Listing) -> Listing:
        if not listing.digest:
            return listing
        own = self.own.shared.listing
        if own.digest == listing.digest and own.private == listing.private:
            return own
        return self._listings.setdefault(f"{listing.digest} {listing.private}", listing)

    # What it offers

    def snapshot(self, before: ServerSnapshot | None, *, rebuild: bool = False) -> ServerSnapshot:
        """What it offers to the portal itself. With `rebuild` also what `Offers` says is asked again."""
        config, listing = self.config, self.own.shared.listing
        if rebuild:
            self._variants.clear()
        if before is not None and self._published is listing and before.config is config and not rebuild:
            # Only the state changed: the same objects, so that caches keyed by them stay valid.
            approved, catalog, learned = (
                ScreenedListing(before.listing, before.pending),
                before.catalog,
                before.learned,
            )
        else:
            approved = self._offers.screened(config, listing)
            learned = self._offers.learned(config, approved.listing)
            same = before is not None and _lists_the_same(before, config, approved.listing, learned)
            # What was named and indexed stays while the same is listed.
            catalog = before.catalog if before and same else CatalogServer(offer_of(config, approved.listing, learned))
            self._published = listing
        return _snapshot(self.own.shared, self.config, approved, catalog, learned)

    def snapshot_for(self, on_behalf: OnBehalf, own: ServerSnapshot) -> ServerSnapshot:
        """What it offers to a person; `own` is what it offers to the portal itself. The same object for all who are
        offered the same."""
        subject = on_behalf.at(self.config.id)
        if not self._personal or not subject:
            return own
        connections = self._persons.get(subject)
        if connections is not None:
            shared = connections.shared
            if not self._listed_for_all:
                refused = shared.refused and self.may_log_in(on_behalf)
                return self._variant(own, shared.listing, shared.state, shared.reason, refused=refused)
            if shared.state in ("waiting", "ready"):
                return own
            return self._variant(own, own.listing, "stale", shared.reason, shared.status)
        if self._listed_for_all:
            return own
        if self.login(subject):
            return self._variant(own, self._last_listing(subject) or _UNLISTED, "waiting", None)
        if self._wants_login:
            advice = f"; {on_behalf.advice}" if on_behalf.advice else ""
            return self._variant(own, _UNLISTED, "error", _NOT_LOGGED_IN + advice, refused=True)
        return own

    def _variant(
        self,
        own: ServerSnapshot,
        listing: Listing,
        state: State,
        reason: str | None,
        status: int | None = None,
        *,
        refused: bool = False,
    ) -> ServerSnapshot:
        """What it offers to a person; `refused` is whether a login of theirs would change that."""
        key = (listing.digest, listing.private, state, reason, status, refused)
        variant = self._variants.get(key)
        if variant is None:
            same = next((one for one in (own, *self._variants.values()) if one.listing is listing), None)
            if same is None:
                approved = self._offers.screened(self.config, listing)
                learned = self._offers.learned(self.config, approved.listing)
                catalog = CatalogServer(offer_of(self.config, approved.listing, learned))
            else:
                approved, learned, catalog = ScreenedListing(same.listing, same.pending), same.learned, same.catalog
            variant = ServerSnapshot(
                id=self.config.id,
                config=self.config,
                state=state,
                reason=reason,
                status=status,
                since=time.time(),
                listing=approved.listing,
                catalog=catalog,
                learned=learned,
                pending=approved.pending,
                wants_login=refused and state == "error",
            )
            self._variants[key] = variant
        return variant

    def log_skipped(self, known: Collection[str]) -> None:
        """Log what is left out of the portal's own listing, but for what was left out of the one before."""
        for line in self.own.shared.listing.skipped:
            if line not in known:
                self._log.warning("left out of a server's lists", server=self.config.id, item=line)


def _snapshot(
    connection: Connection,
    config: ServerConfig,
    approved: ScreenedListing,
    catalog: CatalogServer,
    learned: Mapping[str, stubs.Schema],
) -> ServerSnapshot:
    return ServerSnapshot(
        id=config.id,
        config=config,
        state=connection.state,
        reason=connection.reason,
        status=connection.status,
        since=connection.since,
        retry_at=connection.retry_at,
        listing=approved.listing,
        catalog=catalog,
        learned=learned,
        pending=approved.pending,
    )


def _lists_the_same(
    before: ServerSnapshot, config: ServerConfig, listing: Listing, learned: Mapping[str, stubs.Schema]
) -> bool:
    """Whether a server would have the same catalog as before."""
    return (before.config, before.listing.digest, before.listing.server_info, before.learned) == (
        config,
        listing.digest,
        listing.server_info,
        learned,
    )
