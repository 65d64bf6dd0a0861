"""The policies once more, as slow and plain as can be: straight from the documents, nothing compiled, nothing shared.

Three-valued logic is written out as sets of possible worlds: what cannot be known is tried as true and as false.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from portal.identity import Identity

Rule = Mapping[str, Any]
Known = Mapping[str, Any]  # {"providers", "geo", "risk", "posture", "tokens", "certificates", "groups", "lists"}


def decision(policies: list[dict[str, Any]], identity: Identity, known: Known) -> tuple[str, str | None]:
    """(effect, policy id), by the order the product documents."""
    order = sorted(policies, key=lambda p: (p.get("precedence") is None, p.get("precedence") or 0))
    credential = identity.service_token_id or identity.certificate or identity.linked_apps
    for policy in order:
        if policy["decision"] == "bypass" and surely(policy, identity, known):
            return "allow", policy["id"]
        if policy["decision"] == "non_identity" and credential and surely(policy, identity, known):
            return "allow", policy["id"]
    for policy in order:
        if policy["decision"] == "allow" and identity.id and surely(policy, identity, known):
            return "allow", policy["id"]
        if policy["decision"] == "deny" and possibly(policy, identity, known):
            return "deny", policy["id"]
    return "deny", "default-deny"


def surely(policy: Mapping[str, Any], identity: Identity, known: Known) -> bool:
    return kleene(policy, identity, known) is True


def possibly(policy: Mapping[str, Any], identity: Identity, known: Known) -> bool:
    return kleene(policy, identity, known) is not False


def kleene(ruled: Mapping[str, Any], identity: Identity, known: Known) -> bool | None:
    def part(name: str) -> list[bool | None]:
        return [told(rule, identity, known) for rule in ruled.get(name, [])]

    include, require, exclude = part("include"), part("require"), part("exclude")
    worlds = {
        any(i) and all(r) and not any(e)
        for i, r, e in itertools.product(guesses(include), guesses(require), guesses(exclude))
    }
    return worlds.pop() if len(worlds) == 1 else None


def guesses(values: list[bool | None]) -> Iterator[tuple[bool, ...]]:
    return itertools.product(*([value] if value is not None else [True, False] for value in values))


def told(rule: Rule, identity: Identity, known: Known) -> bool | None:
    ((selector, given),) = rule.items()
    if selector == "group":
        group = known["groups"].get(given["id"])
        return None if group is None else kleene(group, identity, known)
    return SELECTORS[selector](given, identity, known)


def _email(wanted: list[str], identity: Identity) -> bool | None:
    if not identity.email:
        return None if identity.id else False
    return identity.email.lower() in [one.lower() for one in wanted]


def _domain(given: Rule, identity: Identity, known: Known) -> bool | None:
    if not identity.email:
        return None if identity.id else False
    return identity.email.lower().endswith("@" + given["domain"].lower())


def _address(networks: list[str], identity: Identity) -> bool | None:
    if not identity.ip:
        return None
    return any(ipaddress.ip_address(identity.ip) in ipaddress.ip_network(one, strict=False) for one in networks)


def _list(kind: str, given: Rule, identity: Identity, known: Known) -> bool | None:
    found = known["lists"].get(given["id"])
    if found is None or found["type"] != kind:
        return None
    values = [item["value"] for item in found["items"]]
    return _email(values, identity) if kind == "EMAIL" else _address(values, identity)


def _geo(given: Rule, identity: Identity, known: Known) -> bool | None:
    if not known["geo"] or not identity.country:
        return None
    if identity.country == given["country_code"].upper():
        return True
    return None if identity.country == "XX" else False


def _provider(member: Callable[[Rule, Identity], bool]) -> Callable[[Rule, Identity, Known], bool | None]:
    def asked(given: Rule, identity: Identity, known: Known) -> bool | None:
        if given["identity_provider_id"] not in known["providers"]:
            return None
        return identity.idp_id == given["identity_provider_id"] and member(given, identity)

    return asked


def _claim(given: Rule, identity: Identity) -> bool:
    found = identity.claims.get(given["claim_name"], [])
    return bool(given["claim_value"] in (found if isinstance(found, list) else [found]))


SELECTORS: Mapping[str, Callable[[Rule, Identity, Known], bool | None]] = {
    "everyone": lambda given, identity, known: True,
    "email": lambda given, identity, known: _email([given["email"]], identity),
    "email_domain": _domain,
    "email_list": lambda given, identity, known: _list("EMAIL", given, identity, known),
    "ip": lambda given, identity, known: _address([given["ip"]], identity),
    "ip_list": lambda given, identity, known: _list("IP", given, identity, known),
    "geo": _geo,
    "okta": _provider(lambda given, identity: given["name"] in [group.name for group in identity.groups]),
    "azureAD": _provider(lambda given, identity: given["id"] in [group.id for group in identity.groups]),
    "oidc": _provider(_claim),
    "login_method": lambda given, identity, known: (
        given["id"] in (identity.idp_id, identity.login_method) if given["id"] in known["providers"] else None
    ),
    "auth_method": lambda given, identity, known: (
        given["auth_method"] in identity.auth_methods if known["providers"] and identity.auth_methods else None
    ),
    "service_token": lambda given, identity, known: (
        identity.service_token_id == given["token_id"] if given["token_id"] in known["tokens"] else None
    ),
    "any_valid_service_token": lambda given, identity, known: bool(identity.service_token_id),
    "certificate": lambda given, identity, known: identity.certificate if known["certificates"] else None,
    "user_risk_score": lambda given, identity, known: (
        identity.user_risk in given["user_risk_score"] if known["risk"] and identity.user_risk else None
    ),
    "device_posture": lambda given, identity, known: (
        identity.device_posture.get(given["integration_uid"]) if given["integration_uid"] in known["posture"] else None
    ),
}
