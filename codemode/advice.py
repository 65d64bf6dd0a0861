"""What to write instead: lines added to errors that agents are known to run into."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from itertools import islice

from codemode.catalog import Catalog
from codemode.check.certain import GENERIC_CALLS, HOW_TO_CALL, MEMBERS
from codemode.entry import takes_parameters
from codemode.returned import (
    ASSUMED,
    OF_ANSWER,
    OF_RESPONSE,
    Read,
    Returned,
    described,
    looped,
    missing,
    of_tools,
    taken_apart,
)
from codemode.run import Failure, UnknownName
from codemode.spelling import joined
from codemode.syntax import NO_MODULES
from codemode.unwaited import unwaited

MAX_SIGNATURES = 2
# The engine's words (QuickJS-ng): nothing else of a ReferenceError names the variable.
_NOT_DEFINED = re.compile(r"^'?([\w$]{1,80})'? is not defined$")
_NOTHING_IN_IT = re.compile(
    r"^(?:cannot read property '[^']{1,80}' of undefined|cannot destructure undefined|undefined is not iterable"
    r"|Cannot convert undefined)"
)
_NO_TARGET = "codemode.describe: describe needs a path"
_OF_ANSWER = re.compile(r"\b(?:content|structuredContent)\b")
_NOT_JSON = re.compile(r"^unexpected token: '(undefined|object)'")
_PARSES_OWN = re.compile(r"\bJSON\s*\.\s*parse\s*\(\s*[\"'`]")
_EMPTY_FENCE = re.compile(r"\s*```\w{0,20}\s*```\s*")
_ALL = re.compile(r"\bPromise\s*\.\s*(all|allSettled|any|race)\s*\((?!\s*\[)")
_READ = re.compile(r"^ {4}while (result\S{0,200}) was read\Z", re.MULTILINE)
_CALLED_ITSELF = re.compile(r"\bcodemode\s*\(")
_SUBTLE = re.compile(r"\bcrypto\s*\.\s*subtle\b")
_RETURNS_TOOLS = re.compile(r"(?:\breturn\s+|^|;\s*)(?:codemode|tools)(?:\s*\.\s*[\w$]+)?\s*(?:;\s*)?\Z", re.MULTILINE)
_NOT_CALLED = re.compile(r"\bcodemode(?:\s*\.\s*[\w$]+|\s*\[[^\]\n]{1,200}\])+\s*(?:[;,}\])]|\Z)")
_SEARCHED = re.compile(r"\b(?:codemode|tools)\s*\.\s*(?:search|tools)\s*\(")
_COMPUTED = re.compile(r"\bcodemode\s*\[")
_NO_FUNCTIONS = frozenset({"then", "toJSON"})

_PARSED = (
    "A tool's result that is JSON is parsed already: use the value as it is, without JSON.parse. What is still text is "
    "no JSON."
)
NO_CONTENT = (
    "A tool's result is the value itself, parsed where it is JSON: there is no content or structuredContent around it."
)
_NO_RESPONSE = "A tool's result is no HTTP response: it is the value itself, read already."
_OF_UNDEFINED = "JSON.parse takes a text, and it got undefined: look at the value with console.log before it."
_OF_OBJECT = "JSON.parse takes a text, and it got an object, which is parsed already: use it as it is."
_TOOLS_ARE_FUNCTIONS = (
    'These are functions: await codemode.search("") lists the servers, await codemode.tools({server}) their tools.'
)
_TEXT_OF_ERROR = "The message of an error is a text: new Error(JSON.stringify(value))."
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
    **dict.fromkeys(("axios", "fetch", "http", "https", "Request", "Response", "Headers", "FormData"), _NO_NETWORK),
    **dict.fromkeys(
        "window document localStorage alert prompt navigator requestAnimationFrame".split(),
        "A program does not run in a browser.",
    ),
    "setImmediate": "There is no setImmediate: write setTimeout(f, 0).",
    **dict.fromkeys(("Blob", "File"), "There are no Blob and File: use Uint8Array."),
    **dict.fromkeys(("callTool", "call_tool", "invokeTool", "executeTool", "mcp", "client", "server"), HOW_TO_CALL),
    "Temporal": "There is no Temporal: use Date, and Intl.DateTimeFormat with a timeZone.",
    "print": "Write console.log(value), or return the value.",
    "Buffer": "There is no Buffer: use Uint8Array, TextEncoder, TextDecoder, atob and btoa.",
}


def advise(
    failure: Failure, catalog: Catalog, program: str, returned: Collection[Returned] = (), *, called: bool
) -> list[str]:
    """Lines to add to the text of a failure of `program`; empty when there is nothing to add.

    `returned`: the last results of its tools. `called`: the program called tools.
    """
    if isinstance(failure.cause, UnknownName):
        return _for_path(failure.cause, catalog) or _for_key(failure.cause, failure, program, catalog)
    if failure.name == "ReferenceError" and (absent := _NOT_DEFINED.match(failure.message)):
        advice = for_name(absent[1], catalog) or _undeclared(absent[1], program) or _framework(absent[1], program)
        return [advice] if advice else []
    if failure.kind != "exception" or failure.cause is not None:
        return []
    searched = _SEARCHED.search(program) is not None
    if (called or searched) and (about_result := _about_result(failure, program, returned, catalog)) is not None:
        return [about_result]
    if failure.name == "SyntaxError" and "JSON.parse" in program and (got := _NOT_JSON.match(failure.message)):
        return [_OF_UNDEFINED if got[1] == "undefined" else _OF_OBJECT]
    if failure.name == "TypeError" and (advice := _about_type(failure, catalog, program, called=called)) is not None:
        return [advice]
    return [_TEXT_OF_ERROR] if failure.message == "[object Object]" else []


def _about_type(failure: Failure, catalog: Catalog, program: str, *, called: bool) -> str | None:
    """What to write instead of what a TypeError is about, where no result of a tool is its cause."""
    if failure.message.endswith(": only data can leave the program") and _RETURNS_TOOLS.search(program):
        return _TOOLS_ARE_FUNCTIONS
    if _NOTHING_IN_IT.match(failure.message) and _SUBTLE.search(program):
        return "There is no crypto.subtle: crypto has randomUUID and getRandomValues."
    for words, advice in _OF_RESULTS:
        if words in failure.message:
            return advice
    if _NOTHING_IN_IT.match(failure.message) and takes_parameters(program):
        return "A program is called without arguments: codemode is a global. Leave the parameters out."
    return _about_promises(failure, program) or _about_call(failure, program, catalog, called) or unwaited(program)


def being_read(failure: Failure) -> tuple[Failure, list[str]] | None:
    """The failure of a result whose own code threw, such as a getter, and what to say of it; None for others."""
    if failure.kind != "exception" or not failure.stack or (place := _READ.search(failure.stack)) is None:
        return None
    stack = failure.stack[: place.start()].rstrip("\n") or None
    line = f"This was thrown by the result itself, while {place[1]} was read: return its plain values."
    return replace(failure, stack=stack), [line]


def for_name(name: str, catalog: Catalog) -> str | None:
    """What to write instead of a global that an isolate does not have; None when that is not known."""
    if name in _ABSENT:
        return _ABSENT[name]
    if name in MEMBERS or name in catalog.names.servers:
        return f"Write codemode.{name}."
    if (keys := catalog.names.resolve(name)) and len(keys) == 1:
        return f"Write codemode.{catalog.names.path(*keys[0])}."
    return None


def _undeclared(name: str, program: str) -> str | None:
    """What to write where a program uses a variable outside of the block that declares it, or assigns to one that it
    does not declare; None for other names."""
    word = rf"(?<![\w$.]){re.escape(name)}(?![\w$])"
    taken_out = rf"[{{\[][^=;(){{}}]{{0,200}}?{word}[^=;(){{}}]{{0,200}}[}}\]]\s*="
    if re.search(rf"\b(?:const|let)\s*(?:\s{word}|{taken_out})", program):
        return (
            f"`{name}` is known only in the block that declares it: write `let {name};` before the block, and assign "
            "in it."
        )
    if re.search(rf"[{{;]\s*(?:async\s+)?function\b\s*(?:\*\s*)?{word}\s*\(", program):
        return f"The function {name} is known only in the block that declares it: declare it outside."
    assigned = rf"(?:^|;)\s*{word}\s*[-+*/%?|&]{{0,2}}=(?![=>])[^\n]*(?<!,)$"
    looped_over = rf"\bfor\s*\(\s*{word}\s*(?:=(?!=)|of\b|in\b)"
    if re.search(f"{assigned}|{looped_over}", program, re.MULTILINE):
        return f"Declare it: write `let {name}` where it first gets a value. A program is strict."
    return None


def _framework(name: str, program: str) -> str | None:
    """What to write where a program exports what a function of a framework makes; None for other names."""
    if re.search(rf"\bexport\s+default\s+{re.escape(name)}\s*\(\s*\{{", program) is None:
        return None
    return f"There is no framework here: leave {name} out, and export the object alone, or return its result."


def _about_promises(failure: Failure, program: str) -> str | None:
    """What to write instead of `Promise.all(one)` in the line of a failure; None for other failures."""
    if failure.message != "value is not iterable" or failure.line is None:
        return None
    lines = program.split("\n")[failure.line - 1 : failure.line]
    together = _ALL.search(lines[0]) if lines else None
    if together is None:
        return None
    name = f"Promise.{together[1]}"
    return f"{name} takes a list of promises, {name}([a, b]); of one, await it."


def _about_result(failure: Failure, program: str, returned: Collection[Returned], catalog: Catalog) -> str | None:
    """What to write instead where a program reads a tool's result as the MCP answer, the response or the text that it
    was, and what the tool returned."""
    if failure.name not in ("SyntaxError", "TypeError"):
        return None
    first, last = _lines_around(failure, program)
    around = "\n".join(program.split("\n")[first:last])
    reads = missing(program, returned, catalog)
    near = [one for one in reads if first <= program.count("\n", 0, one.start) < last]
    chosen = next((one for one in (*near, *reads) if one in near or one.member in ASSUMED), None)
    if failure.name == "SyntaxError":
        if "JSON.parse" not in around or _PARSES_OWN.search(around):
            return None
        if chosen is not None and "undefined" in failure.message:
            return f"{_PARSED} {_is_missing(chosen, returned)}"
        return f"{_PARSED} {described(returned)}".rstrip()
    if _NOTHING_IN_IT.match(failure.message) and _OF_ANSWER.search(around):
        results = of_tools(returned, [chosen]) if chosen is not None else returned
        return f"{NO_CONTENT} {described(results)}".rstrip()
    if failure.message == "value is not iterable":
        in_line = None if failure.line is None else looped(program, failure.line, returned, catalog)
        return in_line or taken_apart(program, returned, catalog)
    is_of_read = _NOTHING_IN_IT.match(failure.message) or "not a function" in failure.message
    if chosen is None or not (is_of_read or failure.message.startswith(_NO_TARGET)):
        return None
    return wrong_read(chosen, returned)


def _lines_around(failure: Failure, program: str) -> tuple[int, int]:
    """The first line that a failure may be about, and the one after the last, counted from 0.

    A call over several lines fails in one of them. Destructuring fails in none.
    """
    if failure.line is None:
        return 0, program.count("\n") + 1
    return max(0, failure.line - 3), failure.line + 1


def wrong_read(read: Read, returned: Collection[Returned]) -> str:
    """What to say of a member that no result of a tool has."""
    if read.member in OF_ANSWER:
        return f"{NO_CONTENT} {described(of_tools(returned, [read]))}"
    if read.member in OF_RESPONSE:
        return f"{_NO_RESPONSE} {_is_missing(read, returned)}"
    return _is_missing(read, returned)


def _is_missing(read: Read, returned: Collection[Returned]) -> str:
    return f"`{read.written}` is undefined: {described(of_tools(returned, [read]))}"


def _about_call(failure: Failure, program: str, catalog: Catalog, called: bool) -> str | None:
    """What to write instead of a call, or of a value that is none, in a TypeError."""
    if failure.message.endswith("is a promise: await it first"):
        return "Write await before it; of an array of promises, await Promise.all(list)."
    if "is a function: only data" in failure.message and _NOT_CALLED.search(program):
        return "A tool is a function: call it, await codemode.<server>.<tool>(input)."
    if failure.message == "not a function" and _EMPTY_FENCE.fullmatch(program):
        return "There is no program in the fence: send the code alone."
    if failure.line is not None and failure.message.startswith(("not a function", "cannot read property")):
        if (advice := joined(program, failure.line)) is not None:
            return advice
    if failure.message == "not a function" and _CALLED_ITSELF.search(program):
        return f"codemode itself is no function. {HOW_TO_CALL}"
    if failure.message == "not a function" and _SEARCHED.search(program) and not called:
        return HOW_TO_CALL
    if failure.message == "not a function" and (names := _without_functions(program, catalog)):
        return f"What is read as `then` or `toJSON` is never a tool. Write {', '.join(names)}."
    return None


def _without_functions(program: str, catalog: Catalog) -> list[str]:
    """The paths of the tools called `then` or `toJSON` that a program may mean, as it has to write them."""
    computed = _COMPUTED.search(program) is not None
    if not computed and not re.search(r"\.\s*(?:then|toJSON)\b", program):
        return []
    names = catalog.names
    meant = (
        names.path(server_id, raw)
        for server_id, members in names.tools.items()
        for raw in _NO_FUNCTIONS
        if members.get(f"{raw}_") == raw and (computed or re.search(rf"\.\s*{raw}\b", program))
    )
    return [f"codemode.{path}(input)" for path in sorted(meant)][:MAX_SIGNATURES]


def _for_key(unknown: UnknownName, failure: Failure, program: str, catalog: Catalog) -> list[str]:
    """What search or another function of `codemode` returned, where the key of a tool is a member that it lacks."""
    if unknown.path != "undefined":
        return []
    first, last = _lines_around(failure, program)
    reads = missing(program, (), catalog)
    near = (one for one in reads if first <= program.count("\n", 0, one.start) < last)
    return [_is_missing(one, ()) for one in islice(near, 1)]


def _for_path(unknown: UnknownName, catalog: Catalog) -> list[str]:
    """Why a tool or server is not there, else the signatures of the nearest tools; nothing that the message has."""
    if (reason := catalog.missing(unknown.path)) is not None:
        return [] if unknown.signed else [f"{reason}."]
    if unknown.path in GENERIC_CALLS or unknown.path.partition(".")[2] in GENERIC_CALLS:
        return [HOW_TO_CALL]
    if unknown.signed:
        return []
    return [catalog.brief(path) for path in unknown.nearest if catalog.get(path)][:MAX_SIGNATURES]
