"""Floors and rooms: imports go down only, through front doors, without cycles, and with few third parties."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.house.source import FLOORS, ROOT, Import, imports, modules, third_party

MAY_IMPORT = {
    "stubs": {"stubs"},
    "sandbox": {"sandbox"},
    "codemode": {"codemode", "stubs", "sandbox"},
    "portal": {"portal", "codemode", "stubs", "sandbox"},
}

# The rooms of `portal/`, ground first: a room imports only from the lines above its own.
ROOMS = (
    (
        "errors",
        "exact",
        "identity",
        "lazy",
        "bounded",
        "jose",
        "misfits",
        "sdk",
        "trace_context",
        "unseen",
        "version",
        "yaml_text",
    ),
    ("shares", "dlp"),
    ("turns",),
    ("egress", "demo", "openapi", "shadow"),
    ("config", "http", "state"),
    ("objects", "flows"),
    ("upstream", "logs", "access", "pages", "quotas", "profiles", "notices"),
    ("approvals", "pins", "signals", "login", "observe", "export", "gateway"),
    ("oauth", "credentials"),
    ("elicitation",),
    ("servers",),
    ("calls", "runs"),
    ("home",),
    ("admin", "learning", "endpoint", "stdio"),
    ("bench", "console"),
    ("app",),
    ("clients",),
    ("doctor",),
    ("cli",),
)
HEIGHT = {room: height for height, line in enumerate(ROOMS) for room in line}
# Doors of their own within a room.
SIDE_DOORS = {"portal.bench.ui"}

# A floor's third parties are part of its description: adding one is a decision, made here.
THIRD_PARTIES = {
    "stubs": set[str](),
    # `compression` is of Python 3.14, `backports` has it for those before.
    "sandbox": {"backports", "compression", "orjson", "wasmtime"},
    "codemode": {
        *("jsonschema_rs", "orjson", "quickjs_rs", "rapidfuzz", "Stemmer", "wasmtime"),
        # Of the extra `semantic`, in codemode/meaning alone.
        *("numpy", "onnxruntime", "tokenizers"),
    },
    "portal": {
        "aiohttp",
        # SQLAlchemy's driver of SQLite, in portal/state alone.
        "aiosqlite",
        "alembic",
        "anyio",
        "argon2",
        "cryptography",
        "mcp",
        "mcp_types",
        "orjson",
        # In portal/observe alone.
        "prometheus_client",
        "pycares",
        "jinja2",
        "joserfc",
        "jsonschema_rs",
        "pydantic",
        "pytest",
        "rapidfuzz",
        "rich",
        "splintr",
        "sqlalchemy",
        "starlette",
        "structlog",
        "typer",
        "uvicorn",
        "watchfiles",
        "yaml",
        # Of aiohttp: addresses that are sent as they are written.
        "yarl",
        # Of the extra `dlp`, in portal/dlp alone.
        *("kingfisher_sdk", "re2"),
        # Of the extra `s3`, in portal/export alone.
        "obstore",
    },
}
BUILD_ONLY = ROOT / "sandbox" / "guest"


def floor_imports(floor: str) -> list[Import]:
    return [found for path in modules(floor) if BUILD_ONLY not in path.parents for found in imports(path)]


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_itself_and_the_floors_below(floor: str) -> None:
    ours = {*FLOORS, "tests", "benchmarks"}
    upward = [str(found) for found in floor_imports(floor) if found.package in ours - MAY_IMPORT[floor]]
    assert upward == []


@pytest.mark.parametrize("floor", FLOORS)
def test_another_floor_is_entered_through_its_front_door(floor: str) -> None:
    sideways = [
        str(found)
        for found in floor_imports(floor)
        if found.package in FLOORS and found.package != floor and "." in found.module
    ]
    assert sideways == []


def room_of(module: str) -> str:
    """The room of a module of `portal`, "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def test_every_room_of_the_portal_has_its_place_in_the_order() -> None:
    assert {room_of(module_name(path)) for path in modules("portal")} - {""} == set(HEIGHT)


def test_a_room_imports_only_from_rooms_below_it() -> None:
    upward = [
        str(found)
        for found in floor_imports("portal")
        if found.package == "portal"
        and (there := room_of(found.module)) != (here := room_of(module_name(found.importer)))
        if there and HEIGHT[there] >= HEIGHT[here]
    ]
    assert upward == []


def test_a_room_is_entered_through_its_front_door() -> None:
    past = [
        str(found)
        for found in floor_imports("portal")
        if found.package == "portal" and room_of(found.module) != room_of(module_name(found.importer))
        if found.module.count(".") != 1 and found.module not in SIDE_DOORS
    ]
    assert past == []


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_uses_only_the_third_parties_it_declares(floor: str) -> None:
    undeclared = [
        str(found) for found in floor_imports(floor) if third_party(found) and found.package not in THIRD_PARTIES[floor]
    ]
    assert undeclared == []


def test_no_import_cycle_hides_in_a_floor() -> None:
    graph = {module_name(path): set[str]() for path in modules(*FLOORS)}
    for path in modules(*FLOORS):
        for found in imports(path):
            if found.top_level and found.module in graph and found.module != module_name(path):
                # Naming a package means its `__init__`; inside the package that is the parent, not a cycle.
                if not module_name(path).startswith(found.module + "."):
                    graph[module_name(path)].add(found.module)
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
