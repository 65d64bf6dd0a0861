"""Ranks tools for a whole task: a request of many words, as agents paste it.

Most words of a task say nothing about the tool that it needs, so the bonuses of a short request mislead: for each word
that matches, and for the action that the first verb asks for. Here a word counts by how rare it is in the catalog and
by how much a tool has it, in all its fields together. A task often needs several tools of one server, so the tools of
a server share a part of its best one's score.

The order of the tools is that of `codemode.search`: places among the tools of all parts of a catalog.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import compress, pairwise

from codemode.bounded import WithinRoom
from codemode.postings import Part, Unit, Weights

FEW, MANY = 5, 12
"""With up to FEW telling words a request is short, from MANY on it is a task, and it is a bit of both between."""

PROSE = frozenset(
    "need like help give provide additionally also furthermore moreover planning plan looking interested currently "
    "recently curious such including could know make sure them during well please along here while want wanting trying "
    "try both each other using etc kindly lastly finally first second next im ve ll re don t s d m".split()
)
"""Words of whole sentences that are about the person or hold the sentence together, beside the stop words."""

_VERB = 0.8  # a verb counts less than its object
_SERVER_SHARE = 0.3
_MOST_WEIGHTS = 50_000
"""So many weights are added for one task. It bounds the time: the commonest words, which say least, are left out."""
_ROOM = 200_000
"""The weights that a catalog of whole servers keeps, 12 bytes each."""


class TaskRanking:
    """Scores the tools of one catalog for whole tasks. Safe to share between threads."""

    def __init__(self, parts: Sequence[Part], starts: Sequence[int], size: int, *, cached: bool) -> None:
        """`starts` are the places of the first tools of the parts, and the end of the last one; `size` is the number of
        visible tools. `cached`: a catalog that has many users keeps the weights of its words."""
        self._parts = parts
        self._starts = starts
        self._size = size
        self._cached: WithinRoom[tuple[str | int, ...], Weights] | None = WithinRoom(_ROOM) if cached else None

    def scores(self, units: Sequence[Unit]) -> list[float]:
        """The score of each tool, 0 where none of the units is in it."""
        scores = [0.0] * self._starts[-1]
        found = [(self._weights(unit.terms), _VERB if unit.verb else 1.0) for unit in units]
        found.sort(key=lambda one: len(one[0].positions))
        room = _MOST_WEIGHTS
        for (places, values), share in found:
            tools = len(places)
            room -= tools
            if room < 0:
                break
            weight = share * math.log(1 + (self._size - tools + 0.5) / (tools + 0.5))
            for place, value in zip(places, values, strict=True):
                scores[place] += weight * value
        return self._with_shared(scores)

    def has(self, unit: Unit, place: int) -> bool:
        """Whether a unit is anywhere in the tool at a place."""
        return place in self._weights(unit.terms).positions

    def _with_shared(self, scores: list[float]) -> list[float]:
        """The scores with the share that tools have in the best one of their server."""
        for start, end in pairwise(self._starts):
            of_server = scores[start:end]
            if best := max(of_server, default=0.0):
                shared = _SERVER_SHARE * best
                scores[start:end] = [score and score + shared for score in of_server]
        return scores

    def _weights(self, terms: tuple[str | int, ...]) -> Weights:
        """The weights of a unit in all visible tools, by place."""
        if self._cached is None:
            return self._new_weights(terms)
        weights = self._cached.get(terms)
        if weights is None:
            weights = self._new_weights(terms)
            self._cached.put(terms, weights, len(weights.positions))
        return weights

    def _new_weights(self, terms: tuple[str | int, ...]) -> Weights:
        places, values = array("I"), array("f")
        for start, part in zip(self._starts, self._parts, strict=False):
            of_part = part.index.weights(terms)
            if of_part is None:
                continue
            if part.visible is None:
                places.extend(map(start.__add__, of_part.positions))
                values.extend(of_part.values)
            else:
                chosen = bytes(map(part.visible.__getitem__, of_part.positions))
                places.extend(map(start.__add__, compress(of_part.positions, chosen)))
                values.extend(compress(of_part.values, chosen))
        return Weights(places, values)


def share_of_task(telling: int) -> float:
    """How much a request of so many telling words is a task: 0 to 1."""
    return min(1.0, max(0.0, (telling - FEW) / (MANY - FEW)))
