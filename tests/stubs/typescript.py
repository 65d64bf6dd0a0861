"""TypeScript for the tests: a parser that is always there, and the real compiler where npm is."""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import quickjs_rs

from tests import node_tools

STRICT = ("--strict", "--noEmit", "--target", "es2022", "--lib", "es2022", "--types", "", "--pretty", "false")
_DIAGNOSTIC = re.compile(r"^(?P<file>[^(\n]+)\((?P<line>\d+),\d+\): error (?P<code>TS\d+): (?P<text>.*)$", re.MULTILINE)
_TYPES_OF_OTHERS = re.compile(r"\b[A-Za-z_$][\w$]*_[A-Z]\w*\b")


class Diagnostic(NamedTuple):
    file: str
    line: int
    code: str
    text: str


def parse(source: str) -> None:
    """Raises when the source is not syntactically TypeScript."""
    quickjs_rs.transform_source("stubs.ts", source)


def parse_type(text: str) -> None:
    parse(f"type T = {text};\n")


def parse_signature(text: str) -> None:
    """A signature is a member of `codemode`, written as one would call it."""
    head, rest = text.split("(", 1)
    assert re.fullmatch(r"codemode(\.[A-Za-z_$][\w$]*){2}", head), head
    parse(f"declare function call({rest};\n")


def check(sources: Mapping[str, str]) -> list[Diagnostic]:
    """Compile files together under `tsc --strict`; the errors found. Skips the test where npm is absent."""
    compiler = node_tools.needs(node_tools.tsc)
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            (Path(folder) / name).write_text(source, encoding="utf-8")
        command = [str(compiler), *STRICT, *sources]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250, check=False)
    found = [
        Diagnostic(match["file"], int(match["line"]), match["code"], match["text"])
        for match in _DIAGNOSTIC.finditer(done.stdout)
    ]
    if done.returncode and not found:
        raise AssertionError(f"tsc ended with {done.returncode}: {done.stdout[:2000]}{done.stderr[:2000]}")
    return found
