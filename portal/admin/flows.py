"""Data-flow rules, and what people have read of what is labelled: `access/ai-controls/mcp/data-flow` (ours)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from portal.admin.api.collection import Collection, Removed
from portal.admin.api.errors import conflict, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import PORTALS
from portal.objects import FLOW_RULE, FlowRuleDocument
from portal.state import Clock, LabelRead, Store, Transaction

PATH = "/access/ai-controls/mcp/data-flow"
PERSON = "person who has read something labelled"


class FlowRuleBody(FlowRuleDocument):
    """After reading something labelled `when` (any of these; with `all`, all of them), nothing labelled `target` (any
    of these) is called. `exempt` names servers, and tools as `server.tool`, which may be called all the same."""

    model_config = ConfigDict(extra="ignore")


class ShownFlowRule(FlowRuleBody):
    id: str
    created_at: datetime
    updated_at: datetime


class ShownRead(BaseModel):
    """Something with this label was read in this OAuth client ("" for none): last `at` this time, by a call of this
    tool of this server, at this portal ("" is the document's own). It counts `until` then."""

    label: str
    client: str
    portal: str
    server: str
    tool: str
    at: datetime
    until: datetime


class PersonReads(BaseModel):
    """What counts for one person. `id` is the key that the log has of them, the network of a stranger
    ("address:..."), or "operator" where nobody signs in; `until` is when the last of it ends."""

    id: str
    labels: tuple[str, ...]
    until: datetime
    reads: tuple[ShownRead, ...]


class FlowRuleOperations(Collection[FlowRuleBody, FlowRuleDocument]):
    kind, path, noun, area = FLOW_RULE, PATH + "/rules", "data-flow rule", PORTALS
    body, answer = FlowRuleBody, ShownFlowRule

    def document(self, body: FlowRuleBody, before: FlowRuleDocument | None) -> FlowRuleDocument:
        return body


class ReadOperations:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def operations(self) -> list[Operation]:
        path, item = PATH + "/reads", PATH + "/reads/{id}"
        return [
            Operation("GET", path, "List who has read what is labelled", self._list, PersonReads, PORTALS, listed=True),
            Operation("GET", item, "Show what somebody has read", self._get, PersonReads, PORTALS),
            Operation("DELETE", item, "Forget what somebody has read", self._forget, Removed, PORTALS),
        ]

    async def _list(self, request: ApiRequest) -> Sequence[PersonReads]:
        """The people whose reads are the newest."""
        search = request.paging.search.lower()
        reads = await self._store.labels.of(None, self._clock())
        return [shown for shown in _by_person(reads) if search in shown.id.lower()]

    async def _get(self, request: ApiRequest) -> PersonReads:
        shown = _by_person(await self._store.labels.of(request.path["id"], self._clock()))
        if not shown:
            raise not_found(PERSON)
        return shown[0]

    async def _forget(self, request: ApiRequest) -> Removed:
        person = request.path["id"]
        if not await self._store.labels.forget(person, by=request.by):
            raise not_found(PERSON)
        return Removed(id=person)


def _by_person(reads: Iterable[LabelRead]) -> list[PersonReads]:
    people: dict[str, list[LabelRead]] = {}
    for read in reads:
        people.setdefault(read.person, []).append(read)
    return [
        PersonReads(
            id=person,
            labels=tuple(sorted({read.label for read in found})),
            until=max(read.until for read in found),
            reads=tuple(
                ShownRead(
                    label=read.label,
                    client=read.client,
                    portal=read.portal,
                    server=read.server,
                    tool=read.tool,
                    at=read.at,
                    until=read.until,
                )
                for read in found
            ),
        )
        for person, found in people.items()
    ]


async def check_flow_rules(transaction: Transaction) -> None:
    """Require that every rule has a name of its own: a denial names it.

    Raises:
        AdminError: two have the same.
    """
    names = [one.document.name for one in await transaction.list(FLOW_RULE)]
    for name in names:
        if names.count(name) > 1:
            raise conflict(f"there is a data-flow rule {name!r} already")
