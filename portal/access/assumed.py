"""The sources that a document refers to, as if all were configured: for testing policies with a made-up identity."""

from __future__ import annotations

from collections.abc import Iterator

from portal.access.documents import AccessDocument, AccessGroup, Policy, PortalAccess, ServerAccess, ToolPolicy
from portal.access.sources import Sources
from portal.objects import rules


def assumed_sources(document: AccessDocument) -> Sources:
    """Sources that include everything the rules of this document refer to."""
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
            case _ if isinstance(parameters := rule.parameters, rules.OfProvider):
                providers[parameters.identity_provider_id] = ""
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
    holders: list[AccessGroup | Policy | ToolPolicy] = [*document.groups, *document.policies]
    places: list[PortalAccess | ServerAccess] = [document.portal, *document.servers]
    for place in places:
        holders += [policy for policy in place.policies if isinstance(policy, Policy)]
        holders += place.tool_policies
    for holder in holders:
        yield from (*holder.include, *holder.require, *holder.exclude)
