"""Bodies of requests: which media type is sent, and whether its fields are properties of the input of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from portal.openapi.document import OpenApiDocument, described, members, shortened, text
from portal.openapi.media import best, media_types
from portal.openapi.operation import PLAIN_FIELD, BodyKind, FieldEncoding, Style
from portal.openapi.schemas import SchemaReader

MOST_FIELDS = 300
"""An object of more fields is one property."""
MOST_PARTS = 100
"""The most schemas that an object may be built of."""
BEST_KNOWN: Final = {"binary": "application/octet-stream", "text": "text/plain", "json": "application/json"}
"""What to send where the document has a range."""

_STYLES: Final[tuple[Style, ...]] = ("form", "spaceDelimited", "pipeDelimited", "deepObject")
# What a schema may say and still be a list of fields.
_PLAIN: Final = frozenset(
    {"type", "properties", "required", "description", "title", "example", "examples", "additionalProperties", "allOf"}
    | {"minProperties", "maxProperties", "externalDocs", "xml", "default", "deprecated", "discriminator", "nullable"}
    | {
        "readOnly",
        "writeOnly",
        "$ref",
        "$id",
        "$schema",
        "$comment",
        "$defs",
        "definitions",
        "$anchor",
        "anyOf",
        "oneOf",
    }
)


class Unreadable(Exception):
    """An operation cannot be read. The document's gaps say why."""


@dataclass(slots=True)
class ObjectFields:
    """The fields of an object.

    `others`: what fields without a name of their own may be, None if nothing says that there are any. `needs`: groups
    of names of which at least one is needed.
    """

    properties: dict[str, object] = field(default_factory=dict)
    required: dict[str, None] = field(default_factory=dict)
    others: object = None
    closed: bool = False
    needs: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BodyText:
    """A body as the document has it. With `fields` its value is an object of these. `flat`: they may stand in the input
    beside the parameters."""

    kind: BodyKind
    media_type: str
    media_types: tuple[str, ...]
    required: bool
    schema: object
    description: str
    fields: ObjectFields | None
    flat: bool
    encodings: Mapping[str, FieldEncoding]


def read_body(
    document: OpenApiDocument, reader: SchemaReader, value: object, where: tuple[str, ...]
) -> BodyText | None:
    """The body of an operation, None if it has none.

    Raises:
        Unreadable: nobody can know how to send it.
    """
    holder = document.follow(value, where)
    if holder is None:
        raise Unreadable
    if holder.get("content") in ({}, None) and holder.get("required") is not True:
        document.gap(where, "is a body of which nothing is said, and none is sent")
        return None
    found = media_types(holder.get("content"), document, (*where, "content"))
    if not found:
        document.gap(where, "is a body without a media type that can be read")
        raise Unreadable
    kind, names = best(found, document)
    media = found[names[0]]
    schema = media.get("schema", {})
    fields = object_fields(document, schema, reader) if kind in ("json", "form", "multipart") else None
    declared = holder.get("required")
    # Where nothing is said: an operation that needs fields but no body is rare; to forget this word is not.
    required = declared is True or (declared is not False and fields is not None and bool(fields.required))
    exact = next((name for name in names if "*" not in name), BEST_KNOWN.get(kind, "multipart/form-data"))
    encodings = _encodings(document, media, fields, kind, where) if kind in ("form", "multipart") else {}
    return BodyText(
        kind=kind,
        media_type=exact,
        media_types=tuple(names),
        required=required,
        schema=schema,
        description=shortened(text(holder.get("description")), 1_000),
        fields=fields,
        # Without an optional body nothing is required, and with it some of its fields may be.
        flat=fields is not None and (required or not fields.required),
        encodings=encodings,
    )


def object_fields(document: OpenApiDocument, schema: object, reader: SchemaReader) -> ObjectFields | None:
    """The fields of a schema that describes one object and no alternatives to it, else None."""
    fields = ObjectFields()
    left = [MOST_PARTS]
    if not _collect(document, schema, fields, left, 0):
        return None
    hidden = {name for name, value in fields.properties.items() if reader.hides(value)}
    for name in hidden:
        del fields.properties[name]
    # What is required and not described may be anything.
    fields.required = {name: None for name in fields.required if name not in hidden}
    for name in fields.required:
        fields.properties.setdefault(name, {})
    return fields if 0 < len(fields.properties) <= MOST_FIELDS else None


def is_file(document: OpenApiDocument, schema: object) -> bool:
    """Whether a part of this schema is a file: text that is binary."""
    found = document.schema(schema)
    if found is None:
        return False
    kind = found.get("type")
    if kind == "file":
        return True
    if kind not in ("string", None, ["string"]):
        return False
    if found.get("format") == "binary":
        return True
    media = found.get("contentMediaType")
    return isinstance(media, str) and not media.startswith("text/") and "contentEncoding" not in found


def _collect(
    document: OpenApiDocument, schema: object, fields: ObjectFields, left: list[int], depth: int, *, part: bool = False
) -> bool:
    """Adds the fields of a schema, which may be a `part` of another. False if it is more than a list of fields."""
    left[0] -= 1
    if not isinstance(schema, dict) or left[0] < 0 or depth > 16:
        return False
    if "discriminator" in schema and not part:
        # What builds on it has further fields.
        return False
    if any(key not in _PLAIN and not (isinstance(key, str) and key.startswith("x-")) for key in schema):
        return False
    if schema.get("type", "object") not in ("object", ["object"]):
        return False
    reference = schema.get("$ref")
    parts = [document.target(reference)] if isinstance(reference, str) else []
    if parts and (document.old or len(schema) == 1):
        # In 3.0 nothing beside a reference counts.
        return _collect(document, parts[0], fields, left, depth + 1, part=part)
    parts += _listed(schema.get("allOf"))
    if not all(_collect(document, one, fields, left, depth + 1, part=True) for one in parts):
        return False
    if not all(_only_needs(schema[key], fields) for key in ("anyOf", "oneOf") if key in schema):
        return False
    _add_fields(schema, fields)
    return True


def _add_fields(schema: Mapping[str, object], fields: ObjectFields) -> None:
    """Adds what one schema says itself."""
    properties = schema.get("properties")
    for name, value in properties.items() if isinstance(properties, dict) else ():
        if isinstance(name, str):
            before = fields.properties.get(name)
            fields.properties[name] = value if before in (None, {}) else {"allOf": [before, value]}
    fields.required.update((name, None) for name in _listed(schema.get("required")) if isinstance(name, str))
    others = schema.get("additionalProperties")
    if others is False:
        fields.closed = True
    elif others is True or isinstance(others, dict):
        fields.others = others


def _only_needs(alternatives: object, fields: ObjectFields) -> bool:
    """Whether alternatives say no more than which fields must be there."""
    needs: list[tuple[str, ...]] = []
    for one in _listed(alternatives):
        if not isinstance(one, dict) or not one.keys() <= {"required", "type", "title", "description"}:
            return False
        names = tuple(name for name in _listed(one.get("required")) if isinstance(name, str))
        if not names:
            return False
        needs.append(names)
    fields.needs += needs
    return bool(needs)


def _encodings(
    document: OpenApiDocument,
    media: Mapping[str, object],
    fields: ObjectFields | None,
    kind: BodyKind,
    where: tuple[str, ...],
) -> dict[str, FieldEncoding]:
    """How the fields of a form are written, by name; those that are written as usual are not there."""
    declared = media.get("encoding")
    if declared is not None and not isinstance(declared, dict):
        document.gap((*where, "content"), f"has an encoding that is {described(declared)}")
    encodings = members(declared)
    properties = {} if fields is None else fields.properties
    found: dict[str, FieldEncoding] = {}
    for name in dict.fromkeys([*properties, *(name for name in encodings if isinstance(name, str))]):
        encoding = _encoding(members(encodings.get(name)), properties.get(name), kind, document)
        if encoding != PLAIN_FIELD:
            found[name] = encoding
    return found


def _encoding(
    declared: Mapping[str, object], schema: object, kind: BodyKind, document: OpenApiDocument
) -> FieldEncoding:
    content_type = text(declared.get("contentType"))
    # Of several the first; a range says nothing that could be sent.
    exact = next((one.strip() for one in content_type.split(",") if "*" not in one), "")
    style = next((known for known in _STYLES if known == declared.get("style")), _STYLES[0])
    explode = declared.get("explode")
    file = kind == "multipart" and is_file(document, schema)
    files = kind == "multipart" and not file and is_file(document, _items(document, schema))
    return FieldEncoding(
        content_type=exact if exact.isascii() and exact.isprintable() else "",
        style=style,
        explode=explode if isinstance(explode, bool) else style == "form",
        allow_reserved=declared.get("allowReserved") is True,
        file=file,
        files=files,
    )


def _items(document: OpenApiDocument, schema: object) -> object:
    found = document.schema(schema)
    return found.get("items") if found is not None else None


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
