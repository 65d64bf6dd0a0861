"""What to write instead: sentences added to errors that agents are known to run into."""

from __future__ import annotations

import re

from codemode.catalog import Catalog
from codemode.run import Failure

MAX_SIGNATURES = 2
_NOT_DEFINED = re.compile(r"^'?([\w$]{1,80})'? is not defined$")
_MISSING = re.compile(r"^codemode\.(.{1,200}?) does not exist\.")
_STUB = re.compile(r"codemode\.([A-Za-z_$][\w$]*\.[A-Za-z_$][\w$]*)")

_NO_NETWORK = "A program has no network: call tools (await codemode.server.tool(input)); codemode.search finds them."
_NO_MODULES = (
    "A program has no modules: the language, URL, TextEncoder, crypto.randomUUID, setTimeout and codemode are there."
)
_NO_PROCESS = "A program has no process, files or environment: get data from tools and return the result."
_ABSENT = {
    **dict.fromkeys(("require", "module", "exports", "importScripts", "define"), _NO_MODULES),
    **dict.fromkeys(("process", "Deno", "Bun", "fs", "path", "os", "__dirname", "__filename", "global"), _NO_PROCESS),
    **dict.fromkeys(("axios", "fetch", "http", "https", "Request", "Response", "Headers"), _NO_NETWORK),
    **dict.fromkeys(("window", "document", "localStorage", "alert", "prompt"), "A program does not run in a browser."),
    "Buffer": "There is no Buffer: use Uint8Array, TextEncoder, TextDecoder, atob and btoa.",
}
_IMPORT = re.compile(r"\b(?:import|module)\b", re.IGNORECASE)


def advise(failure: Failure, catalog: Catalog) -> list[str]:
    """Lines to add to a failure's text; signatures of the tools it names where the program could not show them."""
    if failure.name == "ReferenceError" and (absent := _NOT_DEFINED.match(failure.message)):
        advice = _for_name(absent[1], catalog)
        return [advice] if advice else []
    if failure.name == "UnknownToolError":
        written = _MISSING.match(failure.message)
        missing = catalog.missing(written[1]) if written else None
        return [f"{missing}."] if missing else _signatures(failure.message, catalog)
    if _IMPORT.search(failure.message) and failure.kind in ("syntax", "exception") and failure.name != "ToolError":
        return [_NO_MODULES]
    return []


def _for_name(name: str, catalog: Catalog) -> str | None:
    if name in _ABSENT:
        return _ABSENT[name]
    if name in ("search", "describe", "tools", "emit") or name in catalog.names.servers:
        return f"Write codemode.{name}."
    if (keys := catalog.names.resolve(name)) and len(keys) == 1:
        return f"Write codemode.{catalog.names.path(*keys[0])}."
    return None


def _signatures(message: str, catalog: Catalog) -> list[str]:
    """The signatures of the nearest tools, unless the program's own error has them already."""
    if "(input" in message:
        return []
    nearest = message.partition("Nearest:")[2]
    paths = [path for path in dict.fromkeys(_STUB.findall(nearest)) if catalog.get(path)]
    return [catalog.brief(path) for path in paths[:MAX_SIGNATURES]]
