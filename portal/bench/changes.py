"""What changed between two lists of tools, in words, and what it breaks. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from portal.pins import Difference, Level, Side, differences
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
class Change:
    """One change. `tool` None: the whole server. `where` is the member of the schema it is about, if it is."""

    level: Level
    kind: str
    server: str
    tool: str | None
    what: str
    breaks: str | None = None
    where: str | None = None

    def as_dict(self) -> dict[str, object]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def changes_between(old: Iterable[Server], new: Iterable[Server]) -> list[Change]:
    """Everything that is different, server by server and tool by tool, in the order of the old list."""
    before = {server.id: server for server in old}
    after = {server.id: server for server in new}
    found: list[Change] = []
    for server_id, server in before.items():
        if server_id in after:
            found += _of_server(server, after[server_id])
        else:
            breaks = f"programs that call its {len(server.tools)} tools fail" if server.tools else None
            level: Level = "breaking" if server.tools else "caution"
            found.append(Change(level, "server-removed", server_id, None, "the server was removed", breaks))
    for server_id, server in after.items():
        if server_id not in before:
            what = f"the server was added, with {len(server.tools)} tools"
            found.append(Change("safe", "server-added", server_id, None, what))
    return found


def breaking(found: Iterable[Change]) -> int:
    """How many of them break programs."""
    return sum(change.level == "breaking" for change in found)


def _of_server(old: Server, new: Server) -> list[Change]:
    before, after = _by_name(old), _by_name(new)
    renamed = _renamed(before, after)
    found: list[Change] = []
    for name, tool in before.items():
        if name in after:
            found += _of_tool(old.id, tool, after[name])
        elif name in renamed:
            now = renamed[name]
            breaks = f"programs that call it fail; it is {now} now"
            found.append(Change("breaking", "tool-renamed", old.id, name, f"was renamed to {now}", breaks))
            found += _of_tool(old.id, tool, after[now])
        else:
            found.append(Change("breaking", "tool-removed", old.id, name, "was removed", "programs that call it fail"))
    found += [
        Change("safe", "tool-added", old.id, name, "was added")
        for name in after
        if name not in before and name not in renamed.values()
    ]
    return found


def _of_tool(server: str, old: Tool, new: Tool) -> list[Change]:
    given = [
        _change(server, old.name, "input", one) for one in differences(old.input_schema, new.input_schema, "input")
    ]
    found = given + _outputs(server, old, new)
    found += _annotations(server, old, new)
    if _words(old.description) != _words(new.description) or _words(old.title) != _words(new.title):
        found.append(Change("safe", "description", server, old.name, "its description changed"))
    elif not found and _shape(old) != _shape(new):
        found.append(
            Change("safe", "description", server, old.name, "what is said of its parameters or output changed")
        )
    return found


def _outputs(server: str, old: Tool, new: Tool) -> list[Change]:
    before, after = _declared(old), _declared(new)
    if before is None and after is None:
        return []
    if before is None:
        return [Change("safe", "output-declared", server, old.name, "now says what it returns")]
    if after is None:
        what = "no longer says what it returns"
        return [Change("caution", "output-undeclared", server, old.name, what)]
    return [_change(server, old.name, "output", one) for one in differences(before, after, "output")]


def _annotations(server: str, old: Tool, new: Tool) -> list[Change]:
    found: list[Change] = []
    for hint, (absent, became, ceased) in _HINTS.items():
        before, after = old.annotations.get(hint, absent), new.annotations.get(hint, absent)
        if bool(before) != bool(after):
            level: Level = "caution" if (hint, bool(after)) in _WORSE else "safe"
            found.append(Change(level, "annotation", server, old.name, became if after else ceased))
    return found


def _change(server: str, tool: str, side: Side, one: Difference) -> Change:
    return Change(one.level, f"{side}-{one.kind}", server, tool, one.what, one.breaks, one.where or None)


def _renamed(before: Mapping[str, Tool], after: Mapping[str, Tool]) -> dict[str, str]:
    """Old names to new ones, where one tool went, one came, and they are plainly the same."""
    gone = [tool for name, tool in before.items() if name not in after]
    come = [tool for name, tool in after.items() if name not in before]
    found: dict[str, str] = {}
    if len(gone) * len(come) > 10_000:
        return found
    for tool in gone:
        scored = [(_likeness(tool, other), other.name) for other in come if other.name not in found.values()]
        best = max(scored, default=(0.0, ""))
        if best[0] >= _ALIKE:
            found[tool.name] = best[1]
    return found


def _likeness(old: Tool, new: Tool) -> float:
    """0 to 1. Half is the input, which nearly always stays when only a name changes."""
    same_input = json.dumps(old.input_schema, sort_keys=True, default=str) == json.dumps(
        new.input_schema, sort_keys=True, default=str
    )
    members = _members(old), _members(new)
    union = members[0] | members[1]
    shape = 1.0 if same_input else (len(members[0] & members[1]) / len(union) * 0.8 if union else 0.5)
    # Having no parameters in common is no likeness, nor is having none at all.
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
    found: dict[str, Tool] = {}
    for tool in server.tools:
        found.setdefault(tool.name, tool)
    return found


def _words(text: str | None) -> str:
    return " ".join((text or "").split())


def _shape(tool: Tool) -> Sequence[str]:
    return [json.dumps(schema, sort_keys=True, default=str) for schema in (tool.input_schema, _declared(tool))]


def _declared(tool: Tool) -> Schema | None:
    """The output a server promises: what was learned from results is no promise."""
    return None if tool.output_inferred else tool.output_schema
