"""What callers are told of a block, and what the log has of rules that matched. Never what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from portal.dlp import PREDEFINED, Detection
from portal.gateway.fields import Direction
from portal.gateway.judging import RuleBlock, RuleMatch
from portal.gateway.rules import HttpRule

MOST_FINDINGS = 20
"""Findings that a row of the log has; the others are counted."""
_SHOWN = 3
_LOOKED_AT = 1000
_NOTHING_KNOWN = {
    "unreadable": "the rule cannot be read, so what it could be about is blocked",
    "unavailable": "it asks for secrets, and nothing can be searched for them now",
    "incomplete": "it asks for secrets, and there was too much to search",
    "unknown profile": "it asks for a profile that is not there",
    "unknown server": "it asks for the address of the server, which is not there any more",
}


def reason_of(block: RuleBlock, direction: Direction, *, program: bool = False) -> str:
    """Why a value was blocked, whether the call was made, and what to do, for whoever made the call."""
    rule = block.rule
    what = "this program" if program else "this call" if direction == "outgoing" else "the result of this call"
    ran = "Nothing ran." if program else "The call was not sent." if direction == "outgoing" else "The call was made."
    said = [f"The portal's gateway blocked {what} by the rule {rule.name!r}: {_because(block, direction)}.", ran]
    if rule.reason and block.why == "matched":
        said.append(rule.reason)
    said.append(_advice(block, direction))
    return " ".join(said)


def _because(block: RuleBlock, direction: Direction) -> str:
    if block.why == "matched":
        return f"it found {_found(block.findings, direction)}" if block.findings else "its conditions hold"
    if block.why == "not approved":
        what = f"with {_found(block.findings, direction)}" if block.findings else "of its kind"
        return f"it lets a call {what} pass only with the approval of people, and this has none"
    if block.why == "not redacted":
        return f"it found {_found(block.findings, direction)}, and that cannot be taken out"
    return _NOTHING_KNOWN[block.why]


def _found(findings: Sequence[Detection], direction: Direction) -> str:
    """Kinds of what was found. The caller knows the paths of what it sent, and not those of what was kept from it."""
    kinds = dict.fromkeys(f"{PREDEFINED.get(one.profile, one.profile)} ({one.rule})" for one in findings[:_LOOKED_AT])
    shown = list(kinds)[:_SHOWN]
    more = f" and {len(kinds) - _SHOWN} more kinds" if len(kinds) > _SHOWN else ""
    where = f" at {findings[0].path}" if direction == "outgoing" and findings else ""
    return f"{', '.join(shown)}{more}{where}"


def _advice(block: RuleBlock, direction: Direction) -> str:
    if block.why in ("matched", "not redacted") and block.findings:
        if direction == "outgoing":
            return "Take it out and try again."
        return "Ask for less, or for the parts without it."
    if block.why == "incomplete":
        return "Send less at once." if direction == "outgoing" else "Ask for less at once."
    return "Ask the portal's administrator if you need it."


def reason_to_ask(match: RuleMatch) -> str:
    """Why people are asked about a call, for them: the rule, and what kind of thing it found where."""
    found = f"it found {_found(match.findings, 'outgoing')}" if match.findings else "its conditions hold"
    return f"Rule {match.rule.name!r}: {found} in what this sends."


def log_entries(
    matches: Iterable[RuleMatch], block: RuleBlock | None, direction: Direction, room: int = MOST_FINDINGS
) -> list[dict[str, object]]:
    """The rules that matched, as a row of the log has them. At most `room` of their findings are written out."""
    entries: list[dict[str, object]] = []
    for match in matches:
        entries.append(_log_entry(match.rule, match.rule.action, direction, match.findings, room))
        room -= min(room, len(match.findings))
    if block is not None:
        entry = _log_entry(block.rule, "block", direction, block.findings, room)
        entries.append(entry if block.why == "matched" else {**entry, "why": block.why})
    return entries


def _log_entry(
    rule: HttpRule, action: str, direction: Direction, findings: Sequence[Detection], room: int
) -> dict[str, object]:
    entry: dict[str, object] = {"rule": rule.id, "name": rule.name, "action": action, "direction": direction}
    if findings:
        entry["findings"] = [
            {
                "profile": one.profile,
                "rule": one.rule,
                "path": one.path,
                "length": one.length,
                "digest": one.digest,
            }
            for one in findings[:room]
        ]
    return entry if len(findings) <= room else {**entry, "more": len(findings) - room}
