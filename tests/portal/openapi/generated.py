"""Hypothesis strategies: OpenAPI documents, and inputs that are right for an operation by a naive reading of it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]
NAMES = st.sampled_from(["id", "name", "limit", "filter[x]", "X-Trace", "body", "page", "q"])
LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 0},
        {"type": "boolean"},
        {"type": "string", "enum": ["a", "b"]},
        {"type": "string", "nullable": True},
        {"type": "number", "maximum": 5, "exclusiveMaximum": True},
        {"$ref": "#/components/schemas/Pet"},
        {"$ref": "#/components/schemas/Tree"},
    ]
)
COMPONENTS: Json = {
    "Pet": {
        "type": "object",
        "required": ["name", "id"],
        "properties": {"id": {"type": "integer", "readOnly": True}, "name": {"type": "string"}},
    },
    "Tree": {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
    },
}


def objects(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.builds(
        lambda properties, required: {
            "type": "object",
            "properties": properties,
            "required": sorted(name for name in required if name in properties),
        },
        st.dictionaries(NAMES, inner, min_size=1, max_size=3),
        st.sets(NAMES),
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        objects(inner),
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda parts: {"oneOf": parts}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda parts: {"allOf": parts}, st.lists(objects(inner), min_size=1, max_size=2)),
    ),
    max_leaves=6,
)


@st.composite
def parameters(draw: st.DrawFn, path: str) -> list[Json]:
    found: list[Json] = []
    if "{id}" in path:
        found.append({"name": "id", "in": "path", "required": True, "schema": draw(LEAVES)})
    for location in ("query", "header", "cookie"):
        found += [
            {"name": name, "in": location, "required": draw(st.booleans()), "schema": draw(LEAVES)}
            for name in draw(st.sets(NAMES.filter(lambda name: "[" not in name), max_size=2))
        ]
    return found


@st.composite
def operations(draw: st.DrawFn, path: str) -> Json:
    found: Json = {"parameters": draw(parameters(path)), "responses": {"200": {"description": ""}}}
    if draw(st.booleans()):
        found["operationId"] = draw(st.text(max_size=12))
    if draw(st.booleans()):
        media = draw(st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"]))
        found["requestBody"] = {
            "required": draw(st.booleans()),
            "content": {media: {"schema": draw(SCHEMAS) if media != "text/plain" else {"type": "string"}}},
        }
    if draw(st.booleans()):
        found["responses"]["200"]["content"] = {"application/json": {"schema": draw(SCHEMAS)}}
    return found


@st.composite
def documents(draw: st.DrawFn) -> Json:
    paths: Json = {}
    for path in draw(st.sets(st.sampled_from(["/a", "/a/{id}", "/b/{id}/c", "/"]), min_size=1, max_size=3)):
        methods = draw(st.sets(st.sampled_from(["get", "post", "put", "delete"]), min_size=1, max_size=2))
        paths[path] = {method: draw(operations(path)) for method in sorted(methods)}
    return {
        "openapi": draw(st.sampled_from(["3.0.3", "3.1.0"])),
        "info": {"title": "T", "version": "1"},
        "servers": [{"url": "https://api.example.com"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {"key": {"type": "apiKey", "name": "k", "in": "query"}},
        },
    }
