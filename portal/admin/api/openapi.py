"""The OpenAPI document of the admin API, built from its operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from portal.admin.api.answers import FailureEnvelope, Paging, Success, SuccessPage, SuccessWith
from portal.admin.api.operations import Operation, Uploaded

REFERENCE = "#/components/schemas/{model}"
REFUSALS = {
    "400": "The request is not valid.",
    "401": "The token is missing or not valid.",
    "403": "The token has no permission for this.",
    "404": "There is no such object.",
    "409": "The object exists already, is in use, or was changed meanwhile.",
    "412": "Somebody has changed it after the state that If-Match names.",
    "413": "The body is too large.",
    "429": "Too much at once; try again later.",
    "503": "The database does not answer.",
}

BYTES = "application/octet-stream"
Mode = Literal["validation", "serialization"]


def document(operations: Iterable[Operation], prefix: str) -> dict[str, object]:
    """The OpenAPI 3.1 document of these operations below `prefix` (`/client/v4`)."""
    operations = list(operations)
    answers = {operation: answer_model(operation) for operation in operations}
    bodies = [body for operation in operations if (body := operation.body) is not None and body is not Uploaded]
    models: list[tuple[type[BaseModel], Mode]] = [(model, "serialization") for model in answers.values()]
    models += [(model, "validation") for model in bodies] + [(FailureEnvelope, "serialization")]
    references, schemas = models_json_schema(list(dict.fromkeys(models)), ref_template=REFERENCE)
    paths: dict[str, dict[str, object]] = {}
    for operation in operations:
        entry = _operation(operation)
        if operation.body is not None:
            if operation.body is Uploaded:
                content: dict[str, object] = {BYTES: {"schema": {"type": "string", "format": "binary"}}}
            else:
                content = {"application/json": {"schema": references[(operation.body, "validation")]}}
            entry["requestBody"] = {"required": operation.body_required, "content": content}
        schema: Mapping[str, object] = references[(answers[operation], "serialization")]
        done = _answer("Done.", schema, operation.media_type)
        if operation.of is not None and operation.method == "GET":
            done["headers"] = {"ETag": {"schema": {"type": "string"}}}
        success = {str(operation.status): done}
        entry["responses"] = success | {
            status: _answer(description, references[(FailureEnvelope, "serialization")])
            for status, description in REFUSALS.items()
        }
        paths.setdefault(f"/accounts/{{account_id}}{operation.path}", {})[operation.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {"title": "Codemode Portal admin API", "version": "4"},
        "servers": [{"url": prefix}],
        "security": [{"api_token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"api_token": {"type": "http", "scheme": "bearer"}},
        },
    }


def answer_model(operation: Operation) -> type[BaseModel]:
    # The model is parameterized with a value, which annotations cannot express.
    result = operation.result
    if operation.info is not None and operation.single:
        return SuccessWith[result, operation.info]  # type: ignore[valid-type,name-defined]
    if operation.info is not None:
        return SuccessWith[tuple[result, ...], operation.info]  # type: ignore[valid-type,name-defined]
    return SuccessPage[tuple[result, ...]] if operation.listed else Success[result]  # type: ignore[valid-type]


def _operation(operation: Operation) -> dict[str, object]:
    names = ["account_id", *re.findall(r"{(\w+)}", operation.path)]
    parameters: list[dict[str, object]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 256}}
        for name in names
    ]
    for asked in (Paging if operation.listed else None, operation.query):
        if asked is None:
            continue
        properties = asked.model_json_schema()["properties"]
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]
    if operation.of is not None and operation.writing:
        parameters.append({"name": "If-Match", "in": "header", "schema": {"type": "string"}})
    return {
        "operationId": _identifier(operation),
        "summary": operation.summary,
        "parameters": parameters,
    }


def _identifier(operation: Operation) -> str:
    return operation.method.lower() + re.sub(r"\W+", "_", operation.path).rstrip("_")


def _answer(description: str, schema: Mapping[str, object], media_type: str = "application/json") -> dict[str, object]:
    content = {"schema": schema} if media_type == "application/json" else {"schema": {"type": "string"}}
    return {"description": description, "content": {media_type: content}}
