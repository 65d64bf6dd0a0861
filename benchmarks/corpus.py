"""The 2,747 real operations of a large API and a sample of intents, read from beside the checkout when there."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

from benchmarks.cases import Unavailable
from codemode import Catalog
from stubs import Server, Tool

SERVER = "cloudflare"


def large_catalog() -> Path:
    """The file of the operations: `$CODEMODE_LARGE_CATALOG`, or in `../shared/data` beside the project."""
    beside = Path(__file__).parents[2] / "shared" / "data" / "cloudflare_tools.json.gz"
    found = Path(os.environ.get("CODEMODE_LARGE_CATALOG", beside))
    if not found.exists():
        raise Unavailable("no large catalog: set CODEMODE_LARGE_CATALOG to a gzipped JSON list of tools")
    return found


def catalog() -> Catalog:
    with gzip.open(large_catalog()) as file:
        raw: list[dict[str, Any]] = json.load(file)
    tools = tuple(
        Tool(
            name=tool["name"],
            description=tool.get("description"),
            input_schema=tool.get("inputSchema") or tool.get("input_schema") or {"type": "object"},
        )
        for tool in raw
    )
    return Catalog.build([Server(id=SERVER, tools=tools)])


def intents() -> list[tuple[str, set[str]]]:
    """What a person would ask for, and the operations that answer it."""
    found = json.loads(large_catalog().with_name("search_intents_sample.json").read_text(encoding="utf-8"))
    return [(entry["intent"], set(entry["tools"])) for entry in found]
