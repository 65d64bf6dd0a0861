"""All the sources a document refers to, as if they were configured: for trying policies with a made-up identity."""

from __future__ import annotations

from typing import Any

from portal.access import rules
from portal.access.documents import AccessDocument, Policy, PortalAccess, ServerAccess
from portal.access.sources import Sources


def assumed_sources(document: AccessDocument) -> Sources:
    providers: dict[str, str] = {}
    tokens: set[str] = set()
    apps: set[str] = set()
    integrations: set[str] = set()
    for rule in _rules(document):
        given = rule.parameters
        match rule:
            case rules.LoginMethod():
                providers[given.id] = ""
            case rules.ServiceToken():
                tokens.add(given.token_id)
            case rules.LinkedAppToken():
                apps.add(given.app_uid)
            case rules.DevicePosture():
                integrations.add(given.integration_uid)
            case rules.AuthMethod():
                providers.setdefault("any", "")
            case _ if isinstance(given, rules.OfProvider):
                providers[given.identity_provider_id] = ""
    return Sources(
        identity_providers=providers,
        service_tokens=frozenset(tokens),
        linked_apps=frozenset(apps),
        certificates=True,
        geo=True,
        device_posture=frozenset(integrations),
        user_risk=True,
        external_evaluation=True,
    )


def _rules(document: AccessDocument) -> list[Any]:
    ruled: list[Any] = [*document.groups, *document.policies]
    places: list[PortalAccess | ServerAccess] = [document.portal, *document.servers]
    for place in places:
        ruled += [policy for policy in place.policies if isinstance(policy, Policy)]
        ruled += place.tool_policies
    return [rule for one in ruled for rule in (*one.include, *one.require, *one.exclude)]
