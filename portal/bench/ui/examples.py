"""Example programs, generated from the servers' tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codemode import Catalog

DISCOVER = """\
// What is there? Search finds tools by what they do, describe gives their types.
const found = await codemode.search({query}, {{ limit: 5 }});
console.log(found.length, "tools match");
return await codemode.describe(found.map((tool) => tool.path));
"""

EMPTY = """\
// No server answers yet. The language and the web globals are here all the same.
console.log("hello");
return new URL("https://example.com/a?b=1").searchParams.get("b");
"""


def examples(catalog: Catalog) -> list[dict[str, str]]:
    """The examples, each with `title` and `code`. The first is the best one to begin with."""
    tools = catalog.tools()
    if not tools:
        return [{"title": "Only the language", "code": EMPTY}]
    programs = [{"title": "Find tools", "code": DISCOVER.format(query=_quoted(_words(tools[0]["name"])))}]
    simple = [tool for tool in tools if _read_only(tool) and not _required(tool)]
    if simple:
        programs.insert(0, {"title": "Call tools together", "code": _together(simple)})
    return programs


def _together(tools: list[dict[str, Any]]) -> str:
    """One call to each of up to three servers, in parallel."""
    chosen = list({tool["server"]: tool for tool in reversed(tools)}.values())[::-1][:3]
    if len(chosen) < 2:
        chosen = tools[:2]
    names = [tool["name"] if len({t["name"] for t in chosen}) == len(chosen) else _flat(tool) for tool in chosen]
    calls = "\n".join(f"  codemode.{tool['path']}({_few(tool)})," for tool in chosen)
    return (
        "// Calls without await between them run side by side; see the waterfall.\n"
        f"const [{', '.join(names)}] = await Promise.all([\n{calls}\n]);\n"
        f"console.log(Object.keys({names[0]} ?? {{}}));\n"
        f"return {{ {', '.join(names)} }};\n"
    )


def _few(tool: Mapping[str, Any]) -> str:
    """Arguments that limit the result, if the tool has a `limit`."""
    properties = tool["inputSchema"].get("properties")
    return "{ limit: 3 }" if isinstance(properties, Mapping) and "limit" in properties else "{}"


def _flat(tool: Mapping[str, Any]) -> str:
    return str(tool["path"]).replace(".", "_")


def _required(tool: Mapping[str, Any]) -> bool:
    schema = tool["inputSchema"]
    return not isinstance(schema, Mapping) or bool(schema.get("required"))


def _read_only(tool: Mapping[str, Any]) -> bool:
    annotations = tool["annotations"]
    return isinstance(annotations, Mapping) and annotations.get("readOnlyHint") is True


def _words(name: str) -> str:
    return name.replace("_", " ")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", " ").replace('"', " ") + '"'
