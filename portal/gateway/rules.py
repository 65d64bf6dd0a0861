"""Rules, compiled and in their order: one snapshot, which is replaced as a whole when a rule changes. Pure.

A stored rule that cannot be read does not open anything: what it could be about is blocked. It is about nothing where
one of its expressions can be read and is false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import ValidationError

from portal.access import ApprovalRule, RuleApprovals
from portal.errors import PortalError
from portal.gateway.fields import ValueFacts
from portal.gateway.matching import PatternRefused, Searched, Test, Truth, all_of, compiled, profiles_in
from portal.gateway.reading import All, Comparison, ExpressionRefused, Node, read_expression
from portal.misfits import fitted, misfits
from portal.objects import RuleAction, RuleDocument

EXPRESSIONS = ("traffic", "identity", "device_posture")
MAX_RULES = 1000
# Of rules of the same precedence the strictest comes first, and what only takes note comes before what ends.
_STRICTEST: Mapping[RuleAction, int] = {"log": 0, "block": 1, "approve": 2, "redact": 3, "allow": 4}


class HttpRuleRefused(PortalError):
    """A rule that cannot be used. `member` is the one at fault, "" for the whole rule; `problem` quotes no value."""

    def __init__(self, member: str, problem: str, where: str = "") -> None:
        self.member = member
        self.problem = problem
        place = ".".join(part for part in (where, member) if part)
        super().__init__(f"{place}: {problem}" if place else problem)


@dataclass(frozen=True, slots=True)
class HttpRule:
    """A rule as it decides. `profiles` are those that it asks a search for; `reason` is what a block says.

    `unreadable` says why nobody knows what the rule says; it then blocks. `asks` is what people are asked by a rule
    with the action `approve`.
    """

    id: str
    name: str
    action: RuleAction
    test: Test = field(repr=False)
    profiles: frozenset[str] = frozenset()
    reason: str = ""
    precedence: int = 0
    unreadable: str = ""
    asks: ApprovalRule | None = None

    @property
    def called(self) -> str:
        """Its name as errors and rows have it, as a policy's."""
        return f"gateway:{self.name}"


@dataclass(frozen=True, slots=True)
class WrittenRule:
    """A rule as an operator wrote it, at `key` of the document, and the precedence that it has there."""

    key: str
    document: RuleDocument
    precedence: int
    rule: HttpRule


StepKind = Literal["passes", "search", "matches", "unsure"]


@dataclass(frozen=True, slots=True)
class Step:
    """The next thing to do about a value: nothing more (`passes`), `search` it for secrets, follow a rule that
    `matches`, or refuse it, because it cannot be known whether a rule matches (`unsure`). `next` is where to go on."""

    kind: StepKind
    rule: HttpRule | None = None
    next: int = 0


_PASSES = Step("passes")


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules in the order in which they are asked: those of the document, then those of the store."""

    rules: tuple[HttpRule, ...] = ()

    def step(self, facts: ValueFacts, searched: Searched | None, begin: int = 0) -> Step:
        """What the rules from `begin` on say of a value. `searched` is None as long as it was not searched."""
        for at in range(begin, len(self.rules)):
            rule = self.rules[at]
            truth: Truth = rule.test(facts, searched)
            if truth is False:
                continue
            if truth and not rule.unreadable:
                return Step("matches", rule, at + 1)
            return Step("search" if rule.profiles and searched is None else "unsure", rule, at)
        return _PASSES

    @property
    def asks(self) -> bool:
        """Whether a rule has people decide."""
        return any(rule.asks is not None for rule in self.rules)

    @property
    def profiles(self) -> frozenset[str]:
        """The profiles that the rules name."""
        return frozenset(profile for rule in self.rules for profile in rule.profiles)


NO_RULES = Rulebook()
StampOf = Callable[[Mapping[str, object]], str]
"""What tells an entry of the document from the same entry that was there before, "" where nobody counts that."""


def compile_rule(id: str, document: RuleDocument, stamp: str = "", approvals: RuleApprovals | None = None) -> HttpRule:
    """A rule that can decide. `stamp` is another after each change of it. `approvals` knows who approves;
    without it a list of addresses has nobody.

    Raises:
        HttpRuleRefused: an expression cannot be read, or the action has nothing to act on.
    """
    nodes = {member: _read(getattr(document, member), member) for member in EXPRESSIONS}
    tests = [_compiled(node, member) for member, node in nodes.items() if node is not None]
    profiles = profiles_in(nodes["traffic"])
    if document.action == "redact" and not profiles:
        raise HttpRuleRefused("traffic", "must ask for what to redact: any(dlp.profiles[*] in {...})")
    asks: ApprovalRule | None = None
    if document.action == "approve":
        if not _only_outgoing(nodes["traffic"]):
            problem = (
                'must say `mcp.direction == "outgoing" and ...`: people approve what a call sends before it is made. '
                "A result is there already, and cannot wait for them: block or redact it"
            )
            raise HttpRuleRefused("traffic", problem)
        # What it is about is in it too: people have approved a call under a rule that says this.
        stamp = f"{id} {stamp} {document.model_dump_json()}"
        asks = (approvals or RuleApprovals(())).rule_of(f"gateway:{document.name}", stamp, document.rule_settings)
    return HttpRule(
        id,
        document.name,
        document.action,
        all_of(tests),
        profiles,
        document.rule_settings.block_reason,
        document.precedence or 0,
        asks=asks,
    )


def unreadable_rule(id: str, members: Mapping[str, object], problem: str) -> HttpRule | None:
    """What stands in for a stored rule that cannot be read; None if it is certainly not enabled."""
    if members.get("enabled") is False:
        return None
    name, precedence = members.get("name"), members.get("precedence")
    return HttpRule(
        id,
        name[:255] if isinstance(name, str) else id,
        "block",
        all_of([_readable(members.get(member, ""), member) for member in EXPRESSIONS]),
        # Without a known place it comes first.
        precedence=precedence if isinstance(precedence, int) else 0,
        unreadable=problem,
    )


def read_rules(
    entries: Sequence[object],
    where: str = "rules",
    approvals: RuleApprovals | None = None,
    stamp_of: StampOf = lambda entry: "",
) -> list[HttpRule]:
    """The rules that an operator wrote into the document and that are enabled, in their order. What `stamp_of` says of
    one is another after each of its changes.

    Raises:
        HttpRuleRefused: a rule cannot be used, or two have one id.
    """
    return [
        replace(one.rule, precedence=one.precedence)
        for one in written_rules(entries, where, approvals, stamp_of)
        if one.document.enabled
    ]


def written_rules(
    entries: Sequence[object],
    where: str = "rules",
    approvals: RuleApprovals | None = None,
    stamp_of: StampOf = lambda entry: "",
) -> list[WrittenRule]:
    """All rules that an operator wrote into the document, in the order in which they are asked. One without
    `precedence` has that of the one before it; one without `id` is known by its name. `stamp_of` as for `read_rules`.

    Raises:
        HttpRuleRefused: a rule cannot be used, or two have one id.
    """
    found: list[WrittenRule] = []
    ids = set[str]()
    before = 0
    for number, entry in enumerate(entries):
        here = f"{where}[{number}]"
        id, document = _document(entry, here)
        if id in ids:
            raise HttpRuleRefused(
                "id" if isinstance(entry, Mapping) and "id" in entry else "name", "is taken already", here
            )
        ids.add(id)
        try:
            stamp = stamp_of(entry) if isinstance(entry, Mapping) else ""
            rule = compile_rule(id, document, stamp, approvals)
        except HttpRuleRefused as refused:
            raise HttpRuleRefused(refused.member, refused.problem, here) from None
        before = before if document.precedence is None else document.precedence
        found.append(WrittenRule(here, document, before, rule))
    return sorted(found, key=lambda one: one.precedence)


def in_order(rules: Iterable[HttpRule]) -> list[HttpRule]:
    """Stored rules in the order of their precedence; of the same one, the strictest first."""
    return sorted(rules, key=lambda rule: rule_place(rule.precedence, rule.action, rule.id))


def rule_place(precedence: int, action: RuleAction, id: str) -> tuple[int, int, str]:
    """What stored rules are sorted by."""
    return precedence, _STRICTEST[action], id


def unknown_profiles(rules: Iterable[HttpRule], knows: Callable[[str], bool]) -> list[str]:
    """The profiles that these rules ask for and that are not there."""
    return sorted(profile for rule in rules for profile in rule.profiles if not knows(profile))


def _document(entry: object, where: str) -> tuple[str, RuleDocument]:
    if not isinstance(entry, Mapping):
        raise HttpRuleRefused("", "must be an object", where)
    members = dict(entry)
    id = members.pop("id", None)
    unknown = [str(name) for name in members if name not in RuleDocument.model_fields]
    if unknown:
        raise HttpRuleRefused(unknown[0][:60], "is not known here", where)
    try:
        document = fitted(RuleDocument, members)
    except ValidationError as error:
        first = misfits(error, members)[0]
        raise HttpRuleRefused(first.dotted, first.problem, where) from None
    if id is not None and (not isinstance(id, str) or not 0 < len(id) <= 64 or not id.isprintable()):
        raise HttpRuleRefused("id", "must be text of 1 to 64 characters", where)
    return id or document.name, document


def _only_outgoing(node: Node | None) -> bool:
    """Whether an expression is false of everything that comes in, by one of the parts that have to be true."""
    return any(
        isinstance(part, Comparison)
        and part.field.name == "mcp.direction"
        and set(part.texts) == {"outgoing"}
        and part.operator in ("==", "in")
        for part in (node.parts if isinstance(node, All) else (node,))
    )


def _read(source: str, member: str) -> Node | None:
    try:
        return read_expression(source, member)
    except ExpressionRefused as refused:
        raise HttpRuleRefused(member, str(refused)) from None


def _compiled(node: Node, member: str) -> Test:
    try:
        return compiled(node)
    except PatternRefused as refused:
        raise HttpRuleRefused(member, str(refused)) from None


def _readable(source: object, member: str) -> Test:
    """The test that an expression of a broken rule is, or one that knows nothing."""
    try:
        if isinstance(source, str):
            return compiled(_read(source, member))
    except (HttpRuleRefused, PatternRefused):
        pass
    return lambda facts, searched: None
