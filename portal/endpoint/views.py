"""Views: the servers, tools and prompts that a caller of the portal has now.

Without identities everyone has one view of everything that the servers offer. With identities, a view is the part that
the policies allow its caller. Callers with the same access share a view, so that thousands of users need few lists and
few catalogs.

A view selects tools that are named and indexed once for each server. It owns the values made from the selection:
aggregate, lists, encoded answers, catalog. Its content never changes. When servers or policies change, callers get
another view, so nothing has to be invalidated. Catalogs are made in a thread (`Catalogs`), before the first program
where that is possible.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast
from weakref import WeakValueDictionary

from starlette.types import Scope

from codemode import Catalog, Meanings, on_behalf_of
from portal.access import (
    DEFAULT_DENY,
    LOGIN_ENDED,
    NO_SERVERS,
    Decision,
    LiveAccess,
    Standing,
    keep_standing,
    portal_decision,
    standing_of,
)
from portal.bounded import Bounded
from portal.endpoint.aggregate import Aggregate, Target, exposed_name, real_names
from portal.endpoint.background import Background
from portal.endpoint.generations import Generation
from portal.endpoint.modes import Mode
from portal.endpoint.ownership import Ownership
from portal.endpoint.selection import Curated, Selection, select, select_all
from portal.errors import CallDenied, LoginRequired, UpstreamUnavailable
from portal.identity import ANONYMOUS, NOBODY, Identity, OnBehalf, principal_of
from portal.servers import Servers, ServerSnapshot, Snapshot

MAX_VIEWS = 256
MAX_ANSWER_BYTES = 64 * 1024 * 1024
# Seconds after its start for which what asks for all servers waits for one that is still connecting.
BRIEFLY = 5.0
_SCOPE_KEY = "portal.view"

AnswerKey = tuple[Mode, bytes]
Which = Callable[[ServerSnapshot], bool]


class ListedContent:
    """The lists of a selection, made on the first request for one. Programs do not need them."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    @cached_property
    def aggregate(self) -> Aggregate:
        return Aggregate.of(self._selection.aggregate_parts(), self._selection.others)


@dataclass(slots=True, eq=False, weakref_slot=True)
class View:
    """`selection` has the view's content. A later snapshot with the same content has the same view.

    `lists` has the tools of each mode and generation. `answers` has the results of `tools/list` as JSON, by mode and by
    the portal's stamp in them (only in 2026-07-28). `catalog` is a future because it is built in a thread.
    """

    selection: Selection
    listed: ListedContent
    lists: dict[tuple[Mode, Generation, str], list[Mapping[str, Any]]] = field(default_factory=dict)
    answers: dict[AnswerKey, bytes] = field(default_factory=dict)
    catalog: asyncio.Future[Catalog] | None = None

    @property
    def aggregate(self) -> Aggregate:
        return self.listed.aggregate


class Contents:
    """The views and their parts by content, shared by the portals of an instance."""

    def __init__(self) -> None:
        self.curated = Curated()
        self._views: WeakValueDictionary[object, View] = WeakValueDictionary()
        self._listed: WeakValueDictionary[object, ListedContent] = WeakValueDictionary()

    def view(self, selection: Selection) -> View:
        """The view with the content of `selection`, existing or new."""
        content, listing = selection.content, selection.listing
        view = self._views.get(content)
        if view is None:
            # Often only the reason why a server is away has changed, and the lists are the same.
            listed = self._listed.get(listing)
            if listed is None:
                listed = self._listed[listing] = ListedContent(selection)
            view = self._views[content] = View(selection, listed)
        return view


class Views:
    """The views of one portal's callers. The least recently used are evicted.

    A view is found by the versions of snapshot and policies and the caller's profile, which is the same for callers
    whom the policies cannot distinguish. Keys with the same content share the view, and so do portals with the same
    `contents`.
    """

    def __init__(
        self,
        servers: Servers,
        access: LiveAccess | None = None,
        contents: Contents | None = None,
        on_behalf: Callable[[Identity | None], OnBehalf] = lambda caller: NOBODY,
        off: Callable[[Identity | None], frozenset[str]] = lambda caller: frozenset(),
    ) -> None:
        """`on_behalf` says whose logins decide what a caller is offered, `off` which servers a caller has
        turned off."""
        self.access = access
        self._off = off
        self._on_behalf = on_behalf
        self._servers = servers
        self._views: Bounded[tuple[object, ...], View] = Bounded(MAX_VIEWS)
        self._contents = contents or Contents()

    def snapshot(self, principal: Identity | None) -> Snapshot:
        """What the servers offer to a caller now, whatever the policies say."""
        return self._servers.snapshot_for(self._on_behalf(principal))

    async def meet(self, principal: Identity | None) -> None:
        """A caller is here: what is offered to them may depend on where they are logged in."""
        await self._servers.know(self._on_behalf(principal))

    @property
    def whole(self) -> View:
        """The view of everything that the servers offer now."""
        return self.whole_of(self._servers.snapshot)

    async def meet_again(self, scope: Scope) -> None:
        """The caller of a request may be offered something else than when it came: they have logged in meanwhile, and
        the policies may be others.

        Raises:
            CallDenied: their login at the portal has ended meanwhile.
        """
        scope.pop(_SCOPE_KEY, None)
        principal = principal_of(scope)
        if self.access is not None and standing_of(scope) is not None:
            standing = await self.access.decide(principal or ANONYMOUS)
            if standing is None:
                raise CallDenied(LOGIN_ENDED.reason, policy=LOGIN_ENDED.policy)
            keep_standing(scope, standing)
        await self.meet(principal)

    def whole_of(self, snapshot: Snapshot) -> View:
        """The view of everything in a snapshot."""
        return self._view((snapshot.version,), lambda: select_all(snapshot, self._contents.curated))

    def of(self, scope: Scope | None, snapshot: Snapshot | None = None) -> View:
        """The view of a request's caller, on the current snapshot or another one. Raises as `for_caller`.

        Every call for one request returns the same view, by the decision made when the request arrived.
        """
        if scope is None:
            return self.for_caller(None, snapshot)
        version, view = scope.get(_SCOPE_KEY, (None, None))
        if view is None or (snapshot is not None and snapshot.version != version):
            snapshot = self.snapshot(principal_of(scope)) if snapshot is None else snapshot
            standing = standing_of(scope)
            caller = principal_of(scope)
            view = (
                self.for_caller(caller, snapshot) if standing is None else self.for_standing(standing, snapshot, caller)
            )
            scope[_SCOPE_KEY] = snapshot.version, view
        return cast(View, view)

    def for_caller(self, principal: Identity | None, snapshot: Snapshot | None = None) -> View:
        """The view of a caller, on the current snapshot or another one.

        Raises:
            CallDenied: this caller may not use the portal, or none of its servers.
        """
        snapshot = self.snapshot(principal) if snapshot is None else snapshot
        if self.access is None:
            return self.whole_of(snapshot)
        return self.for_standing(self._standing(principal), snapshot, principal)

    def connecting(self, scope: Scope | None) -> frozenset[str]:
        """The servers of a request's caller that are still connecting for the first time. Raises as `for_caller`."""
        connecting = self.snapshot(principal_of(scope)).connecting
        return connecting & self.of(scope).selection.servers.keys() if connecting else connecting

    def wanting_login(self, scope: Scope | None) -> frozenset[str]:
        """The servers of a request's caller that show nothing before a login. Raises as `for_caller`."""
        wanting = self.snapshot(principal_of(scope)).wanting_login
        return wanting & self.of(scope).selection.servers.keys() if wanting else wanting

    def missing_login(self, scope: Scope | None, server: str) -> LoginRequired:
        """The error for a caller who has to log in to a server that shows nothing before.

        Raises:
            ServerUnknown: it is not there any more.
        """
        return self._servers.missing_login(server, self._on_behalf(principal_of(scope)))

    def login(self, principal: Identity | None, server: str) -> str:
        """What tells a caller's login at a server from a later one, "" for none."""
        return self._servers.login(server, self._on_behalf(principal))

    async def arrived(
        self,
        scope: Scope | None,
        which: Which = lambda server: True,
        *,
        briefly: bool = False,
        seconds: float | None = None,
    ) -> View:
        """The view of a request's caller once none of its servers that `which` is true of is `connecting`.

        Each is waited for until its `connectTimeout` after its start, `BRIEFLY`, or so many seconds. Nothing else is
        waited for, and nothing once an attempt has failed. Raises as `for_caller`.
        """
        on_behalf = self._on_behalf(principal_of(scope))
        servers = self._servers.snapshot_for(on_behalf).servers
        wanted = [name for name in self.connecting(scope) if which(servers[name])]
        if not wanted:
            return self.of(scope)
        limit = BRIEFLY if briefly and seconds is None else seconds
        return self.of(scope, await self._servers.arrived(wanted, limit, on_behalf))

    async def listed(self, scope: Scope | None, *, wholly: bool = False, seconds: float | None = None) -> View:
        """The view of a request's caller, for a list. What they see by a login of their own is waited for `BRIEFLY`
        while it is read for the first time: most clients list once, as soon as their person has logged in. With
        `wholly` every server is waited for. `seconds` are in the place of `BRIEFLY`. Raises as `for_caller`.
        """
        shared = self._servers.snapshot.connecting

        def waited_for(server: ServerSnapshot) -> bool:
            return wholly or server.id not in shared

        return await self.arrived(scope, waited_for, briefly=True, seconds=seconds)

    def turned_off_by(self, principal: Identity | None) -> frozenset[str]:
        """The servers that a caller has turned off."""
        return self._off(principal)

    def for_standing(self, standing: Standing, snapshot: Snapshot, principal: Identity | None) -> View:
        """The view of the caller with these decisions. Raises as `for_caller`."""
        if self.access is None:
            return self.whole_of(snapshot)
        if not standing.portal.allowed:
            raise CallDenied(standing.portal.reason, policy=standing.portal.policy)
        off = self._off(principal)
        key = (snapshot.version, standing.access.version, standing.profile, off)
        view = self._view(key, lambda: select(snapshot, standing, self._contents.curated, off))
        if not view.selection.servers:
            raise CallDenied(NO_SERVERS, policy=_policy_against_all(snapshot, standing))
        return view

    def for_caller_or_empty(self, principal: Identity | None) -> View:
        """As `for_caller`, or an empty view if that raises."""
        try:
            return self.for_caller(principal)
        except CallDenied:
            return self._contents.view(Selection())

    def portal_decision(self, principal: Identity | None) -> Decision:
        """The decision whether this caller may use the portal."""
        if self.access is None:
            return Decision("allow", "")
        return portal_decision(self.access.standing(principal or ANONYMOUS))

    def server_denial(self, server: str, principal: Identity | None) -> CallDenied | None:
        """The error if this caller may not use a server, or None."""
        if self.access is None:
            return None
        decision = self._standing(principal).server(server)
        return None if decision.allowed else CallDenied(decision.reason, policy=decision.policy, server=server)

    async def whose(self, scope: Scope | None, uri: str) -> Ownership:
        """Whose a URI is, of all servers of the portal: also of those that are not in the view of the request's caller,
        or that the caller has turned off. Raises as `for_caller`."""
        aggregate = self.of(scope).aggregate
        if (listed := aggregate.resources.get(uri)) is not None:
            return Ownership(listed.server, listed=True)
        snapshot = self.snapshot(principal_of(scope))
        here = self._here(snapshot)
        whole = self.whole_of(snapshot).selection.servers
        offering = [name for name in here if _may_have_resources(snapshot.servers[name])]
        return aggregate.whose(
            uri,
            [await whole[name].server.lists.read_claims() for name in here],
            only=offering[0] if len(offering) == 1 else None,
            settled=snapshot.connecting.isdisjoint(here),
        )

    async def all_arrived(self, scope: Scope | None) -> None:
        """Wait briefly for all servers of the portal that are still connecting: a URI may be another one's then. The
        request's caller has what has come. Raises as `for_caller`."""
        on_behalf = self._on_behalf(principal_of(scope))
        snapshot = self._servers.snapshot_for(on_behalf)
        if waited_for := snapshot.connecting.intersection(self._here(snapshot)):
            self.of(scope, await self._servers.arrived(waited_for, BRIEFLY, on_behalf))

    def turned_off(self, server: str, principal: Identity | None) -> UpstreamUnavailable | None:
        """The error for a caller who has turned this server off, None for others."""
        if server not in self._off(principal):
            return None
        found = self.snapshot(principal).servers.get(server)
        why = found.turned_off.absence if found is not None else "you have turned it off"
        return UpstreamUnavailable(f"The server {server!r} is not available: {why}. Nothing ran.", server=server)

    def _here(self, snapshot: Snapshot) -> list[str]:
        """The ids of this portal's servers: an instance has those of other portals too."""
        if self.access is None:
            return list(snapshot.servers)
        return [name for name in snapshot.servers if self.access.current.has_server(name)]

    def hidden_target(self, kind: str, name: str, principal: Identity | None) -> Target | None:
        """The target of a tool or prompt that exists but is not in the caller's view.

        A call of it goes ahead to the gate, which denies it with the reason and records the attempt.
        """
        return self._forbidden_target(kind, name, principal) or self._unapproved_target(kind, name, principal)

    def hidden_template(self, uri_template: str, principal: Identity | None) -> Target | None:
        """The target of a template that only servers list which the caller may not use. As `hidden_target`."""
        if self.access is None:
            return None
        target = self.whole_of(self.snapshot(principal)).aggregate.template(uri_template)
        if target is None or not self.access.current.has_server(target.server):
            return None
        return None if self._standing(principal).server(target.server).allowed else target

    def store_answer(self, view: View, key: AnswerKey, answer: bytes) -> None:
        """Store an encoded answer in its view.

        Beyond `MAX_ANSWER_BYTES` the answers of the least recently used views are dropped.
        """
        view.answers[key] = answer
        room = MAX_ANSWER_BYTES
        for other in dict.fromkeys(reversed(tuple(self._views.values()))):
            size = sum(map(len, other.answers.values()))
            if size > room:
                other.answers.clear()
            else:
                room -= size

    def _forbidden_target(self, kind: str, name: str, principal: Identity | None) -> Target | None:
        if self.access is None:
            return None
        aggregate = self.whole_of(self.snapshot(principal)).aggregate
        target = aggregate.tool(name) if kind == "tool" else aggregate.prompt(name)
        # A server of another portal is unknown here, not forbidden.
        if target is None or not self.access.current.has_server(target.server):
            return None
        standing = self._standing(principal)
        if kind == "tool":
            annotations = target.definition.get("annotations")
            hints = annotations if isinstance(annotations, Mapping) else {}
            decision = standing.tool(target.server, target.name, hints)[0]
        else:
            decision = standing.prompt(target.server, target.name)
        return None if decision.allowed else target

    def _unapproved_target(self, kind: str, name: str, principal: Identity | None) -> Target | None:
        for server in self.snapshot(principal).servers.values():
            for item in server.pending:
                listed = exposed_name(server.id, item.name, prefix=server.prefix, taken=())
                if item.kind == kind and name in (listed, *real_names(server.id, item.name, listed)):
                    return Target(server.id, item.name, {"name": item.name})
        return None

    def _standing(self, principal: Identity | None) -> Standing:
        assert self.access is not None
        standing = self.access.standing(principal or ANONYMOUS)
        if standing is None:
            raise CallDenied(LOGIN_ENDED.reason, policy=LOGIN_ENDED.policy)
        return standing

    def _view(self, key: tuple[object, ...], select_part: Callable[[], Selection]) -> View:
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = self._contents.view(select_part())
        return view


def _may_have_resources(server: ServerSnapshot) -> bool:
    """Whether a server has resources, as far as that is known."""
    return not server.listed or bool(
        "resources" in server.listing.capabilities or server.resources or server.resource_templates
    )


def may_have(name: str) -> Which:
    """Whether the tool or prompt that clients know by this name may be one of a server's."""
    return lambda server: not server.prefix or name.startswith(f"{server.id}_")


def _policy_against_all(snapshot: Snapshot, standing: Standing) -> str | None:
    """The policy that denies the only server; with several servers, the default."""
    decisions = [standing.server(server) for server in snapshot.servers]
    return decisions[0].policy if len(decisions) == 1 else DEFAULT_DENY


class Catalogs:
    """Makes a view's catalog on first use, in a thread. The view stores it."""

    def __init__(self, background: Background, warm: Callable[[Catalog], Awaitable[None]]) -> None:
        self._background = background
        self._warm = warm

    async def of(self, view: View) -> Catalog:
        """The catalog of a view. Waits only if it must be built."""
        catalog = view.catalog
        if catalog is None or _failed(catalog):
            # For nobody in particular: others must not wait until it is the turn of whoever asks first.
            with on_behalf_of(""):
                catalog = view.catalog = asyncio.ensure_future(asyncio.to_thread(_catalog, view.selection))
        # Shielded, because several requests wait for it: cancelling one must not cancel it for the others.
        return catalog.result() if catalog.done() else await asyncio.shield(catalog)

    def prepare(self, view: View) -> None:
        """Start to build a catalog, and to warm all that its first program and search need."""
        self._background.spawn(self._prepare(view))

    def prepare_parts(self) -> None:
        """Start to make what the programs of all parts share, before the first one needs it."""
        self._background.spawn(self._prepare_parts())

    async def _prepare_parts(self) -> None:
        await self._warm(Catalog.of([]))

    async def _prepare(self, view: View) -> None:
        await self._warm(await self.of(view))


def _catalog(selection: Selection) -> Catalog:
    """The catalog, with the names that each of its programs begins with. A new server may have thousands of tools."""
    catalog = selection.catalog()
    _ = catalog.begin
    return catalog


def _failed(catalog: asyncio.Future[Catalog]) -> bool:
    return catalog.done() and (catalog.cancelled() or catalog.exception() is not None)


async def warm_search(catalog: Catalog, *, meanings: Meanings | None = None) -> None:
    """Prepare the catalog for a portal without programs. Nobody waits for the meanings."""
    await asyncio.to_thread(catalog.prepare)
    if meanings is not None:
        await asyncio.to_thread(meanings.prepare, catalog.parts)
