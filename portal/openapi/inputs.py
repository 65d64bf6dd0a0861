"""The input of a tool: the parameters and the body of an operation as one flat object, each property with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portal.openapi.bodies import BodyText, ObjectFields
from portal.openapi.names import property_names
from portal.openapi.operation import FILE, ApiBody, FieldEncoding, Parameter, Schema
from portal.openapi.parameters import ParameterText
from portal.openapi.schemas import Conversion, Json, SchemaReader

LARGEST_INPUT = 60_000
"""The most that an input's own properties weigh, and that its definitions do, in characters of JSON, roughly."""


@dataclass(frozen=True, slots=True)
class ToolInput:
    """An input, and how it becomes a request. `needs`: groups of properties of which one is needed, for people."""

    schema: Schema
    parameters: tuple[Parameter, ...]
    body: ApiBody | None
    needs: tuple[tuple[str, ...], ...] = ()


def tool_input(reader: SchemaReader, parameters: list[ParameterText], body: BodyText | None, where: str) -> ToolInput:
    """The input for these parameters and this body.

    A parameter's value is a property. So is each field of a body that is one object; another body is one property,
    `body`. Where two have one name, the path's keeps it, then the query's, then the body's.
    """
    early = [one for one in parameters if one.location in ("path", "query")]
    late = [one for one in parameters if one.location not in ("path", "query")]
    fields = body.fields if body is not None and body.flat else None
    bodily = [] if body is None else ["body"] if fields is None else list(fields.properties)
    names = property_names(
        [
            *((one.location, one.name) for one in early),
            *(("body", name) for name in bodily),
            *((one.location, one.name) for one in late),
        ]
    )
    run = Conversion(where, LARGEST_INPUT)
    out = _InputSchema(reader, run)
    placed = [out.parameter(one, name) for one, name in zip(early, names, strict=False)]
    of_body = names[len(early) : len(early) + len(bodily)]
    plan = None if body is None else out.body(body, fields, dict(zip(of_body, bodily, strict=True)))
    placed += [out.parameter(one, name) for one, name in zip(late, names[len(early) + len(bodily) :], strict=True)]
    called = {wire: name for name, wire in plan.fields.items()} if plan is not None else {}
    needs = fields.needs if fields is not None else []
    return ToolInput(
        out.finished(),
        tuple(placed),
        plan,
        tuple(tuple(called.get(name, name) for name in group) for group in needs),
    )


class _InputSchema:
    """The schema of an input while it is put together."""

    def __init__(self, reader: SchemaReader, run: Conversion) -> None:
        self._reader = reader
        self._run = run
        self._properties: Json = {}
        self._required: list[str] = []
        self._others: object = False

    def parameter(self, one: ParameterText, name: str) -> Parameter:
        schema = self._schema(one.schema)
        if one.deprecated:
            schema["deprecated"] = True
        self._add(name, one.name, _described(schema, one.description), one.required and one.default is None)
        return Parameter(
            property=name,
            name=one.name,
            location=one.location,
            required=one.required,
            style=one.style,
            explode=one.explode,
            allow_reserved=one.allow_reserved,
            media_type=one.media_type,
            default=one.default,
        )

    def body(self, body: BodyText, fields: ObjectFields | None, names: Mapping[str, str]) -> ApiBody:
        """Adds the body: its `fields`, or all of it under the only one of the `names`."""
        rest = False
        if fields is not None:
            for name, wire in names.items():
                schema = self._field(fields.properties[wire], body.encodings.get(wire))
                self._add(name, wire, schema, wire in fields.required)
            rest = fields.others is not None and not fields.closed
            if rest:
                self._others = self._schema(fields.others) or True
        else:
            self._add(next(iter(names)), "body", _described(self._whole(body), body.description), body.required)
        return ApiBody(
            kind=body.kind,
            media_type=body.media_type,
            required=body.required,
            property=None if fields is not None else next(iter(names)),
            fields=names if fields is not None else {},
            rest=rest,
            media_types=body.media_types,
            encodings=body.encodings,
        )

    def finished(self) -> Schema:
        schema: Json = {"type": "object", "properties": self._properties}
        if self._required:
            schema["required"] = self._required
        schema["additionalProperties"] = self._others
        definitions = self._reader.definitions(self._run.references, LARGEST_INPUT)
        if definitions:
            schema["$defs"] = definitions
        return schema

    def _whole(self, body: BodyText) -> Json:
        if body.kind == "text":
            return {"type": "string"}
        if body.kind == "binary":
            return dict(FILE)
        if body.kind == "multipart" and body.fields is not None:
            return self._object(body.fields, body.encodings)
        return self._schema(body.schema)

    def _object(self, fields: ObjectFields, encodings: Mapping[str, FieldEncoding]) -> Json:
        """The object of a multipart body, in which files are files."""
        schema: Json = {
            "type": "object",
            "properties": {name: self._field(raw, encodings.get(name)) for name, raw in fields.properties.items()},
        }
        if fields.required:
            schema["required"] = list(fields.required)
        if fields.closed:
            schema["additionalProperties"] = False
        elif fields.others is not None:
            schema["additionalProperties"] = self._schema(fields.others) or True
        return schema

    def _field(self, raw: object, encoding: FieldEncoding | None) -> Json:
        if encoding is None or not (encoding.file or encoding.files):
            return self._schema(raw)
        said = raw.get("description") if isinstance(raw, dict) else None
        description = f"{said} " if isinstance(said, str) and said else ""
        if encoding.file:
            return {**FILE, "description": f"{description}{FILE['description']}"}
        schema: Json = {"type": "array", "items": FILE}
        return _described(schema, description.strip())

    def _schema(self, raw: object) -> Json:
        schema = self._reader.convert(raw, self._run)
        if isinstance(schema, dict):
            return schema
        return {"not": {}} if schema is False else {}

    def _add(self, name: str, wire: str, schema: Json, required: bool) -> None:
        if "title" in schema and name != "body":
            # Made from the name by most generators, and seldom more than it.
            del schema["title"]
        if name != wire and wire != "body":
            said = schema.get("description")
            schema["description"] = f"`{wire[:200]}`" + (f": {said}" if isinstance(said, str) else "")
        self._properties[name] = schema
        if required:
            self._required.append(name)


def _described(schema: Json, description: str) -> Json:
    return {**schema, "description": description} if description else schema
