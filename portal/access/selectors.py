"""The test of each rule: a function of a subject that returns True, False, or None for "cannot be known".

None means that the fact is missing: no source is configured, the identity provider did not give it, or it has expired.
Policies never treat None as a match that allows, and never as the absence of a match that excludes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence

from portal.access.documents import AccessList
from portal.access.sources import Sources
from portal.access.subject import Subject
from portal.identity import evaluation_key
from portal.objects import rules

Test = Callable[[Subject], bool | None]


def everyone(subject: Subject) -> bool | None:
    return True


def unknown_test(subject: Subject) -> bool | None:
    return None


def rule_test(rule: rules.Rule, sources: Sources, lists: Mapping[str, AccessList]) -> Test | str:
    """The test of a rule other than `group`, or the reason why its answer can never be known."""
    match rule:
        case rules.Everyone() | rules.Email() | rules.EmailDomain() | rules.Ip():
            return _always_known(rule)
        case rules.EmailList():
            return _in_list(lists.get(rule.email_list.id), rule.email_list.id, "EMAIL")
        case rules.IpList():
            return _in_list(lists.get(rule.ip_list.id), rule.ip_list.id, "IP")
        case rules.Geo() | rules.DevicePosture() | rules.UserRiskScore() | rules.ExternalEvaluation():
            return _from_signals(rule, sources)
        case rules.ServiceToken() | rules.AnyValidServiceToken() | rules.CommonName() | rules.Certificate():
            return _credential(rule, sources)
        case rules.LinkedAppToken():
            return _linked_app(rule.linked_app_token.app_uid, sources)
        case rules.AuthMethod():
            known = bool(sources.identity_providers)
            return _auth_method(rule.auth_method.auth_method) if known else "no identity provider is configured"
        case rules.CloudflareAccountMember():
            return "this portal has no Cloudflare accounts"
    return _from_provider(rule, sources)


def _always_known(rule: rules.Rule) -> Test:
    match rule:
        case rules.Email():
            return email_in({rule.email.email})
        case rules.EmailDomain():
            return domain_in({rule.email_domain.domain})
        case rules.Ip():
            return address_in([rule.ip.ip])
        case _:
            return everyone


def _linked_app(app: str, sources: Sources) -> Test | str:
    if app not in sources.linked_apps:
        return f"there is no linked application {app[:100]!r}"
    return lambda subject: app in subject.identity.linked_apps


def _in_list(access_list: AccessList | None, identifier: str, kind: str) -> Test | str:
    if access_list is None:
        return f"there is no list {identifier[:100]!r}"
    if access_list.type != kind:
        return f"the list {identifier[:100]!r} is not of type {kind}"
    values = [item.value for item in access_list.items]
    if kind == "EMAIL":
        return email_in(values)
    try:
        return address_in(values)
    except ValueError:
        return f"the list {identifier[:100]!r} has an item that is not an address"


def _from_signals(
    rule: rules.Geo | rules.DevicePosture | rules.UserRiskScore | rules.ExternalEvaluation, sources: Sources
) -> Test | str:
    """The test of a selector whose facts come from other services and expire."""
    if isinstance(rule, rules.Geo):
        return country_in({rule.geo.country_code}) if sources.geo else "no country database is configured"
    if isinstance(rule, rules.DevicePosture):
        integration = rule.device_posture.integration_uid
        if integration not in sources.device_posture:
            return f"there is no posture integration {integration[:100]!r}"
        return lambda subject: subject.identity.device_posture.get(integration)
    if isinstance(rule, rules.UserRiskScore):
        levels = frozenset(rule.user_risk_score.user_risk_score)
        if not sources.user_risk:
            return "no source of risk scores is configured"
        return lambda subject: subject.identity.user_risk in levels if subject.identity.user_risk else None
    key = evaluation_key(rule.external_evaluation.evaluate_url, rule.external_evaluation.keys_url)
    if not sources.external_evaluation:
        return "external evaluation is not configured"
    return lambda subject: subject.identity.evaluations.get(key)


def _credential(
    rule: rules.ServiceToken | rules.AnyValidServiceToken | rules.CommonName | rules.Certificate, sources: Sources
) -> Test | str:
    if isinstance(rule, rules.ServiceToken):
        token = rule.service_token.token_id
        if token not in sources.service_tokens:
            return f"there is no service token {token[:100]!r}"
        return lambda subject: subject.identity.service_token_id == token
    if isinstance(rule, rules.AnyValidServiceToken):
        return lambda subject: bool(subject.identity.service_token_id)
    if not sources.certificates:
        return "no proxy is configured that passes client certificates on"
    if isinstance(rule, rules.CommonName):
        name = rule.common_name.common_name
        return lambda subject: subject.identity.certificate and subject.identity.common_name == name
    return lambda subject: subject.identity.certificate


def _auth_method(method: str) -> Test:
    def test(subject: Subject) -> bool | None:
        methods = subject.identity.auth_methods
        return method in methods if methods else None

    return test


def _from_provider(rule: rules.Rule, sources: Sources) -> Test | str:
    """The test of a selector of one identity provider. A login by another provider does not match."""
    parameters = rule.parameters
    if isinstance(rule, rules.LoginMethod):
        provider = rule.login_method.id
    elif isinstance(parameters, rules.OfProvider):
        provider = parameters.identity_provider_id
    else:
        return f"this portal does not know the selector {rule.selector!r}"
    if provider not in sources.identity_providers:
        return f"there is no identity provider {provider[:100]!r}"
    if isinstance(rule, rules.LoginMethod):
        return lambda subject: subject.identity.idp_id == provider or subject.identity.login_method == provider
    provider_test = _provider_test(parameters)
    if provider_test is None:
        return f"this portal does not know the selector {rule.selector!r}"

    def test(subject: Subject) -> bool | None:
        return provider_test(subject) if subject.identity.idp_id == provider else False

    return test


def _provider_test(parameters: object) -> Test | None:
    """The test of a claim or group that an identity provider gives, or None if the selector has neither."""
    match parameters:
        case rules.ClaimIs():
            return _claim(parameters.claim_name, parameters.claim_value)
        case rules.AttributeIs():
            return _claim(parameters.attribute_name, parameters.attribute_value)
        case rules.ContextIs():
            return _claim("acrs", parameters.ac_id)
        case rules.GroupId(id=group):
            return lambda subject: group in subject.group_ids
        case rules.GroupName(name=name):
            return lambda subject: name in subject.group_names
        case rules.GroupEmail():
            address = parameters.email.lower()
            return lambda subject: address in subject.group_emails
        case rules.Organization():
            team = parameters.name if parameters.team is None else f"{parameters.name}/{parameters.team}"
            return lambda subject: team in subject.group_names
        case _:
            return None


def _claim(name: str, value: str) -> Test:
    def test(subject: Subject) -> bool | None:
        claims = subject.identity.claims
        if name not in claims:
            return False
        value_or_values = claims[name]
        claim_values = value_or_values if isinstance(value_or_values, list | tuple) else (value_or_values,)
        return any(_as_policy_text(claim_value) == value for claim_value in claim_values)

    return test


def _as_policy_text(value: object) -> str | None:
    """A claim's value as text, in the form that policies use; None if it has none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def email_in(addresses: Iterable[str]) -> Test:
    emails = frozenset(address.lower() for address in addresses)

    def test(subject: Subject) -> bool | None:
        return subject.email in emails if subject.email or not subject.email_unknown else None

    return test


def domain_in(domains: Iterable[str]) -> Test:
    names = frozenset(domain.lower() for domain in domains)

    def test(subject: Subject) -> bool | None:
        if subject.email:
            return subject.domain in names
        return None if subject.email_unknown else False

    return test


def address_or_domain(addresses: Iterable[str], domains: Iterable[str]) -> Test:
    """`email_in` or `domain_in`, in one test."""
    emails, names = (frozenset(value.lower() for value in values) for values in (addresses, domains))

    def test(subject: Subject) -> bool | None:
        if subject.email:
            return subject.email in emails or subject.domain in names
        return None if subject.email_unknown else False

    return test


def group_named(provider: str, names: Iterable[str]) -> Test:
    """Membership in any of these groups of one provider, in one test."""
    group_names = frozenset(names)

    def test(subject: Subject) -> bool | None:
        return subject.identity.idp_id == provider and not group_names.isdisjoint(subject.group_names)

    return test


def country_in(codes: Iterable[str]) -> Test:
    countries = frozenset(code.upper() for code in codes)

    def test(subject: Subject) -> bool | None:
        country = subject.identity.country
        if country in countries:
            return True
        # XX: the address is in no country's range, so its country is unknown.
        return False if country and country != "XX" else None

    return test


def address_in(networks: Iterable[str]) -> Test:
    """Membership in one of these networks, with one lookup for each prefix length.

    Raises:
        ValueError: a network is not valid.
    """
    prefixes: dict[tuple[int, int], set[int]] = {}
    for text in networks:
        network = ipaddress.ip_network(text, strict=False)
        mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
        if mapped is not None and network.prefixlen >= 96:
            network = ipaddress.ip_network((int(mapped), network.prefixlen - 96))
        prefixes.setdefault((network.version, int(network.netmask)), set()).add(int(network.network_address))
    masks = tuple(
        (version, mask, frozenset(prefixes_of_mask)) for (version, mask), prefixes_of_mask in prefixes.items()
    )
    if len(masks) == 1:
        return _in_one(*masks[0])

    def test(subject: Subject) -> bool | None:
        if (address := subject.address) is None:
            return None
        version, number = address
        for family, mask, prefixes_of_mask in masks:
            if version == family and number & mask in prefixes_of_mask:
                return True
        return False

    return test


def _in_one(version: int, mask: int, prefixes: frozenset[int]) -> Test:
    def test(subject: Subject) -> bool | None:
        if (address := subject.address) is None:
            return None
        return address[0] == version and address[1] & mask in prefixes

    return test


def any_of(tests: Sequence[Test]) -> Test:
    """True if one test is; otherwise None if one cannot be known."""
    if len(tests) == 1:
        return tests[0]

    def test(subject: Subject) -> bool | None:
        outcome: bool | None = False
        for each in tests:
            result = each(subject)
            if result:
                return True
            if result is None:
                outcome = None
        return outcome

    return test


def matching(include: Sequence[Test], require: Sequence[Test], exclude: Sequence[Test]) -> Test:
    """The test whether any of `include`, all of `require` and none of `exclude` match."""
    included, excluded = any_of(include), any_of(exclude)
    if not require and not exclude:
        return included

    def test(subject: Subject) -> bool | None:
        outcome = included(subject)
        if outcome is False:
            return False
        for each in require:
            result = each(subject)
            if result is False:
                return False
            if result is None:
                outcome = None
        result = excluded(subject)
        if result:
            return False
        return None if result is None else outcome

    return test
