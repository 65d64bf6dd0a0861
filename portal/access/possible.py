"""Whether a caller could be allowed if every open rule were decided in their favour. Pure.

Two questions need this. Is a caller denied because of their identity, or because of their network and device? And could
an e-mail address, before anything else is known, ever be allowed?
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

from portal.access.access import Access, resolve
from portal.access.compiling import RuleCompiler
from portal.access.documents import AccessGroup, Attached, Policy
from portal.access.policies import in_order
from portal.access.subject import Subject
from portal.identity import Identity
from portal.objects import Rules, rules

ADDRESS = frozenset({"everyone", "email", "email_domain", "email_list", "login_method", "auth_method", "group"})
"""Selectors that an address and its way to log in decide. The rules inside a group are treated one by one."""
PERSON = ADDRESS | {"oidc", "saml", "github-organization", "azureAD", "okta", "gsuite", "auth_context"}
"""Selectors that depend on the identity of a person."""

PolicyOrGroup = TypeVar("PolicyOrGroup", Policy, AccessGroup)
# Without a country database the outcome of this rule is always unknown.
_OPEN = rules.Geo(geo=rules.CountryIs(country_code="XX"))


class BestCase:
    """The decisions of a snapshot in the best case for the caller.

    Only the selectors in `settled` can deny, and only by what is known. Everything else counts in the caller's favour.
    """

    def __init__(self, access: Access, settled: Collection[str]) -> None:
        self.access = access
        self._settled = settled
        groups = [_with_open_rules(group, settled) for group in access.document.groups]
        self._compiler = RuleCompiler(groups, access.document.lists, replace(access.sources, geo=False))
        self._reusable = {policy.id: policy for policy in access.document.policies}

    def allows(
        self,
        identity: Identity,
        attached: Attached | None = None,
        decisions: Collection[str] = ("allow", "bypass"),
    ) -> bool:
        """Whether a policy with one of these decisions could allow this identity, at the portal or among `attached`.

        Raises:
            PolicyError: `attached` links a policy that does not exist.
        """
        subject = Subject(identity)
        policies = self.access.document.portal.policies if attached is None else attached
        outcomes = [
            (policy.decision, self._compiler.matching(_with_open_rules(policy, self._settled), policy.id)(subject))
            for policy in in_order(resolve(policies, self._reusable, "policies"))
        ]
        if "bypass" in decisions and any(
            decision == "bypass" and outcome is not False for decision, outcome in outcomes
        ):
            return True
        for decision, outcome in outcomes:
            if decision == "deny" and outcome:
                return False
            if decision == "allow" and decision in decisions and outcome is not False:
                return True
        return False


def refused_for_identity(access: Access, identity: Identity) -> bool:
    """Whether a denied caller is denied because of who they are, so that only another login could help.

    False for a caller without a login: it is denied because of its credential.
    """
    return identity.logged_in and not BestCase(access, PERSON).allows(identity, decisions=("allow",))


def _with_open_rules(holder: PolicyOrGroup, settled: Collection[str]) -> PolicyOrGroup:
    """The policy or group with every rule that is not in `settled` replaced by one whose outcome is unknown."""

    def with_open(originals: Rules) -> Rules:
        return tuple(rule if rule.selector in settled else _OPEN for rule in originals)

    changes = {part: with_open(getattr(holder, part)) for part in ("include", "require", "exclude")}
    return holder.model_copy(update=changes)
