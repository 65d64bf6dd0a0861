"""Small OpenAPI documents for tests, written by what is special about each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from portal.openapi import Api, ApiOperation, read_api

Json = dict[str, Any]
LOCATION = "https://api.example.com/docs/openapi.json"


def document(paths: Any, *, openapi: str = "3.1.0", schemas: Any = None, **members: Any) -> Json:
    """A document with these paths. `schemas` are its component schemas."""
    components = members.pop("components", {}) | ({} if schemas is None else {"schemas": schemas})
    return {
        "openapi": openapi,
        "info": {"title": "Pets", "version": "1.2"},
        "servers": [{"url": "https://api.example.com/v1"}],
        "paths": paths,
        "components": components,
        **members,
    }


def api(paths: Any, **members: Any) -> Api:
    return read_api(document(paths, **members), location=LOCATION)


def operation(raw: Any, *, method: str = "post", path: str = "/pets", **members: Any) -> ApiOperation:
    """The only operation of a document that has this one."""
    found = api({path: {method: raw}}, **members).operations
    assert len(found) == 1
    return found[0]


def with_body(schema: Any, *, media_type: str = "application/json", **body: Any) -> Json:
    """An operation with a required body of this schema."""
    media = {"schema": schema, **({"encoding": body.pop("encoding")} if "encoding" in body else {})}
    return {"requestBody": {"required": True, "content": {media_type: media}, **body}}


def answering(schema: Any, media_type: str = "application/json") -> Json:
    """An operation that answers with this schema."""
    return {"responses": {"200": {"description": "", "content": {media_type: {"schema": schema}}}}}


def query(name: str, schema: Any, **members: Any) -> Json:
    """A query parameter."""
    return {"name": name, "in": "query", "schema": schema, **members}


def field_of(schema: Any, *, direction: str = "input", **members: Any) -> Any:
    """What a schema becomes, as a property of an input or as an output."""
    if direction == "output":
        return operation(answering(schema), method="get", **members).output_schema
    return operation({"parameters": [query("x", schema)]}, **members).input_schema["properties"]["x"]  # type: ignore[index]


def accepts(schema: Mapping[str, Any], value: object) -> bool:
    """Whether another implementation of JSON Schema takes the value."""
    return jsonschema_rs.Draft202012Validator(dict(schema)).is_valid(value)
