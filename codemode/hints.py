"""JSON Schema for the parameters and the result of a Python function, from its type hints.

Covers the JSON types, containers, `Literal`, unions, enums, dataclasses, typed dictionaries, dates, and classes with a
schema of their own (`model_json_schema`, as pydantic models have). A parameter of any other type accepts every value.
`Annotated[str, "the city"]` gives a description.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array"},
    dict: {"type": "object"},
}
_MAX_DEPTH = 20


def input_schema(function: Callable[..., Any]) -> dict[str, Any]:
    """The schema of a function's parameters, as one object. Raises TypeError for one that cannot be passed by name."""
    hints = typing.get_type_hints(function, include_extras=True)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{function.__name__}: the parameter {parameter} cannot be given by name")
        properties[name] = schema_of(hints.get(name, Any))
        if parameter.default is parameter.empty:
            required.append(name)
        elif isinstance(parameter.default, str | int | float | bool):
            properties[name] = {**properties[name], "default": parameter.default}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def output_schema(function: Callable[..., Any]) -> dict[str, Any] | None:
    """The schema of a function's result; None without an annotation."""
    hints = typing.get_type_hints(function, include_extras=True)
    return schema_of(hints["return"]) if "return" in hints else None


def schema_of(hint: Any, depth: int = 0) -> dict[str, Any]:
    """The schema of one type."""
    if depth > _MAX_DEPTH:
        return {}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        texts = [extra for extra in arguments[1:] if isinstance(extra, str)]
        schema = schema_of(arguments[0], depth + 1)
        return {**schema, "description": texts[0]} if texts else schema
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(one, depth + 1) for one in arguments]}
    if origin is not None:
        return _container(origin, arguments, depth)
    if isinstance(hint, type):
        return _class(hint, depth)
    return dict(_PLAIN[hint]) if hint is None else {}


def _container(origin: Any, arguments: tuple[Any, ...], depth: int) -> dict[str, Any]:
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        items = [schema_of(one, depth + 1) for one in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[-1], depth + 1)}
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        return {"type": "array", "items": schema_of(arguments[0], depth + 1)}
    return {}


def _class(hint: type, depth: int) -> dict[str, Any]:
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if callable(own := getattr(hint, "model_json_schema", None)):
        schema: dict[str, Any] = own()
        return schema
    if issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    if dataclasses.is_dataclass(hint):
        missing = dataclasses.MISSING
        required = [f.name for f in dataclasses.fields(hint) if f.default is missing and f.default_factory is missing]
        return _object(hint, required, depth)
    if typing.is_typeddict(hint):
        return _object(hint, sorted(getattr(hint, "__required_keys__", ())), depth)
    return {}


def _object(hint: type, required: list[str], depth: int) -> dict[str, Any]:
    members = typing.get_type_hints(hint, include_extras=True)
    properties = {name: schema_of(member, depth + 1) for name, member in members.items()}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def converted(value: Any, hint: Any) -> Any:
    """A JSON value as the type of a parameter: a model, a dataclass, an enum or a date. Other types keep the value."""
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    if not isinstance(hint, type):
        return value
    if callable(own := getattr(hint, "model_validate", None)):
        return own(value)
    if issubclass(hint, enum.Enum):
        return hint(value)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return hint(**value)
    if issubclass(hint, date) and isinstance(value, str):
        return hint.fromisoformat(value)
    return value
