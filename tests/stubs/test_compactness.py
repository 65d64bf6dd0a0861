"""The declarations take less text than the list of tools, and less than the generator this one has to beat."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stubs import assign_names, declarations
from tests import node_tools
from tests.stubs import corpus

OTHER = "@cloudflare/codemode@0.5.6"
PROGRAM = """
import { readFileSync, readdirSync } from "node:fs";
const folder = process.argv[2];
const file = readdirSync(folder).find((name) => /^json-schema-types-.*\\.js$/.test(name));
const found = Object.values(await import(`${folder}/${file}`));
const generate = found.find((value) => value.name === "generateTypesFromJsonSchema");
const tools = JSON.parse(readFileSync(0, "utf8"));
console.log(generate(Object.fromEntries(tools.map((tool) => [tool.name, tool]))).length);
"""


def listed(tools: list[dict[str, Any]]) -> int:
    """Characters of the tools as `tools/list` gives them, without hints and other extras."""
    kept = ("name", "description", "inputSchema", "outputSchema")
    bare = [{key: tool[key] for key in kept if key in tool} for tool in tools]
    return len(json.dumps(bare, ensure_ascii=False, separators=(",", ":")))


def declared(tools: list[dict[str, Any]]) -> int:
    server = corpus.as_server({"id": "api", "tools": tools})
    return len(declarations([server], assign_names([server])))


def declared_by_the_other(tools: list[dict[str, Any]], scratch: Path) -> int:
    package = node_tools.needs(node_tools.install, OTHER) / "node_modules" / "@cloudflare" / "codemode" / "dist"
    program = scratch / "measure.mjs"
    program.write_text(PROGRAM, encoding="utf-8")
    command = [str(node_tools.needs(node_tools.node)), str(program), str(package)]
    done = subprocess.run(command, input=json.dumps(tools), capture_output=True, text=True, timeout=100, check=True)
    return int(done.stdout)


def own_tools(name: str) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = json.loads((corpus.FOLDER / f"{name}.json").read_text(encoding="utf-8"))["tools"]
    return tools


@pytest.mark.parametrize("name", ["files", "issues", "shapes", "shop"])
def test_declarations_take_less_text_than_the_list(name: str) -> None:
    assert declared(own_tools(name)) < 0.75 * listed(own_tools(name))


def test_declarations_take_less_text_than_those_of_the_original(tmp_path: Path) -> None:
    # Not `shapes`: the original says less of it, `unknown` for what contains itself and nothing of conditions.
    for name in ("files", "issues", "shop"):
        assert declared(own_tools(name)) < declared_by_the_other(own_tools(name), tmp_path), name


def test_a_large_catalog_takes_three_quarters_of_its_list_and_half_of_the_original(tmp_path: Path) -> None:
    tools = corpus.large_catalog()
    ours = declared(tools)
    assert ours < 0.8 * listed(tools)
    assert ours < 0.5 * declared_by_the_other(tools, tmp_path)
