"""The official TypeScript clients compile every output schema that the portal lists."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from portal.endpoint.output_schemas import compilable
from tests import node_tools
from tests.clients.test_clients import TYPESCRIPT_V1, TYPESCRIPT_V2
from tests.deep import examples
from tests.portal.endpoint.test_output_schemas import BROKEN, SCHEMAS, WHOLE, output

pytestmark = pytest.mark.clients

# Compiles the schema on each line as both clients do for the list of tools, and prints what they throw.
PROGRAM = """
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
console.warn = () => {};
const clients = await Promise.all(process.argv.slice(2).map((path) => import(pathToFileURL(path))));
for await (const line of createInterface({ input: process.stdin })) {
  const thrown = [];
  for (const { AjvJsonSchemaValidator } of clients) {
    try { new AjvJsonSchemaValidator().getValidator(JSON.parse(line)); } catch (error) { thrown.push(String(error)); }
  }
  console.log(JSON.stringify(thrown));
}
"""
Thrown = Callable[[Any], list[str]]


@pytest.fixture(scope="module")
def thrown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thrown]:
    """What the official clients throw when they compile a schema."""
    program = tmp_path_factory.mktemp("clients") / "validators.mjs"
    program.write_text(PROGRAM, encoding="utf-8")
    official = Path("node_modules") / "@modelcontextprotocol"
    v1 = node_tools.needs(node_tools.install, TYPESCRIPT_V1) / official / "sdk/dist/esm/validation/ajv-provider.js"
    v2 = node_tools.needs(node_tools.install, TYPESCRIPT_V2) / official / "client/dist/validators/ajv.mjs"
    command = [str(node_tools.needs(node_tools.node)), str(program), str(v1), str(v2)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def compile_(schema: Any) -> list[str]:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(schema) + "\n")
            process.stdin.flush()
            found: list[str] = json.loads(process.stdout.readline())
            return found

        yield compile_
        process.stdin.close()


def test_the_clients_throw_at_what_is_left_out(thrown: Thrown) -> None:
    assert thrown(output({"$ref": "#/definitions/None"}))
    assert thrown(output({"type": "string", "pattern": "(?i)abc"}))


def test_the_clients_compile_what_is_listed(thrown: Thrown) -> None:
    for schema in [schema for schema, _ in BROKEN] + WHOLE:
        assert thrown(compilable(output(schema))) == []


@examples(300)
@given(SCHEMAS)
def test_the_clients_compile_what_is_listed_for_any_schema(thrown: Thrown, schema: Any) -> None:
    assert thrown(compilable(output(schema))) == []
