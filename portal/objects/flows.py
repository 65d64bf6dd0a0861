"""Stored data-flow rules."""

from __future__ import annotations

from pydantic import model_validator

from portal.config import Exempt, FlowEffect, FlowRule, RuleApproval, RuleName, SomeLabels
from portal.objects.base import Document
from portal.state import Kind


class FlowRuleDocument(Document, RuleApproval):
    """A rule as `portal.config.FlowRule` has it."""

    name: RuleName
    when: SomeLabels
    all: bool = False
    then: FlowEffect = "deny"
    target: SomeLabels
    exempt: Exempt = ()

    @model_validator(mode="after")
    def _only_one_that_asks_says_who(self) -> FlowRuleDocument:
        self.check(asks=self.then == "approve", asking="`then` approve")
        return self

    def rule(self) -> FlowRule:
        return FlowRule(
            name=self.name,
            when=self.when,
            all=self.all,
            then=self.then,
            target=self.target,
            exempt=self.exempt,
            **{name: getattr(self, name) for name in RuleApproval.model_fields},
        )


FLOW_RULE = Kind("data_flow_rule", FlowRuleDocument)
