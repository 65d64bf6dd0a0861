"""The decision by policies, which are compiled once and evaluated many times. Pure: no I/O, no waiting, no clock.

The order is bypass and service authentication first, then allow and deny by precedence. The first policy that matches
decides; if none does, access is denied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from portal.access.approval_rules import ApprovalRule, who_approves
from portal.access.approving import rule_of
from portal.access.compiling import RuleCompiler, RuleOutcome
from portal.access.documents import AccessGroup, AccessList, Policy, ToolPolicy
from portal.access.selectors import Test
from portal.access.sources import NO_SOURCES, Sources
from portal.access.subject import Subject
from portal.identity import Identity

DEFAULT_DENY = "default-deny"
Ordered = TypeVar("Ordered", Policy, ToolPolicy)


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision. `policy` and `policy_name` are the id and name of the policy that decided; `reason` is a sentence.
    `approval` is what each call under that policy needs."""

    effect: Literal["allow", "deny"]
    reason: str
    policy: str | None = None
    policy_name: str = ""
    approval: ApprovalRule | None = None

    @property
    def allowed(self) -> bool:
        return self.effect == "allow"


LOGIN_ENDED = Decision("deny", "Your login no longer holds. Sign in again.", "login")
"""The decision about a caller whose login ended after the request or program began."""


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """The result of one policy for an identity. `outcome` None is "cannot be known"; `why` gives the reason, `rules`
    the result of each of its rules."""

    policy: str
    name: str
    decision: str
    outcome: bool | None
    why: str
    rules: tuple[RuleOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class _Compiled:
    policy: Policy
    test: Test
    label: str
    denies: bool = False
    approval: ApprovalRule | None = None


class Policies:
    """The policies of one place (a portal, a server), which `place` names in reasons. `asks`: one of them asks for
    approvals."""

    def __init__(self, policies: Iterable[Policy], compiler: RuleCompiler, place: str) -> None:
        compiled = [
            _Compiled(
                policy,
                compiler.matching(policy, f"policy {label}"),
                label,
                policy.decision == "deny",
                rule_of(policy, compiler, f"policy {label}"),
            )
            for policy, label in ((policy, _label(policy)) for policy in in_order(policies))
        ]
        for entry in compiled:
            _warn(entry.policy, entry.label, compiler)
        self._compiler = compiler
        self._open = tuple(entry for entry in compiled if entry.policy.decision in ("bypass", "non_identity"))
        self._ordered = tuple(entry for entry in compiled if entry.policy.decision in ("allow", "deny"))
        self._place = place
        self.asks = any(entry.approval is not None for entry in compiled)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the operator who wrote the policies."""
        return self._compiler.warnings

    def decide(self, identity: Identity) -> Decision:
        return self.decide_subject(Subject(identity))

    def decide_subject(self, subject: Subject) -> Decision:
        identity = subject.identity
        credential, logged_in = identity.by_credential, identity.logged_in
        for entry in self._open:
            # Service authentication needs a credential, whatever the rules of the policy include.
            if (credential or entry.policy.decision == "bypass") and entry.test(subject):
                return _allowed(entry, identity)
        for entry in self._ordered:
            if entry.denies:
                if (outcome := entry.test(subject)) is not False:
                    return _denied(entry, identity, outcome)
            elif logged_in and entry.test(subject):
                return _allowed(entry, identity)
        reason = f"No policy of {self._place} allows {identity.label}."
        return Decision("deny", reason, DEFAULT_DENY, "Default deny")

    def explain(self, identity: Identity) -> tuple[PolicyOutcome, ...]:
        """The outcome of each policy for an identity, in the order of evaluation."""
        return tuple(self._outcome(entry, identity) for entry in (*self._open, *self._ordered))

    def _outcome(self, entry: _Compiled, identity: Identity) -> PolicyOutcome:
        subject, policy = Subject(identity), entry.policy
        outcome, why = entry.test(subject), self._compiler.why(policy, subject)
        if policy.decision == "non_identity" and not identity.by_credential:
            outcome, why = False, "needs a service token, client certificate or linked application"
        if policy.decision == "allow" and not identity.logged_in:
            outcome, why = False, "needs a login"
        rules = tuple(self._compiler.rule_outcomes(policy, subject))
        return PolicyOutcome(policy.id, policy.name, policy.decision, outcome, why, rules)


def compile_policies(
    policies: Iterable[Policy],
    groups: Iterable[AccessGroup] = (),
    lists: Iterable[AccessList] = (),
    sources: Sources = NO_SOURCES,
    *,
    place: str = "this portal",
) -> Policies:
    """These policies, compiled.

    Raises:
        PolicyError: groups contain each other, or are nested too deep.
    """
    return Policies(policies, RuleCompiler(groups, lists, sources), place)


def in_order(policies: Iterable[Ordered]) -> list[Ordered]:
    """The policies by precedence, lowest first. Those without one come last, in their order."""
    return sorted(policies, key=lambda policy: (policy.precedence is None, policy.precedence or 0))


def _allowed(entry: _Compiled, identity: Identity) -> Decision:
    reason = f"Policy {entry.label} allows {identity.label}."
    if entry.approval is not None:
        reason += f" Each call under it needs {who_approves(entry.approval)}."
    return Decision("allow", reason, entry.policy.id, entry.policy.name, entry.approval)


def _denied(entry: _Compiled, identity: Identity, outcome: bool | None) -> Decision:
    doubt = "" if outcome else " Whether it applies cannot be known, so it does."
    return Decision("deny", f"Policy {entry.label} denies {identity.label}.{doubt}", entry.policy.id, entry.policy.name)


def _label(policy: Policy) -> str:
    return repr(policy.name or policy.id)


def _warn(policy: Policy, label: str, compiler: RuleCompiler) -> None:
    """Warn of members and rules that have no effect, or not the one their author expects."""
    if policy.unenforced:
        compiler.warn(f"policy {label}", f"{', '.join(policy.unenforced)} is not enforced by this portal")
    kinds = {rule.selector for rule in policy.include}
    if policy.decision == "allow" and kinds <= CREDENTIALS:
        compiler.warn(f"policy {label}", "`allow` is for people who log in; use the decision non_identity")
    if policy.decision == "non_identity" and kinds & LOGIN_ONLY:
        compiler.warn(f"policy {label}", f"{', '.join(sorted(kinds & LOGIN_ONLY))} is known only of people who log in")


CREDENTIALS = frozenset({"service_token", "any_valid_service_token", "linked_app_token"})
LOGIN_ONLY = frozenset(
    {"email", "email_domain", "email_list", "login_method", "auth_method", "oidc", "azureAD", "okta"}
)
