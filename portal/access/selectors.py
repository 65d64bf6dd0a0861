"""From a rule to the function that tests it. Its answer has three values: True, False, and None for "cannot be known".

None is for what nobody could be asked (no source is configured, an identity provider said nothing of it, an answer is
no longer fresh). The policies never take it for a match that allows, and never for the absence of one that excludes.
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


def everybody(subject: Subject) -> bool | None:
    return True


def nobody_knows(subject: Subject) -> bool | None:
    return None


def rule_test(rule: rules.Rule, sources: Sources, lists: Mapping[str, AccessList]) -> Test | str:
    """The test of a rule other than `group`, or why it can never be known."""
    match rule:
        case rules.Everyone() | rules.Email() | rules.EmailDomain() | rules.Ip():
            return _always_known(rule)
        case rules.EmailList():
            return _listed(lists.get(rule.email_list.id), rule.email_list.id, "EMAIL")
        case rules.IpList():
            return _listed(lists.get(rule.ip_list.id), rule.ip_list.id, "IP")
        case rules.Geo() | rules.DevicePosture() | rules.UserRiskScore() | rules.ExternalEvaluation():
            return _assessed(rule, sources)
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
            return everybody


def _linked_app(app: str, sources: Sources) -> Test | str:
    if app not in sources.linked_apps:
        return f"there is no linked application {app[:100]!r}"
    return lambda subject: app in subject.identity.linked_apps


def _listed(found: AccessList | None, identifier: str, kind: str) -> Test | str:
    if found is None:
        return f"there is no list {identifier[:100]!r}"
    if found.type != kind:
        return f"the list {identifier[:100]!r} is not of type {kind}"
    values = [item.value for item in found.items]
    if kind == "EMAIL":
        return email_in(values)
    try:
        return address_in(values)
    except ValueError:
        return f"the list {identifier[:100]!r} holds something that is no address"


def _assessed(
    rule: rules.Geo | rules.DevicePosture | rules.UserRiskScore | rules.ExternalEvaluation, sources: Sources
) -> Test | str:
    """Selectors whose facts come from outside and go stale."""
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
        wanted = rule.service_token.token_id
        if wanted not in sources.service_tokens:
            return f"there is no service token {wanted[:100]!r}"
        return lambda subject: subject.identity.service_token_id == wanted
    if isinstance(rule, rules.AnyValidServiceToken):
        return lambda subject: bool(subject.identity.service_token_id)
    if not sources.certificates:
        return "no proxy is configured that passes client certificates on"
    if isinstance(rule, rules.CommonName):
        name = rule.common_name.common_name
        return lambda subject: subject.identity.certificate and subject.identity.common_name == name
    return lambda subject: subject.identity.certificate


def _auth_method(wanted: str) -> Test:
    def test(subject: Subject) -> bool | None:
        methods = subject.identity.auth_methods
        return wanted in methods if methods else None

    return test


def _from_provider(rule: rules.Rule, sources: Sources) -> Test | str:
    """Selectors that only one identity provider can answer: whoever came by another one does not match."""
    given = rule.parameters
    if isinstance(rule, rules.LoginMethod):
        provider = rule.login_method.id
    elif isinstance(given, rules.OfProvider):
        provider = given.identity_provider_id
    else:
        return f"this portal does not know the selector {rule.selector!r}"
    if provider not in sources.identity_providers:
        return f"there is no identity provider {provider[:100]!r}"
    if isinstance(rule, rules.LoginMethod):
        return lambda subject: subject.identity.idp_id == provider or subject.identity.login_method == provider
    told = _told(given)
    if told is None:
        return f"this portal does not know the selector {rule.selector!r}"

    def test(subject: Subject) -> bool | None:
        return told(subject) if subject.identity.idp_id == provider else False

    return test


def _told(given: object) -> Test | None:
    """Whether an identity provider says this of somebody; None: it is nothing that one says."""
    match given:
        case rules.ClaimIs():
            return _claim(given.claim_name, given.claim_value)
        case rules.AttributeIs():
            return _claim(given.attribute_name, given.attribute_value)
        case rules.ContextIs():
            return _claim("acrs", given.ac_id)
        case rules.GroupId(id=group):
            return lambda subject: group in subject.group_ids
        case rules.GroupName(name=name):
            return lambda subject: name in subject.group_names
        case rules.GroupEmail():
            address = given.email.lower()
            return lambda subject: address in subject.group_emails
        case rules.Organization():
            team = given.name if given.team is None else f"{given.name}/{given.team}"
            return lambda subject: team in subject.group_names
        case _:
            return None


def _claim(name: str, value: str) -> Test:
    def test(subject: Subject) -> bool | None:
        claims = subject.identity.claims
        if name not in claims:
            return False
        found = claims[name]
        told = found if isinstance(found, list | tuple) else (found,)
        return any(_written(one) == value for one in told)

    return test


def _written(value: object) -> str | None:
    """A claim's value as policies write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def email_in(addresses: Iterable[str]) -> Test:
    wanted = frozenset(address.lower() for address in addresses)

    def test(subject: Subject) -> bool | None:
        return subject.email in wanted if subject.email or not subject.email_unknown else None

    return test


def domain_in(domains: Iterable[str]) -> Test:
    wanted = frozenset(domain.lower() for domain in domains)

    def test(subject: Subject) -> bool | None:
        if subject.email:
            return subject.domain in wanted
        return None if subject.email_unknown else False

    return test


def address_or_domain(addresses: Iterable[str], domains: Iterable[str]) -> Test:
    """`email_in` or `domain_in`, in one look."""
    wanted, within = (frozenset(one.lower() for one in given) for given in (addresses, domains))

    def test(subject: Subject) -> bool | None:
        if subject.email:
            return subject.email in wanted or subject.domain in within
        return None if subject.email_unknown else False

    return test


def group_named(provider: str, names: Iterable[str]) -> Test:
    """Any of these groups of one provider, in one look."""
    wanted = frozenset(names)

    def test(subject: Subject) -> bool | None:
        return subject.identity.idp_id == provider and not wanted.isdisjoint(subject.group_names)

    return test


def country_in(codes: Iterable[str]) -> Test:
    wanted = frozenset(code.upper() for code in codes)

    def test(subject: Subject) -> bool | None:
        country = subject.identity.country
        if country in wanted:
            return True
        # An address in no country's range may be anywhere.
        return False if country and country != "XX" else None

    return test


def address_in(networks: Iterable[str]) -> Test:
    """Membership takes as many looks as there are lengths of prefixes. Raises ValueError for what is no network."""
    prefixes: dict[tuple[int, int], set[int]] = {}
    for written in networks:
        network = ipaddress.ip_network(written, strict=False)
        mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
        if mapped is not None and network.prefixlen >= 96:
            network = ipaddress.ip_network((int(mapped), network.prefixlen - 96))
        prefixes.setdefault((network.version, int(network.netmask)), set()).add(int(network.network_address))
    masks = tuple((version, mask, frozenset(found)) for (version, mask), found in prefixes.items())
    if len(masks) == 1:
        return _in_one(*masks[0])

    def test(subject: Subject) -> bool | None:
        if (address := subject.address) is None:
            return None
        version, number = address
        for one, mask, found in masks:
            if version == one and number & mask in found:
                return True
        return False

    return test


def _in_one(version: int, mask: int, found: frozenset[int]) -> Test:
    def test(subject: Subject) -> bool | None:
        if (address := subject.address) is None:
            return None
        return address[0] == version and address[1] & mask in found

    return test


def any_of(tests: Sequence[Test]) -> Test:
    """True when one is; else None when one cannot be known."""
    if len(tests) == 1:
        return tests[0]

    def test(subject: Subject) -> bool | None:
        found: bool | None = False
        for one in tests:
            told = one(subject)
            if told:
                return True
            if told is None:
                found = None
        return found

    return test


def matching(include: Sequence[Test], require: Sequence[Test], exclude: Sequence[Test]) -> Test:
    """Any of `include`, all of `require`, none of `exclude`."""
    included, excluded = any_of(include), any_of(exclude)
    if not require and not exclude:
        return included

    def test(subject: Subject) -> bool | None:
        found = included(subject)
        if found is False:
            return False
        for one in require:
            told = one(subject)
            if told is False:
                return False
            if told is None:
                found = None
        told = excluded(subject)
        if told:
            return False
        return None if told is None else found

    return test
