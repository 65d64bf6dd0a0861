"""All the sources a document refers to, as if they were configured: for trying policies with a made-up identity."""

from __future__ import annotations

from collections.abc import Iterator

from portal.access.documents import AccessDocument, AccessGroup, Policy, PortalAccess, ServerAccess, ToolPolicy
from portal.access.sources import Sources
from portal.objects import rules


def assumed_sources(document: AccessDocument) -> Sources:
    providers: dict[str, str] = {}
    tokens: set[str] = set()
    apps: set[str] = set()
    integrations: set[str] = set()
    for rule in _rules(document):
        match rule:
            case rules.LoginMethod():
                providers[rule.login_method.id] = ""
            case rules.ServiceToken():
                tokens.add(rule.service_token.token_id)
            case rules.LinkedAppToken():
                apps.add(rule.linked_app_token.app_uid)
            case rules.DevicePosture():
                integrations.add(rule.device_posture.integration_uid)
            case rules.AuthMethod():
                providers.setdefault("any", "")
            case _ if isinstance(given := rule.parameters, rules.OfProvider):
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


def _rules(document: AccessDocument) -> Iterator[rules.Rule]:
    ruled: list[AccessGroup | Policy | ToolPolicy] = [*document.groups, *document.policies]
    places: list[PortalAccess | ServerAccess] = [document.portal, *document.servers]
    for place in places:
        ruled += [policy for policy in place.policies if isinstance(policy, Policy)]
        ruled += place.tool_policies
    for one in ruled:
        yield from (*one.include, *one.require, *one.exclude)
