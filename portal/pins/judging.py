"""What of a listing was approved, and what waits. Pure.

A tool or prompt is known by what an agent goes by: its name and the members in `FIXED`, in any order of their keys, and
in nothing else alike: two texts that look the same and are other characters are two texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Kind = Literal["tool", "prompt"]
Item = Mapping[str, Any]
Approved = Mapping[tuple[Kind, str], str]
"""By kind and raw name: the approved definition, in canonical form."""

FIXED: Mapping[Kind, tuple[str, ...]] = {
    "tool": ("name", "title", "description", "inputSchema", "outputSchema", "annotations"),
    "prompt": ("name", "title", "description", "arguments"),
}
_SAID = {"inputSchema": "input", "outputSchema": "output"}


def canonical(kind: Kind, item: Item) -> str:
    """What is fixed of a definition, as the same text for the same content."""
    fixed = {member: item[member] for member in FIXED[kind] if member in item}
    return json.dumps(fixed, sort_keys=True, separators=(",", ":"))


def digest(definition: str) -> str:
    """The SHA-256 of a canonical definition, in hexadecimal."""
    return hashlib.sha256(definition.encode()).hexdigest()


@dataclass(frozen=True)
class Withheld:
    """Something that waits for approval. `now` and `before` are canonical; `before` None: nothing of that name was
    ever approved."""

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
        """The members that are not as they were approved; none of something new."""
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
        """A sentence for whoever calls it. Of what the server says now it repeats nothing: nobody has approved that."""
        members = ", ".join(_SAID.get(member, member) for member in self.changed)
        what = "is new" if self.is_new else f"has changed since it was approved ({members})"
        return f"This {self.kind} {what} and waits for the approval of the portal's operator."


@dataclass(frozen=True)
class Judgement:
    """What may be shown, in the server's order, and what waits."""

    tools: tuple[Item, ...]
    prompts: tuple[Item, ...]
    withheld: tuple[Withheld, ...] = ()


def judged(approved: Approved, tools: Iterable[Item], prompts: Iterable[Item]) -> Judgement:
    """A listing held against what was approved. What the server no longer lists is simply not there."""
    waiting: list[Withheld] = []
    kept = {kind: _kept(kind, items, approved, waiting) for kind, items in _kinds(tools, prompts)}
    return Judgement(kept["tool"], kept["prompt"], tuple(waiting))


def everything(tools: Iterable[Item], prompts: Iterable[Item]) -> dict[tuple[Kind, str], str]:
    """A whole listing, approved."""
    return {(kind, item["name"]): canonical(kind, item) for kind, items in _kinds(tools, prompts) for item in items}


def _kinds(tools: Iterable[Item], prompts: Iterable[Item]) -> tuple[tuple[Kind, Iterable[Item]], ...]:
    return ("tool", tools), ("prompt", prompts)


def _kept(kind: Kind, items: Iterable[Item], approved: Approved, waiting: list[Withheld]) -> tuple[Item, ...]:
    kept: list[Item] = []
    for item in items:
        now, before = canonical(kind, item), approved.get((kind, item["name"]))
        if now == before:
            kept.append(item)
        else:
            waiting.append(Withheld(kind, item["name"], now, before))
    return tuple(kept)
