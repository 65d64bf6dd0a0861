"""What the rules make of one value: it passes, it passes without what was found in it, or it is blocked.

A value is searched for secrets at most once, and only if a rule cannot be decided without. One that was changed is
another value. Where it cannot be known whether a rule matches, the value is blocked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Literal, Protocol

from codemode import off_loop
from portal.dlp import Detection, DetectionUnavailable, Verdict, redact
from portal.gateway.fields import ValueFacts
from portal.gateway.matching import Searched
from portal.gateway.rules import HttpRule, Rulebook

_ROUNDS = 4
_MANY = 100
"""Findings that are not taken out on the loop."""
_ALL = 1 << 62


class Detecting(Protocol):
    """What searches values for secrets, of the profiles that are needed; `portal.dlp.LiveDetector` is one.

    A rule may name a profile by its id, its UUID or its name. `knows` is whether there is one that can be used,
    `profile` the id that its findings have.
    """

    async def scanned(self, value: object, root: str = "value", *, as_arguments: bool = False) -> Verdict:
        """
        Raises:
            DetectionUnavailable: nothing can be searched now.
        """

    def knows(self, profile: str) -> bool: ...

    def profile(self, name: str) -> str | None: ...

    def needs(self, profiles: Iterable[str]) -> None:
        """What all rules together name now. What nobody needs is not searched for."""


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule that matched, and what was found of the profiles that it asks for."""

    rule: HttpRule
    findings: tuple[Detection, ...] = ()


Why = Literal[
    "matched",
    "unreadable",
    "unavailable",
    "incomplete",
    "unknown profile",
    "unknown server",
    "not redacted",
    "not approved",
]


@dataclass(frozen=True, slots=True)
class RuleBlock:
    """The rule that a value is blocked by, and why: it `matched`, or what kept it from being decided or followed."""

    rule: HttpRule
    why: Why
    findings: tuple[Detection, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """The value as it may pass, the rules that matched on the way, and what blocks it, if anything does."""

    value: object
    matches: tuple[RuleMatch, ...] = ()
    block: RuleBlock | None = None

    @property
    def asking(self) -> tuple[RuleMatch, ...]:
        """Those of the rules that matched which have people decide."""
        return tuple(match for match in self.matches if match.rule.asks is not None)


@dataclass(frozen=True, slots=True)
class JudgedContent:
    """A value to be judged. `root` is the first word of paths in it. `arguments` are put together from pieces by
    whoever wrote them. The top members that are `fixed` cannot be changed, nor can anything `whole`.
    """

    value: object
    root: str
    arguments: bool = False
    fixed: tuple[str, ...] = ()
    whole: bool = False


async def judge(book: Rulebook, detector: Detecting | None, content: JudgedContent, facts: ValueFacts) -> Ruling:
    """What the rules make of this content."""
    search: _Search | None = None
    matches: list[RuleMatch] = []
    at = 0
    while True:
        step = book.step(facts, None if search is None else search.says, at)
        if (rule := step.rule) is None:
            return Ruling(content.value, tuple(matches))
        if step.kind == "search":
            search = await _Search.of(content, detector, book.profiles)
            continue
        found = () if search is None else search.found(rule)
        if step.kind == "unsure":
            return Ruling(content.value, tuple(matches), RuleBlock(rule, _why_unsure(rule, search, facts), found))
        match rule.action:
            case "block":
                return Ruling(content.value, tuple(matches), RuleBlock(rule, "matched", found))
            case "allow":
                return Ruling(content.value, tuple(matches))
            case "log" | "approve":
                matches.append(RuleMatch(rule, found))
            case "redact":
                redacted = await _without(content, rule, found, detector, book.profiles)
                if redacted is None:
                    return Ruling(content.value, tuple(matches), RuleBlock(rule, "not redacted", found))
                content, search = redacted
                matches.append(RuleMatch(rule, found))
        at = step.next


async def masked(
    book: Rulebook, detector: Detecting | None, content: JudgedContent, rules: Iterable[HttpRule]
) -> object | None:
    """The content as people see it who decide about it: without what these rules found in it; None if that cannot be
    taken out."""
    for rule in rules:
        if not rule.profiles:
            continue
        search = await _Search.of(content, detector, book.profiles)
        if not search.says.complete:
            return None
        redacted = await _without(content, rule, search.found(rule), detector, book.profiles)
        if redacted is None:
            return None
        content = redacted[0]
    return content.value


class _Search:
    """What a search has said of a content: nothing, if it could not be made."""

    def __init__(self, verdict: Verdict | None, ids: Mapping[str, str | None]) -> None:
        self.made = verdict is not None
        self.id_of = ids.get
        found: dict[str, list[Detection]] = {}
        for one in verdict.findings if verdict is not None else ():
            found.setdefault(one.profile, []).append(one)
        # Each is made once, whatever the number of rules: a value may have thousands.
        self._found = {profile: tuple(some) for profile, some in found.items()}
        self.says = Searched(frozenset(found), verdict is not None and verdict.complete, self.id_of)

    @classmethod
    async def of(cls, content: JudgedContent, detector: Detecting | None, profiles: Iterable[str]) -> _Search:
        """`profiles` are those that rules name, by whatever name."""
        if detector is None:
            return cls(None, {})
        before = _ids(detector, profiles)
        try:
            verdict = await detector.scanned(content.value, content.root, as_arguments=content.arguments)
        except DetectionUnavailable:
            verdict = None
        # A name that has become another profile's meanwhile is of one that was not searched for.
        after = _ids(detector, profiles)
        return cls(verdict, {name: id for name, id in after.items() if before[name] == id})

    def found(self, rule: HttpRule) -> tuple[Detection, ...]:
        """What was found of the profiles that the rule asks for."""
        ids = set(map(self.id_of, rule.profiles))
        several = [some for id, some in self._found.items() if id in ids]
        return several[0] if len(several) == 1 else tuple(chain.from_iterable(several))


def _ids(detector: Detecting, profiles: Iterable[str]) -> dict[str, str | None]:
    """The id of each profile by its name, None for one that cannot be used."""
    return {name: detector.profile(name) if detector.knows(name) else None for name in profiles}


def _why_unsure(rule: HttpRule, search: _Search | None, facts: ValueFacts) -> Why:
    if rule.unreadable:
        return "unreadable"
    if facts.address is None:
        return "unknown server"
    if search is None or not search.made:
        return "unavailable"
    return "unknown profile" if None in map(search.id_of, rule.profiles) else "incomplete"


async def _without(
    content: JudgedContent,
    rule: HttpRule,
    found: Sequence[Detection],
    detector: Detecting | None,
    profiles: Iterable[str],
) -> tuple[JudgedContent, _Search] | None:
    """The content without what was found, and a search of that; None if it cannot be taken out.

    What only shows when something beside it is gone is taken out as well, at last whole strings.
    """
    if content.whole:
        return None
    current = content
    for again in range(_ROUNDS):
        edits = [_whole(one) for one in found] if again >= _ROUNDS // 2 else found
        work = partial(redact, current.value, edits)
        changed = await asyncio.to_thread(work) if len(edits) > _MANY else await off_loop(work, current.value)
        current = replace(current, value=changed)
        if _differs(content, current):
            return None
        search = await _Search.of(current, detector, profiles)
        if not search.says.complete:
            return None
        if not (found := search.found(rule)):
            return current, search
    return None


def _whole(finding: Detection) -> Detection:
    """A finding that stands for all of its leaf."""
    return replace(finding, start=0, length=_ALL)


def _differs(before: JudgedContent, after: JudgedContent) -> bool:
    """Whether a member that must stay has changed."""
    if not isinstance(before.value, dict) or not isinstance(after.value, dict):
        return False
    return any(before.value.get(name) != after.value.get(name) for name in before.fixed)
