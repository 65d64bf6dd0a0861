"""Single tools: how each is listed, and the policies about who may call which one.

The settings say whether a tool or prompt of a server is enabled, under which name, with which description. The portal's
setting overrides the server's, and both override the upstream's definition. With `default_disabled` only the tools and
prompts that the portal enables are listed.

The policies decide by the name of the tool, its annotations, the arguments, and how often it is called. They narrow the
access that the policies of portal and server allow. The first that matches decides; if none does, the call is allowed.
Rules that cannot be known, and conditions that cannot be evaluated, match a deny and never an allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from portal.access.approval_rules import ApprovalRule, who_approves
from portal.access.approving import rule_of
from portal.access.compiling import RuleCompiler
from portal.access.documents import ServerAccess, ToolPolicy
from portal.access.expressions import Expression, compile_expression
from portal.access.policies import Decision, in_order
from portal.access.selectors import Test
from portal.access.subject import Subject
from portal.identity import Identity
from portal.objects import CapabilitySetting, PortalServer, Settings


@dataclass(frozen=True, slots=True)
class DisplaySetting:
    """The settings of one tool or prompt. `alias` or `description` None: as in the upstream's definition."""

    enabled: bool = True
    alias: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The settings of a server's tools or prompts, by raw name. `others` is the setting of all the rest."""

    settings: Mapping[str, DisplaySetting]
    others: DisplaySetting

    def of(self, name: str) -> DisplaySetting:
        return self.settings.get(name, self.others)


@dataclass(frozen=True, slots=True)
class MergedSetting:
    """The settings of a server and a portal for one tool or prompt. `enabled` is None if neither sets it."""

    name: str
    server: CapabilitySetting | None
    portal: CapabilitySetting | None
    enabled: bool | None

    @property
    def shown(self) -> DisplaySetting:
        settings = [one for one in (self.portal, self.server) if one is not None]
        return DisplaySetting(
            self.enabled is not False,
            next((one.alias for one in settings if one.alias is not None), None),
            next((one.description for one in settings if one.description is not None), None),
        )


def merged(server: Settings, portal: Settings, *, default_disabled: bool) -> tuple[MergedSetting, ...]:
    """The settings of each tool or prompt that server or portal names, those of the server first.

    The portal's `enabled` overrides the server's. With `default_disabled` the server's does not count.
    """
    of_server = {setting.name: setting for setting in server}
    of_portal = {setting.name: setting for setting in portal}
    settings: list[MergedSetting] = []
    for name in {**of_server, **of_portal}:
        below, above = of_server.get(name), of_portal.get(name)
        enabled = above.enabled if above is not None else None
        if enabled is None:
            enabled = False if default_disabled else below.enabled if below is not None else None
        settings.append(MergedSetting(name, below, above, enabled))
    return tuple(settings)


def tool_settings(server: ServerAccess, portal: PortalServer) -> Capabilities:
    return settings_of(server.updated_tools, portal.updated_tools, default_disabled=portal.default_disabled)


def prompt_settings(server: ServerAccess, portal: PortalServer) -> Capabilities:
    return settings_of(server.updated_prompts, portal.updated_prompts, default_disabled=portal.default_disabled)


def settings_of(server: Settings, portal: Settings, *, default_disabled: bool) -> Capabilities:
    """The settings of a server's tools or prompts at a portal."""
    shown = {one.name: one.shown for one in merged(server, portal, default_disabled=default_disabled)}
    return Capabilities(shown, DisplaySetting(enabled=not default_disabled))


HINTS = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True}
"""The default of each tool annotation in MCP."""


@dataclass(frozen=True, slots=True)
class ToolTarget:
    """A tool, by server and raw name, and the arguments of a call. `arguments` is None if the tool is being listed."""

    server: str
    name: str
    annotations: Mapping[str, object]
    arguments: Mapping[str, object] | None = None


class ToolList:
    """The tools of a server, by raw name and annotations, for a decision about all of them at once.

    Policies cache what depends on the tools alone for as long as the list is in use.
    """

    __slots__ = ("__weakref__", "server", "tools")

    def __init__(self, server: str, tools: tuple[tuple[str, Mapping[str, object]], ...]) -> None:
        self.server = server
        self.tools = tools

    def which(self, holds: Callable[[str, Mapping[str, object]], bool]) -> int:
        """The tools for which `holds` is true, as a number: bit n stands for tool n."""
        return sum(1 << place for place, (name, annotations) in enumerate(self.tools) if holds(name, annotations))

    def as_bytes(self, chosen: int) -> bytes | None:
        """A byte for each tool, 1 if its bit is set and otherwise 0; None if all are set."""
        size = len(self.tools)
        if chosen == (1 << size) - 1:
            return None
        return f"{chosen:0{size}b}".encode()[::-1].translate(_DIGITS) if size else b""


_DIGITS = bytes.maketrans(b"01", b"\x00\x01")


@dataclass(frozen=True, slots=True)
class CallBudget:
    """How often one run may call tools under one policy."""

    policy: str
    policy_name: str
    calls: int

    def spent(self) -> Decision:
        name = repr(self.policy_name or self.policy)
        reason = f"Policy {name} allows {self.calls} calls a run, and this run has made them."
        return Decision("deny", reason, self.policy, self.policy_name)


@dataclass(frozen=True, slots=True)
class _Compiled:
    policy: ToolPolicy
    test: Test
    covers_name: Callable[[str, str], bool]
    hints: tuple[tuple[str, bool], ...]
    expression: Expression | None
    approval: ApprovalRule | None = None


class ToolPolicies:
    """The tool policies of one place, in order. `asks`: one of them asks for approvals."""

    def __init__(self, policies: Iterable[ToolPolicy], compiler: RuleCompiler) -> None:
        self._compiled = tuple(_compiled(policy, compiler) for policy in in_order(policies))
        self.asks = any(entry.approval is not None for entry in self._compiled)
        # For each list of tools and each policy: the tools it covers, and those where that is unknown.
        self._about: WeakKeyDictionary[ToolList, tuple[tuple[int, int], ...]] = WeakKeyDictionary()

    def __bool__(self) -> bool:
        return bool(self._compiled)

    @property
    def personal(self) -> bool:
        """Whether lists depend on more of the identity than which rules match."""
        expressions = (entry.expression for entry in self._compiled if entry.expression is not None)
        return any("identity" in expression.names and not expression.uses_arguments for expression in expressions)

    def standing(self, subject: Subject) -> tuple[bool | None, ...]:
        """The outcome of each policy's rules for this caller. Unless `personal`, lists depend on nothing else."""
        return tuple(entry.test(subject) for entry in self._compiled)

    def decide(
        self, outcomes: tuple[bool | None, ...], identity: Identity, target: ToolTarget
    ) -> tuple[Decision | None, CallBudget | None]:
        """The decision of the first policy that matches, or None, and its budget of calls, or None."""
        for entry, matches in zip(self._compiled, outcomes, strict=True):
            policy = entry.policy
            if matches is False or (matches is None and policy.decision == "allow") or not _covers(entry, target):
                continue
            holds: bool | None = True
            if entry.expression is not None:
                if target.arguments is None and entry.expression.uses_arguments:
                    if policy.decision == "allow":
                        return None, None  # A call may be allowed, depending on its arguments.
                    continue
                holds = entry.expression.holds(_variables(identity, target))
            if holds is False or (holds is None and policy.decision == "allow"):
                continue
            return _decision(entry, identity, target, matches, holds), _budget(policy)
        return None, None

    def approvals(
        self, outcomes: tuple[bool | None, ...], identity: Identity, target: ToolTarget
    ) -> Iterable[ApprovalRule]:
        """What the policies ask for that allow this call: the first that matches, and those before it of which that
        cannot be known. An approval too many is better than one that is missing."""
        for entry, matches in zip(self._compiled, outcomes, strict=True):
            if matches is False or not _covers(entry, target):
                continue
            holds: bool | None = True
            if entry.expression is not None:
                holds = entry.expression.holds(_variables(identity, target))
            if holds is False:
                continue
            if entry.approval is not None:
                yield entry.approval
            if matches and holds:
                return

    def denied(self, outcomes: tuple[bool | None, ...], identity: Identity, tools: ToolList) -> int:
        """The tools that `decide` denies without arguments, as a number (`ToolList.which`)."""
        if self.personal:
            return tools.which(lambda name, hints: self._denies(outcomes, identity, tools.server, name, hints))
        about = self._about.get(tools)
        if about is None:
            about = self._about[tools] = tuple(_covered_tools(entry, identity, tools) for entry in self._compiled)
        undecided, denied = (1 << len(tools.tools)) - 1, 0
        for entry, rules_match, (holds, unknown) in zip(self._compiled, outcomes, about, strict=True):
            denies = entry.policy.decision != "allow"
            if rules_match is False or (rules_match is None and not denies):
                continue
            matches = undecided & (holds | unknown if denies else holds)
            if denies:
                denied |= matches
            undecided &= ~matches
        return denied

    def _denies(
        self, outcomes: tuple[bool | None, ...], identity: Identity, server: str, name: str, hints: Mapping[str, object]
    ) -> bool:
        decision, _ = self.decide(outcomes, identity, ToolTarget(server, name, hints))
        return decision is not None and not decision.allowed


def _covered_tools(entry: _Compiled, identity: Identity, tools: ToolList) -> tuple[int, int]:
    """The tools that a policy covers for every caller, and those where that cannot be known."""
    covered = tools.which(lambda name, hints: _covers(entry, ToolTarget(tools.server, name, hints)))
    expression = entry.expression
    if expression is None:
        return covered, 0
    if expression.uses_arguments:
        # Without arguments, a tool is listed whether the policy may later allow a call or deny it.
        return (covered, 0) if entry.policy.decision == "allow" else (0, 0)
    holds = unknown = 0
    for place, (name, hints) in enumerate(tools.tools):
        if covered >> place & 1:
            answer = expression.holds(_variables(identity, ToolTarget(tools.server, name, hints)))
            holds |= bool(answer) << place
            unknown |= (answer is None) << place
    return holds, unknown


def _compiled(policy: ToolPolicy, compiler: RuleCompiler) -> _Compiled:
    where = f"tool policy {policy.name or policy.id!r}"
    tools = policy.tools
    for hint in tools.annotations:
        if hint not in HINTS:
            compiler.warn(
                where, f"{hint!r} is not a hint that MCP defines; it counts as false for a tool that does not have it"
            )
    return _Compiled(
        policy,
        compiler.matching(policy, where),
        _name_test(tools.servers, tools.names),
        tuple(tools.annotations.items()),
        compile_expression(tools.expression, where=f"{where}, expression") if tools.expression else None,
        rule_of(policy, compiler, where),
    )


def _name_test(servers: tuple[str, ...], names: tuple[str, ...]) -> Callable[[str, str], bool]:
    of_server, of_name = _pattern(servers), _pattern(names)
    return lambda server, name: of_server(server) and of_name(name)


def _pattern(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """The test whether a name matches one of the patterns; without patterns, every name does."""
    if not patterns:
        return lambda name: True
    literal = frozenset(pattern for pattern in patterns if not set(pattern) & {"*", "?"})
    wild = [pattern for pattern in patterns if pattern not in literal]
    return lambda name: name in literal or any(_fits(name, pattern) for pattern in wild)


def _fits(name: str, pattern: str) -> bool:
    """Whether the name matches: `*` is any text, `?` one character.

    Greedy, and backtracks to the last `*` only, so that no pattern takes exponential time.
    """
    at = 0
    star, resume = -1, 0
    position = 0
    while position < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, position
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", name[position]):
            at += 1
            position += 1
        elif star >= 0:
            at, resume = star + 1, resume + 1
            position = resume
        else:
            return False
    return all(character == "*" for character in pattern[at:])


def _covers(entry: _Compiled, target: ToolTarget) -> bool:
    return entry.covers_name(target.server, target.name) and all(
        hint(target.annotations, name) is value for name, value in entry.hints
    )


def hint(annotations: Mapping[str, object], name: str) -> bool:
    """The value of a hint, or MCP's default if the tool does not have it as a boolean."""
    value = annotations.get(name)
    if isinstance(value, bool):
        return value
    if name == "destructiveHint" and annotations.get("readOnlyHint") is True:
        return False
    return HINTS.get(name, False)


def _variables(identity: Identity, target: ToolTarget) -> Mapping[str, object]:
    return {
        "arguments": target.arguments if target.arguments is not None else {},
        "annotations": {name: hint(target.annotations, name) for name in HINTS},
        "tool": target.name,
        "server": target.server,
        "identity": {
            "id": identity.id,
            "email": identity.email,
            "name": identity.name,
            "groups": [group.name for group in identity.groups],
            "ip": identity.ip,
            "country": identity.country,
            "service_token": identity.service_token_id,
            "user_risk": identity.user_risk,
        },
    }


def _decision(
    entry: _Compiled, identity: Identity, target: ToolTarget, matches: bool | None, holds: bool | None
) -> Decision:
    policy, asks = entry.policy, ""
    if entry.approval is not None:
        which = f"call of it with arguments for which `{policy.tools.expression}`" if entry.expression else "call of it"
        asks = f" Each {which} needs {who_approves(entry.approval)}."
    name, tool = repr(policy.name or policy.id), f"{target.server}.{target.name}"
    if policy.decision == "allow":
        reason = f"Policy {name} allows {tool} to {identity.label}.{asks}"
        return Decision("allow", reason, policy.id, policy.name)
    reason = f"Policy {name} denies {tool} to {identity.label}."
    if holds is None:
        reason += " Its condition could not be evaluated with these arguments, so it holds."
    elif matches is None:
        reason += " Whether it applies cannot be known, so it does."
    return Decision("deny", reason, policy.id, policy.name)


def _budget(policy: ToolPolicy) -> CallBudget | None:
    return None if policy.calls_per_run is None else CallBudget(policy.id, policy.name, policy.calls_per_run)
