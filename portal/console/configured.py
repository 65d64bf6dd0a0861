"""What the operator's document says, beside what is stored: rows of the lists that it belongs to, and a page of each.

An entry is made of words once, as facts: a list shows them in a row, its page one below the other. Nothing here can be
changed: each says at which key of the document it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

import orjson
from starlette.routing import Route

from portal.admin import (
    ORGANIZATION,
    POLICIES,
    Configured,
    ConfiguredFlowRule,
    ConfiguredGroup,
    ConfiguredList,
    ConfiguredLoginMethod,
    ConfiguredPolicy,
    ConfiguredProfile,
    ConfiguredQuota,
    ConfiguredRule,
    ConfiguredSetting,
)
from portal.console.frame import ConsoleFrame
from portal.console.quota_words import about_words, quota_words
from portal.console.rule_words import (
    ACTION_TONES,
    ACTIONS,
    CONFIGURED,
    IN_A_ROW,
    Known,
    holder_words,
    read_known,
    refers_to,
)
from portal.console.visit import Answer, Crumb, Shown, Visit, portal_said

HERE = "/admin/configured"
SETTINGS = f"{CONFIGURED}/settings"
RULE_TONES = {"block": "bad", "approve": "warn", "redact": "warn", "allow": "good", "log": "off"}
MAX_ITEMS = 1_000
C = TypeVar("C", bound=Configured)


@dataclass(frozen=True, slots=True)
class Fact:
    """What an entry says about one thing. A `code` is shown as it is written."""

    label: str
    texts: Sequence[str]
    code: bool = False


@dataclass(frozen=True, slots=True)
class ConfiguredRow:
    """An entry of the document in words. `state` is a word and its tone."""

    entry: Configured
    path: str
    state: tuple[str, str]
    facts: Sequence[Fact]

    @property
    def brief(self) -> Sequence[Fact]:
        """The facts as a row of a list has them: the first texts of each."""
        return [
            one
            if len(one.texts) <= IN_A_ROW
            else replace(one, texts=[*one.texts[:IN_A_ROW], f"and {len(one.texts) - IN_A_ROW} more"])
            for one in self.facts
        ]


@dataclass(frozen=True, slots=True)
class ConfiguredKind:
    """One list of the document: its path in the API and below `/admin/configured`, its part of the console, and how an
    entry is put into words."""

    path: str
    here: str
    above: Crumb
    model: type[Configured]
    words: Callable[[Configured, Known], tuple[tuple[str, str], Sequence[Fact]]]


class ConfiguredPages:
    """The pages of single entries."""

    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [
            self._frame.page(f"/configured/{one.path}/{{id}}", one.here, partial(_show, one)) for one in KINDS.values()
        ]


async def configured(visit: Visit, path: str, search: str = "", known: Known | None = None) -> list[ConfiguredRow]:
    """The entries of one list of the document that fit a search, in the order in which they take effect."""
    kind = KINDS[path]
    found = await visit.api.list(kind.model, f"{CONFIGURED}/{path}", {"search": search})
    known = known or (await read_known(visit) if kind.here == "policies" else Known())
    return [_row(kind, one, known) for one in found.items]


async def documented_holders(visit: Visit) -> Sequence[ConfiguredRow]:
    """The policies and groups of the document that the administrator may read: their rules may name what is stored."""
    found: list[ConfiguredRow] = []
    for path, area in (("policies", POLICIES), ("groups", ORGANIZATION)):
        found += await configured(visit, path, known=Known()) if visit.may(area, writing=False) else ()
    return found


def documented_users(
    holders: Sequence[ConfiguredRow], selectors: Sequence[str], id: str, member: str = "id"
) -> list[tuple[str, str]]:
    """Those with a rule that names this object by one of these selectors: their names, and the paths of their pages."""
    return [
        (one.entry.name, one.path)
        for one in holders
        if any(refers_to(one.entry.model_dump(mode="json"), selector, id, member) for selector in selectors)
    ]


async def configured_settings(visit: Visit, key: str, among: Iterable[str] = ()) -> Sequence[ConfiguredSetting]:
    """The settings that the document has written below a key, which is one `among` the keys of such things."""
    query = {"under": f"{key}.", "written": "true"}
    return settings_below(key, (await visit.api.list(ConfiguredSetting, SETTINGS, query)).items, among)


def settings_below(key: str, found: Iterable[ConfiguredSetting], among: Iterable[str]) -> list[ConfiguredSetting]:
    """The settings of the thing at this key. A name may have dots: what is below the longer key of another thing
    belongs to that."""
    others = tuple(f"{one}." for one in among if one.startswith(f"{key}."))
    return [one for one in found if one.key.startswith(f"{key}.") and not one.key.startswith(others)]


async def _show(kind: ConfiguredKind, visit: Visit) -> Answer:
    entry = await visit.api.show(kind.model, f"{CONFIGURED}/{kind.path}/{{id}}", id=visit.id())
    row = _row(kind, entry, await read_known(visit) if kind.here == "policies" else Known())
    return Shown("configured.html", entry.name, {"row": row, "logs": _logs(entry)}, (kind.above,))


def _row(kind: ConfiguredKind, entry: Configured, known: Known) -> ConfiguredRow:
    state, facts = kind.words(entry, known)
    return ConfiguredRow(entry, f"{HERE}/{kind.path}/{entry.id}", state, [one for one in facts if any(one.texts)])


def _logs(entry: Configured) -> str:
    """The rows of the log that name an entry, "" for one that none names."""
    return f"/admin/logs?{urlencode({'policy': f'gateway:{entry.name}'})}" if isinstance(entry, ConfiguredRule) else ""


State = tuple[str, str]
IN_FORCE: State = ("In force", "good")


def _rule(rule: ConfiguredRule, known: Known) -> tuple[State, list[Fact]]:
    state = (rule.action.capitalize(), RULE_TONES[rule.action]) if rule.enabled else ("Disabled", "off")
    matches = [one for one in (rule.traffic, rule.identity, rule.device_posture) if one]
    action = [] if rule.enabled else [rule.action.capitalize()]
    return state, [
        Fact("Description", [rule.description]),
        Fact("Matches", matches or ["Everything"], code=bool(matches)),
        Fact("Action", action),
        Fact("Reason", [rule.block_reason]),
        Fact("Precedence", [str(rule.precedence)]),
    ]


def _quota(quota: ConfiguredQuota, known: Known) -> tuple[State, list[Fact]]:
    return IN_FORCE, [Fact("Allows", [quota_words(quota)]), Fact("About", [about_words(quota)])]


def _flow_rule(rule: ConfiguredFlowRule, known: Known) -> tuple[State, list[Fact]]:
    after = "After reading all of" if rule.all and len(rule.when) > 1 else "After reading"
    effect = "Refuses" if rule.then == "deny" else "Has people approve"
    return IN_FORCE, [Fact(after, rule.when), Fact(effect, rule.target), Fact("Except", rule.exempt)]


def _profile(profile: ConfiguredProfile, known: Known) -> tuple[State, list[Fact]]:
    kind = "Predefined, instead of what is stored of it" if profile.predefined else "Own"
    patterns = [f"{one.name}: {one.pattern}{' (check digit)' if one.luhn else ''}" for one in profile.patterns]
    return IN_FORCE, [
        Fact("Type", [kind]),
        Fact("Rules ask for it as", [profile.profile], code=True),
        Fact("Patterns", patterns, code=True),
        Fact("Lists of words", [f"{one.name}: {one.count:,} words, not shown" for one in profile.lists]),
        Fact("Off", profile.off),
        Fact("Rules of others", [f"{origin}: {', '.join(rules)}" for origin, rules in profile.shared.items()]),
        Fact("Confidence", [profile.confidence_threshold.capitalize()]),
        Fact("Allowed matches", [str(profile.allowed_match_count)]),
    ]


def policy_state(policy: ConfiguredPolicy) -> State:
    """What a policy does. One without a decision is reusable, and says it itself."""
    if policy.decision not in ACTIONS:
        return "Reusable", "off"
    return ACTIONS[policy.decision], ACTION_TONES[policy.decision]


def _policy(policy: ConfiguredPolicy, known: Known) -> tuple[State, list[Fact]]:
    portal = portal_said(policy.portal) if policy.portal else ""
    every = policy.about == "tools" and policy.portal is None
    budget = [] if policy.calls_per_run is None else [f"{policy.calls_per_run:,} calls of one program"]
    return policy_state(policy), [
        Fact("Portal", ["Every portal" if every else portal]),
        Fact("Server", [policy.server or ""]),
        Fact("Tools", _tools(policy), code=True),
        *(Fact(title, lines) for title, lines in holder_words(policy.model_dump(mode="json"), known, MAX_ITEMS)),
        Fact("At most", budget),
        Fact("Each call", _approvals(policy, known)),
        Fact("Precedence", [] if policy.precedence is None else [str(policy.precedence)]),
    ]


def _approvals(policy: ConfiguredPolicy, known: Known) -> list[str]:
    """What has to happen before a call under a policy is made."""
    lines = []
    for group in policy.approval_groups:
        emails, needed = group.get("email_addresses"), group.get("approvals_needed", 1)
        named = [str(one) for one in emails[:MAX_ITEMS]] if isinstance(emails, list | tuple) else []
        listed = [f"the list {known.list(id)}"] if (id := group.get("email_list_uuid")) else []
        lines.append(f"{needed} of {', '.join([*named, *listed]) or 'nobody'} approve it")
    if policy.approval_required and not lines:
        client = ", also in their client" if policy.approve_by == "client" else ""
        lines.append(f"its own person approves it{client}")
    if lines and policy.approval_seconds is not None:
        lines.append(f"it is waited for {policy.approval_seconds:,} seconds")
    if policy.purpose_justification_required:
        asked = f": {policy.purpose_justification_prompt}" if policy.purpose_justification_prompt else ""
        lines.append(f"its own person says what it is for{asked}")
    return lines


def is_of_portal(row: ConfiguredRow, id: str) -> bool:
    """Whether an entry is a policy about who may use this portal."""
    return isinstance(row.entry, ConfiguredPolicy) and row.entry.about == "portal" and row.entry.portal == id


def _tools(policy: ConfiguredPolicy) -> list[str]:
    if policy.about != "tools":
        return []
    return [f"{name}: {_plain(value)}" for name, value in (policy.tools or {}).items() if value] or ["all"]


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _group(group: ConfiguredGroup, known: Known) -> tuple[State, list[Fact]]:
    words = holder_words(group.model_dump(mode="json"), known, MAX_ITEMS)
    return IN_FORCE, [Fact("Rules name it", [group.group], code=True), *(Fact(*one) for one in words)]


def _list(found: ConfiguredList, known: Known) -> tuple[State, list[Fact]]:
    kinds = {"EMAIL": "E-mail addresses", "IP": "IP addresses and networks"}
    more = [f"and {len(found.items) - MAX_ITEMS:,} more"] if len(found.items) > MAX_ITEMS else []
    return IN_FORCE, [
        Fact("Rules name it", [found.list], code=True),
        Fact("Type", [kinds.get(found.type, found.type)]),
        Fact("Items", [*found.items[:MAX_ITEMS], *more]),
    ]


def _login_method(method: ConfiguredLoginMethod, known: Known) -> tuple[State, list[Fact]]:
    state = IN_FORCE if method.mail else ("No mail", "warn")
    return state, [
        Fact("Type", ["A PIN that is sent by e-mail"]),
        Fact("Mail server", [method.mail or "None: set portal.identity.smtp"]),
    ]


def _kind(
    path: str,
    here: str,
    above: Crumb,
    model: type[C],
    words: Callable[[C, Known], tuple[State, Sequence[Fact]]],
) -> ConfiguredKind:
    def of_entry(entry: Configured, known: Known) -> tuple[State, Sequence[Fact]]:
        assert isinstance(entry, model)
        return words(entry, known)

    return ConfiguredKind(path, here, above, model, of_entry)


def _by_path(kinds: Iterable[ConfiguredKind]) -> dict[str, ConfiguredKind]:
    return {one.path: one for one in kinds}


KINDS = _by_path(
    (
        _kind("gateway-rules", "gateway", Crumb("Gateway rules", "/admin/gateway"), ConfiguredRule, _rule),
        _kind("quotas", "quotas", Crumb("Quotas", "/admin/quotas"), ConfiguredQuota, _quota),
        _kind("data-flow-rules", "data-flow", Crumb("Data flow", "/admin/data-flow"), ConfiguredFlowRule, _flow_rule),
        _kind("dlp-profiles", "dlp", Crumb("DLP profiles", "/admin/dlp"), ConfiguredProfile, _profile),
        _kind("policies", "policies", Crumb("Policies", "/admin/policies"), ConfiguredPolicy, _policy),
        _kind("groups", "policies", Crumb("Access groups", "/admin/policies/groups"), ConfiguredGroup, _group),
        _kind("lists", "policies", Crumb("Lists", "/admin/policies/lists"), ConfiguredList, _list),
        _kind(
            "login-methods",
            "login-methods",
            Crumb("Login methods", "/admin/login-methods"),
            ConfiguredLoginMethod,
            _login_method,
        ),
    )
)
