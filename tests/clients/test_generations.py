"""Whatever an upstream lists and answers, the official TypeScript clients take what the portal makes of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import methods

from portal.calls import Call
from portal.endpoint.generations import (
    NEWER,
    OLDER,
    PROMPT,
    RESOURCE,
    TEMPLATE,
    TOOL,
    Generation,
    ItemKind,
    definition_for,
    result_for,
)
from portal.errors import ResponseInvalid
from tests import node_tools
from tests.clients.test_clients import TYPESCRIPT_V1, TYPESCRIPT_V2
from tests.deep import examples
from tests.portal.endpoint.test_generations import ENVELOPE, VERSIONS
from tests.strategies import json_values

pytestmark = pytest.mark.clients

# Reads a method and a result from each line and prints what the clients of that generation dislike about it.
PROGRAM = """
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
const [v1, v2] = await Promise.all(process.argv.slice(2).map((path) => import(pathToFileURL(path))));
const schemas = {
  "tools/list": "ListToolsResultSchema", "prompts/list": "ListPromptsResultSchema",
  "resources/list": "ListResourcesResultSchema", "resources/templates/list": "ListResourceTemplatesResultSchema",
  "tools/call": "CallToolResultSchema", "prompts/get": "GetPromptResultSchema",
  "resources/read": "ReadResourceResultSchema", "completion/complete": "CompleteResultSchema",
};
for await (const line of createInterface({ input: process.stdin })) {
  const { method, result, generation } = JSON.parse(line);
  const clients = generation === "2025" ? [v1, v2] : [v2];
  const issues = clients.flatMap((client) => client[schemas[method]].safeParse(result).error?.issues ?? []);
  console.log(JSON.stringify(issues));
}
"""
Dislikes = Callable[[str, Generation, dict[str, Any]], list[Any]]
BOTH = st.sampled_from([OLDER, NEWER])

WORDS = st.sampled_from(["", "x", "!!", "aGk=", "aG-_", "2025-01-01", "2025-01-01T00:00:00Z", "user", "light"])
JSON = json_values(st.integers(-3, 3), WORDS, keys=st.sampled_from(["type", "a", "b"]), size=2, leaves=4)


def members(**known: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """Members that every kind of item may have, and those of this kind, each with any value or a likely one."""
    annotations = st.dictionaries(st.sampled_from(["audience", "priority", "lastModified", "readOnlyHint"]), JSON)
    icons = st.lists(st.dictionaries(st.sampled_from(["src", "mimeType", "sizes", "theme"]), JSON), max_size=2)
    common = {
        "title": JSON,
        "description": JSON,
        "_meta": JSON,
        "annotations": annotations | JSON,
        "icons": icons | JSON,
    }
    return {**common, **{name: JSON | value for name, value in known.items()}}


SCHEMA = st.fixed_dictionaries(
    {"type": st.sampled_from(["object", ["object"], "string"])},
    optional={
        "properties": st.dictionaries(st.sampled_from("ab"), JSON, max_size=2) | JSON,
        "required": st.just(["a"]) | JSON,
        "$schema": JSON,
    },
)
ARGUMENTS = st.lists(st.dictionaries(st.sampled_from(["name", "required", "title"]), JSON), max_size=2)
ITEMS = {
    TOOL: st.fixed_dictionaries(
        {"name": st.just("n"), "inputSchema": SCHEMA}, optional=members(outputSchema=SCHEMA, execution=JSON)
    ),
    PROMPT: st.fixed_dictionaries({"name": st.just("n")}, optional=members(arguments=ARGUMENTS)),
    RESOURCE: st.fixed_dictionaries(
        {"uri": st.just("file:///r"), "name": st.just("n")}, optional=members(size=JSON, mimeType=JSON)
    ),
    TEMPLATE: st.fixed_dictionaries(
        {"uriTemplate": st.just("file:///{r}"), "name": st.just("n")}, optional=members(mimeType=JSON)
    ),
}
CONTENTS = st.dictionaries(st.sampled_from(["uri", "text", "blob", "mimeType", "_meta"]), JSON, max_size=5)
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "audio", "resource_link", "resource", "chart"])},
    optional=members(
        text=WORDS, data=WORDS, mimeType=st.just("image/png"), uri=st.just("file:///r"), name=WORDS, resource=CONTENTS
    ),
)
RESULTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "tools/call": st.fixed_dictionaries(
        {"content": st.lists(BLOCK, max_size=2) | JSON},
        optional={"structuredContent": JSON, "isError": JSON, "_meta": JSON},
    ),
    "prompts/get": st.fixed_dictionaries(
        {"messages": st.lists(st.fixed_dictionaries({"role": JSON, "content": BLOCK | JSON}), max_size=2)},
        optional={"description": JSON, "_meta": JSON},
    ),
    "resources/read": st.fixed_dictionaries(
        {"contents": st.lists(CONTENTS | JSON, max_size=2)}, optional={"_meta": JSON}
    ),
    "completion/complete": st.fixed_dictionaries(
        {"completion": st.fixed_dictionaries({"values": st.lists(JSON)}, optional={"total": JSON, "hasMore": JSON})}
    ),
}


@pytest.fixture(scope="module")
def dislikes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dislikes]:
    """What the official clients of a generation dislike about a result."""
    program = tmp_path_factory.mktemp("clients") / "schemas.mjs"
    program.write_text(PROGRAM, encoding="utf-8")
    official = Path("node_modules") / "@modelcontextprotocol"
    v1 = node_tools.needs(node_tools.install, TYPESCRIPT_V1) / official / "sdk" / "dist" / "esm" / "types.js"
    v2 = node_tools.needs(node_tools.install, TYPESCRIPT_V2) / official / "core" / "dist" / "index.mjs"
    command = [str(node_tools.needs(node_tools.node)), str(program), str(v1), str(v2)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask(method: str, generation: Generation, result: dict[str, Any]) -> list[Any]:
            assert process.stdin is not None and process.stdout is not None
            sent = methods.serialize_server_result(method, VERSIONS[generation], {**ENVELOPE, **result})
            process.stdin.write(json.dumps({"method": method, "generation": generation, "result": sent}) + "\n")
            process.stdin.flush()
            issues: list[Any] = json.loads(process.stdout.readline())
            return issues

        yield ask
        process.stdin.close()


def test_the_clients_dislike_what_is_not_shaped(dislikes: Dislikes) -> None:
    properties = {"type": "object", "properties": {"a": True}}
    assert dislikes("tools/list", OLDER, {"tools": [{"name": "n", "inputSchema": properties}]})
    assert dislikes("tools/call", OLDER, {"content": [{"type": "image", "data": "!!", "mimeType": "image/png"}]})


@examples(300)
@given(st.sampled_from(list(ITEMS)).flatmap(lambda kind: st.tuples(st.just(kind), ITEMS[kind])), BOTH)
def test_definitions(
    dislikes: Dislikes, kind_and_item: tuple[ItemKind, dict[str, Any]], generation: Generation
) -> None:
    kind, item = kind_and_item
    assert dislikes(kind.method, generation, {kind.member: [definition_for(generation, kind, item)]}) == []


@examples(300)
@given(st.sampled_from(list(RESULTS)).flatmap(lambda method: st.tuples(st.just(method), RESULTS[method])), BOTH)
def test_results(dislikes: Dislikes, method_and_value: tuple[str, dict[str, Any]], generation: Generation) -> None:
    method, value = method_and_value
    try:
        result = result_for(generation, Call(server="s", method=method, name="file:///r"), value)
    except ResponseInvalid:
        return
    assert dislikes(method, generation, result) == []
