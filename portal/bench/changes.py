"""The changes between two lists of tools, in words, and the programs they break. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from portal.pins import Level, SchemaChange, Side, schema_changes
from stubs import Schema, Server, Tool

_ALIKE = 0.75
_HINTS = {
    # annotation: (its value when absent, the sentence when it becomes true, when it becomes false), MCP 2025-11-25
    "readOnlyHint": (False, "now says that it changes nothing", "no longer says that it changes nothing"),
    "destructiveHint": (True, "now says that it may destroy", "now says that it destroys nothing"),
    "idempotentHint": (False, "now says that it may be repeated", "no longer says that it may be repeated"),
}
_WORSE = {("readOnlyHint", False), ("destructiveHint", True), ("idempotentHint", False)}


@dataclass(frozen=True, slots=True)
class ToolChange:
    """One change. `tool` is None if it is about the whole server. `where` is the schema's member, or None.

    `breaks` is a clause about the programs that no longer work, or None.
    """

    level: Level
    kind: str
    server: str
    tool: str | None
    what: str
    breaks: str | None = None
    where: str | None = None

    def as_dict(self) -> dict[str, object]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def changes_between(old: Iterable[Server], new: Iterable[Server]) -> list[ToolChange]:
    """The changes from `old` to `new`, by server and tool, in the order of the old list."""
    before = {server.id: server for server in old}
    after = {server.id: server for server in new}
    changes: list[ToolChange] = []
    for server_id, server in before.items():
        if server_id in after:
            changes += _of_server(server, after[server_id])
        else:
            breaks = f"programs that call its {len(server.tools)} tools fail" if server.tools else None
            level: Level = "breaking" if server.tools else "caution"
            changes.append(ToolChange(level, "server-removed", server_id, None, "the server was removed", breaks))
    for server_id, server in after.items():
        if server_id not in before:
            what = f"the server was added, with {len(server.tools)} tools"
            changes.append(ToolChange("safe", "server-added", server_id, None, what))
    return changes


def breaking(changes: Iterable[ToolChange]) -> int:
    """The number of changes that break programs."""
    return sum(change.level == "breaking" for change in changes)


def _of_server(old: Server, new: Server) -> list[ToolChange]:
    before, after = _by_name(old), _by_name(new)
    renamed = _renamed(before, after)
    changes: list[ToolChange] = []
    for name, tool in before.items():
        if name in after:
            changes += _of_tool(old.id, tool, after[name])
        elif name in renamed:
            now = renamed[name]
            breaks = f"programs that call it fail; it is {now} now"
            changes.append(ToolChange("breaking", "tool-renamed", old.id, name, f"was renamed to {now}", breaks))
            changes += _of_tool(old.id, tool, after[now])
        else:
            changes.append(
                ToolChange("breaking", "tool-removed", old.id, name, "was removed", "programs that call it fail")
            )
    changes += [
        ToolChange("safe", "tool-added", old.id, name, "was added")
        for name in after
        if name not in before and name not in renamed.values()
    ]
    return changes


def _of_tool(server: str, old: Tool, new: Tool) -> list[ToolChange]:
    inputs = [
        _change(server, old.name, "input", one) for one in schema_changes(old.input_schema, new.input_schema, "input")
    ]
    changes = inputs + _outputs(server, old, new)
    changes += _annotations(server, old, new)
    if _words(old.description) != _words(new.description) or _words(old.title) != _words(new.title):
        changes.append(ToolChange("safe", "description", server, old.name, "its description changed"))
    elif not changes and _shape(old) != _shape(new):
        changes.append(
            ToolChange("safe", "description", server, old.name, "the descriptions of its parameters or output changed")
        )
    return changes


def _outputs(server: str, old: Tool, new: Tool) -> list[ToolChange]:
    before, after = _declared(old), _declared(new)
    if before is None and after is None:
        return []
    if before is None:
        return [ToolChange("safe", "output-declared", server, old.name, "now says what it returns")]
    if after is None:
        what = "no longer says what it returns"
        return [ToolChange("caution", "output-undeclared", server, old.name, what)]
    return [_change(server, old.name, "output", one) for one in schema_changes(before, after, "output")]


def _annotations(server: str, old: Tool, new: Tool) -> list[ToolChange]:
    changes: list[ToolChange] = []
    for hint, (absent, became, ceased) in _HINTS.items():
        before, after = old.annotations.get(hint, absent), new.annotations.get(hint, absent)
        if bool(before) != bool(after):
            level: Level = "caution" if (hint, bool(after)) in _WORSE else "safe"
            changes.append(ToolChange(level, "annotation", server, old.name, became if after else ceased))
    return changes


def _change(server: str, tool: str, side: Side, change: SchemaChange) -> ToolChange:
    return ToolChange(
        change.level, f"{side}-{change.kind}", server, tool, change.what, change.breaks, change.where or None
    )


def _renamed(before: Mapping[str, Tool], after: Mapping[str, Tool]) -> dict[str, str]:
    """New names by old ones, for a removed tool and an added one that are clearly the same tool."""
    removed = [tool for name, tool in before.items() if name not in after]
    added = [tool for name, tool in after.items() if name not in before]
    names: dict[str, str] = {}
    if len(removed) * len(added) > 10_000:
        return names
    for tool in removed:
        scored = [(_likeness(tool, other), other.name) for other in added if other.name not in names.values()]
        best = max(scored, default=(0.0, ""))
        if best[0] >= _ALIKE:
            names[tool.name] = best[1]
    return names


def _likeness(old: Tool, new: Tool) -> float:
    """The likeness of two tools, 0 to 1. Half of it is the input, which rarely changes when a tool is renamed."""
    same_input = json.dumps(old.input_schema, sort_keys=True, default=str) == json.dumps(
        new.input_schema, sort_keys=True, default=str
    )
    members = _members(old), _members(new)
    union = members[0] | members[1]
    shape = 1.0 if same_input else (len(members[0] & members[1]) / len(union) * 0.8 if union else 0.5)
    # Two tools without parameters are neither alike nor different in them.
    if not union:
        shape = 0.5
    words = _ratio(_words(old.description), _words(new.description)) if old.description else 0.0
    return 0.5 * shape + 0.3 * words + 0.2 * _ratio(old.name, new.name)


def _members(tool: Tool) -> set[str]:
    schema = tool.input_schema
    members = schema.get("properties") if isinstance(schema, Mapping) else None
    return set(map(str, members)) if isinstance(members, Mapping) else set()


def _ratio(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first[:500], second[:500], autojunk=False).ratio()


def _by_name(server: Server) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    for tool in server.tools:
        tools.setdefault(tool.name, tool)
    return tools


def _words(text: str | None) -> str:
    return " ".join((text or "").split())


def _shape(tool: Tool) -> Sequence[str]:
    return [json.dumps(schema, sort_keys=True, default=str) for schema in (tool.input_schema, _declared(tool))]


def _declared(tool: Tool) -> Schema | None:
    """The output schema that the server declares. A learned one is not a declaration."""
    return None if tool.output_inferred else tool.output_schema
