"""Parameters of operations: where each goes, how it is written, and what it may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from portal.openapi.document import OpenApiDocument, described, shortened, text
from portal.openapi.media import media_types
from portal.openapi.operation import Location, Style

MOST_PARAMETERS = 500
MOST_NAME = 256
IGNORED_HEADERS: Final = frozenset({"accept", "content-type", "authorization"})
"""OpenAPI says that definitions of these are ignored: media types and security schemes say what they are."""
OWN_HEADERS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "cookie"}
    | {"expect", "proxy-authorization", "proxy-connection", "http2-settings"}
)
"""These belong to the connection. A caller who could write them could write requests of their own."""

_STYLES: Final[Mapping[Location, tuple[Style, ...]]] = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
"""The styles of each location, the default first."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"\{([^{}/]+)\}")
# OpenAPI 2.0 has these beside a parameter's name, and some documents of 3.0 still do.
_SCHEMA_KEYS: Final = ("type", "format", "enum", "items", "default", "minimum", "maximum", "pattern", "$ref")


@dataclass(frozen=True, slots=True)
class ParameterText:
    """A parameter as the document has it, read but not yet a property of an input. `schema` is as written."""

    name: str
    location: Location
    required: bool
    style: Style
    explode: bool
    allow_reserved: bool
    media_type: str | None
    schema: object
    description: str
    default: object
    deprecated: bool


def read_parameters(
    document: OpenApiDocument,
    common: object,
    own: object,
    path: str,
    common_where: tuple[str, ...],
    where: tuple[str, ...],
) -> list[ParameterText]:
    """The parameters of an operation, with those of its path that it does not replace, and a text for each variable of
    the path that none describes."""
    found: dict[tuple[Location, str], ParameterText] = {}
    for value, place in ((common, (*common_where, "parameters")), (own, (*where, "parameters"))):
        replaced: set[tuple[Location, str]] = set()
        for number, one in enumerate(_listed(document, value, place)):
            parameter = _parameter(document, one, (*place, str(number)))
            if parameter is None:
                continue
            key = (parameter.location, parameter.name)
            if key in replaced:
                document.gap((*place, str(number)), "describes a parameter that one before it describes")
                continue
            replaced.add(key)
            found[key] = parameter
    variables = dict.fromkeys(_VARIABLE.findall(path))
    for name in variables:
        if ("path", name) not in found:
            document.gap((*where, "parameters"), f"describes no path parameter {name[:60]!r}, which is read as text")
            found["path", name] = _text_of_path(name)
    absent = [key for key in found if key[0] == "path" and key[1] not in variables]
    for key in absent:
        document.gap((*where, "parameters"), f"describes a path parameter {key[1][:60]!r} that the path does not have")
        del found[key]
    order: tuple[Location, ...] = ("path", "query", "header", "cookie")
    return sorted(found.values(), key=lambda one: order.index(one.location))


def schema_of(document: OpenApiDocument, holder: Mapping[str, object]) -> object:
    """The schema of a parameter or header, as written."""
    if "schema" in holder:
        return holder["schema"]
    return {key: holder[key] for key in _SCHEMA_KEYS if key in holder}


def _listed(document: OpenApiDocument, value: object, place: tuple[str, ...]) -> Iterable[object]:
    if value is None:
        return ()
    if not isinstance(value, list):
        document.gap(place, f"must be a list, found {described(value)}")
        return ()
    if len(value) > MOST_PARAMETERS:
        document.gap(place, f"has more than {MOST_PARAMETERS} parameters, and only so many are read")
    return value[:MOST_PARAMETERS]


def _parameter(document: OpenApiDocument, value: object, where: tuple[str, ...]) -> ParameterText | None:
    holder = document.follow(value, where)
    if holder is None:
        return None
    name, location = holder.get("name"), _location(holder.get("in"))
    if location is None:
        place = holder.get("in")
        said = repr(place[:40]) if isinstance(place, str) else described(place)
        document.gap(where, f"is a parameter in {said}; it must be in path, query, header or cookie")
        return None
    if not isinstance(name, str) or not name or len(name) > MOST_NAME:
        document.gap(where, "is a parameter without a name, or with one that is too long")
        return None
    if location == "header" and name.lower() in IGNORED_HEADERS:
        return None
    if location in ("header", "cookie") and (name.lower() in OWN_HEADERS or not _TOKEN.fullmatch(name)):
        document.gap(where, f"is a {location} that a caller may not set: {name[:60]!r}")
        return None
    media_type, schema = _typed(document, holder, where)
    style = _style(document, holder, location, where)
    explode = holder.get("explode")
    required = location == "path" or holder.get("required") is True
    return ParameterText(
        name=name,
        location=location,
        required=required,
        style=style,
        explode=explode if isinstance(explode, bool) else style == "form",
        allow_reserved=holder.get("allowReserved") is True,
        media_type=media_type,
        schema=_with_example(schema, holder),
        description=shortened(text(holder.get("description")), 1_000),
        default=_default(document, schema) if required else None,
        deprecated=holder.get("deprecated") is True,
    )


def _typed(
    document: OpenApiDocument, holder: Mapping[str, object], where: tuple[str, ...]
) -> tuple[str | None, object]:
    """The media type in which the value is written, if the parameter has one, and its schema."""
    if "content" in holder and "schema" not in holder:
        for name, media in media_types(holder["content"], document, (*where, "content")).items():
            return name, media.get("schema", {})
    return None, schema_of(document, holder)


def _style(
    document: OpenApiDocument, holder: Mapping[str, object], location: Location, where: tuple[str, ...]
) -> Style:
    allowed, wanted = _STYLES[location], holder.get("style")
    for style in allowed:
        if style == wanted:
            return style
    if wanted is not None:
        said = repr(wanted[:40]) if isinstance(wanted, str) else described(wanted)
        document.gap(where, f"has the style {said}, which a {location} parameter does not have; it is {allowed[0]}")
    return allowed[0]


def _default(document: OpenApiDocument, schema: object) -> object:
    """The value to send for a required parameter that is not given: its default, or the only value it may have."""
    for _ in range(8):
        if not isinstance(schema, dict):
            return None
        if schema.get("default") is not None:
            return schema["default"]
        values = schema.get("enum")
        if isinstance(values, list) and len(values) == 1:
            only: object = values[0]
            return only
        if "const" in schema:
            return schema["const"]
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return None
        schema = document.target(reference)
    return None


def _with_example(schema: object, holder: Mapping[str, object]) -> object:
    """The schema with the example that stands beside it."""
    example = holder.get("example")
    examples = holder.get("examples")
    if example is None and isinstance(examples, dict):
        first = next(iter(examples.values()), None)
        example = first.get("value") if isinstance(first, dict) else None
    if example is None or not isinstance(schema, dict) or schema.keys() & {"example", "examples", "$ref"}:
        return schema
    return {**schema, "example": example}


def _text_of_path(name: str) -> ParameterText:
    return ParameterText(name, "path", True, "simple", False, False, None, {"type": "string"}, "", None, False)


def _location(value: object) -> Location | None:
    for location in _STYLES:
        if location == value:
            return location
    return None
