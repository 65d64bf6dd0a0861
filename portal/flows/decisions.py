"""What labels a call has, and whether a rule refuses it after what was read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from portal.config import FlowRule, labels_of_tool
from portal.state import LabelRead

Labels = frozenset[str]
NOTHING: Labels = frozenset()


@dataclass(frozen=True, slots=True)
class ServerLabels:
    """The labels of a server, and of those of its tools that have others."""

    labels: Labels
    tools: Mapping[str, Labels] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: Iterable[str], tools: Mapping[str, tuple[str, ...]]) -> ServerLabels:
        """As they are written: those of a tool replace or change those of the server."""
        own = tuple(labels)
        return cls(frozenset(own), {name: labels_of_tool(own, written) for name, written in tools.items()})

    def __bool__(self) -> bool:
        return bool(self.labels) or any(self.tools.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """A rule as it is evaluated. With `whatever` the labels do not matter: everything that is labelled is meant. `asks`
    is what people are asked who may let a call pass that it refuses, and None where nobody may: whoever compiles the
    rule knows its type. It has to be a value that compares."""

    name: str
    when: Labels = NOTHING
    every: bool = False
    target: Labels = NOTHING
    exempt: frozenset[str] = frozenset()
    whatever: bool = False
    asks: object | None = None

    def is_about(self, labels: Labels, server: str, tool: str) -> bool:
        """Whether it may refuse a call with these labels. `tool` is "" for what is no tool."""
        if not labels if self.whatever else self.target.isdisjoint(labels):
            return False
        return server not in self.exempt and not (tool and f"{server}.{tool}" in self.exempt)

    def matches(self, read: Mapping[str, LabelRead]) -> list[LabelRead]:
        """What was read that makes it refuse; empty if it does not."""
        if self.whatever:
            return list(read.values())
        if self.every and not all(label in read for label in self.when):
            return []
        return [read[label] for label in self.when if label in read]


def compiled(rule: FlowRule, asks: object | None = None) -> CompiledRule:
    """A rule of the document or the store. Without `asks` it denies, whatever it says."""
    return CompiledRule(
        name=rule.name,
        when=frozenset(rule.when),
        every=rule.all,
        target=frozenset(rule.target),
        exempt=frozenset(rule.exempt),
        asks=asks,
    )


def refuses_everything(name: str) -> CompiledRule:
    """In the place of a rule that cannot be read: after reading anything labelled, nothing labelled is called. Which
    labels it names is not known, and without it more would be allowed than with it."""
    return CompiledRule(name=name, whatever=True)


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """The rules in their order, the labels by server id (of servers that have any), how long it counts that something
    was read, and whether for the client alone that has read it. Replaced as a whole."""

    rules: tuple[CompiledRule, ...] = ()
    servers: Mapping[str, ServerLabels] = field(default_factory=dict)
    window: timedelta = timedelta(hours=8)
    per_client: bool = False
    # Sentences about rules that ask people who are not there.
    approvers_missing: tuple[str, ...] = ()

    def labels_of(self, server: str, tool: str = "") -> Labels:
        """The labels of a tool, or those of a server for what is no tool."""
        found = self.servers.get(server)
        if found is None:
            return NOTHING
        return found.tools.get(tool, found.labels) if tool else found.labels

    def watched(self, labels: Labels) -> Labels:
        """Those of these labels after which a rule refuses something."""
        return labels if any(rule.whatever for rule in self.rules) else labels & self._when

    @cached_property
    def _when(self) -> Labels:
        return NOTHING.union(*(rule.when for rule in self.rules))

    def mistakes(self) -> list[str]:
        """Sentences about rules that name what is not there: they may be misspelled, and then they hold nothing off."""
        there = NOTHING.union(*(server.labels.union(*server.tools.values()) for server in self.servers.values()))
        return [
            *self.approvers_missing,
            *(
                f"the data-flow rule {rule.name!r} names the label {label!r}, which no server or tool has"
                for rule in self.rules
                for label in sorted((rule.when | rule.target) - there)
            ),
        ]

    @property
    def asks(self) -> bool:
        """Whether a rule lets people decide."""
        return any(rule.asks is not None for rule in self.rules)


NO_FLOWS = FlowSettings()


class RunLabels:
    """What one run of a program has read, by label. It only grows: a program has in its memory what it has read, also
    after the person's window has ended."""

    __slots__ = ("_read",)

    def __init__(self, read: Iterable[LabelRead] = ()) -> None:
        self._read: dict[str, LabelRead] = {one.label: one for one in read}

    def __iter__(self) -> Iterator[LabelRead]:
        return iter(self._read.values())

    def __contains__(self, label: object) -> bool:
        return label in self._read

    def add(self, read: LabelRead) -> None:
        self._read[read.label] = read

    @property
    def labels(self) -> Labels:
        return frozenset(self._read)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRefusal:
    """`rule` does not allow a call that has these labels, after `read`; what of that was read by the same `run` alone
    counts until the program ends. `asks` is what the rule has."""

    rule: str
    labels: Labels
    read: tuple[LabelRead, ...]
    run: bool
    every: bool
    asks: object | None = None


def refusals(
    rules: Iterable[CompiledRule],
    labels: Labels,
    server: str,
    tool: str,
    person: Mapping[str, LabelRead],
    run: RunLabels | None,
) -> list[FlowRefusal]:
    """The refusals of all rules that do not allow a call, in their order; of those that ask nobody first.

    `person` is what counts for whoever calls, by label.
    """
    read = person if run is None else {**{one.label: one for one in run}, **person}
    if not read:
        return []
    found_all: list[FlowRefusal] = []
    for rule in rules:
        if not rule.is_about(labels, server, tool) or not (found := rule.matches(read)):
            continue
        named = labels if rule.whatever else labels & rule.target
        in_run_alone = run is not None and not rule.matches(person)
        ordered = tuple(sorted(found, key=lambda one: (one.until, one.label), reverse=True))
        found_all.append(
            FlowRefusal(rule=rule.name, labels=named, read=ordered, run=in_run_alone, every=rule.every, asks=rule.asks)
        )
    return sorted(found_all, key=lambda one: one.asks is not None)
