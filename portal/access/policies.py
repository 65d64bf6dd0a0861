"""The decision: policies compiled once, asked many times. Pure; nothing here waits, reads or looks at a clock.

Order: bypass and service authentication first, then allow and deny by precedence; the first that matches decides, and
where none does the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from portal.access.compiling import RuleCompiler
from portal.access.documents import AccessGroup, AccessList, Policy, ToolPolicy
from portal.access.selectors import Test
from portal.access.sources import NO_SOURCES, Sources
from portal.access.subject import Subject
from portal.identity import Identity

DEFAULT_DENY = "default-deny"
Ordered = TypeVar("Ordered", Policy, ToolPolicy)


@dataclass(frozen=True, slots=True)
class Decision:
    """`policy` is the id of the policy that decided, `policy_name` what people call it; `reason` is a sentence."""

    effect: Literal["allow", "deny"]
    reason: str
    policy: str | None = None
    policy_name: str = ""

    @property
    def allowed(self) -> bool:
        return self.effect == "allow"


LOGIN_ENDED = Decision("deny", "Your login no longer holds. Sign in again.", "login")
"""For somebody who signed out, or whose login was ended, since the request or the program began."""


@dataclass(frozen=True, slots=True)
class Considered:
    """What one policy made of an identity: `outcome` True, False or None (cannot be known), and why in a few words."""

    policy: str
    name: str
    decision: str
    outcome: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class _Compiled:
    policy: Policy
    test: Test
    label: str
    denies: bool = False


class Policies:
    """The policies of one place (a portal, a server), which `place` names in reasons."""

    def __init__(self, policies: Iterable[Policy], compiler: RuleCompiler, place: str) -> None:
        compiled = [
            _Compiled(policy, compiler.matching(policy, f"policy {label}"), label, policy.decision == "deny")
            for policy, label in ((policy, _called(policy)) for policy in in_order(policies))
        ]
        for one in compiled:
            _warn(one.policy, one.label, compiler)
        self._compiler = compiler
        self._open = tuple(one for one in compiled if one.policy.decision in ("bypass", "non_identity"))
        self._ordered = tuple(one for one in compiled if one.policy.decision in ("allow", "deny"))
        self._place = place

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to tell whoever configured them."""
        return self._compiler.warnings

    def decide(self, identity: Identity) -> Decision:
        return self.decide_subject(Subject(identity))

    def decide_subject(self, subject: Subject) -> Decision:
        identity = subject.identity
        credential, logged_in = identity.by_credential, identity.logged_in
        for one in self._open:
            # Service authentication is of who shows a credential, whomever the rules include besides.
            if (credential or one.policy.decision == "bypass") and one.test(subject):
                return _allowed(one, identity)
        for one in self._ordered:
            if one.denies:
                if (told := one.test(subject)) is not False:
                    return _denied(one, identity, told)
            elif logged_in and one.test(subject):
                return _allowed(one, identity)
        reason = f"No policy of {self._place} allows {identity.label}."
        return Decision("deny", reason, DEFAULT_DENY, "Default deny")

    def explain(self, identity: Identity) -> tuple[Considered, ...]:
        """What each policy makes of an identity, in the order they are asked."""
        return tuple(self._considered(one, identity) for one in (*self._open, *self._ordered))

    def _considered(self, one: _Compiled, identity: Identity) -> Considered:
        subject, policy = Subject(identity), one.policy
        outcome, why = one.test(subject), self._compiler.why(policy, subject)
        if policy.decision == "non_identity" and not identity.by_credential:
            outcome, why = False, "needs a service token, client certificate or linked application"
        if policy.decision == "allow" and not identity.logged_in:
            outcome, why = False, "needs a login"
        return Considered(policy.id, policy.name, policy.decision, outcome, why)


def compile_policies(
    policies: Iterable[Policy],
    groups: Iterable[AccessGroup] = (),
    lists: Iterable[AccessList] = (),
    sources: Sources = NO_SOURCES,
    *,
    place: str = "this portal",
) -> Policies:
    """Policies ready to decide.

    Raises:
        PolicyError: groups contain each other, or too deep.
    """
    return Policies(policies, RuleCompiler(groups, lists, sources), place)


def in_order(policies: Iterable[Ordered]) -> list[Ordered]:
    """By precedence, the lowest first; those without one after the others, as they came."""
    return sorted(policies, key=lambda policy: (policy.precedence is None, policy.precedence or 0))


def _allowed(one: _Compiled, identity: Identity) -> Decision:
    return Decision("allow", f"Policy {one.label} allows {identity.label}.", one.policy.id, one.policy.name)


def _denied(one: _Compiled, identity: Identity, told: bool | None) -> Decision:
    doubt = "" if told else " Whether it applies cannot be known, so it does."
    return Decision("deny", f"Policy {one.label} denies {identity.label}.{doubt}", one.policy.id, one.policy.name)


def _called(policy: Policy) -> str:
    return repr(policy.name or policy.id)


def _warn(policy: Policy, label: str, compiler: RuleCompiler) -> None:
    """What was written but has no effect, or not the one that was meant."""
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
