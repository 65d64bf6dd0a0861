"""What to write instead: lines added to errors that agents are known to run into."""

from __future__ import annotations

import re

from codemode.catalog import Catalog
from codemode.check.certain import GENERIC_CALLS, HOW_TO_CALL
from codemode.entry import takes_parameters
from codemode.run import Failure, UnknownName
from codemode.syntax import NO_MODULES

MAX_SIGNATURES = 2
# The engine's words (QuickJS-ng): nothing else of a ReferenceError names the variable.
_NOT_DEFINED = re.compile(r"^'?([\w$]{1,80})'? is not defined$")
_NOTHING_IN_IT = re.compile(r"^(?:cannot read property '[^']{1,80}' of undefined|Cannot convert undefined)")
_OF_ANSWER = re.compile(r"\b(?:content|structuredContent)\b")

_PARSED = (
    "A tool's result that is JSON is parsed already: use the value as it is, without JSON.parse. What is still text is "
    "no JSON."
)
NO_CONTENT = (
    "A tool's result is the value itself, parsed where it is JSON: there is no content or structuredContent around it."
)
_OF_RESULTS = (
    ("class constructors must be invoked with 'new'",
     "A class is not called: make an object of the class, and return what it gives: return await new Name().run();"),
    (" is a function: only data can leave the program", "Call the function and return what it gives: await name(...)."),
)  # fmt: skip
_NO_NETWORK = "A program has no network: call tools (await codemode.server.tool(input)); codemode.search finds them."
_NO_PROCESS = "A program has no process, files or environment: get data from tools and return the result."
_ABSENT = {
    **dict.fromkeys(("require", "module", "exports", "importScripts", "define"), NO_MODULES),
    **dict.fromkeys(("process", "Deno", "Bun", "fs", "path", "os", "__dirname", "__filename", "global"), _NO_PROCESS),
    **dict.fromkeys(("axios", "fetch", "http", "https", "Request", "Response", "Headers"), _NO_NETWORK),
    **dict.fromkeys(("window", "document", "localStorage", "alert", "prompt"), "A program does not run in a browser."),
    **dict.fromkeys(("callTool", "call_tool", "invokeTool", "executeTool", "mcp", "client", "server"), HOW_TO_CALL),
    "print": "Write console.log(value), or return the value.",
    "Buffer": "There is no Buffer: use Uint8Array, TextEncoder, TextDecoder, atob and btoa.",
}


def advise(failure: Failure, catalog: Catalog, program: str, *, called: bool) -> list[str]:
    """Lines to add to the text of a failure of `program`; empty when there is nothing to add.

    `called`: the program called tools.
    """
    if isinstance(failure.cause, UnknownName):
        return _for_path(failure.cause, catalog)
    if failure.name == "ReferenceError" and (absent := _NOT_DEFINED.match(failure.message)):
        advice = for_name(absent[1], catalog)
        return [advice] if advice else []
    if called and (about_result := _about_result(failure, program)) is not None:
        return [about_result]
    if failure.name == "TypeError" and failure.kind == "exception":
        for words, advice in _OF_RESULTS:
            if words in failure.message:
                return [advice]
    if _NOTHING_IN_IT.match(failure.message) and failure.name == "TypeError" and takes_parameters(program):
        return ["A program is called without arguments: codemode is a global. Leave the parameters out."]
    return []


def for_name(name: str, catalog: Catalog) -> str | None:
    """What to write instead of a global that an isolate does not have; None when that is not known."""
    if name in _ABSENT:
        return _ABSENT[name]
    if name in ("search", "describe", "tools", "emit") or name in catalog.names.servers:
        return f"Write codemode.{name}."
    if (keys := catalog.names.resolve(name)) and len(keys) == 1:
        return f"Write codemode.{catalog.names.path(*keys[0])}."
    return None


def _about_result(failure: Failure, program: str) -> str | None:
    """What to write instead where a program reads a tool's result as the MCP answer or the JSON text that it was."""
    # A call over several lines fails in one of them. Destructuring fails in none.
    lines = program.split("\n")
    place = slice(max(0, failure.line - 3), failure.line + 1) if failure.line is not None else slice(None)
    around = "\n".join(lines[place])
    if failure.kind == "exception" and failure.name == "SyntaxError" and "JSON.parse" in around:
        return _PARSED
    if failure.name == "TypeError" and _NOTHING_IN_IT.match(failure.message) and _OF_ANSWER.search(around):
        return NO_CONTENT
    return None


def _for_path(unknown: UnknownName, catalog: Catalog) -> list[str]:
    """Why a tool or server is not there, else the signatures of the nearest tools unless the message has them."""
    if (reason := catalog.missing(unknown.path)) is not None:
        return [f"{reason}."]
    if unknown.path in GENERIC_CALLS or unknown.path.partition(".")[2] in GENERIC_CALLS:
        return [HOW_TO_CALL]
    if unknown.signed:
        return []
    return [catalog.brief(path) for path in unknown.nearest if catalog.get(path)][:MAX_SIGNATURES]
