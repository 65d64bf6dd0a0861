"""Definitions of tools and prompts: their canonical form, and a listing compared with the approved ones. Pure.

A definition is everything an agent relies on: the members in `FIXED`. The order of keys does not matter. Every
character does: two texts that look alike but differ in a character are two definitions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Kind = Literal["tool", "prompt"]
Item = Mapping[str, object]
Approved = Mapping[tuple[Kind, str], str]
"""The approved definitions of a server in canonical form, by kind and raw name."""

FIXED: Mapping[Kind, tuple[str, ...]] = {
    "tool": ("name", "title", "description", "inputSchema", "outputSchema", "annotations"),
    "prompt": ("name", "title", "description", "arguments"),
}
_MEMBER_NAMES = {"inputSchema": "input", "outputSchema": "output"}


def canonical(kind: Kind, item: Item) -> str:
    """The members in `FIXED` as JSON, with sorted keys: equal texts for equal content."""
    fixed = {member: item[member] for member in FIXED[kind] if member in item}
    return json.dumps(fixed, sort_keys=True, separators=(",", ":"))


def digest(definition: str) -> str:
    """The SHA-256 of a canonical definition, in hexadecimal."""
    return hashlib.sha256(definition.encode()).hexdigest()


@dataclass(frozen=True)
class PendingDefinition:
    """A tool or prompt that waits for approval. `now` is its definition and `before` the approved one, both canonical.

    `before` is None if no definition of this name was ever approved.
    """

    kind: Kind
    name: str
    now: str = field(repr=False)
    before: str | None = field(default=None, repr=False)

    @cached_property
    def digest(self) -> str:
        return digest(self.now)

    @property
    def is_new(self) -> bool:
        return self.before is None

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """The names of the members that differ from the approved definition. Empty for a new one."""
        if self.before is None:
            return ()
        old, new = json.loads(self.before), json.loads(self.now)
        return tuple(
            member
            for member in FIXED[self.kind]
            if (member in old) != (member in new) or json.dumps(old.get(member)) != json.dumps(new.get(member))
        )

    @property
    def notice(self) -> str:
        """A sentence for the caller. It repeats nothing the server says now, because nobody has approved that."""
        members = ", ".join(_MEMBER_NAMES.get(member, member) for member in self.changed)
        what = "is new" if self.is_new else f"has changed since it was approved ({members})"
        return f"This {self.kind} {what} and waits for the approval of the portal's operator."


@dataclass(frozen=True)
class Judgement:
    """The approved tools and prompts of a listing, in the server's order, and the pending ones."""

    tools: tuple[Item, ...]
    prompts: tuple[Item, ...]
    pending: tuple[PendingDefinition, ...] = ()


def judge(approved: Approved, tools: Iterable[Item], prompts: Iterable[Item]) -> Judgement:
    """The listing compared with the approved definitions. What is approved but no longer listed is in neither part."""
    pending: list[PendingDefinition] = []
    kinds = {kind: _approved_items(kind, items, approved, pending) for kind, items in _kinds(tools, prompts)}
    return Judgement(kinds["tool"], kinds["prompt"], tuple(pending))


def approve_all(tools: Iterable[Item], prompts: Iterable[Item]) -> dict[tuple[Kind, str], str]:
    """The approvals of a whole listing."""
    return {
        (kind, str(item["name"])): canonical(kind, item) for kind, items in _kinds(tools, prompts) for item in items
    }


def _kinds(tools: Iterable[Item], prompts: Iterable[Item]) -> tuple[tuple[Kind, Iterable[Item]], ...]:
    return ("tool", tools), ("prompt", prompts)


def _approved_items(
    kind: Kind, items: Iterable[Item], approved: Approved, pending: list[PendingDefinition]
) -> tuple[Item, ...]:
    """The approved items. The others are appended to `pending`."""
    passed: list[Item] = []
    for item in items:
        name = str(item["name"])
        now, before = canonical(kind, item), approved.get((kind, name))
        if now == before:
            passed.append(item)
        else:
            pending.append(PendingDefinition(kind, name, now, before))
    return tuple(passed)
