"""Reads tests of programs: `name.js` or `name.ts`, with `name.test.yaml` (or `.json`) next to it.

description: What it is about          input: {...}            the program's `input`
tools: tools.json                      now: 2026-01-31T12:00:00Z
mocks: mocks.json, .py, .js or {...}   seed: 7                 time and randomness; both have defaults
replay: folder of a recording          limits: {cpuTime: 1}
skip: why                              expect: {result, error, calls, logs}
cases: {name: {any of these, over those of the file}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portal.bench.json_checks import check_keys, json_kind
from portal.bench.mock_rules import check_operators
from portal.bench.virtual_time import parse_seed, parse_time
from portal.config import read_document
from portal.errors import InputError
from sandbox import Limits

ENDINGS = (".test.yaml", ".test.yml", ".test.json")
PROGRAMS = (".js", ".ts", ".mjs", ".mts")
NOW = "2026-01-01T00:00:00Z"
SEED = 0
EXPECTED = ("result", "error", "calls", "logs")
ERROR = ("kind", "name", "message", "line")
CALL = ("tool", "arguments", "status")
KEYS = ("description", "skip", "tools", "mocks", "replay", "input", "now", "seed", "limits", "expect")
_FOLDERS_SKIPPED = {"node_modules", "__pycache__"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One program with one set of expectations. `name` is None if the file has no `cases`.

    `now` is milliseconds since the epoch, `seed` 32 bytes. `broken` is the reason the case cannot run, which is a
    mistake in its file.
    """

    file: Path
    title: str
    name: str | None = None
    program: Path | None = None
    mocks: object = None
    tools: Path | None = None
    replay: Path | None = None
    input: object = None
    has_input: bool = False
    now: float = 0.0
    seed: bytes = b""
    limits: Limits = field(default_factory=Limits)
    expect: Mapping[str, object] = field(default_factory=dict)
    skip: str | None = None
    broken: str | None = None

    @property
    def id(self) -> str:
        return self.title if self.name is None else f"{self.title}::{self.name}"


def find_cases(places: list[Path]) -> list[Case]:
    """The cases in these files and folders, in the order of their names.

    Raises:
        InputError: a place is neither a folder nor a file of tests.
    """
    files: dict[Path, str] = {}
    for place in places:
        if place.is_dir():
            for file in sorted(place.rglob("*")):
                hidden = any(part.startswith(".") or part in _FOLDERS_SKIPPED for part in file.relative_to(place).parts)
                if file.name.endswith(ENDINGS) and not hidden and file.is_file():
                    files.setdefault(file, str(file))
        elif place.name.endswith(ENDINGS) and place.is_file():
            files.setdefault(place, str(place))
        else:
            raise InputError(f"{place} is neither a folder nor a file called name{ENDINGS[0]} or name{ENDINGS[2]}.")
    return [case for file, title in files.items() for case in read_cases(file, title)]


def read_cases(file: Path, title: str) -> list[Case]:
    """The cases of one file. A file with a mistake is one broken case."""
    try:
        document = read_document(file)
        content = check_keys(document, (*KEYS, "cases"), title)
        program = _program(file)
        cases = content.pop("cases", None)
        if cases is None:
            return [_case(content, file, title, None, program)]
        if not isinstance(cases, Mapping) or not cases:
            raise InputError(f"{title}: cases must be an object from names to cases, not {json_kind(cases)}.")
    except InputError as error:
        return [Case(file=file, title=title, broken=str(error))]
    read = []
    for name, members in cases.items():
        try:
            own = check_keys(members if members is not None else {}, KEYS, f"{title}: cases.{name}")
            read.append(_case({**content, **own}, file, title, str(name), program))
        except InputError as error:
            read.append(Case(file=file, title=title, name=str(name), broken=str(error)))
    return read


def _program(file: Path) -> Path:
    stem = file.name
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    for ending in PROGRAMS:
        if (program := file.with_name(stem + ending)).is_file():
            return program
    raise InputError(f"There is no program beside {file}: {stem}{PROGRAMS[0]} or {stem}{PROGRAMS[1]}.")


def _case(content: dict[str, object], file: Path, title: str, name: str | None, program: Path) -> Case:
    where = title if name is None else f"{title}: cases.{name}"
    if content.get("mocks") is not None and content.get("replay") is not None:
        raise InputError(f"{where}: either mocks or replay.")
    return Case(
        file=file,
        title=title,
        name=name,
        program=program,
        mocks=_mocks(content.get("mocks"), file, where),
        tools=_path(content.get("tools"), file, f"{where}: tools"),
        replay=_path(content.get("replay"), file, f"{where}: replay"),
        input=content.get("input"),
        has_input="input" in content,
        now=parse_time(content.get("now", NOW), f"{where}: now"),
        seed=parse_seed(content.get("seed", SEED), f"{where}: seed"),
        limits=_limits(content.get("limits"), f"{where}: limits"),
        expect=_expect(content.get("expect", {}), f"{where}: expect"),
        skip=str(content["skip"]) if content.get("skip") else None,
    )


def _mocks(value: object, file: Path, where: str) -> object:
    if value is None or isinstance(value, Mapping):
        return value
    return _path(value, file, f"{where}: mocks")


def _path(value: object, file: Path, where: str) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{where} must be a path, not {json_kind(value)}.")
    return file.parent / value


def _limits(value: object, where: str) -> Limits:
    if value is None:
        return Limits()
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be an object, not {json_kind(value)}.")
    try:
        return Limits(**{re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", str(key)): part for key, part in value.items()})
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} cannot be used: {error}.") from error


def _expect(value: object, where: str) -> dict[str, object]:
    expect = check_keys(value, EXPECTED, where)
    if "result" in expect and "error" in expect:
        raise InputError(f"{where} has both a result and an error; a run has one of them.")
    if "error" in expect and not isinstance(expect["error"], str):
        check_keys(expect["error"], ERROR, f"{where}.error")
    calls = expect.get("calls", [])
    if isinstance(calls, bool) or not isinstance(calls, int | list):
        raise InputError(f"{where}.calls must be a list of calls, or how many there are.")
    for place, call in enumerate(calls if isinstance(calls, list) else []):
        if not isinstance(call, str) and "tool" not in check_keys(call, CALL, f"{where}.calls[{place}]"):
            raise InputError(f"{where}.calls[{place}] needs the tool that is called.")
    if not isinstance(expect.get("logs", []), list):
        raise InputError(f"{where}.logs must be a list of lines.")
    for key in EXPECTED:
        check_operators(expect.get(key), f"{where}.{key}")
    return expect
