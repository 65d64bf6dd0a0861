"""The changes between two listings of a server: tools and prompts that were added, removed or changed. Pure.

What a definition is, and how a difference is put into words, is of `portal.pins`: an approval and a change speak of the
same thing in the same words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from portal.objects import Document
from portal.pins import PendingDefinition, approve_all, describe_changes
from portal.state import Kind

MAX_NAMED = 100
MAX_DESCRIBED = 20
MAX_CLAUSES = 10
MAX_CLAUSE = 400
MAX_DESCRIPTION = 500
MAX_CHANGES = 20
"""Changes that are kept of one server."""
MAX_KEPT_CHARS = 256 * 1024
"""Characters of what is kept of one server."""

CapabilityKind = Literal["tool", "prompt"]
Definitions = Mapping[tuple[CapabilityKind, str], str]
"""Definitions in canonical form (`portal.pins.canonical`), by kind and raw name."""


class NameChanges(BaseModel):
    """Names of tools or prompts, at most `MAX_NAMED` in each tuple.

    `changed` names those whose title, description, schema or annotations changed.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class ChangedDefinition(BaseModel):
    """What changed of one tool or prompt: the `members` of its definition, and the differences in words. The
    descriptions are there if they differ, each cut at `MAX_DESCRIPTION`. They quote the server, for people only."""

    kind: CapabilityKind
    name: str
    members: tuple[str, ...] = ()
    what: tuple[str, ...] = ()
    description_before: str | None = None
    description_after: str | None = None


class ListingChange(BaseModel):
    """One change of a server's tools and prompts. `at` is the time the portal read it, and `details` the differences of
    those that changed, at most `MAX_DESCRIBED`. `mark` is equal for the same change, noted by several processes."""

    at: datetime
    tools: NameChanges
    prompts: NameChanges
    details: tuple[ChangedDefinition, ...] = ()
    mark: str = Field(default="", exclude=True)


class KeptChange(ListingChange):
    """A change as the database has it."""

    mark: str = ""


class ChangesDocument(Document):
    """The last changes of one server, oldest first."""

    changes: Annotated[tuple[KeptChange, ...], Field(max_length=MAX_CHANGES)] = ()


SERVER_CHANGES = Kind("server_changes", ChangesDocument)


def definitions_of(
    tools: Iterable[Mapping[str, object]],
    prompts: Iterable[Mapping[str, object]],
    pending: Iterable[PendingDefinition] = (),
) -> Definitions:
    """What a server defines now, also what waits for approval: an approval changes nothing of it."""
    return {**approve_all(tools, prompts), **{(one.kind, one.name): one.now for one in pending}}


def listing_change(before: Definitions, after: Definitions, at: datetime) -> ListingChange | None:
    """The change from `before` to `after`, without details; None if there is none."""
    tools, prompts = _names(before, after, "tool"), _names(before, after, "prompt")
    if not tools and not prompts:
        return None
    return ListingChange(at=at, tools=tools, prompts=prompts, mark=_mark(before, after))


def described(change: ListingChange, before: Definitions, after: Definitions) -> ListingChange:
    """The change with its details. What it reads may be large: it is for a thread."""
    named: list[tuple[CapabilityKind, str]] = [("tool", name) for name in change.tools.changed]
    named += [("prompt", name) for name in change.prompts.changed]
    details = tuple(_detail(*one, before[one], after[one]) for one in named[:MAX_DESCRIBED])
    return change.model_copy(update={"details": details})


def with_change(kept: Sequence[KeptChange], change: ListingChange) -> tuple[KeptChange, ...]:
    """What is kept once this change is noted. Another process may have noted the same: then nothing is added."""
    if kept and kept[-1].mark == change.mark:
        return tuple(kept)
    new = KeptChange(**change.model_dump(), mark=change.mark)
    return _within_bounds([*kept, new][-MAX_CHANGES:])


def _within_bounds(changes: list[KeptChange]) -> tuple[KeptChange, ...]:
    """The changes with which a document has room: the oldest lose their details first, and then go themselves."""
    sizes = [len(change.model_dump_json()) for change in changes]
    for at, change in enumerate(changes):
        if sum(sizes) <= MAX_KEPT_CHARS:
            break
        changes[at] = change.model_copy(update={"details": ()})
        sizes[at] = len(changes[at].model_dump_json())
    while len(changes) > 1 and sum(sizes) > MAX_KEPT_CHARS:
        changes, sizes = changes[1:], sizes[1:]
    return tuple(changes)


def _names(before: Definitions, after: Definitions, kind: CapabilityKind) -> NameChanges:
    old = {name: text for (of, name), text in before.items() if of == kind}
    new = {name: text for (of, name), text in after.items() if of == kind}
    return NameChanges(
        added=_bounded(name for name in new if name not in old),
        removed=_bounded(name for name in old if name not in new),
        changed=_bounded(name for name in new if name in old and new[name] != old[name]),
    )


def _detail(kind: CapabilityKind, name: str, before: str, after: str) -> ChangedDefinition:
    definition = PendingDefinition(kind, name, after, before)
    old, new = json.loads(before).get("description"), json.loads(after).get("description")
    clauses = describe_changes(definition)
    if len(clauses) > MAX_CLAUSES:
        clauses = [*clauses[: MAX_CLAUSES - 1], f"and {len(clauses) - MAX_CLAUSES + 1} more"]
    differ = old != new
    return ChangedDefinition(
        kind=kind,
        name=name,
        members=definition.changed,
        what=tuple(_cut(clause, MAX_CLAUSE) for clause in clauses),
        description_before=_cut(old, MAX_DESCRIPTION) if differ and isinstance(old, str) else None,
        description_after=_cut(new, MAX_DESCRIPTION) if differ and isinstance(new, str) else None,
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _mark(before: Definitions, after: Definitions) -> str:
    digest = hashlib.sha256()
    for side in (before, after):
        for kind, name in sorted(side):
            digest.update(f"{kind} {side[kind, name]}\n".encode(errors="surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()[:32]


def _bounded(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))[:MAX_NAMED]
