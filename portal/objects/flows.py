"""Stored data-flow rules."""

from __future__ import annotations

from typing import Literal

from portal.config import Exempt, FlowRule, RuleName, SomeLabels
from portal.objects.base import Document
from portal.state import Kind


class FlowRuleDocument(Document):
    """A rule as `portal.config.FlowRule` has it."""

    name: RuleName
    when: SomeLabels
    all: bool = False
    then: Literal["deny"] = "deny"
    target: SomeLabels
    exempt: Exempt = ()

    def rule(self) -> FlowRule:
        return FlowRule(
            name=self.name,
            when=self.when,
            all=self.all,
            then=self.then,
            target=self.target,
            exempt=self.exempt,
        )


FLOW_RULE = Kind("data_flow_rule", FlowRuleDocument)
