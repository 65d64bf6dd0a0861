"""Policies about single tools: who may call which, by name, by what the server says of it, by arguments, how often.

They narrow what the policies of portal and server give. The first that matches decides, and where none does the call is
allowed. Rules that cannot be known, and conditions that cannot be evaluated, match a deny and never an allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from portal.access.compiling import RuleCompiler
from portal.access.documents import ToolPolicy
from portal.access.expressions import Expression, compile_expression
from portal.access.policies import Decision, in_order
from portal.access.selectors import Test
from portal.access.subject import Subject
from portal.identity import Identity

HINTS = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True}
"""What MCP assumes of a tool that does not say."""


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool, by its server and raw name, and the call of it; `arguments` None: nobody calls it yet, it is listed."""

    server: str
    name: str
    annotations: Mapping[str, object]
    arguments: Mapping[str, object] | None = None


class ToolList:
    """The tools of a server, by raw names and with their annotations, for a decision about all of them at once.

    What policies say of the tools alone is remembered for as long as the list is in use.
    """

    __slots__ = ("__weakref__", "server", "tools")

    def __init__(self, server: str, tools: tuple[tuple[str, Mapping[str, object]], ...]) -> None:
        self.server = server
        self.tools = tools

    def which(self, holds: Callable[[str, Mapping[str, object]], bool]) -> int:
        """The tools for which this holds, as a number: the n-th bit is that of the n-th tool."""
        return sum(1 << place for place, (name, annotations) in enumerate(self.tools) if holds(name, annotations))

    def as_bytes(self, chosen: int) -> bytes | None:
        """A byte for each tool, 1 if its bit is set and else 0; None if all are set."""
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
        called = repr(self.policy_name or self.policy)
        reason = f"Policy {called} allows {self.calls} calls a run, and this run has made them."
        return Decision("deny", reason, self.policy, self.policy_name)


@dataclass(frozen=True, slots=True)
class _Compiled:
    policy: ToolPolicy
    test: Test
    tool_named: Callable[[str, str], bool]
    hints: tuple[tuple[str, bool], ...]
    expression: Expression | None


class ToolPolicies:
    """The tool policies of one place, in order."""

    def __init__(self, policies: Iterable[ToolPolicy], compiler: RuleCompiler) -> None:
        self._compiled = tuple(_compiled(policy, compiler) for policy in in_order(policies))
        # For each list of tools and each policy: the tools that it is about, and those of which that is unknown.
        self._about: WeakKeyDictionary[ToolList, tuple[tuple[int, int], ...]] = WeakKeyDictionary()

    def __bool__(self) -> bool:
        return bool(self._compiled)

    @property
    def personal(self) -> bool:
        """Whether what is listed depends on more of somebody than which rules match."""
        expressions = (one.expression for one in self._compiled if one.expression is not None)
        return any("identity" in expression.names and not expression.of_arguments for expression in expressions)

    def standing(self, subject: Subject) -> tuple[bool | None, ...]:
        """What each policy's rules say of somebody: all that a list of tools depends on besides the tools."""
        return tuple(one.test(subject) for one in self._compiled)

    def decide(
        self, standing: tuple[bool | None, ...], identity: Identity, called: ToolCalled
    ) -> tuple[Decision | None, CallBudget | None]:
        """The decision of the first policy that matches, None where none does, and what it bounds."""
        for one, stands in zip(self._compiled, standing, strict=True):
            policy = one.policy
            if stands is False or (stands is None and policy.decision == "allow") or not _about(one, called):
                continue
            holds: bool | None = True
            if one.expression is not None:
                if called.arguments is None and one.expression.of_arguments:
                    if policy.decision == "allow":
                        return None, None  # It may be allowed, once there are arguments.
                    continue
                holds = one.expression.holds(_variables(identity, called))
            if holds is False or (holds is None and policy.decision == "allow"):
                continue
            return _decision(policy, identity, called, stands, holds), _budget(policy)
        return None, None

    def denied(self, standing: tuple[bool | None, ...], identity: Identity, tools: ToolList) -> int:
        """The tools that `decide` denies without arguments, as a number (`ToolList.which`)."""
        if self.personal:
            return tools.which(lambda name, hints: self._denies(standing, identity, tools.server, name, hints))
        about = self._about.get(tools)
        if about is None:
            about = self._about[tools] = tuple(_about_all(one, identity, tools) for one in self._compiled)
        undecided, denied = (1 << len(tools.tools)) - 1, 0
        for one, stands, (holds, unknown) in zip(self._compiled, standing, about, strict=True):
            denies = one.policy.decision != "allow"
            if stands is False or (stands is None and not denies):
                continue
            matches = undecided & (holds | unknown if denies else holds)
            if denies:
                denied |= matches
            undecided &= ~matches
        return denied

    def _denies(
        self, standing: tuple[bool | None, ...], identity: Identity, server: str, name: str, hints: Mapping[str, object]
    ) -> bool:
        decision, _ = self.decide(standing, identity, ToolCalled(server, name, hints))
        return decision is not None and not decision.allowed


def _about_all(one: _Compiled, identity: Identity, tools: ToolList) -> tuple[int, int]:
    """The tools that a policy is about, and those of which that cannot be known, whoever calls."""
    about = tools.which(lambda name, hints: _about(one, ToolCalled(tools.server, name, hints)))
    expression = one.expression
    if expression is None:
        return about, 0
    if expression.of_arguments:
        # Without arguments: what it may allow later is listed, and what it may deny later is too.
        return (about, 0) if one.policy.decision == "allow" else (0, 0)
    holds = unknown = 0
    for place, (name, hints) in enumerate(tools.tools):
        if about >> place & 1:
            answer = expression.holds(_variables(identity, ToolCalled(tools.server, name, hints)))
            holds |= bool(answer) << place
            unknown |= (answer is None) << place
    return holds, unknown


def _compiled(policy: ToolPolicy, compiler: RuleCompiler) -> _Compiled:
    where = f"tool policy {policy.name or policy.id!r}"
    tools = policy.tools
    for hint in tools.annotations:
        if hint not in HINTS:
            compiler.warn(where, f"{hint!r} is no hint MCP defines; a tool that does not give it has it false")
    return _Compiled(
        policy,
        compiler.matching(policy, where),
        _named(tools.servers, tools.names),
        tuple(tools.annotations.items()),
        compile_expression(tools.expression, where=f"{where}, expression") if tools.expression else None,
    )


def _named(servers: tuple[str, ...], names: tuple[str, ...]) -> Callable[[str, str], bool]:
    of_server, of_name = _pattern(servers), _pattern(names)
    return lambda server, name: of_server(server) and of_name(name)


def _pattern(written: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a name fits one of the patterns; with none, every name does. Linear in the length of the name."""
    if not written:
        return lambda name: True
    literal = frozenset(one for one in written if not set(one) & {"*", "?"})
    wild = [one for one in written if one not in literal]
    return lambda name: name in literal or any(_fits(name, one) for one in wild)


def _fits(name: str, pattern: str) -> bool:
    """`*` is any text, `?` one character. Greedy with one step back, so that no pattern makes it exponential."""
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


def _about(one: _Compiled, called: ToolCalled) -> bool:
    return one.tool_named(called.server, called.name) and all(
        hint(called.annotations, name) is wanted for name, wanted in one.hints
    )


def hint(annotations: Mapping[str, object], name: str) -> bool:
    """What is to be assumed of a tool: a hint that is no truth value counts as not given."""
    given = annotations.get(name)
    if isinstance(given, bool):
        return given
    if name == "destructiveHint" and annotations.get("readOnlyHint") is True:
        return False
    return HINTS.get(name, False)


def _variables(identity: Identity, called: ToolCalled) -> Mapping[str, object]:
    return {
        "arguments": called.arguments if called.arguments is not None else {},
        "annotations": {name: hint(called.annotations, name) for name in HINTS},
        "tool": called.name,
        "server": called.server,
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
    policy: ToolPolicy, identity: Identity, called: ToolCalled, stands: bool | None, holds: bool | None
) -> Decision:
    name, tool = repr(policy.name or policy.id), f"{called.server}.{called.name}"
    if policy.decision == "allow":
        return Decision("allow", f"Policy {name} allows {tool} to {identity.label}.", policy.id, policy.name)
    reason = f"Policy {name} denies {tool} to {identity.label}."
    if holds is None:
        reason += " Its condition could not be evaluated with these arguments, so it holds."
    elif stands is None:
        reason += " Whether it applies cannot be known, so it does."
    return Decision("deny", reason, policy.id, policy.name)


def _budget(policy: ToolPolicy) -> CallBudget | None:
    return None if policy.calls_per_run is None else CallBudget(policy.id, policy.name, policy.calls_per_run)
