"""The declarations an editor completes programs from: `codemode` with every tool, and the isolate's own globals."""

from __future__ import annotations

from codemode import Catalog, isolate_declarations

_HEAD = """\
// Made by `codemode stubs`; make it anew when the servers change. What the servers say of their tools is in here.

"""
_INPUT = """
/** What the run was given: `codemode run --input`, or `input` of a test. */
declare const input: any;

"""


def declaration_file(catalog: Catalog) -> str:
    """One self-contained `.d.ts` for TypeScript's library of the language, without that of browsers or Node."""
    unavailable = "".join(f"// Not available when this was made: {server}\n" for server in catalog.unavailable)
    return f"{_HEAD}{unavailable}{catalog.declarations()}{_INPUT}{isolate_declarations()}"
