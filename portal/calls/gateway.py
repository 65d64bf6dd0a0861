"""The gateway at the gate: every value between a caller and a server is judged by the rules, in both directions.

Where neither the portal nor the server has `secure_web_gateway`, no rule is asked. Each value is judged by the settings
and rules of that moment. So a change also holds for calls under way and for running programs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from urllib.parse import unquote

from portal.access import ApprovalRule, digest_of
from portal.approvals import ApprovalImpossible, canonical
from portal.approvals import digest_of as digest_of_call
from portal.calls.gate import RELEASES, TARGET, Call, Denial, Members
from portal.calls.rows import MAX_FINDINGS
from portal.dlp import DetectionUnavailable
from portal.gateway import (
    MOST_FINDINGS,
    NO_ADDRESS,
    Direction,
    JudgedContent,
    LiveGateway,
    RuleBlock,
    RuleMatch,
    Ruling,
    ServerAddress,
    ValueFacts,
    address_of,
    judge,
    log_entries,
    masked,
    reason_of,
    reason_to_ask,
)
from portal.identity import ANONYMOUS
from portal.servers import Servers
from portal.upstream import CallContext

_JOINTS = re.compile(r"[_/:?&=#.\s]")
_PARTS = re.compile(r"[/?&=#\s]")
MOST_PARTS = 16
PROGRAM = "code"
"""The name under which rules see a program that is about to run: a call of the tool `code`."""


@dataclass(frozen=True, slots=True)
class GatewayPreview:
    """A call as the rules would let it out, what those ask people that let it pass with their approval alone, and its
    params as people see them then: without what these rules found. None is all of what is sent."""

    sent: Call
    asks: tuple[ApprovalRule, ...] = ()
    shown: Members | None = field(default=None, repr=False)


class GatewayScreening:
    """The screening of one portal. `portal` is its id; `whole` says whether the portal itself has the gateway, and not
    only some of its servers."""

    def __init__(self, gateway: LiveGateway, servers: Servers, portal: str, whole: Callable[[], bool]) -> None:
        self._gateway = gateway
        self._servers = servers
        self._portal = portal
        self._whole = whole

    @property
    def asks(self) -> bool:
        """Whether a rule has people decide about calls of now."""
        return self._gateway.current.asks

    async def preview(self, call: Call, context: CallContext) -> GatewayPreview | None:
        """What the rules would make of a call now, before people are asked about it; None if they stop it anyway."""
        nothing = GatewayPreview(call)
        if (asked := self._asked_about(call.params, "outgoing", call, context)) is None:
            return nothing
        judged, facts = asked
        book = self._gateway.current
        ruling = await self._judged(judged, facts)
        if ruling.block is not None or not isinstance(ruling.value, dict):
            return None
        sent = replace(call, params=ruling.value)
        if not ruling.asking:
            return GatewayPreview(sent)
        content = replace(judged, value=ruling.value)
        shown = await masked(book, self._gateway.detector, content, [match.rule for match in ruling.asking])
        if not isinstance(shown, dict):
            return None
        about = _digest(call.params)
        asks = tuple(_asked_by(match, about) for match in ruling.asking)
        return GatewayPreview(sent, asks, shown)

    async def screen(
        self, content: Members, direction: Direction, call: Call, context: CallContext
    ) -> Members | Denial:
        """The content that may pass, without what a rule redacts, or a denial."""
        if (asked := self._asked_about(content, direction, call, context)) is None:
            return content
        judged, facts = asked
        ruling = _approved(await self._judged(judged, facts), content, context.facts.approved)
        if direction == "outgoing" and _in_target(ruling, content):
            context.facts.hides_name = True
        denial = self._noted(ruling, facts, context)
        if denial is not None:
            return denial
        assert isinstance(ruling.value, dict)
        return ruling.value

    def _asked_about(
        self, content: Mapping[str, object], direction: Direction, call: Call, context: CallContext
    ) -> tuple[JudgedContent, ValueFacts] | None:
        """What the rules are asked about a value on its way; None if none is."""
        if not self._gateway.current.rules or call.method in RELEASES:
            return None
        server = self._servers.snapshot_for(context.on_behalf).servers.get(call.server)
        # A program goes on with the servers that it began with: the address is that of where the request goes.
        used = context.facts.server
        config = used if used is not None else (server.config if server is not None else None)
        now = server.config if server is not None else config
        if not (self._whole() or (now is not None and now.secure_web_gateway)):
            return None
        address = None if config is None else address_of(getattr(config, "url", ""))
        outgoing = direction == "outgoing"
        judged = JudgedContent(
            dict(content),
            "params" if outgoing else "result",
            arguments=outgoing,
            fixed=TARGET if outgoing else (),
        )
        return judged, self._facts(direction, call.method, call.server, call.name, address, context)

    async def screen_program(self, program: str, context: CallContext) -> Denial | None:
        """Why a program may not run, or None. Its text is not changed: what a rule would redact blocks it."""
        if not self._gateway.current.rules or not self._whole():
            return None
        facts = self._facts("outgoing", "tools/call", "", PROGRAM, NO_ADDRESS, context)
        judged = JudgedContent(program, "program", arguments=True, whole=True)
        # Nobody is asked about a program: its calls are asked about one by one.
        ruling = _approved(await self._judged(judged, facts), {}, frozenset())
        return self._noted(ruling, facts, context, program=True)

    async def shown(self, content: Members) -> Members | None:
        """What people see of something that is of no call yet: without what rules of now find in it that ask people,
        redact or block, whatever else those are about. None if that cannot be known or taken out."""
        book = self._gateway.current
        rules = [rule for rule in book.rules if rule.profiles and rule.action in ("approve", "redact", "block")]
        if not rules or not self._is_on():
            return content
        judged = JudgedContent(content, "plan", arguments=True)
        seen = await masked(book, self._gateway.detector, judged, rules)
        return seen if isinstance(seen, dict) else None

    async def hides(self, text: str) -> bool:
        """Whether a text that no call is made with must not be in a row: something that a rule asks for is in it, or
        that cannot be known now."""
        detector = self._gateway.detector
        if not self._gateway.current.profiles or not self._is_on():
            return False
        if detector is None:
            return True
        try:
            verdict = await detector.scanned(_readings(text), "name")
        except DetectionUnavailable:
            return True
        return bool(verdict) or not verdict.complete

    def _is_on(self) -> bool:
        """Whether the portal has the gateway, or any server."""
        return self._whole() or any(
            server.config.secure_web_gateway for server in self._servers.snapshot.servers.values()
        )

    async def _judged(self, content: JudgedContent, facts: ValueFacts) -> Ruling:
        """What the rules make of this content that are in force when it has been judged."""
        while True:
            book = self._gateway.current
            ruling = await judge(book, self._gateway.detector, content, facts)
            # What was searched for is what the rules need that came meanwhile.
            if book is self._gateway.current:
                return ruling

    def _facts(
        self,
        direction: Direction,
        method: str,
        server: str,
        name: str,
        address: ServerAddress | None,
        context: CallContext,
    ) -> ValueFacts:
        return ValueFacts(
            direction=direction,
            method=method,
            portal=self._portal,
            server=server,
            name=name,
            address=address,
            identity=context.principal or ANONYMOUS,
        )

    def _noted(
        self, ruling: Ruling, facts: ValueFacts, context: CallContext, *, program: bool = False
    ) -> Denial | None:
        """The denial of a value that is blocked. The rules that matched are noted for the row of the call."""
        block = ruling.block
        if not ruling.matches and block is None:
            return None
        noted = context.facts.findings
        room = MOST_FINDINGS - sum(len(found) for one in noted if isinstance(found := one.get("findings"), list))
        entries = log_entries(ruling.matches, block, facts.direction, max(0, room))
        noted += entries[: max(0, MAX_FINDINGS - len(noted))]
        if block is not None and noted[-1] is not entries[-1]:
            noted[-1] = entries[-1]
        named = ruling.matches[0].rule if block is None else block.rule
        context.facts.policy = context.facts.policy or named.called
        return None if block is None else Denial(reason_of(block, facts.direction, program=program), named.called)


def _asked_by(match: RuleMatch, about: str) -> ApprovalRule:
    """What a rule that matched asks people about params that have this digest: it is asked again when they go out."""
    assert match.rule.asks is not None
    revision = digest_of([match.rule.asks.revision, about])
    return replace(match.rule.asks, revision=revision, because=(reason_to_ask(match),))


def _approved(ruling: Ruling, content: Mapping[str, object], approved: Collection[str]) -> Ruling:
    """The ruling as it is with what people have approved: a rule that asks them blocks everything else."""
    if ruling.block is not None or not (asking := ruling.asking):
        return ruling
    about = ""
    if approved:
        # What cannot be shown was approved by nobody.
        with suppress(ApprovalImpossible):
            about = _digest(content)
    missing = next((match for match in asking if _asked_by(match, about).revision not in approved), None)
    if missing is None:
        return ruling
    return replace(ruling, block=RuleBlock(missing.rule, "not approved", missing.findings))


def _digest(params: Mapping[str, object]) -> str:
    """
    Raises:
        ApprovalImpossible: nobody could be shown them.
    """
    return digest_of_call("", canonical(params)).hex()


def _readings(text: str) -> list[str]:
    """A name, and what it may be put together from: `SERVER_TOOL`, a URI. In the middle of a word nothing is found."""
    plain = unquote(text)
    starts = [found.end() for found in islice(_JOINTS.finditer(plain), MOST_PARTS)]
    return [text, plain, *(plain[start:] for start in starts), *_PARTS.split(plain, MOST_PARTS)]


def _in_target(ruling: Ruling, params: Mapping[str, object]) -> bool:
    """Whether something was found in what names the target of a call."""
    places = {place for place, member in enumerate(params) if member in TARGET}
    found = [match.findings for match in ruling.matches]
    if ruling.block is not None:
        found.append(ruling.block.findings)
    # Rules about the same profile have the same findings.
    different = {id(some): some for some in found}.values()
    return any(one.leaf.steps and one.leaf.steps[0] in places for some in different for one in some)
