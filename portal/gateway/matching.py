"""Whether an expression is true of a value on its way: yes, no, or it cannot be known (None).

What cannot be known: what a search for secrets would say before it was made, where it was not whole, or of a profile
that is not there; and the address of a server that is gone. `False and None` is False, `True or None` is True: what an
unknown part cannot change is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from portal.dlp import DetectionUnavailable, compiler
from portal.errors import PortalError
from portal.gateway.fields import Field, Texts, ValueFacts
from portal.gateway.reading import All, Comparison, Either, Node, Not

MAX_PATTERN = 1000
MAX_STEPS = 2000
"""The most that a pattern may need, as RE2 counts."""

Truth = bool | None


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search for secrets says: the ids of the profiles that something was `found` of.

    Without `complete` nothing is known of the others. `id_of` gives the id of a profile by what a rule calls it, None
    if it is not there.
    """

    found: frozenset[str]
    complete: bool
    id_of: Callable[[str], str | None]

    def truth(self, profiles: Iterable[str]) -> Truth:
        """Whether something was found of any of these."""
        ids = set(map(self.id_of, profiles))
        if not self.found.isdisjoint(ids):
            return True
        return False if self.complete and None not in ids else None


Test = Callable[[ValueFacts, Searched | None], Truth]


class PatternRefused(PortalError):
    """A pattern of `matches` that cannot be used. The message says why and quotes nothing."""


def compiled(node: Node | None) -> Test:
    """The test that an expression is; None is one that is always true.

    Raises:
        PatternRefused: a pattern of `matches` cannot be used, or RE2 is not installed.
    """
    match node:
        case None:
            return lambda facts, searched: True
        case Comparison():
            return _comparison(node)
        case Not():
            inside = compiled(node.part)
            return lambda facts, searched: None if (truth := inside(facts, searched)) is None else not truth
        case All():
            return all_of([compiled(part) for part in node.parts])
        case Either():
            parts = [compiled(part) for part in node.parts]
            return lambda facts, searched: _any(part(facts, searched) for part in parts)


def profiles_in(node: Node | None) -> frozenset[str]:
    """The ids of the profiles that an expression asks about."""
    return frozenset(text for one in comparisons(node) if one.field.is_of_search for text in one.texts)


def comparisons(node: Node | None) -> Iterator[Comparison]:
    """Every comparison of an expression."""
    match node:
        case Comparison():
            yield node
        case Not():
            yield from comparisons(node.part)
        case All() | Either():
            for part in node.parts:
                yield from comparisons(part)


def all_of(parts: Sequence[Test]) -> Test:
    """The test whether all of these are true; of none, that is so."""
    if len(parts) == 1:
        return parts[0]

    def test(facts: ValueFacts, searched: Searched | None) -> Truth:
        known = True
        for part in parts:
            truth = part(facts, searched)
            if truth is False:
                return False
            known = known and truth is not None
        return True if known else None

    return test


def _any(truths: Iterable[Truth]) -> Truth:
    known = True
    for truth in truths:
        if truth:
            return True
        known = known and truth is not None
    return False if known else None


def _comparison(node: Comparison) -> Test:
    field = node.field
    if field.is_of_search:
        profiles = frozenset(node.texts)
        return lambda facts, searched: None if searched is None else searched.truth(profiles)
    holds = _holds(field, node)
    of = field.of

    def test(facts: ValueFacts, searched: Searched | None) -> Truth:
        values: Texts | None = of(facts)
        return None if values is None else any(map(holds, values))

    return test


def _holds(field: Field, node: Comparison) -> Callable[[str], bool]:
    texts = frozenset(map(field.normal, node.texts))
    text = next(iter(texts))
    match node.operator:
        case "!=":
            return lambda value: value != text
        case "contains":
            return lambda value: text in value
        case "matches":
            return _pattern(node.texts[0])
        case _:
            return texts.__contains__


def _pattern(source: str) -> Callable[[str], bool]:
    if len(source) > MAX_PATTERN:
        raise PatternRefused(f"a pattern of `matches` has at most {MAX_PATTERN} characters")
    try:
        pattern = compiler()(source)
    except DetectionUnavailable as error:
        raise PatternRefused(f"`matches` needs RE2: {error}") from None
    except ValueError:
        raise PatternRefused("a pattern of `matches` is not one of RE2") from None
    if pattern.programsize > MAX_STEPS:
        raise PatternRefused(f"a pattern of `matches` needs more than {MAX_STEPS} steps")
    return lambda value: pattern.search(value.encode("utf-8", "replace")) is not None
