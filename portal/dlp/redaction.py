"""Gives a value back with what was found replaced."""

from __future__ import annotations

from collections.abc import Iterable

from portal.dlp.findings import Detection, Leaf
from portal.dlp.texts import number_text

Steps = tuple[int, ...]


def marker(rule: str) -> str:
    """What stands in place of a match."""
    return f"[redacted:{rule}]"


def redact(value: object, findings: Iterable[Detection]) -> object:
    """A copy of a JSON value with each finding replaced by `[redacted:<rule>]`. Containers without findings are shared.

    Numbers with a finding become strings. A name that would then occur twice gets a number behind it. The findings are
    those of this value: of another one their places mean nothing.
    """
    edits: dict[Leaf, list[Detection]] = {}
    for finding in findings:
        edits.setdefault(finding.leaf, []).append(finding)
    if not edits:
        return value
    containers, members = _on_the_way(value, edits)
    changed: dict[Steps, object] = {}
    for leaf, found in edits.items():
        if not leaf.is_name:
            changed[leaf.steps] = _edited(members[leaf.steps], found)
    for steps in sorted(containers, key=len, reverse=True):
        changed[steps] = _rebuilt(steps, containers[steps], changed, edits)
    return changed[()]


def _on_the_way(value: object, edits: Iterable[Leaf]) -> tuple[dict[Steps, object], dict[Steps, object]]:
    """The containers between the root and the places, and every value there, by their steps."""
    containers: dict[Steps, object] = {}
    items: dict[Steps, list[object]] = {}
    members: dict[Steps, object] = {(): value}
    for leaf in edits:
        for depth, step in enumerate(leaf.steps):
            steps = leaf.steps[:depth]
            if steps not in items:
                container = members[steps]
                containers[steps] = container
                items[steps] = list(container.values()) if isinstance(container, dict) else list(_sequence(container))
            members[leaf.steps[: depth + 1]] = items[steps][step]
    return containers, members


def _rebuilt(
    steps: Steps, container: object, changed: dict[Steps, object], edits: dict[Leaf, list[Detection]]
) -> object:
    if not isinstance(container, dict):
        return [changed.get((*steps, number), item) for number, item in enumerate(_sequence(container))]
    built: dict[object, object] = {}
    again: dict[str, int] = {}
    kept = {name for number, name in enumerate(container) if Leaf((*steps, number), is_name=True) not in edits}
    for number, (name, member) in enumerate(container.items()):
        leaf = Leaf((*steps, number), is_name=True)
        new = name
        if leaf in edits:
            base = new = _edited(str(name), edits[leaf])
            while new in built or new in kept:
                again[base] = again.get(base, 1) + 1
                new = f"{base} {again[base]}"
        built[new] = changed.get((*steps, number), member)
    return built


def _sequence(container: object) -> Iterable[object]:
    return container if isinstance(container, list | tuple) else ()


def _edited(leaf: object, findings: list[Detection]) -> str:
    text = leaf if isinstance(leaf, str) else number_text(leaf)
    parts: list[str] = []
    at = 0
    for finding in sorted(findings, key=lambda one: (one.start, -one.length)):
        end = finding.start + finding.length
        if finding.start >= at:
            parts += (text[at : finding.start], marker(finding.rule))
        at = max(at, end)
    return "".join((*parts, text[at:]))
