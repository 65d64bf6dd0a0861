"""What whoever is refused is told: which rule, what was read and by which call, until when, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from portal.flows.decisions import FlowRefusal
from portal.state import LabelRead


def policy_name(rule: str) -> str:
    """The rule as the policy of a denied call."""
    return f"data-flow:{rule}"


def reason_to_ask(refusal: FlowRefusal, *, server: str, portal: str, told: bool) -> str:
    """Why people are asked about a call of `server`, for them: what was read, and where what they see would go."""
    where = sorted({one.server for one in _here(refusal, portal)}) if told else []
    of = f" of {_words(where)}" if where else ""
    read, target = _words(sorted(one.label for one in refusal.read)), _words(sorted(refusal.labels))
    return f"Rule {refusal.rule!r}: after reading {read}{of}, this sends to {target} {server}."


def denial_text(refusal: FlowRefusal, *, what: str, portal: str, told: bool, now: datetime) -> str:
    """The reason of a denial of `what`, such as "a call of mail.send".

    Where it was read is told if `told`, and of reads at the same portal alone: another portal's servers are unknown at
    this one, and strangers of one network are not told what the others do.
    """
    where = next((f"{one.server}.{one.tool}" if one.tool else one.server for one in _here(refusal, portal)), "")
    by = f" (by {where})" if told and where else ""
    whoever = "this program has" if refusal.run else "you have" if told else "somebody of your network has"
    if refusal.run:
        end = "It holds until the program ends."
    else:
        ends = [one.until for one in refusal.read]
        end = f"It holds until {_time(min(ends) if refusal.every else max(ends), now)}."
    target, read = _words(sorted(refusal.labels)), _words(sorted(one.label for one in refusal.read))
    if refusal.asks is not None:
        end += " Its calls need the approval of people, and this one has none: make it again where they can be asked."
    return (
        f"The data-flow rule {refusal.rule!r} does not allow {what}, which is labelled {target}: {whoever} read "
        f"something labelled {read}{by}. Nothing was sent. {end} Go on without it, or ask the portal's "
        "administrator, who can change the rule or end this earlier."
    )


def _here(refusal: FlowRefusal, portal: str) -> Iterator[LabelRead]:
    return (one for one in refusal.read if one.portal == portal)


def _words(labels: list[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _time(at: datetime, now: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at:%H:%M} UTC" if at.date() == now.astimezone(UTC).date() else f"{at:%Y-%m-%d %H:%M} UTC"
