"""Further pages of a list that an API names in headers, where no program would see them. Pure.

Where the document says that an operation answers with a list and names its pages in headers, the tool's result is an
object: the `items`, the `headers` about pages, and as `next` the arguments that bring the next page. Which page a
program asks for is its own affair.

Source: RFC 8288 (Link).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from portal.openapi import ApiOperation, Schema

PAGING = frozenset(
    "link content-range x-total x-total-count x-total-pages x-page x-per-page x-next-page x-prev-page x-pagination "
    "x-next-cursor x-cursor x-has-more x-next x-continuation-token x-ms-continuation".split()
)
"""Names of headers that say something about further pages."""
_LINK = re.compile(r"<(?P<url>[^<>]{1,4000})>(?P<parameters>(?:\s*;[^,<]{0,400})*)")
_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"[^\"]*\bnext\b[^\"]*\"|next\b)", re.IGNORECASE)
# Of headers with the next page itself, the parameters that may take it.
_TAKES = {
    "x-next-page": ("page", "page_number", "pageNumber"),
    "x-next-cursor": ("cursor", "after", "next_cursor", "page_token", "pageToken"),
}
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_NEXT_SCHEMA: Schema = {
    "type": "object",
    "description": "What to change in the input for the next page; absent on the last.",
}
_HEADERS_SCHEMA: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def names_pages(operation: ApiOperation, document: Mapping[str, object]) -> bool:
    """Whether an operation answers with a list, and its answer has headers about pages by what the document says."""
    if operation.method != "GET" or not _is_list(operation.output_schema):
        return False
    item = _member(_member(document, "paths"), operation.path)
    responses = _member(_member(item, operation.method.lower()), "responses")
    for status, response in responses.items():
        if status == "default" or str(status).startswith("2"):
            headers = _member(_resolved(response, document), "headers")
            if any(str(name).lower() in PAGING for name in headers):
                return True
    return False


def schema_with_pages(schema: Schema | None) -> Schema:
    """The schema of the result of such an operation, around that of its list."""
    items = {name: value for name, value in (schema or {}).items() if name not in ("$defs", "$schema")}
    properties = {"items": items, "next": _NEXT_SCHEMA, "headers": _HEADERS_SCHEMA}
    around: dict[str, object] = {"type": "object", "properties": properties, "required": ["items"]}
    return around | ({"$defs": schema["$defs"]} if schema is not None and "$defs" in schema else {})


def with_pages(value: list[object], headers: Mapping[str, str], operation: ApiOperation) -> dict[str, object]:
    """The result of such an operation."""
    result: dict[str, object] = {"items": value}
    if following := _next(headers, operation):
        result["next"] = following
    return result | ({"headers": dict(headers)} if headers else {})


def _next(headers: Mapping[str, str], operation: ApiOperation) -> dict[str, object]:
    """The arguments that bring the next page, {} if the headers name none."""
    for found in _LINK.finditer(headers.get("link", "")):
        if _NEXT.search(found["parameters"]):
            try:
                pairs = parse_qsl(urlsplit(found["url"]).query, max_num_fields=100)
            except ValueError:
                return {}
            return dict(_arguments(dict(pairs), operation))
    for header, names in _TAKES.items():
        if value := headers.get(header, "").strip():
            for name in names:
                if given := dict(_arguments({name: value}, operation)):
                    return given
    return {}


def _arguments(pairs: Mapping[str, str], operation: ApiOperation) -> Iterator[tuple[str, object]]:
    """The plain ones of these parameters of a query, as the input has them."""
    properties = _member(operation.input_schema, "properties")
    for parameter in operation.parameters:
        if parameter.location == "query" and (text := pairs.get(parameter.name)) is not None:
            types = _types(_member(properties, parameter.property))
            if "integer" in types or "number" in types:
                if _WHOLE.fullmatch(text):
                    yield parameter.property, int(text)
            elif not types & {"array", "object"}:
                yield parameter.property, {"true": True, "false": False}.get(text, text) if "boolean" in types else text


def _types(schema: Mapping[str, object]) -> set[str]:
    kinds = schema.get("type")
    return {kinds} if isinstance(kinds, str) else set(kinds) if isinstance(kinds, list) else set()


def _is_list(schema: Schema | None) -> bool:
    for _ in range(8):
        if schema is None:
            return False
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
            return _types(schema) == {"array"}
        target = _member(_member(schema, "$defs"), reference.removeprefix("#/$defs/"))
        schema = {**target, "$defs": schema.get("$defs")}
    return False


def _resolved(value: object, document: Mapping[str, object]) -> object:
    if isinstance(value, Mapping) and isinstance(reference := value.get("$ref"), str) and reference.startswith("#/"):
        found: object = document
        for part in reference[2:].split("/")[:20]:
            found = _member(found, part.replace("~1", "/").replace("~0", "~"))
        return found
    return value


def _member(value: object, name: str) -> Mapping[str, object]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
