"""What people ask for, which tools answer it, and how well a catalog's search finds those.

A third of the intents is held out: the ranking is never changed to find one of them, so that they tell how it does on
words nobody thought of. All were written before the ranking was worked on, from the tools' purposes, not from its
results. Tools that do the same to the same thing are all right answers.

A third part, fresh, is of operations drawn at random from the large API, and was written when the ranking stood, by
somebody who had seen neither the ranking's words nor the other intents. It is held out too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codemode import Catalog, Likeness

LARGE, REAL_SERVERS = "intents_large", "intents_real_servers"
Part = Literal["tuned", "held_out", "fresh"]
_PLACES = 10


@dataclass(frozen=True, slots=True)
class Intent:
    """Words, and the paths of the tools that answer them."""

    words: str
    wanted: frozenset[str]


@dataclass(frozen=True, slots=True)
class Quality:
    """Shares of intents answered in the first place and within five; the mean of 1/place within ten."""

    hit_at_1: float
    hit_at_5: float
    mrr: float


def intents(name: str, part: Part) -> list[Intent]:
    """`name` is LARGE, whose tools are of one server, or REAL_SERVERS."""
    written = json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))[part]
    return [Intent(words, frozenset(wanted)) for words, wanted in written]


def quality(catalog: Catalog, asked: Sequence[Intent], likeness: Likeness | None = None) -> Quality:
    """Of search by words, and by meaning too with a `likeness`."""
    places = [place_of(catalog, intent, likeness) for intent in asked]
    found = [place for place in places if place]
    return Quality(
        sum(place == 1 for place in found) / len(places),
        sum(place <= 5 for place in found) / len(places),
        sum(1 / place for place in found) / len(places),
    )


def place_of(catalog: Catalog, intent: Intent, likeness: Likeness | None = None) -> int | None:
    """Where the first right tool is among ten, from 1."""
    for place, result in enumerate(catalog.search(intent.words, limit=_PLACES, likeness=likeness), start=1):
        entry = catalog.get(result["path"])
        assert entry is not None
        if {entry.tool.name, f"{entry.server.id}.{entry.tool.name}"} & intent.wanted:
            return place
    return None
