"""Gateway rules: HTTP policies in Cloudflare's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from portal.config import RuleApproval
from portal.objects.base import Document
from portal.state import Kind

MAX_EXPRESSION = 8192
"""Characters of an expression."""
MAX_PRECEDENCE = 2**31
RuleAction = Literal["allow", "approve", "block", "log", "redact"]
Expression = Annotated[str, Field(max_length=MAX_EXPRESSION)]


def _without_what_asks_for_nothing(value: object) -> object:
    """Rule settings without the members that are null, false or empty: Terraform writes every one of them."""
    return {name: one for name, one in value.items() if one} if isinstance(value, Mapping) else value


def _only_for_dns(value: object) -> object:
    if value is not None:
        raise ValueError("is for rules about names (dns), and must be null")
    return value


class RuleSettings(Document, RuleApproval):
    """`block_reason` is shown to a caller whose call the rule blocks. The members of approvals say who approves, where
    the action is `approve`. Every other setting of Cloudflare is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    block_reason: Annotated[str, Field(max_length=1024)] = ""


class RuleDocument(Document):
    """A rule. It matches where all of its expressions are true; an empty one is true.

    Lower values of `precedence` come first.
    """

    name: Annotated[str, Field(min_length=1, max_length=255)]
    description: Annotated[str, Field(max_length=4096)] = ""
    action: RuleAction
    enabled: bool = True
    filters: tuple[Literal["http"], ...] = ("http",)
    precedence: Annotated[int, Field(ge=0, le=MAX_PRECEDENCE)] | None = None
    traffic: Expression = ""
    identity: Expression = ""
    device_posture: Expression = ""
    rule_settings: Annotated[RuleSettings, BeforeValidator(_without_what_asks_for_nothing)] = RuleSettings()
    schedule: Annotated[None, BeforeValidator(_only_for_dns)] = None
    expiration: Annotated[None, BeforeValidator(_only_for_dns)] = None

    @model_validator(mode="after")
    def _only_a_block_has_a_reason(self) -> RuleDocument:
        if self.rule_settings.block_reason and self.action != "block":
            raise ValueError("has a block_reason, which is for rules with the action block")
        self.rule_settings.check(asks=self.action == "approve", asking="the action approve")
        return self


GATEWAY_RULE = Kind("gateway_rule", RuleDocument)
