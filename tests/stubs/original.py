"""The generator that ours has to beat: the one of the original Code Mode, as published on npm, run by Node."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests import node_tools

PACKAGE = "@cloudflare/codemode@0.5.6"
PROGRAM = """
import { readFileSync, readdirSync } from "node:fs";
const folder = process.argv[2];
const file = readdirSync(folder).find((name) => /^json-schema-types-.*\\.js$/.test(name));
const found = Object.values(await import(`${folder}/${file}`));
const generate = found.find((value) => value.name === "generateTypesFromJsonSchema");
const tools = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(generate(Object.fromEntries(tools.map((tool) => [tool.name, tool]))));
"""


def declared(tools: list[dict[str, Any]]) -> str:
    """What it makes of tools. Raises `NodeToolUnavailable` where npm is absent."""
    package = node_tools.install(PACKAGE) / "node_modules" / "@cloudflare" / "codemode" / "dist"
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "measure.mjs"
        program.write_text(PROGRAM, encoding="utf-8")
        command = [str(node_tools.node()), str(program), str(package)]
        done = subprocess.run(command, input=json.dumps(tools), capture_output=True, text=True, timeout=250, check=True)
    return done.stdout
