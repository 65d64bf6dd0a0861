"""Rules of policies and groups in words, what they refer to by an id, and which of them refer to something. Pure but
for what reads the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from portal.admin import (
    ORGANIZATION,
    SERVICE_TOKENS,
    ZERO_TRUST,
    ConfiguredGroup,
    ConfiguredList,
    ShownGroup,
    ShownList,
    ShownPolicy,
    ShownProvider,
    ShownServiceToken,
)
from portal.console.visit import Visit

RuleJson = Mapping[str, object]
RULE_SETS = ("include", "require", "exclude")
RuleHolder = ShownPolicy | ShownGroup
RuleUser = tuple[str, str]
"""The name of a policy or group, and the path of its page."""
POLICIES, GROUPS, LISTS = "/access/policies", "/access/groups", "/gateway/lists"
CONFIGURED = "/access/ai-controls/mcp/configured"
PROVIDERS, SERVICE_TOKEN_LIST = "/access/identity_providers", "/access/service_tokens"
ACTIONS: Mapping[str, str] = {
    "allow": "Allow",
    "deny": "Block",
    "bypass": "Bypass",
    "non_identity": "Service Auth",
}
"""What Cloudflare calls the decisions of its policies."""
ACTION_TONES = {"allow": "good", "deny": "bad", "bypass": "warn", "non_identity": "good"}
IN_A_ROW = 6
"""Rules of a set that a row of a list shows."""
PIN_ID = "onetimepin"
LOCAL_ID = "local"
_WITHOUT_PARAMETERS = {
    "everyone": "Everyone",
    "any_valid_service_token": "Any Access service token",
    "certificate": "Valid certificate",
    "cloudflare_account_member": "Member of a Cloudflare account",
}
_ONE_PARAMETER = {
    "email": ("email", "Email {}"),
    "email_domain": ("domain", "Emails ending in @{}"),
    "ip": ("ip", "IP range {}"),
    "geo": ("country_code", "Country {}"),
    "auth_method": ("auth_method", "Authentication method {}"),
    "common_name": ("common_name", "Common name {}"),
    "device_posture": ("integration_uid", "Device posture {}"),
    "external_evaluation": ("evaluate_url", "External Evaluation by {}"),
    "linked_app_token": ("app_uid", "Linked App Token of {}"),
}
_OF_PROVIDERS = {
    "azureAD": "id",
    "okta": "name",
    "gsuite": "email",
    "github-organization": "name",
    "oidc": "claim_value",
    "saml": "attribute_value",
}


@dataclass(frozen=True, slots=True)
class Known:
    """What rules can refer to, as far as the administrator may read it. `documented_groups` and `documented_lists` are
    the names of those of the operator's document, by the ids that its rules name."""

    groups: Sequence[ShownGroup] = ()
    lists: Sequence[ShownList] = ()
    providers: Sequence[ShownProvider] = ()
    tokens: Sequence[ShownServiceToken] = ()
    documented_groups: Mapping[str, str] = field(default_factory=dict)
    documented_lists: Mapping[str, str] = field(default_factory=dict)

    def group(self, id: object) -> str:
        return _named((*self.documented_groups.items(), *((one.id, one.name) for one in self.groups)), id)

    def list(self, id: object) -> str:
        return _named((*self.documented_lists.items(), *((one.id, one.name) for one in self.lists)), id)

    def provider(self, id: object) -> str:
        own = ((PIN_ID, "One-time PIN"), (LOCAL_ID, "Local accounts"))
        return _named((*((one.id, one.name or one.type) for one in self.providers), *own), id)

    def token(self, id: object) -> str:
        return _named(((one.id, one.name) for one in self.tokens), id)


async def read_known(visit: Visit) -> Known:
    """What rules can refer to."""
    organization, lists = visit.may(ORGANIZATION, writing=False), visit.may(ZERO_TRUST, writing=False)
    tokens = visit.may(SERVICE_TOKENS, writing=False)
    groups = (await visit.api.list(ConfiguredGroup, f"{CONFIGURED}/groups")).items if organization else ()
    listed = (await visit.api.list(ConfiguredList, f"{CONFIGURED}/lists")).items if lists else ()
    return Known(
        (await visit.api.list(ShownGroup, GROUPS)).items if organization else (),
        (await visit.api.list(ShownList, LISTS)).items if lists else (),
        (await visit.api.list(ShownProvider, PROVIDERS)).items if organization else (),
        (await visit.api.list(ShownServiceToken, SERVICE_TOKEN_LIST)).items if tokens else (),
        {one.group: one.name for one in groups},
        {one.list: one.name for one in listed},
    )


def plain_rules(holder: ShownPolicy | ShownGroup | Mapping[str, object], name: str) -> list[RuleJson]:
    """The rules of a policy or group in `include`, `require` or `exclude`, in the JSON of the API."""
    members = holder if isinstance(holder, Mapping) else holder.model_dump(mode="json", by_alias=True, include={name})
    rules = members.get(name) or ()
    if not isinstance(rules, list | tuple):
        return []
    return [{key: _without_nulls(value) for key, value in one.items()} for one in rules if isinstance(one, Mapping)]


def plain_sets(holder: RuleHolder | Mapping[str, object]) -> dict[str, list[RuleJson]]:
    """All rules of a policy or group, by the name of their set."""
    return {name: plain_rules(holder, name) for name in RULE_SETS}


def rule_words(rule: RuleJson, known: Known) -> str:
    """A rule in a few words."""
    selector, parameters = next(iter(rule.items()), ("", None))
    inner = parameters if isinstance(parameters, Mapping) else {}
    if selector in _WITHOUT_PARAMETERS:
        return _WITHOUT_PARAMETERS[selector]
    if selector in _ONE_PARAMETER:
        member, words = _ONE_PARAMETER[selector]
        return words.format(str(inner.get(member, ""))[:100])
    if selector in _OF_PROVIDERS:
        group, at = str(inner.get(_OF_PROVIDERS[selector], ""))[:100], known.provider(inner.get("identity_provider_id"))
        team = f"/{inner['team']}" if selector == "github-organization" and inner.get("team") else ""
        claim = {"oidc": inner.get("claim_name"), "saml": inner.get("attribute_name")}.get(selector)
        return f"{claim} {group} at {at}" if claim and claim != "groups" else f"Group {group}{team} at {at}"
    match selector:
        case "group":
            return f"Access group {known.group(inner.get('id'))}"
        case "email_list":
            return f"Emails of the list {known.list(inner.get('id'))}"
        case "ip_list":
            return f"Addresses of the list {known.list(inner.get('id'))}"
        case "login_method":
            return f"Login method {known.provider(inner.get('id'))}"
        case "service_token":
            return f"Service token {known.token(inner.get('token_id'))}"
        case "user_risk_score":
            scores = inner.get("user_risk_score")
            return "User risk score " + " or ".join(map(str, scores if isinstance(scores, list) else ()))
        case _:
            return f"{selector} {orjson.dumps(inner).decode()}"[:120]


def holder_words(
    holder: ShownPolicy | ShownGroup | Mapping[str, object], known: Known, most: int = IN_A_ROW
) -> list[tuple[str, list[str]]]:
    """The rules of a policy or group in words: for each set that has rules its name and the words of the first ones."""
    found = []
    for name, title in (("include", "Include"), ("require", "Require"), ("exclude", "Exclude")):
        rules = plain_rules(holder, name)
        words = [rule_words(one, known) for one in rules[:most]]
        more = [f"{len(rules) - most} more"] if len(rules) > most else []
        if words:
            found.append((title, words + more))
    return found


def refers_to(holder: ShownPolicy | ShownGroup | Mapping[str, object], selector: str, id: str, member: str) -> bool:
    """Whether a rule of a policy or group names this object."""
    rules = [one for rules in plain_sets(holder).values() for one in rules]
    return any(isinstance(inner := one.get(selector), Mapping) and inner.get(member) == id for one in rules)


def rule_users(
    policies: Iterable[ShownPolicy], groups: Iterable[ShownGroup], names: Callable[[RuleHolder], bool]
) -> list[RuleUser]:
    """The policies and groups with a rule that `names` something."""
    found = [(one.name, f"/admin/policies/reusable/{one.id}") for one in policies if names(one)]
    return found + [(one.name, f"/admin/policies/groups/{one.id}") for one in groups if names(one)]


async def read_rule_users(visit: Visit, names: Callable[[RuleHolder], bool]) -> list[RuleUser]:
    """The same of all policies and groups that there are."""
    policies = (await visit.api.list(ShownPolicy, POLICIES)).items
    return rule_users(policies, (await visit.api.list(ShownGroup, GROUPS)).items, names)


def _named(names: Iterable[tuple[str, str]], id: object) -> str:
    return next((name for one, name in names if one == id), f"{str(id)[:64]} (not known)")


def _without_nulls(value: object) -> object:
    return {name: one for name, one in value.items() if one is not None} if isinstance(value, Mapping) else value
