"""Compiles what a policy says of approvals, and warns of what nobody can approve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from portal.access.approval_rules import (
    CLIENT_SECONDS,
    DEFAULT_SECONDS,
    MAX_MEMBERS,
    ApprovalGroup,
    ApprovalRule,
    ApproveBy,
    digest_of,
)
from portal.access.compiling import RuleCompiler
from portal.access.documents import AccessList, Policy, ToolPolicy
from portal.access.sources import NO_SOURCES
from portal.config import RuleApproval
from portal.objects import ApprovalGroupDocument


def rule_of(policy: Policy | ToolPolicy, compiler: RuleCompiler, where: str) -> ApprovalRule | None:
    """The approval that calls need under a policy, None if none. Warns of what nobody can approve, and of what has no
    effect: a policy that denies asks for nothing."""
    if not (policy.approval_required or policy.purpose_justification_required):
        return None
    if policy.decision == "deny":
        compiler.warn(where, "it denies, and asks nobody for an approval")
        return None
    named: Sequence[ApprovalGroupDocument] = policy.approval_groups if policy.approval_required else ()
    by: ApproveBy = getattr(policy, "approve_by", None) or ("group" if named else "person")
    groups = tuple(_group(group, compiler, where) for group in named) if by == "group" else ()
    seconds = getattr(policy, "approval_seconds", None)
    return ApprovalRule(
        policy=policy.id,
        policy_name=policy.name,
        revision=digest_of([policy.model_dump(mode="json"), _members(groups, compiler)]),
        by=by,
        groups=groups,
        justified=policy.purpose_justification_required,
        prompt=policy.purpose_justification_prompt or "",
        seconds=float(seconds) if seconds else CLIENT_SECONDS if by == "client" else DEFAULT_SECONDS,
    )


class RuleApprovals:
    """Compiles what rules other than policies say of approvals, with these lists of addresses. `mistakes` are sentences
    about what nobody can approve."""

    def __init__(self, lists: Iterable[AccessList]) -> None:
        self._compiler = RuleCompiler((), lists, NO_SOURCES)

    @property
    def mistakes(self) -> tuple[str, ...]:
        return self._compiler.warnings

    def rule_of(self, called: str, stamp: str, says: RuleApproval) -> ApprovalRule:
        """What calls need under the rule that denials call so. `stamp` is another after each change of the rule."""
        groups = tuple(_group(group, self._compiler, called) for group in says.approval_groups)
        revision = [called, stamp, says.model_dump(mode="json"), _members(groups, self._compiler)]
        return ApprovalRule(
            policy=called,
            policy_name=called,
            revision=digest_of(revision),
            by="group" if groups else "person",
            groups=groups,
            justified=says.purpose_justification_required,
            prompt=says.purpose_justification_prompt,
            seconds=says.approval_seconds or DEFAULT_SECONDS,
            memorable=says.remember,
        )


class _Approvers(Protocol):
    @property
    def approvals_needed(self) -> int: ...
    @property
    def email_addresses(self) -> Sequence[str]: ...
    @property
    def email_list_uuid(self) -> str | None: ...


def _members(groups: Iterable[ApprovalGroup], compiler: RuleCompiler) -> list[object]:
    """Who is in these groups, and which changes of their lists that is of."""
    return [[sorted(group.emails), *map(compiler.stamp, group.lists)] for group in groups]


def _group(group: _Approvers, compiler: RuleCompiler, where: str) -> ApprovalGroup:
    emails = {email.strip().lower() for email in group.email_addresses}
    # A caller without an address is in no group.
    emails.discard("")
    lists = (group.email_list_uuid,) if group.email_list_uuid else ()
    for id in lists:
        members = compiler.addresses(id)
        if members is None:
            compiler.warn(where, f"there is no list of addresses {id[:100]!r} for its approvals")
        emails |= (members or frozenset()) - {""}
    if len(emails) > MAX_MEMBERS:
        compiler.warn(where, f"one of its groups has more than {MAX_MEMBERS} people, and nobody of it can approve")
        emails = set()
    # A group of nobody would be one that has approved.
    needed = max(1, group.approvals_needed)
    if len(emails) < needed:
        compiler.warn(where, f"{needed} of a group have to approve that has {len(emails)} people; nothing is approved")
    return ApprovalGroup(needed, frozenset(emails), lists)
