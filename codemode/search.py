"""Finds tools by their words: BM25 over names, descriptions and parameters, of the tools that one catalog has.

A query is plain words, never query syntax. A word matches itself in any form, the other words of its thesaurus groups
at a lower weight, and, when no tool has it, words one or two letters away. Of equal matches, tools that perform the
action of the query come first. The more words a query has, the more it is ranked as a whole task (`codemode.tasks`).

The words of tools are indexed once for each server (`ServerIndex`). What depends on the other tools of a catalog (how
many have a word, how long a field is on average) is counted exactly for each catalog, so that a catalog of some tools
ranks them as if the others did not exist.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from heapq import nlargest
from itertools import accumulate, compress
from typing import NamedTuple

from codemode.actions import CHANGE, MAKE, READ, actions_in, is_verb
from codemode.bounded import WithinRoom
from codemode.postings import ACTION, FIELDS, Kind, Matches, Part, Unit
from codemode.tasks import FEW, PROSE, TaskRanking, share_of_task
from codemode.thesaurus import thesaurus
from codemode.words import stem, words

MAX_QUERY_CHARS = 600
MAX_QUERY_WORDS = 128
_MOST_REQUEST_UNITS = 32
"""So many units count for a request. It bounds the time: a word that no tool has is compared with all words."""
_BOOSTS = (1.5, 0.8, 0.4, 1.0, 1.3, 0.5)  # of name, head, text, server, groups of the name, groups of the head
_K1, _B = 1.2, 0.75  # BM25's own
_TIE = 0.2  # the share of their scores that further fields add to the best one
_VERB = 0.6  # a verb counts less than its object
_MATCH_BONUS = 5.0  # for each word that matches: several weak matches rank above one rare word
_ACTION, _OTHER_ACTION = 9.0, 5.0
_DEFAULT_ACTION, _OTHER_DEFAULT_ACTION = 5.0, 4.0  # when a query only names a thing
_DEFAULT_ACTIONS = (READ, MAKE, CHANGE)
# Search by meaning: what it counts against words at least, and how much more where none of them is found; from how many
# telling words on it counts fully; and how alike a tool has to be of which no word was found.
_LEAST_MEANING, _MEANING = 0.1, 2.0
_MEANT_WORDS = 6
_LEAST_SIMILARITY = 0.2
_ROOM, _ROOM_OF_PARTS = 200_000, 1_000
"""The scores of tools that a catalog keeps, some 60 bytes each."""

_ARTICLES = frozenset("a an the my our your this that own".split())
_STOP_WORDS = frozenset(
    "a an own and are at be by can do does did for from how i in into is it its me my of on or our please that the "
    "their this to up want we what which with you your was were has have had will would should could am as if than "
    "then there these those them they he she his her us who whom some something any anything every very just also so "
    "about one when where why let".split()
)


_Scores = dict[int, float]
"""Scores by the place of a tool among the tools of all parts, visible or not."""


class _PartMatches(NamedTuple):
    """The tools of a part that match a unit, as in `Matches`; `start` is the place of its first tool."""

    start: int
    positions: Sequence[int]
    kind_of: Sequence[int]
    kinds: Sequence[Kind]
    counts: Mapping[int, int]


class Search:
    """Ranks the tools of one catalog; its parts are in the catalog's order. Safe to share between threads."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._starts = tuple(accumulate((part.index.size for part in self._parts), initial=0))
        self._size = sum(part.index.size if part.visible is None else sum(part.visible) for part in self._parts)
        # BM25's 1 - b + b * length / average, as a line.
        self._slopes = [_K1 * _B / average if (average := self._average(number)) else 0.0 for number in FIELDS]
        kinds: dict[tuple[str, int], int] = {}
        self._action_of = array("H")
        for part in self._parts:
            numbers = [kinds.setdefault(kind, len(kinds)) for kind in part.index.actions]
            self._action_of.extend(map(numbers.__getitem__, part.index.action_of))
        self._actions = tuple(kinds)
        # Cached, because they cost more than the rest of a search. A catalog of whole servers has many users.
        self._is_whole = all(part.visible is None for part in self._parts)
        self._cached_scores: WithinRoom[Unit, _Scores] = WithinRoom(_ROOM if self._is_whole else _ROOM_OF_PARTS)
        self._tasks = TaskRanking(self._parts, self._starts, self._size, cached=self._is_whole)
        self._bonuses: dict[tuple[str, ...], list[float]] = {}

    def find(
        self,
        query: str,
        *,
        limit: int,
        part: int | None = None,
        read_only: bool | None = None,
        similarity: Sequence[float] | None = None,
    ) -> list[tuple[int, int]]:
        """The best matches, best first, each as the number of its part and its position in the server's list.

        Equal scores keep the order of the tools. `part` keeps the tools of one part; `read_only` those that declare to
        only read (True), or all others (False). `similarity`: how alike the query and each tool are in meaning, 0 to 1
        and 0 for tools that are not visible; it counts the more, the less the words of the query are found.
        """
        asked = _Query(query)
        if not asked.words:
            return []
        scores, bonus = self._scores(asked)
        if similarity is not None:
            scores, bonus = self._with_similarity(asked, scores, bonus, similarity), []
        if part is not None:
            scores = {place: scores[place] for place in scores if self._part_of(place) == part}
        if read_only is not None:
            scores = {place: scores[place] for place in scores if self._reads(place) == read_only}
        if not scores:
            return []
        total = [score + bonus[place] for place, score in scores.items()] if bonus else list(scores.values())
        least = nlargest(limit, total)[-1]
        best = sorted((-score, place) for place, score in zip(scores, total, strict=True) if score >= least)[:limit]
        return [(number := self._part_of(place), place - self._starts[number]) for _, place in best]

    def _scores(self, query: _Query) -> tuple[_Scores, list[float]]:
        """The scores of the tools that a query finds, and what each place adds to its score; empty for nothing."""
        share = query.share_of_task
        of_task = self._tasks.scores(_units(query.words, _STOP_WORDS | PROSE)) if share else []
        best = max(of_task, default=0.0)
        if best == 0:
            return self._request_scores(query), self._bonus(actions_in(query.words))
        found = {place: score for place, score in enumerate(of_task) if score}
        if share == 1:
            return found, []
        # The two kinds of scores have no scale in common, so each is measured by its best.
        bonus = self._bonus(actions_in(query.words))
        of_request = {place: score + bonus[place] for place, score in self._request_scores(query).items()}
        rate, other_rate = share / best, (1 - share) / max(of_request.values(), default=1.0)
        both = {place: rate * of_task[place] + other_rate * of_request.get(place, 0.0) for place in found | of_request}
        return both, []

    def _with_similarity(
        self, query: _Query, scores: _Scores, bonus: list[float], similarity: Sequence[float]
    ) -> _Scores:
        """The scores by words, measured by their best, with a share of the similarity, measured by its best."""
        by_words = {place: score + bonus[place] for place, score in scores.items()} if bonus else scores
        best_place = max(by_words, key=by_words.__getitem__, default=None)
        units = query.units
        # How much of the query the best tool has: words that are all found leave little to guess.
        found = sum(self._tasks.has(unit, best_place) for unit in units) / len(units) if best_place is not None else 0.0
        # A query of stop words only has a meaning too, and nothing else to go by.
        share = min(1.0, max(1, query.telling) / _MEANT_WORDS) * (_LEAST_MEANING + _MEANING * (1 - found) ** 3)
        rate = 1 / by_words[best_place] if best_place is not None else 0.0
        other_rate = share / (max(similarity, default=0.0) or 1.0)
        both = {place: rate * score + other_rate * similarity[place] for place, score in by_words.items()}
        for place, value in enumerate(similarity):
            if value >= _LEAST_SIMILARITY and place not in both:
                both[place] = other_rate * value
        return both

    def _request_scores(self, query: _Query) -> _Scores:
        """The scores of the tools that match a short request, without the bonus for what they do."""
        first, *others = map(self._score, query.units[:_MOST_REQUEST_UNITS])
        scores = first.copy()
        for other in others:
            _add(scores, other)
        return scores

    def _part_of(self, place: int) -> int:
        return bisect_right(self._starts, place) - 1

    def _reads(self, place: int) -> bool:
        number = self._part_of(place)
        return bool(self._parts[number].index.reads[place - self._starts[number]])

    def _average(self, number: int) -> float:
        """The average length of a field."""
        total = 0
        for part in self._parts:
            lengths = part.index.lengths[number]
            total += sum(lengths) if part.visible is None else sum(compress(lengths, part.visible))
        return total / self._size if self._size else 0.0

    def _score(self, unit: Unit) -> _Scores:
        """The scores that a unit adds to the tools that match it."""
        scores = self._cached_scores.get(unit)
        if scores is None:
            scores = self._new_scores(unit)
            self._cached_scores.put(unit, scores, len(scores))
        return scores

    def _new_scores(self, unit: Unit) -> _Scores:
        matches = self._visible([part.index.matches(unit) for part in self._parts])
        if matches or unit.stem is None:
            weights = self._weights(matches, unit)
            return _scores(matches, lambda kind: self._bm25(kind, weights))
        matches = self._visible([part.index.near(unit.stem) for part in self._parts])
        share = _VERB if unit.verb else 1.0
        return _scores(matches, lambda kind: share * _of_fields([_BOOSTS[hit[1]] for hit in kind]))

    def _visible(self, matches: Sequence[Matches]) -> list[_PartMatches]:
        """The matches that are in the catalog, for each part that has any."""
        visible = []
        for part, start, of_part in zip(self._parts, self._starts, matches, strict=False):
            if not of_part.positions:
                continue
            if part.visible is None:
                visible.append(_PartMatches(start, of_part.positions, of_part.kind_of, of_part.kinds, of_part.counts))
                continue
            chosen = bytes(map(part.visible.__getitem__, of_part.positions))
            if any(chosen):
                kind_of = tuple(compress(of_part.kind_of, chosen))
                positions = tuple(compress(of_part.positions, chosen))
                visible.append(_PartMatches(start, positions, kind_of, of_part.kinds, Counter(kind_of)))
        return visible

    def _weights(self, matches: Sequence[_PartMatches], unit: Unit) -> list[float]:
        """The weight of each slot of a unit: the more tools have it, the less."""
        tool_counts = [0] * (4 + 2 * len(unit.groups))
        for part in matches:
            for place, count in part.counts.items():
                for slot, _, _, _ in part.kinds[place]:
                    tool_counts[slot] += count
        boost = (1 + _K1) * (_VERB if unit.verb else 1.0)
        # The fields of groups follow those of the stem, two for each group.
        boosts = (*_BOOSTS[:4], *(_BOOSTS[4:] * len(unit.groups)))
        return [
            boost * field_boost * self._rarity(count) for field_boost, count in zip(boosts, tool_counts, strict=True)
        ]

    def _bm25(self, kind: Kind, weights: Sequence[float]) -> float:
        slopes = self._slopes
        return _of_fields(
            [
                weights[slot] * count / (count + _K1 * (1 - _B) + slopes[field] * length)
                for slot, field, count, length in kind
            ]
        )

    def _rarity(self, tool_count: int) -> float:
        return math.log(1 + (self._size - tool_count + 0.5) / (tool_count + 0.5))

    def _bonus(self, actions: tuple[str, ...]) -> list[float]:
        """The bonus of each tool when a query asks for `actions`, the first of which counts most.

        As with BM25, a tool with a shorter name gets more.
        """
        bonus = self._bonuses.get(actions)
        if bonus is None:
            first, other = (_ACTION, _OTHER_ACTION) if actions else (_DEFAULT_ACTION, _OTHER_DEFAULT_ACTION)
            of = {action: other if place else first for place, action in enumerate(actions or _DEFAULT_ACTIONS)}
            slope = self._slopes[ACTION]
            of_kind = [
                of.get(action, 0.0) * (1 + _K1) / (1 + _K1 * (1 - _B) + slope * length)
                for action, length in self._actions
            ]
            bonus = list(map(of_kind.__getitem__, self._action_of))
            if self._is_whole:
                self._bonuses[actions] = bonus
        return bonus


def is_whole_task(query: str) -> bool:
    """Whether a query has so many telling words that it is ranked as a task and nothing else."""
    return _Query(query).share_of_task == 1


class _Query:
    """The words of a query without articles, and what follows from them, each made at most once."""

    def __init__(self, text: str) -> None:
        self.words = [word for word in words(text[:MAX_QUERY_CHARS]) if word not in _ARTICLES][:MAX_QUERY_WORDS]

    @cached_property
    def telling(self) -> int:
        """How many different words say what it wants."""
        return len({stem(word) for word in self.words if word not in _STOP_WORDS})

    @property
    def share_of_task(self) -> float:
        """How much it is a task: 0 to 1."""
        return share_of_task(self.telling) if len(self.words) > FEW else 0.0

    @cached_property
    def units(self) -> list[Unit]:
        """Its units as a request."""
        return _units(self.words, _STOP_WORDS)


def _units(query_words: list[str], stop_words: frozenset[str]) -> list[Unit]:
    """The units of a query, each once."""
    stems = [stem(word) for word in query_words]
    # A query of stop words only is searched with all of them.
    significant = [n for n, word in enumerate(query_words) if word not in stop_words] or range(len(query_words))
    groups: dict[int, list[int]] = {n: [] for n in significant}
    units: dict[Unit, None] = {}
    for start, length, group in thesaurus().in_query(stems):
        if length == 1 and start in groups:
            groups[start].append(group)
        else:
            units[Unit(None, (group,))] = None
    for n in significant:
        units[Unit(stems[n], tuple(groups[n]), is_verb(query_words[n]))] = None
    return list(units)


def _scores(matches: Sequence[_PartMatches], score: Callable[[Kind], float]) -> _Scores:
    """The scores of tools, which are those of their kinds, each with the bonus for a match."""
    scores: _Scores = {}
    known: dict[Kind, float] = {}
    for part in matches:
        of_kind = [0.0] * len(part.kinds)
        for place in part.counts:
            kind = part.kinds[place]
            if kind not in known:
                known[kind] = _MATCH_BONUS + score(kind)
            of_kind[place] = known[kind]
        places = map(part.start.__add__, part.positions) if part.start else part.positions
        scores.update(zip(places, map(of_kind.__getitem__, part.kind_of), strict=False))
    return scores


def _add(scores: _Scores, others: _Scores) -> None:
    """Add the scores of others. Most tools are in only one of the two, and those are taken over in one step."""
    both = {place: scores[place] + others[place] for place in scores.keys() & others.keys()}
    scores |= others
    scores |= both


def _of_fields(scores: Sequence[float]) -> float:
    """The score of the best field, with a share of the others'."""
    if len(scores) < 2:
        return scores[0] if scores else 0.0
    best = max(scores)
    return best + _TIE * (sum(scores) - best)
