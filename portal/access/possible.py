"""Whether somebody could be let in, were all that is left open in their favour. Pure.

Two questions at the door are of this kind: is somebody refused for who they are, or for where and with what they come;
and could an address, of which nothing else is known yet, ever be let in?
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

from portal.access.access import Access, resolved
from portal.access.compiling import RuleCompiler
from portal.access.documents import AccessGroup, Attached, Policy
from portal.access.policies import in_order
from portal.access.subject import Subject
from portal.identity import Identity
from portal.objects import Rules, rules

ADDRESS = frozenset({"everyone", "email", "email_domain", "email_list", "login_method", "auth_method", "group"})
"""Selectors that an address and the way of its login settle. A group settles what is in it."""
PERSON = ADDRESS | {"oidc", "saml", "github-organization", "azureAD", "okta", "gsuite", "auth_context"}
"""Selectors that tell who somebody is."""

Ruled = TypeVar("Ruled", Policy, AccessGroup)
# Where no country database is there, nobody knows.
_OPEN = rules.Geo(geo=rules.CountryIs(country_code="XX"))


class Possible:
    """Asked instead of a snapshot. Only the selectors in `settled` are held against anybody, and no more than is known:
    whatever cannot be known is in their favour."""

    def __init__(self, access: Access, settled: Collection[str]) -> None:
        self.access = access
        self._settled = settled
        groups = [_left_open(group, settled) for group in access.document.groups]
        self._compiler = RuleCompiler(groups, access.document.lists, replace(access.sources, geo=False))
        self._reusable = {policy.id: policy for policy in access.document.policies}

    def allows(
        self,
        identity: Identity,
        attached: Attached | None = None,
        decisions: Collection[str] = ("allow", "bypass"),
    ) -> bool:
        """Whether a policy of one of these decisions could let this identity in: at the portal, or where `attached` is.

        Raises:
            PolicyError: `attached` links a policy that is not there.
        """
        subject = Subject(identity)
        policies = self.access.document.portal.policies if attached is None else attached
        told = [
            (policy.decision, self._compiler.matching(_left_open(policy, self._settled), policy.id)(subject))
            for policy in in_order(resolved(policies, self._reusable, "policies"))
        ]
        if "bypass" in decisions and any(decision == "bypass" and found is not False for decision, found in told):
            return True
        for decision, found in told:
            if decision == "deny" and found:
                return False
            if decision == "allow" and decision in decisions and found is not False:
                return True
        return False


def refused_for_identity(access: Access, identity: Identity) -> bool:
    """Of somebody refused: whether nothing but being somebody else would have helped.

    A caller without a login is refused for what it came with.
    """
    return identity.logged_in and not Possible(access, PERSON).allows(identity, decisions=("allow",))


def _left_open(ruled: Ruled, settled: Collection[str]) -> Ruled:
    """With rules that nobody can know in the place of those that are not settled."""

    def opened(given: Rules) -> Rules:
        return tuple(rule if rule.selector in settled else _OPEN for rule in given)

    changes = {part: opened(getattr(ruled, part)) for part in ("include", "require", "exclude")}
    return ruled.model_copy(update=changes)
