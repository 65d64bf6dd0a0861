"""The `portal.dataFlow` section, and the labels of servers and tools that its rules are about."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from portal.config.rule_approval import RuleApproval
from portal.config.section import Section

MAX_LABELS = 16
"""Of one server or tool, and those that a rule names."""
_LABEL = re.compile(r"[a-z0-9]+([-_.][a-z0-9]+)*")
_MAX_LABEL = 40


def _label(value: str) -> str:
    if len(value) > _MAX_LABEL or not _LABEL.fullmatch(value):
        raise ValueError(f"must be a label: at most {_MAX_LABEL} small letters and digits, with - _ . between them")
    return value


def _change(value: str) -> str:
    return value[:1] + _label(value[1:]) if value[:1] in ("+", "-") else _label(value)


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("names a label twice")
    return values


def _alike(values: tuple[str, ...]) -> tuple[str, ...]:
    changes = [value for value in values if value[0] in "+-"]
    if changes and len(changes) < len(values):
        raise ValueError("must be labels, or changes of the server's labels (+label, -label), and not both")
    if len({value.lstrip("+-") for value in values}) < len(values):
        raise ValueError("names a label twice")
    return values


Label = Annotated[str, Field(max_length=_MAX_LABEL), AfterValidator(_label)]
Labels = Annotated[tuple[Label, ...], Field(max_length=MAX_LABELS), AfterValidator(_distinct)]
ToolLabels = Annotated[
    tuple[Annotated[str, Field(max_length=_MAX_LABEL + 1), AfterValidator(_change)], ...],
    Field(max_length=MAX_LABELS),
    AfterValidator(_alike),
]
"""The labels of one tool: these instead of its server's, or changes of those: `+external`, `-confidential`."""
LabelsOfTools = Annotated[
    Mapping[Annotated[str, Field(min_length=1, max_length=256)], ToolLabels], Field(max_length=10_000)
]
RuleName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]
Exempt = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=321)], ...], Field(max_length=1000)]
SomeLabels = Annotated[tuple[Label, ...], Field(min_length=1, max_length=MAX_LABELS), AfterValidator(_distinct)]


def labels_of_tool(of_server: Sequence[str], of_tool: Sequence[str] | None) -> frozenset[str]:
    """The labels of a tool: those of its server, unless the tool has its own or changes them."""
    if of_tool is None:
        return frozenset(of_server)
    if not of_tool or of_tool[0][0] not in "+-":
        return frozenset(of_tool)
    added = {change[1:] for change in of_tool if change[0] == "+"}
    removed = {change[1:] for change in of_tool if change[0] == "-"}
    return frozenset((set(of_server) | added) - removed)


FlowEffect = Literal["deny", "approve"]


class FlowRule(Section, RuleApproval):
    """After reading something labelled `when` (any of these; with `all`, all of them), nothing labelled `target` (any
    of these) is called. `exempt` names servers, and tools as `server.tool`, which may be called all the same. With
    `then` approve people may let such a call pass; the members of approvals say who."""

    name: RuleName
    when: SomeLabels
    all: bool = False
    then: FlowEffect = "deny"
    target: SomeLabels
    exempt: Exempt = ()

    @model_validator(mode="after")
    def _only_one_that_asks_says_who(self) -> FlowRule:
        self.check(asks=self.then == "approve", asking="`then` approve")
        return self


def _named_once(rules: tuple[FlowRule, ...]) -> tuple[FlowRule, ...]:
    if len({rule.name for rule in rules}) < len(rules):
        raise ValueError("has two rules of one name")
    return rules


class DataFlowSection(Section):
    """`rules` by name. What somebody has read counts for `window` seconds from the last time, in all of their clients
    (`per` is "person"), or in the client that has read it ("client")."""

    rules: Annotated[tuple[FlowRule, ...], Field(max_length=200), AfterValidator(_named_once)] = ()
    window: float = Field(default=28_800.0, ge=60, le=30 * 86_400, allow_inf_nan=False)
    per: Literal["person", "client"] = "person"
