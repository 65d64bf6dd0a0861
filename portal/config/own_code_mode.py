"""Recognises upstream servers that are in code mode themselves, and says how to have their own tools instead.

Programs within programs cannot be searched, typed, checked or seen: such a server offers one tool that takes a program,
or a pair that searches and executes. Nothing is changed without being asked: `codeModeUpstream` in the server's
configuration decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

OwnCodeMode = Literal["advise", "off", "keep"]

PARAMETER, OFF = "codemode", "off"
_MOST_TOOLS = 8  # a pair may have company that lists and switches servers
_PROGRAM = ("code", "script", "source", "program", "javascript", "typescript")
_ALONE = re.compile(r"(?:^|_)(?:code|codemode|code_mode|execute|exec|execute_code|run_code|run_program)$")
_CERTAIN = re.compile(r"^code$|(?:^|_)(?:codemode|code_mode)$")
_EXECUTES = re.compile(r"(?:^|_)(?:execute|exec|run|code)(?:_code)?$")
_SEARCHES = re.compile(r"(?:^|_)(?:search|search_tools|find_tools|docs|describe|list_tools|get_schema)$")
_SAYS_SO = re.compile(
    r"codemode|code mode|call(?:s|ing)? (?:the |other |multiple |several )*(?:tools|api)", re.IGNORECASE
)


def programs_taken(tools: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """The tools that make a server one in code mode: its only tool, or what searches and what executes; else none.

    A lone interpreter is none: its name or description must speak of tools or of code mode.
    """
    if not 0 < len(tools) <= _MOST_TOOLS:
        return ()
    executing = [tool for tool in tools if _takes_program(tool) and _EXECUTES.search(_plain(tool))]
    if len(tools) == 1:
        (tool,) = tools
        name = _plain(tool)
        certain = _CERTAIN.search(name) or _SAYS_SO.search(str(tool.get("description") or ""))
        return (str(tool["name"]),) if _takes_program(tool) and _ALONE.search(name) and certain else ()
    searching = [tool for tool in tools if tool not in executing and _SEARCHES.search(_plain(tool))]
    if not executing or not searching:
        return ()
    return tuple(str(tool["name"]) for tool in (searching[0], executing[0]))


def advice(tools: Sequence[str], url: str | None, wanted: OwnCodeMode) -> str | None:
    """What to say about a server with these `programs_taken`; None when there is nothing to say."""
    if not tools or wanted == "keep":
        return None
    named = " and ".join(tools)
    said = f"is in code mode itself: it offers {named} instead of its own tools"
    if url is None:
        return f"{said}; start it without code mode, or turn that off with its own options"
    if wanted == "off":
        return f"{said}, although its url asks for {PARAMETER}={OFF}; see its documentation for another way"
    if PARAMETER in dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)):
        return f"{said}, although its url has {PARAMETER}; see its documentation for another way"
    return f'{said}; with "codeModeUpstream": "off" it is asked for them (?{PARAMETER}={OFF}), "keep" leaves it so'


def asking_for_tools(url: str) -> str:
    """The address with `codemode=off`, unless it says something of `codemode` already."""
    parts = urlsplit(url)
    if PARAMETER in dict(parse_qsl(parts.query, keep_blank_values=True)):
        return url
    query = f"{parts.query}&{PARAMETER}={OFF}" if parts.query else f"{PARAMETER}={OFF}"
    return urlunsplit(parts._replace(query=query))


def _takes_program(tool: Mapping[str, object]) -> bool:
    """Whether its input is a program: a text of such a name, and hardly anything else that must be given."""
    schema = tool.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or not isinstance(properties, Mapping):
        return False
    named = [name for name in _PROGRAM if isinstance(properties.get(name), Mapping)]
    required = schema.get("required")
    others = (
        set(required) - set(named)
        if isinstance(required, list) and all(isinstance(r, str) for r in required)
        else set()
    )
    return any(properties[name].get("type", "string") == "string" for name in named) and not others


def _plain(tool: Mapping[str, object]) -> str:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(tool.get("name") or ""))
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
