"""What a rule says of approvals: who approves a call that it would refuse, in the members that policies have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LEAST_SECONDS, MOST_SECONDS = 300.0, 30 * 86_400.0
MAX_APPROVERS, MAX_GROUPS, MAX_PROMPT = 1000, 20, 4096


class RuleApprovers(BaseModel):
    """So many of these people have to approve: `email_addresses`, and those of the list `email_list_uuid`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approvals_needed: Annotated[int, Field(ge=1, le=MAX_APPROVERS)] = 1
    email_addresses: Annotated[
        tuple[Annotated[str, Field(min_length=3, max_length=320, pattern=r"^\S+@\S+$")], ...],
        Field(max_length=MAX_APPROVERS),
    ] = ()
    email_list_uuid: Annotated[str, Field(min_length=1, max_length=256)] | None = None


class RuleApproval(BaseModel):
    """Who approves: `person`, whose call it is, or each `group`. It is waited for `approval_seconds`. With `remember`
    whoever approves may let further calls pass. With `purpose_justification_required` the person says what for."""

    approve_by: Literal["person", "group"] | None = None
    approval_groups: Annotated[tuple[RuleApprovers, ...], Field(max_length=MAX_GROUPS)] = ()
    approval_seconds: Annotated[float, Field(ge=LEAST_SECONDS, le=MOST_SECONDS, allow_inf_nan=False)] | None = None
    purpose_justification_required: bool = False
    purpose_justification_prompt: Annotated[str, Field(max_length=MAX_PROMPT)] = ""
    remember: bool = False

    @property
    def says_anything(self) -> bool:
        """Whether any member is not as it is where nothing is written."""
        return any(getattr(self, name) for name in RuleApproval.model_fields)

    def check(self, *, asks: bool, asking: str) -> None:
        """`asking` is how a rule says that it asks, such as `then` approve.

        Raises:
            ValueError: the members do not fit together.
        """
        if not asks and self.says_anything:
            raise ValueError(f"says who approves, which is for rules with {asking}")
        if self.approve_by is not None and (self.approve_by == "group") != bool(self.approval_groups):
            raise ValueError("approve_by group needs approval_groups, and nobody else has them")
