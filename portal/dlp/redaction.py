"""Gives a value back with what was found replaced."""

from __future__ import annotations

from collections.abc import Iterable

from portal.dlp.findings import Finding, Place
from portal.dlp.texts import number_text

Steps = tuple[int, ...]


def marker(rule: str) -> str:
    """What stands in place of a match."""
    return f"[redacted:{rule}]"


def redact(value: object, findings: Iterable[Finding]) -> object:
    """A copy of a JSON value with each finding replaced by `[redacted:<rule>]`. Containers without findings are shared.

    Numbers with a finding become strings. A name that would then occur twice gets a number behind it. The findings are
    those of this value: of another one their places mean nothing.
    """
    edits: dict[Place, list[Finding]] = {}
    for finding in findings:
        edits.setdefault(finding.place, []).append(finding)
    if not edits:
        return value
    containers, members = _on_the_way(value, edits)
    changed: dict[Steps, object] = {}
    for place, found in edits.items():
        if not place.is_name:
            changed[place.steps] = _edited(members[place.steps], found)
    for steps in sorted(containers, key=len, reverse=True):
        changed[steps] = _rebuilt(steps, containers[steps], changed, edits)
    return changed[()]


def _on_the_way(value: object, edits: Iterable[Place]) -> tuple[dict[Steps, object], dict[Steps, object]]:
    """The containers between the root and the places, and every value there, by their steps."""
    containers: dict[Steps, object] = {}
    items: dict[Steps, list[object]] = {}
    members: dict[Steps, object] = {(): value}
    for place in edits:
        for depth, step in enumerate(place.steps):
            steps = place.steps[:depth]
            if steps not in items:
                container = members[steps]
                containers[steps] = container
                items[steps] = list(container.values()) if isinstance(container, dict) else list(_sequence(container))
            members[place.steps[: depth + 1]] = items[steps][step]
    return containers, members


def _rebuilt(
    steps: Steps, container: object, changed: dict[Steps, object], edits: dict[Place, list[Finding]]
) -> object:
    if not isinstance(container, dict):
        return [changed.get((*steps, number), item) for number, item in enumerate(_sequence(container))]
    built: dict[object, object] = {}
    kept = {name for number, name in enumerate(container) if Place((*steps, number), is_name=True) not in edits}
    for number, (name, member) in enumerate(container.items()):
        place = Place((*steps, number), is_name=True)
        new = name
        if place in edits:
            base = new = _edited(str(name), edits[place])
            again = 2
            while new in built or new in kept:
                new, again = f"{base} {again}", again + 1
        built[new] = changed.get((*steps, number), member)
    return built


def _sequence(container: object) -> Iterable[object]:
    return container if isinstance(container, list | tuple) else ()


def _edited(leaf: object, findings: list[Finding]) -> str:
    text = leaf if isinstance(leaf, str) else number_text(leaf)
    parts: list[str] = []
    at = 0
    for finding in sorted(findings, key=lambda one: (one.start, -one.length)):
        end = finding.start + finding.length
        if finding.start >= at:
            parts += (text[at : finding.start], marker(finding.rule))
        at = max(at, end)
    return "".join((*parts, text[at:]))
