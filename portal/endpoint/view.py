"""What a client of the portal sees at this moment: a snapshot of the servers, narrowed to what its caller may use.

Without identities everyone sees the whole. With them, callers to whom the policies give the same share one view, so
that thousands of users need few lists and few catalogs.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeVar

from starlette.types import Scope

from codemode import Catalog
from portal.access import DEFAULT_DENY, LOGIN_ENDED, NO_SERVERS, Decision, LiveAccess, Standing
from portal.endpoint.aggregate import Aggregate, Target
from portal.endpoint.names import exposed_name
from portal.endpoint.narrowing import narrowed
from portal.errors import CallDenied
from portal.identity import ANONYMOUS, Identity, principal_of
from portal.servers import Servers, Snapshot

MAX_VIEWS = 256
Kept = TypeVar("Kept")


class Seen:
    """One view: what is listed, and the catalog of it, which is made when first needed."""

    __slots__ = ("aggregate", "catalog", "snapshot")

    def __init__(self, snapshot: Snapshot, aggregate: Aggregate) -> None:
        self.snapshot = snapshot
        self.aggregate = aggregate
        self.catalog: Catalog | None = None


class View:
    """All that callers see of one portal. Views are kept for the snapshots and aggregates used last."""

    def __init__(self, servers: Servers, access: LiveAccess | None = None) -> None:
        self.access = access
        self._servers = servers
        self._whole = Seen(Snapshot(version=-1), Aggregate.build(()))
        self._content_id = ""
        self._views: OrderedDict[tuple[object, ...], Seen] = OrderedDict()
        self._aggregates: OrderedDict[tuple[object, ...], Aggregate] = OrderedDict()

    @property
    def snapshot(self) -> Snapshot:
        return self._servers.snapshot

    @property
    def whole(self) -> Seen:
        """Everything the servers offer now, whoever asks."""
        return self.whole_of(self._servers.snapshot)

    def whole_of(self, snapshot: Snapshot) -> Seen:
        """Everything in a snapshot; the newest one asked for is kept."""
        kept = self._whole
        if kept.snapshot is snapshot:
            return kept
        content_id = snapshot.content_id
        aggregate = kept.aggregate if content_id == self._content_id else Aggregate.build(snapshot.servers.values())
        self._whole, self._content_id = Seen(snapshot, aggregate), content_id
        return self._whole

    def of(self, scope: Scope | None) -> Seen:
        """What the caller of a request sees now. Raises as `seen`."""
        if self.access is None:
            return self.whole
        return self.seen(principal_of(scope))

    def seen(self, principal: Identity | None, snapshot: Snapshot | None = None) -> Seen:
        """What a caller sees, of the current snapshot or another one.

        Raises:
            CallDenied: the portal is not for this caller, or none of its servers is.
        """
        snapshot = self._servers.snapshot if snapshot is None else snapshot
        if self.access is None:
            return self.whole_of(snapshot)
        standing = self._standing(principal)
        if not standing.portal.allowed:
            raise CallDenied(standing.portal.reason, policy=standing.portal.policy)
        found = self._narrowed(snapshot, standing)
        if not found.snapshot.servers:
            raise CallDenied(NO_SERVERS, policy=self._why_none(snapshot, standing))
        return found

    def seen_or_nothing(self, principal: Identity | None, snapshot: Snapshot | None = None) -> Seen:
        """As `seen`, for whom there need not be anything."""
        try:
            return self.seen(principal, snapshot)
        except CallDenied:
            return Seen(Snapshot(), Aggregate.build(()))

    def portal(self, principal: Identity | None) -> Decision:
        """May this caller use the portal at all?"""
        try:
            return Decision("allow", "") if self.access is None else self._standing(principal).portal
        except CallDenied as denied:
            return Decision("deny", denied.reason, denied.policy)

    def refused(self, kind: str, name: str, principal: Identity | None) -> Target | None:
        """What a caller named and a policy does not give: worth a call, which the gate refuses and the record keeps."""
        if self.access is None:
            return None
        aggregate = self.whole.aggregate
        known: Mapping[str, Target] = aggregate.tools if kind == "tool" else aggregate.prompts
        target = aggregate.resource(name) if kind == "resource" else known.get(name)
        if target is None:
            return None
        standing = self._standing(principal)
        if kind == "tool":
            annotations = target.definition.get("annotations")
            given = annotations if isinstance(annotations, Mapping) else {}
            decision = standing.tool(target.server, target.name, given)[0]
        elif kind == "prompt":
            decision = standing.prompt(target.server, target.name)
        else:
            decision = standing.server(target.server)
        return None if decision.allowed else target

    def withheld(self, kind: str, name: str) -> Target | None:
        """What a caller named and its pinned server offers, unapproved: worth a call, which the caller refuses."""
        for server in self.snapshot.servers.values():
            for waits in server.withheld:
                if waits.kind == kind and name == exposed_name(server.id, waits.name, prefix=server.prefix, taken=()):
                    return Target(server.id, waits.name, {"name": waits.name})
        return None

    def refused_server(self, server: str, principal: Identity | None) -> CallDenied | None:
        """Why a server is not for this caller; None when it is."""
        if self.access is None:
            return None
        decision = self._standing(principal).server(server)
        return None if decision.allowed else CallDenied(decision.reason, policy=decision.policy, server=server)

    def _standing(self, principal: Identity | None) -> Standing:
        assert self.access is not None
        standing = self.access.standing(principal or ANONYMOUS)
        if standing is None:
            raise CallDenied(LOGIN_ENDED.reason, policy=LOGIN_ENDED.policy)
        return standing

    def _narrowed(self, snapshot: Snapshot, standing: Standing) -> Seen:
        key = (snapshot.version, standing.access.version, standing.profile)
        found = self._views.get(key)
        if found is None or found.snapshot.version != snapshot.version:
            rest = narrowed(snapshot, standing)
            content = (rest.snapshot.content_id, *sorted(rest.tools.items()), *sorted(rest.prompts.items()))
            aggregate = self._aggregates.get(content)
            if aggregate is None:
                aggregate = Aggregate.build(rest.snapshot.servers.values(), rest.tools, rest.prompts)
            found = Seen(rest.snapshot, aggregate)
            _keep(self._aggregates, content, aggregate)
        _keep(self._views, key, found)
        return found

    def _why_none(self, snapshot: Snapshot, standing: Standing) -> str | None:
        """The policy that keeps the only server away; for several, that nothing allows any."""
        decisions = [standing.server(server) for server in snapshot.servers]
        return decisions[0].policy if len(decisions) == 1 else DEFAULT_DENY


def _keep(kept: OrderedDict[tuple[object, ...], Kept], key: tuple[object, ...], value: Kept) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > MAX_VIEWS:
        kept.popitem(last=False)
