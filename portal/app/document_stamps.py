"""The stamps of policies, rules and lists that stand in the configuration document.

Approvals hold under one revision of what asked for them. What is stored has a counter that no change takes back. What
stands in the document has a stamp: the database remembers it for each entry, and an entry that was changed or left out
and comes back as it was gets another. Until the database has answered, an entry that is new here has a stamp that
nothing had before, so that nothing older is used under it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from portal.config import Config, FlowRule

if TYPE_CHECKING:
    from portal.state import Store

Entry = Mapping[str, object]
"""A policy, rule or list as it is written in the document."""
Stamps = Mapping[bytes, str]
"""The stamp of each entry of the document, by its digest."""
POLICY, SERVER_POLICY, TOOL_POLICY = "policy", "server policy", "tool policy"
FLOW_RULE, GATEWAY_RULE, LIST = "data-flow rule", "gateway rule", "list"


class DocumentStamps:
    """The stamps that are in force in this process. `take` and `settle` are called one after the other."""

    def __init__(self) -> None:
        self.in_force: Stamps = {}
        self._is_loaded = True
        # What each document had that was in force here and that the database was not told of; None if there was none.
        self._untold: Set[bytes] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the database was not told yet what this process has."""
        return not self._is_loaded

    def take(self, config: Config) -> None:
        """This document is in force from now on, whatever the database says of it later."""
        from portal.state import new_stamp

        entries, before = frozenset(written_entries(config)), self.in_force.keys()
        if self.is_waiting:
            self._untold = before if self._untold is None else self._untold & before
        self._is_loaded = False
        self.in_force = {entry: self.in_force.get(entry) or new_stamp() for entry in entries}

    async def settle(self, store: Store) -> bool:
        """Have the stamps that all processes have with this document. Whether one of them is another now.

        Raises:
            StateUnavailable: the database cannot be asked; the stamps stay as they are.
        """
        before, rows = self.in_force, store.document_stamps
        if self.is_waiting:
            came_back = before.keys() - self._untold if self._untold is not None else ()
            found = await rows.load(before, came_back)
            self._is_loaded, self._untold = True, None
        else:
            found = await rows.of(before.keys())
        self.in_force = {**before, **found}
        return self.in_force != before


def stamp_of(stamps: Stamps, kind: str, place: str, entry: Entry) -> str:
    """The stamp of an entry of the document, "" where nobody counts its changes."""
    return stamps.get(_digest(kind, place, entry), "") if stamps else ""


def stamped(stamps: Stamps, kind: str, place: str, entries: Sequence[Entry]) -> list[Entry]:
    """These entries of the document, those that have a stamp with it."""
    found = [(entry, stamp_of(stamps, kind, place, entry)) for entry in entries]
    return [{**entry, "stamp": stamp} if stamp else entry for entry, stamp in found]


def flow_stamp(stamps: Stamps, rule: FlowRule) -> str:
    """The stamp of a data-flow rule of the document."""
    return stamp_of(stamps, FLOW_RULE, "", rule.model_dump(mode="json"))


def written_entries(config: Config) -> Iterator[bytes]:
    """The digest of each entry of the document that asks for approvals, and of each list, which may say who gives
    them."""
    section, portal = config.portal.identity, config.portal
    if section is not None:
        yield from _asking(POLICY, "", section.policies)
        yield from _asking(TOOL_POLICY, "", section.tool_policies)
        for server, policies in section.server_policies.items():
            yield from _asking(SERVER_POLICY, server, policies)
        yield from (_digest(LIST, "", one) for one in section.lists)
    for id, entry in config.portals.items():
        yield from _asking(POLICY, id, entry.policies)
        yield from _asking(TOOL_POLICY, id, entry.tool_policies)
    flow_rules = (rule for rule in portal.data_flow.rules if rule.then == "approve")
    yield from (_digest(FLOW_RULE, "", rule.model_dump(mode="json")) for rule in flow_rules)
    yield from (_digest(GATEWAY_RULE, "", rule) for rule in portal.gateway.rules if rule.get("action") == "approve")


def _asking(kind: str, place: str, policies: Iterable[Entry]) -> Iterator[bytes]:
    for policy in policies:
        if policy.get("approval_required") or policy.get("purpose_justification_required"):
            yield _digest(kind, place, policy)


def _digest(kind: str, place: str, entry: Entry) -> bytes:
    text = json.dumps([kind, place, entry], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).digest()
