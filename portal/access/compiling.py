"""Compiles rules, reusable groups and lists into tests, and collects warnings about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Literal, Protocol

from pydantic import BaseModel

from portal.access.documents import AccessGroup, AccessList
from portal.access.errors import PolicyError
from portal.access.selectors import (
    Test,
    address_in,
    address_or_domain,
    country_in,
    group_named,
    matching,
    rule_test,
    unknown_test,
)
from portal.access.sources import Sources
from portal.access.subject import Subject
from portal.objects import Rules, rules

MAX_DEPTH = 16
MAX_WARNINGS = 1000
MAX_RULE_WORDS = 200
"""Characters of a rule in words."""
MAX_RULES_SHOWN = 200
Part = Literal["include", "require", "exclude"]


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """The result of one rule of a policy. `rule` is the rule in words; `outcome` None is "cannot be known", and
    `problem` then says why nobody can know it, "" where only this caller is not known well enough."""

    part: Part
    selector: str
    rule: str
    outcome: bool | None
    problem: str = ""


class RuleHolder(Protocol):
    """A policy or group: an object with the three kinds of rules."""

    @property
    def include(self) -> Rules: ...
    @property
    def require(self) -> Rules: ...
    @property
    def exclude(self) -> Rules: ...


class RuleCompiler:
    """Compiles rules that share the same groups, lists and sources. `warnings` grows with each compilation."""

    def __init__(self, groups: Iterable[AccessGroup], lists: Iterable[AccessList], sources: Sources) -> None:
        self.sources = sources
        self._warnings: dict[str, None] = {}
        self._lists = {one.id: one for one in lists}
        self._groups: dict[str, Test] = {}
        known = {group.id: group for group in groups}
        for identifier in _bottom_up(known):
            group = known[identifier]
            test = self.matching(group, f"group {group.name or group.id!r}")
            self._groups[identifier] = _cached(identifier, test)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warnings)

    def warn(self, where: str, problem: str) -> None:
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings[f"{where}: {problem}."] = None

    def addresses(self, id: str) -> frozenset[str] | None:
        """The addresses of the list with this id, in lower case; None if there is no such list of addresses."""
        found = self._lists.get(id)
        if found is None or found.type != "EMAIL":
            return None
        return frozenset(item.value.strip().lower() for item in found.items)

    def stamp(self, id: str) -> str:
        """What is another after each change of the list with this id, "" where nobody counts these."""
        found = self._lists.get(id)
        return "" if found is None else found.stamp

    def matching(self, holder: RuleHolder, where: str) -> Test:
        """The test whether any of `include`, all of `require` and none of `exclude` match."""
        for part in ("include", "require", "exclude"):
            for position, rule in enumerate(getattr(holder, part)):
                problem = self._test_or_problem(rule)
                if isinstance(problem, str):
                    effect = "it excludes everyone" if part == "exclude" else "it never matches an allow"
                    self.warn(f"{where}, {part}[{position}] {rule.selector}", f"{problem}; {effect}")
        required = [self._test(rule) for rule in holder.require]
        return matching(self._alternatives(holder.include), required, self._alternatives(holder.exclude))

    def why(self, holder: RuleHolder, subject: Subject) -> str:
        """Which rule made the holder match or not, in a few words."""
        outcomes = [(rule, self._test(rule)(subject)) for rule in holder.include]
        if not any(outcome for _, outcome in outcomes):
            unknown = [rule.selector for rule, outcome in outcomes if outcome is None]
            return f"cannot be known: {', '.join(unknown)}" if unknown else "nobody of include"
        for rule in holder.require:
            if not (outcome := self._test(rule)(subject)):
                return f"require {rule.selector} {'cannot be known' if outcome is None else 'does not match'}"
        for rule in holder.exclude:
            if (outcome := self._test(rule)(subject)) is not False:
                return f"exclude {rule.selector} {'cannot be known' if outcome is None else 'matches'}"
        return f"include {next(rule.selector for rule, outcome in outcomes if outcome)} matches"

    def rule_outcomes(self, holder: RuleHolder, subject: Subject) -> Iterator[RuleOutcome]:
        """The outcome of each rule of a holder, at most `MAX_RULES_SHOWN`."""
        parts: tuple[tuple[Part, Rules], ...] = (
            ("include", holder.include),
            ("require", holder.require),
            ("exclude", holder.exclude),
        )
        for part, rule in [(part, rule) for part, held in parts for rule in held][:MAX_RULES_SHOWN]:
            found = self._test_or_problem(rule)
            problem = found if isinstance(found, str) else ""
            outcome = None if isinstance(found, str) else found(subject)
            yield RuleOutcome(part, rule.selector, _in_words(rule), outcome, problem)

    def _test(self, rule: rules.Rule) -> Test:
        test = self._test_or_problem(rule)
        return unknown_test if isinstance(test, str) else test

    def _test_or_problem(self, rule: rules.Rule) -> Test | str:
        """The test of a rule, or the reason why its answer can never be known."""
        if isinstance(rule, rules.InGroup):
            return self._groups.get(rule.group.id, f"there is no group {rule.group.id[:100]!r}")
        return rule_test(rule, self.sources, self._lists)

    def _alternatives(self, alternatives: Sequence[rules.Rule]) -> list[Test]:
        """Tests of which one has to match. The rules of each of the commonest selectors are merged into one test."""
        emails = [rule.email.email for rule in alternatives if isinstance(rule, rules.Email)]
        domains = [rule.email_domain.domain for rule in alternatives if isinstance(rule, rules.EmailDomain)]
        networks = [rule.ip.ip for rule in alternatives if isinstance(rule, rules.Ip)]
        countries = [rule.geo.country_code for rule in alternatives if isinstance(rule, rules.Geo)]
        tests: list[Test] = []
        if emails or domains:
            tests.append(address_or_domain(emails, domains))
        if networks:
            tests.append(address_in(networks))
        if countries:
            tests.append(country_in(countries) if self.sources.geo else unknown_test)
        groups = [rule.okta for rule in alternatives if isinstance(rule, rules.OktaGroup)]
        for provider in dict.fromkeys(group.identity_provider_id for group in groups):
            known = provider in self.sources.identity_providers
            names = [group.name for group in groups if group.identity_provider_id == provider]
            tests.append(group_named(provider, names) if known else unknown_test)
        single = (rules.Email, rules.EmailDomain, rules.Ip, rules.Geo, rules.OktaGroup)
        return tests + [self._test(rule) for rule in alternatives if not isinstance(rule, single)]


def _in_words(rule: rules.Rule) -> str:
    """The selector with its parameters, as in `email_domain example.com` or `okta engineers at idp`."""
    parameters = rule.parameters
    values = parameters.model_dump(mode="json") if isinstance(parameters, BaseModel) else {}
    assert isinstance(values, Mapping)
    provider = values.get("identity_provider_id")
    own = [str(value) for name, value in values.items() if name != "identity_provider_id" and value not in (None, "")]
    words = " ".join([rule.selector, *own, *(["at", str(provider)] if provider else [])])
    return words if len(words) <= MAX_RULE_WORDS else words[: MAX_RULE_WORDS - 3] + "..."


def _cached(identifier: str, test: Test) -> Test:
    """The test, with its result cached for each subject: shared groups would otherwise take exponential time."""

    def cached(subject: Subject) -> bool | None:
        known = subject.known_groups
        if identifier not in known:
            known[identifier] = test(subject)
        return known[identifier]

    return cached


def _bottom_up(groups: dict[str, AccessGroup]) -> list[str]:
    """The ids of the groups, each group after those it refers to.

    Raises:
        PolicyError: groups refer to each other, or are nested too deep.
    """
    graph = {
        identifier: {
            rule.group.id
            for rule in (*group.include, *group.require, *group.exclude)
            if isinstance(rule, rules.InGroup) and rule.group.id in groups
        }
        for identifier, group in groups.items()
    }
    try:
        ordered = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        names = " -> ".join(groups[identifier].name or identifier for identifier in error.args[1])
        raise PolicyError(f"groups contain each other: {names}", where="groups") from None
    depth: dict[str, int] = {}
    for identifier in ordered:
        depth[identifier] = 1 + max((depth[inner] for inner in graph[identifier]), default=0)
        if depth[identifier] > MAX_DEPTH:
            raise PolicyError(f"groups are nested more than {MAX_DEPTH} deep", where=f"groups.{identifier[:100]}")
    return ordered
