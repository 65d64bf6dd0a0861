"""Rules, reusable groups and lists compiled into tests, and what is to be said of them at configuration time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Protocol

from portal.access.documents import AccessGroup, AccessList
from portal.access.errors import PolicyError
from portal.access.selectors import (
    Test,
    address_in,
    address_or_domain,
    country_in,
    group_named,
    matching,
    nobody_knows,
    rule_test,
)
from portal.access.sources import Sources
from portal.access.subject import Subject
from portal.objects import Rules, rules

MAX_DEPTH = 16
MAX_WARNINGS = 1000


class Ruled(Protocol):
    """Anything with the three kinds of rules."""

    @property
    def include(self) -> Rules: ...
    @property
    def require(self) -> Rules: ...
    @property
    def exclude(self) -> Rules: ...


class RuleCompiler:
    """Compiles everything that refers to the same groups, lists and sources. `warnings` grows as it does."""

    def __init__(self, groups: Iterable[AccessGroup], lists: Iterable[AccessList], sources: Sources) -> None:
        self.sources = sources
        self._warnings: dict[str, None] = {}
        self._lists = {one.id: one for one in lists}
        self._groups: dict[str, Test] = {}
        known = {group.id: group for group in groups}
        for identifier in _bottom_up(known):
            group = known[identifier]
            test = self.matching(group, f"group {group.name or group.id!r}")
            self._groups[identifier] = _remembered(identifier, test)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warnings)

    def warn(self, where: str, problem: str) -> None:
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings[f"{where}: {problem}."] = None

    def matching(self, ruled: Ruled, where: str) -> Test:
        """Whether any of `include`, all of `require` and none of `exclude` match."""
        for part in ("include", "require", "exclude"):
            for position, rule in enumerate(getattr(ruled, part)):
                problem = self._known(rule)
                if isinstance(problem, str):
                    effect = "it excludes everyone" if part == "exclude" else "it never matches an allow"
                    self.warn(f"{where}, {part}[{position}] {rule.selector}", f"{problem}; {effect}")
        required = [self._test(rule) for rule in ruled.require]
        return matching(self._alternatives(ruled.include), required, self._alternatives(ruled.exclude))

    def why(self, ruled: Ruled, subject: Subject) -> str:
        """In a few words, which rule made the rules match or not."""
        told = [(rule, self._test(rule)(subject)) for rule in ruled.include]
        if not any(found for _, found in told):
            unknown = [rule.selector for rule, found in told if found is None]
            return f"cannot be known: {', '.join(unknown)}" if unknown else "nobody of include"
        for rule in ruled.require:
            if not (found := self._test(rule)(subject)):
                return f"require {rule.selector} {'cannot be known' if found is None else 'does not match'}"
        for rule in ruled.exclude:
            if (found := self._test(rule)(subject)) is not False:
                return f"exclude {rule.selector} {'cannot be known' if found is None else 'matches'}"
        return f"include {next(rule.selector for rule, found in told if found)} matches"

    def _test(self, rule: rules.Rule) -> Test:
        known = self._known(rule)
        return nobody_knows if isinstance(known, str) else known

    def _known(self, rule: rules.Rule) -> Test | str:
        """The test of a rule, or why it can never be known."""
        if isinstance(rule, rules.InGroup):
            return self._groups.get(rule.group.id, f"there is no group {rule.group.id[:100]!r}")
        return rule_test(rule, self.sources, self._lists)

    def _alternatives(self, given: Sequence[rules.Rule]) -> list[Test]:
        """Tests of which one is enough: those of the commonest selectors put together into one each."""
        emails = [rule.email.email for rule in given if isinstance(rule, rules.Email)]
        domains = [rule.email_domain.domain for rule in given if isinstance(rule, rules.EmailDomain)]
        networks = [rule.ip.ip for rule in given if isinstance(rule, rules.Ip)]
        countries = [rule.geo.country_code for rule in given if isinstance(rule, rules.Geo)]
        together: list[Test] = []
        if emails or domains:
            together.append(address_or_domain(emails, domains))
        if networks:
            together.append(address_in(networks))
        if countries:
            together.append(country_in(countries) if self.sources.geo else nobody_knows)
        named = [rule.okta for rule in given if isinstance(rule, rules.OktaGroup)]
        for provider in dict.fromkeys(group.identity_provider_id for group in named):
            known = provider in self.sources.identity_providers
            names = [group.name for group in named if group.identity_provider_id == provider]
            together.append(group_named(provider, names) if known else nobody_knows)
        single = (rules.Email, rules.EmailDomain, rules.Ip, rules.Geo, rules.OktaGroup)
        return together + [self._test(rule) for rule in given if not isinstance(rule, single)]


def _remembered(identifier: str, test: Test) -> Test:
    """A group's test, made once for each subject: groups that share groups would take exponential time otherwise."""

    def remembered(subject: Subject) -> bool | None:
        known = subject.known_groups
        if identifier not in known:
            known[identifier] = test(subject)
        return known[identifier]

    return remembered


def _bottom_up(groups: dict[str, AccessGroup]) -> list[str]:
    """The ids so that a group comes after those it refers to.

    Raises:
        PolicyError: some refer to each other, or too deep.
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
        names = " -> ".join(groups[one].name or one for one in error.args[1])
        raise PolicyError(f"groups contain each other: {names}", where="groups") from None
    depth: dict[str, int] = {}
    for identifier in ordered:
        depth[identifier] = 1 + max((depth[inner] for inner in graph[identifier]), default=0)
        if depth[identifier] > MAX_DEPTH:
            raise PolicyError(f"groups are nested more than {MAX_DEPTH} deep", where=f"groups.{identifier[:100]}")
    return ordered
