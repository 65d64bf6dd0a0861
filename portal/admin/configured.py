"""What the operator's document says and no other list has: `access/ai-controls/mcp/configured`. Ours, for reading.

Each list of the API has what is stored. Rules, quotas, profiles, policies, groups, lists, ways to sign in and settings
of the document are in force beside that, and are changed there alone: `key` is the place. What is a secret is not shown
(`configured_settings`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from portal.admin.api.application import AdminSettings
from portal.admin.api.errors import not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import ACCOUNT, ORGANIZATION, POLICIES, PORTALS, ZERO_TRUST, Area
from portal.admin.configured_settings import ConfiguredSetting, SettingsQuery, settings_of_document, veiled
from portal.admin.served import OWN_PORTAL
from portal.config import Config, DlpPatternSection, FlowEffect, QuotaPart
from portal.dlp import PREDEFINED
from portal.gateway import written_rules
from portal.objects import RuleAction

PATH = "/access/ai-controls/mcp/configured"
RuleJson = Mapping[str, object]


class Configured(BaseModel):
    """What each entry of the document has. `key` is where it is written, `place` its place among the others of its list
    in the order in which they take effect, from 1 on. `id` is for the path of this API."""

    id: str
    name: str
    key: str
    place: int


class ConfiguredRule(Configured):
    """A gateway rule of the document. Those of the document are asked before those of `gateway/rules`."""

    description: str = ""
    action: RuleAction
    enabled: bool
    precedence: int
    traffic: str = ""
    identity: str = ""
    device_posture: str = ""
    block_reason: str = ""
    rule_settings: RuleJson = Field(default_factory=dict)


class ConfiguredQuota(Configured):
    """A quota of the document. All quotas hold, those of the document are counted first."""

    calls: int
    period: int
    per: tuple[QuotaPart, ...]
    portals: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


class ConfiguredFlowRule(Configured):
    """A data-flow rule of the document. Those of the document are asked before stored ones."""

    when: tuple[str, ...]
    all: bool
    then: FlowEffect = "deny"
    target: tuple[str, ...]
    exempt: tuple[str, ...] = ()
    approve_by: str | None = None
    approval_groups: tuple[RuleJson, ...] = ()
    approval_seconds: float | None = None
    purpose_justification_required: bool = False
    purpose_justification_prompt: str = ""
    remember: bool = False


class ConfiguredPattern(BaseModel):
    name: str
    pattern: str
    luhn: bool = False


class ConfiguredWords(BaseModel):
    """A list of words. They may be confidential, so that only their number is shown."""

    name: str
    count: int


class ConfiguredProfile(Configured):
    """A profile of detection. It takes the place of a stored one of the same `profile`; one that is `predefined` says
    which of its rules are `off`. `shared` are rules of predefined profiles that are looked for here too."""

    profile: str
    predefined: bool
    confidence_threshold: Literal["low", "medium", "high"]
    allowed_match_count: int
    patterns: tuple[ConfiguredPattern, ...] = ()
    lists: tuple[ConfiguredWords, ...] = ()
    off: tuple[str, ...] = ()
    shared: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)


class ConfiguredPolicy(Configured):
    """A policy that the document attaches: to a portal, a server, or calls of single `tools`. `portal` is null for
    every portal, "_" for the document's own. Without a `decision` it is the reusable policy of the id `policy`.
    Policies of applications are asked together with these: those that need no sign-in first, then by `precedence`. What
    it wants approved is as the document says it."""

    about: Literal["portal", "server", "tools"]
    policy: str
    portal: str | None = None
    server: str | None = None
    decision: str = ""
    precedence: int | None = None
    include: tuple[RuleJson, ...] = ()
    require: tuple[RuleJson, ...] = ()
    exclude: tuple[RuleJson, ...] = ()
    tools: RuleJson | None = None
    calls_per_run: int | None = None
    approval_required: bool = False
    approval_groups: tuple[RuleJson, ...] = ()
    approve_by: str = ""
    approval_seconds: int | None = None
    purpose_justification_required: bool = False
    purpose_justification_prompt: str = ""


class ConfiguredGroup(Configured):
    """An Access group of the document. Rules name it by `group`."""

    group: str
    include: tuple[RuleJson, ...] = ()
    require: tuple[RuleJson, ...] = ()
    exclude: tuple[RuleJson, ...] = ()


class ConfiguredList(Configured):
    """A list of the document. Rules name it by `list`."""

    list: str
    type: str
    items: tuple[str, ...] = ()


class ConfiguredLoginMethod(Configured):
    """A way to sign in that the document offers. It is offered before those of `access/identity_providers`. `mail` is
    the host that takes its letters, "" where there is none and nobody gets one."""

    type: Literal["onetimepin"]
    mail: str


C = TypeVar("C", bound=Configured)


@dataclass(frozen=True, slots=True)
class DocumentSection(Generic[C]):
    """One list of the document: its path, what it has, who may read it, and how it is read from the document."""

    path: str
    words: str
    noun: str
    model: type[C]
    area: Area
    read: Callable[[Config], Iterable[C]]


class ConfiguredOperations:
    """Reads the document in force. Where no portal runs there is none, and the lists are empty."""

    def __init__(self, settings: AdminSettings) -> None:
        self._settings = settings

    def operations(self) -> list[Operation]:
        found = [operation for section in SECTIONS for operation in self._of(section)]
        say = "List the settings of the document"
        model, query = ConfiguredSetting, SettingsQuery
        settings = Operation(
            "GET", f"{PATH}/settings", say, self._list_settings, model, ACCOUNT, listed=True, query=query
        )
        return [*found, settings]

    def _of(self, section: DocumentSection[Configured]) -> list[Operation]:
        path, model, area = f"{PATH}/{section.path}", section.model, section.area
        words = f"of the document: {section.words}"
        return [
            Operation("GET", path, f"List what is {words}", self._list(section), model, area, listed=True),
            Operation("GET", f"{path}/{{id}}", f"Show what is {words}", self._get(section), model, area),
        ]

    def _list(self, section: DocumentSection[Configured]) -> Callable[[ApiRequest], Awaitable[object]]:
        async def listed(request: ApiRequest) -> Sequence[Configured]:
            search = request.paging.search.lower()
            return [one for one in self._entries(section) if search in one.name.lower() or search in one.key.lower()]

        return listed

    def _get(self, section: DocumentSection[Configured]) -> Callable[[ApiRequest], Awaitable[object]]:
        async def got(request: ApiRequest) -> Configured:
            for one in self._entries(section):
                if one.id == request.path["id"]:
                    return one
            raise not_found(section.noun)

        return got

    def _entries(self, section: DocumentSection[Configured]) -> list[Configured]:
        config = self._settings.config
        return [] if config is None else [veiled(one, config.expanded) for one in section.read(config)]

    async def _list_settings(self, request: ApiRequest) -> Sequence[ConfiguredSetting]:
        search, asked, config = request.paging.search.lower(), request.asked(SettingsQuery), self._settings.config
        return [
            one
            for one in (settings_of_document(config) if config is not None else ())
            if search in one.key.lower() and one.key.startswith(asked.under) and (one.written or not asked.written)
        ]


def gateway_rules(config: Config) -> Iterator[ConfiguredRule]:
    for place, one in enumerate(written_rules(config.portal.gateway.rules, "portal.gateway.rules"), 1):
        rule = one.document
        yield ConfiguredRule(
            id=_id(one.rule.id),
            name=rule.name,
            key=one.key,
            place=place,
            description=rule.description,
            action=rule.action,
            enabled=rule.enabled,
            precedence=one.precedence,
            traffic=rule.traffic,
            identity=rule.identity,
            device_posture=rule.device_posture,
            block_reason=rule.rule_settings.block_reason,
            rule_settings=rule.rule_settings.model_dump(mode="json", exclude_defaults=True),
        )


def quotas(config: Config) -> Iterator[ConfiguredQuota]:
    for at, one in enumerate(config.portal.quotas):
        key = f"portal.quotas[{at}]"
        yield ConfiguredQuota(id=_id(one.name), key=key, place=at + 1, **one.model_dump())


def data_flow_rules(config: Config) -> Iterator[ConfiguredFlowRule]:
    for at, one in enumerate(config.portal.data_flow.rules):
        key = f"portal.dataFlow.rules[{at}]"
        yield ConfiguredFlowRule(id=_id(one.name), key=key, place=at + 1, **one.model_dump(mode="json"))


def profiles(config: Config) -> Iterator[ConfiguredProfile]:
    for place, (id, one) in enumerate(config.portal.dlp.profiles.items(), 1):
        written = {
            name: pattern if isinstance(pattern, DlpPatternSection) else DlpPatternSection(pattern=pattern)
            for name, pattern in one.patterns.items()
        }
        yield ConfiguredProfile(
            id=_id(id),
            name=PREDEFINED.get(id) or one.name or id,
            key=f"portal.dlp.profiles.{id}",
            place=place,
            profile=id,
            predefined=id in PREDEFINED,
            confidence_threshold=one.confidence,
            allowed_match_count=one.allowed,
            patterns=tuple(
                ConfiguredPattern(name=name, pattern=pattern.pattern, luhn=pattern.luhn)
                for name, pattern in written.items()
            ),
            lists=tuple(ConfiguredWords(name=name, count=len(words)) for name, words in one.lists.items()),
            off=one.off,
            shared=dict(one.shared.items()),
        )


def policies(config: Config) -> Iterator[ConfiguredPolicy]:
    """Those of portals, of servers, and of tools, each in their order."""
    identity = config.portal.identity
    if identity is not None:
        yield from _policies(identity.policies, "portal.identity.policies", "portal", portal=OWN_PORTAL)
        for server, some in identity.server_policies.items():
            yield from _policies(some, f"portal.identity.serverPolicies.{server}", "server", server=server)
        yield from _policies(identity.tool_policies, "portal.identity.toolPolicies", "tools")
    for id, portal in config.portals.items():
        yield from _policies(portal.policies, f"portals.{id}.policies", "portal", portal=id)
        yield from _policies(portal.tool_policies, f"portals.{id}.toolPolicies", "tools", portal=id)


def groups(config: Config) -> Iterator[ConfiguredGroup]:
    section = config.portal.identity
    for at, one in enumerate(section.groups if section is not None else ()):
        id, key = _text(one, "id"), f"portal.identity.groups[{at}]"
        yield ConfiguredGroup(
            id=_id(id), name=_text(one, "name") or id, key=key, place=at + 1, group=id, **_rule_sets(one)
        )


def lists(config: Config) -> Iterator[ConfiguredList]:
    section = config.portal.identity
    for at, one in enumerate(section.lists if section is not None else ()):
        id = _text(one, "id")
        values = [_text(item, "value") for item in _as_list(one.get("items")) if isinstance(item, Mapping)]
        yield ConfiguredList(
            id=_id(id),
            name=_text(one, "name") or id,
            key=f"portal.identity.lists[{at}]",
            place=at + 1,
            list=id,
            type=_text(one, "type"),
            items=tuple(values),
        )


def login_methods(config: Config) -> Iterator[ConfiguredLoginMethod]:
    section = config.portal.identity
    if section is not None and section.pin:
        mail = section.smtp.host if section.smtp is not None else ""
        yield ConfiguredLoginMethod(
            id="onetimepin", name="One-time PIN", key="portal.identity.pin", place=1, type="onetimepin", mail=mail
        )


SECTIONS: Sequence[DocumentSection[Configured]] = (
    DocumentSection("gateway-rules", "gateway rules", "rule", ConfiguredRule, ZERO_TRUST, gateway_rules),
    DocumentSection("dlp-profiles", "DLP profiles", "profile", ConfiguredProfile, ZERO_TRUST, profiles),
    DocumentSection("lists", "lists of addresses", "list", ConfiguredList, ZERO_TRUST, lists),
    DocumentSection("quotas", "quotas", "quota", ConfiguredQuota, PORTALS, quotas),
    DocumentSection("data-flow-rules", "data-flow rules", "rule", ConfiguredFlowRule, PORTALS, data_flow_rules),
    DocumentSection("policies", "policies", "policy", ConfiguredPolicy, POLICIES, policies),
    DocumentSection("groups", "Access groups", "group", ConfiguredGroup, ORGANIZATION, groups),
    DocumentSection(
        "login-methods", "login methods", "login method", ConfiguredLoginMethod, ORGANIZATION, login_methods
    ),
)


def policy_place(decision: str, precedence: int | None) -> tuple[bool, bool, int]:
    """What the policies of one portal or server are sorted by: those that need no sign-in are asked first."""
    return decision not in ("bypass", "non_identity"), precedence is None, precedence or 0


def _policies(
    written: Sequence[RuleJson],
    key: str,
    about: Literal["portal", "server", "tools"],
    *,
    portal: str | None = None,
    server: str | None = None,
) -> Iterator[ConfiguredPolicy]:
    found = [
        ConfiguredPolicy(
            id=_id(key, _text(one, "id")),
            name=_text(one, "name") or _text(one, "id"),
            key=f"{key}[{at}]",
            place=0,
            about=about,
            policy=_text(one, "id"),
            portal=portal,
            server=server,
            decision=_text(one, "decision"),
            precedence=_number(one, "precedence"),
            tools=tools if isinstance(tools := one.get("tools"), Mapping) else None,
            calls_per_run=_number(one, "calls_per_run"),
            approval_required=one.get("approval_required") is True,
            approval_groups=_approvers(one),
            approve_by=_text(one, "approve_by"),
            approval_seconds=_number(one, "approval_seconds"),
            purpose_justification_required=one.get("purpose_justification_required") is True,
            purpose_justification_prompt=_text(one, "purpose_justification_prompt"),
            **_rule_sets(one),
        )
        for at, one in enumerate(written)
    ]
    for place, one in enumerate(sorted(found, key=lambda one: policy_place(one.decision, one.precedence)), 1):
        yield one.model_copy(update={"place": place})


def _approvers(policy: RuleJson) -> tuple[RuleJson, ...]:
    """The groups of people who approve."""
    known = ("approvals_needed", "email_addresses", "email_list_uuid")
    groups = [one for one in _as_list(policy.get("approval_groups")) if isinstance(one, Mapping)]
    return tuple({name: one[name] for name in known if name in one} for one in groups)


def _rule_sets(holder: RuleJson) -> dict[str, tuple[RuleJson, ...]]:
    """The rules of a policy or group. Of a service that a rule asks, only scheme and host: the rest may be a secret."""
    found: dict[str, tuple[RuleJson, ...]] = {}
    for name in ("include", "require", "exclude"):
        rules = holder.get(name)
        found[name] = tuple(_without_paths(one) for one in _as_list(rules) if isinstance(one, Mapping))
    return found


def _without_paths(rule: RuleJson) -> RuleJson:
    asked = rule.get("external_evaluation")
    if not isinstance(asked, Mapping):
        return rule
    return {"external_evaluation": {name: _origin(value) for name, value in asked.items()}}


def _origin(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""


def _text(holder: RuleJson, name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""


def _number(holder: RuleJson, name: str) -> int | None:
    value = holder.get(name)
    return value if isinstance(value, int) else None


def _as_list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _id(*parts: str) -> str:
    """An id for a path, the same as long as the names are."""
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
