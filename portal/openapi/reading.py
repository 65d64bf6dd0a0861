"""An OpenAPI 3.0 or 3.1 document as an `Api`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from portal.errors import InputError
from portal.openapi.base_urls import read_base_urls, without_servers
from portal.openapi.bodies import Unreadable, read_body
from portal.openapi.document import OpenApiDocument, described, members, pointer, shortened, text
from portal.openapi.inputs import ToolInput, tool_input
from portal.openapi.names import Wording, tool_names
from portal.openapi.operation import Api, ApiOperation, BaseUrl, Requirement
from portal.openapi.parameters import read_parameters
from portal.openapi.results import read_result
from portal.openapi.schemas import SchemaReader
from portal.openapi.security import read_requirements, read_schemes

MOST_OPERATIONS = 10_000
MOST_INPUTS = 300_000
"""The most parameters and fields of bodies of all operations."""
MOST_PATH = 2_000
MOST_DESCRIPTION = 4_000
_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_SAFE: Final = frozenset({"get", "head", "options", "trace"})
_WITHOUT_BODY: Final = frozenset({"head", "trace"})
_VERSION = re.compile(r"3\.[0-9]+(?:\.[0-9]+)?(?:[-.+].{0,40})?")


def read_api(document: object, *, location: str = "", most_operations: int = MOST_OPERATIONS) -> Api:
    """The API that a document describes. What cannot be read of it is left out and said in `Api.gaps`.

    `location` is the address of the document, which its own addresses may be relative to. It must be parsed JSON or
    YAML (`parse_document`), and no part of it may hold itself.

    Raises:
        InputError: this is no OpenAPI 3.0 or 3.1 document.
    """
    root, version = _openapi(document)
    api = _ApiReader(OpenApiDocument(root, old=version.startswith("3.0")), location)
    operations = api.operations(most_operations)
    info = members(root.get("info"))
    return Api(
        title=shortened(text(info.get("title")), 200),
        version=shortened(str(info.get("version") or ""), 100),
        description=shortened(text(info.get("description")) or text(info.get("summary")), MOST_DESCRIPTION),
        openapi=version,
        base_urls=api.base_urls,
        schemes=api.schemes,
        operations=tuple(operations),
        gaps=tuple(api.document.gaps),
        gaps_not_kept=api.document.gaps_not_kept,
    )


def _openapi(document: object) -> tuple[Mapping[str, object], str]:
    """The document and its version."""
    if not isinstance(document, dict):
        raise InputError(f"This is no OpenAPI document: it must be an object, found {described(document)}.")
    declared = document.get("openapi")
    version = str(declared) if isinstance(declared, str | float) else ""
    if _VERSION.fullmatch(version.strip()):
        return document, version.strip()
    raise InputError(_instead(document, version))


def _instead(document: Mapping[str, object], version: str) -> str:
    """What this is, if it is no OpenAPI 3, and what to do."""
    if "swagger" in document or version.startswith("2"):
        return (
            "This is Swagger 2.0; OpenAPI 3.0 or 3.1 is needed. Convert it first, for example with"
            " `npx swagger2openapi --patch FILE`, or ask its maker for a newer one."
        )
    if version:
        return f"This is OpenAPI {version[:20]}; 3.0 or 3.1 is needed."
    kinds = {
        "asyncapi": "an AsyncAPI document",
        "__schema": "a GraphQL schema",
        "item": "a Postman collection",
        "discoveryVersion": "a Google discovery document",
        "mcpServers": "a configuration of MCP servers",
    }
    data = members(document.get("data"))
    found = next((words for key, words in kinds.items() if key in document or key in data), "")
    if found:
        return f"This is {found}, no OpenAPI document."
    return 'This is no OpenAPI document: it has no member `openapi` with a version, such as "3.1.0".'


@dataclass(frozen=True, slots=True)
class _Place:
    """One operation of the document, not yet read."""

    method: str
    path: str
    item: Mapping[str, object]
    raw: Mapping[str, object]
    item_where: tuple[str, ...]

    @property
    def where(self) -> tuple[str, ...]:
        return (*self.item_where, self.method)

    @property
    def wording(self) -> Wording:
        return Wording(text(self.raw.get("operationId")).strip(), self.method.upper(), self.path)


class _ApiReader:
    """Reads one document."""

    def __init__(self, document: OpenApiDocument, location: str) -> None:
        root = document.root
        self.document = document
        self.schemes = read_schemes(document)
        declared = read_base_urls(document, root.get("servers"), ("servers",), location)
        # Servers that cannot be used are not the same as none: nobody knows then where the API is.
        self.base_urls = declared or ((BaseUrl(""),) if root.get("servers") else without_servers(location))
        self._location = location
        self._inputs = 0
        self._security = read_requirements(document, root.get("security"), ("security",)) or ()
        self._sent = SchemaReader(document, "input")
        self._answered = SchemaReader(document, "output")

    def operations(self, most: int) -> list[ApiOperation]:
        places: list[_Place] = []
        more = 0
        for place in self._places():
            if len(places) < most:
                places.append(place)
            else:
                more += 1
        if more:
            self.document.gap("/paths", f"has {more:,} operations more than the {most:,} that are read", operation=True)
        names = tool_names([place.wording for place in places])
        read = (self._operation(place, name) for place, name in zip(places, names, strict=True))
        return [operation for operation in read if operation is not None]

    def _places(self) -> Iterator[_Place]:
        paths = self.document.root.get("paths")
        if paths is None and ("webhooks" in self.document.root or "components" in self.document.root):
            # Since 3.1 a document may be of webhooks or components alone.
            return
        if not isinstance(paths, dict):
            why = "is missing" if paths is None else f"must be an object, found {described(paths)}"
            self.document.gap("/paths", why)
            return
        ids: set[str] = set()
        for path, item in paths.items():
            if not isinstance(path, str) or path.startswith("x-"):
                continue
            where = ("paths", path)
            if not path.startswith("/") or len(path) > MOST_PATH:
                why = "does not begin with a slash" if len(path) <= MOST_PATH else f"has over {MOST_PATH:,} characters"
                self.document.gap(where, f"is a path that {why}", operation=True)
                continue
            found = self._item(item, where)
            for method in _METHODS if found is not None else ():
                raw = found.get(method) if found is not None else None
                if raw is None or found is None:
                    continue
                if not isinstance(raw, dict):
                    self.document.gap((*where, method), f"must be an object, found {described(raw)}", operation=True)
                    continue
                place = _Place(method, path, found, raw, where)
                known = place.wording.operation_id
                if known and known in ids:
                    self.document.gap((*where, method), f"has the operationId {known[:80]!r}, which another has too")
                ids.add(known)
                yield place

    def _item(self, value: object, where: tuple[str, ...]) -> Mapping[str, object] | None:
        """A path item. One that refers to another may have members of its own beside."""
        if not isinstance(value, dict) or "$ref" not in value:
            if value is not None and not isinstance(value, dict):
                self.document.gap(where, f"must be an object, found {described(value)}", operation=True)
                return None
            return members(value)
        target = self.document.follow(value, where)
        own = {key: member for key, member in value.items() if key != "$ref"}
        return own if target is None else {**target, **own}

    def _operation(self, place: _Place, name: str) -> ApiOperation | None:
        where, raw, document = place.where, place.raw, self.document
        if self._inputs > MOST_INPUTS:
            document.gap(where, f"comes after {MOST_INPUTS:,} parameters and fields of bodies", operation=True)
            return None
        parameters = read_parameters(
            document, place.item.get("parameters"), raw.get("parameters"), place.path, place.item_where, where
        )
        self._inputs += len(parameters)
        body = None
        if raw.get("requestBody") is not None and place.method not in _WITHOUT_BODY:
            try:
                body = read_body(document, self._sent, raw["requestBody"], (*where, "requestBody"))
            except Unreadable:
                document.gap(where, "has a body that cannot be read", operation=True)
                return None
        self._inputs += len(body.fields.properties) if body is not None and body.fields is not None else 0
        whole = tool_input(self._sent, parameters, body, pointer(where))
        result, output = read_result(document, self._answered, raw.get("responses"), (*where, "responses"))
        return ApiOperation(
            name=name,
            title=shortened(text(raw.get("summary")), 200),
            description=_description(place, whole),
            operation_id=text(raw.get("operationId")),
            method=place.method.upper(),
            path=place.path.partition("#")[0],
            base_urls=self._base_urls(place),
            parameters=whole.parameters,
            body=whole.body,
            security=self._requirements(raw, where),
            result=result,
            input_schema=whole.schema,
            output_schema=output,
            annotations=_hints(place.method),
            deprecated=raw.get("deprecated") is True,
            tags=_tags(raw.get("tags")),
        )

    def _base_urls(self, place: _Place) -> tuple[BaseUrl, ...]:
        own = read_base_urls(self.document, place.raw.get("servers"), (*place.where, "servers"), self._location)
        if own:
            return own
        where = (*place.item_where, "servers")
        return read_base_urls(self.document, place.item.get("servers"), where, self._location) or self.base_urls

    def _requirements(self, raw: Mapping[str, object], where: tuple[str, ...]) -> tuple[Requirement, ...]:
        if "security" not in raw:
            return self._security
        own = read_requirements(self.document, raw["security"], (*where, "security"))
        return self._security if own is None else own


def _hints(method: str) -> dict[str, bool]:
    """The hints of a tool, as far as HTTP says what the method does (RFC 9110, section 9.2)."""
    if method in _SAFE:
        return {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": True}
    hints = {"readOnlyHint": False, "idempotentHint": method in ("put", "delete"), "openWorldHint": True}
    # Of the others HTTP does not say whether they change what is there or only add to it.
    return {**hints, "destructiveHint": True} if method == "delete" else hints


def _description(place: _Place, whole: ToolInput) -> str:
    summary, description = text(place.raw.get("summary")).strip(), text(place.raw.get("description")).strip()
    parts = ["Deprecated."] if place.raw.get("deprecated") is True else []
    if summary and not description.startswith(summary.rstrip(".")):
        parts.append(summary)
    if description:
        parts.append(shortened(description, MOST_DESCRIPTION))
    if not summary and not description:
        parts.append(f"{place.method.upper()} {place.path}")
    if whole.needs:
        needed = "; ".join(" and ".join(group) for group in whole.needs[:20])
        parts.append(f"Needs at least one of: {needed}.")
    return "\n\n".join(parts)


def _tags(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str))[:20] if isinstance(value, list) else ()
