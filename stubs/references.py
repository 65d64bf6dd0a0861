"""The target of a `$ref` within its document: by JSON pointer, anchor, or embedded resource with an `$id`.

JSON Schema 2020-12 core, sections 8.2 and 9.2; RFC 6901 for pointers. Nothing is ever fetched: a target outside the
document is unknown.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin

MOST_INDEXED = 100_000
"""The most parts of one document that are searched for anchors and ids."""

_NOT_SCHEMAS = frozenset({"enum", "const", "default", "examples", "example"})
_LEGACY = ("draft-03", "draft-04", "draft-05", "draft-06", "draft-07")
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """A schema with its own base URI: the document, or a part of it with an `$id`."""

    uri: str
    root: Any


class ReferenceTarget(NamedTuple):
    """A part of the document, its resource, and a word for its name."""

    schema: Any
    resource: Resource
    hint: str


class SchemaDocument:
    """The references within one schema document."""

    def __init__(self, root: Any) -> None:
        uri = root.get("$id") if isinstance(root, Mapping) else None
        self.legacy = _is_legacy(root)
        """Whether its draft is one in which `$ref` hides the other keywords of its schema."""
        self.resource = Resource(_without_fragment(uri) if isinstance(uri, str) else "", root)
        self._resources: dict[int, Resource] | None = None
        self._by_uri: dict[str, Resource] = {}
        self._anchors: dict[tuple[Resource, str], Any] = {}
        self._dynamic_anchors: dict[str, list[ReferenceTarget]] = {}

    def enter(self, schema: Mapping[str, Any], resource: Resource) -> Resource:
        """The resource of `schema`, which is a part of `resource`."""
        if "$id" not in schema or schema is resource.root:
            return resource
        return self._index().get(id(schema), resource)

    def resolve(self, reference: str, resource: Resource) -> ReferenceTarget | None:
        """The target of a reference in `resource`; None when it is not in this document."""
        address, _, fragment = reference.partition("#")
        if address:
            addressed = self._lookup(address, resource)
            if addressed is None:
                return None
            resource = addressed
        fragment = unquote(fragment)
        if not fragment:
            return ReferenceTarget(resource.root, resource, _last_word(address))
        if fragment.startswith("/"):
            return self._follow(fragment, resource)
        self._index()
        if (resource, fragment) in self._anchors:
            return ReferenceTarget(self._anchors[resource, fragment], resource, fragment)
        return None

    def resolve_dynamic(self, reference: str, resource: Resource) -> ReferenceTarget | None:
        """The target of a `$dynamicRef`, as far as it is known without a value.

        When it leads to a `$dynamicAnchor`, the outermost anchor of that name is the target: the document's own if it
        has one, else the only one. None when that depends on the path to the schema.
        """
        name = unquote(reference.partition("#")[2])
        first = self.resolve(reference, resource)
        if first is None or not isinstance(first.schema, Mapping) or first.schema.get("$dynamicAnchor") != name:
            return first
        candidates = self._dynamic_anchors.get(name, [])
        for target in candidates:
            if target.resource is self.resource:
                return target
        return first if len(candidates) == 1 else None

    def _lookup(self, address: str, resource: Resource) -> Resource | None:
        self._index()
        try:
            return self._by_uri.get(urljoin(resource.uri, address))
        except ValueError:
            return None

    def _follow(self, pointer: str, resource: Resource) -> ReferenceTarget | None:
        part = resource.root
        token = ""
        for token in pointer.split("/")[1:]:
            token = token.replace("~1", "/").replace("~0", "~")
            if isinstance(part, Mapping):
                if token not in part:
                    return None
                part = part[token]
            elif isinstance(part, list) and _ARRAY_INDEX.fullmatch(token) and int(token) < len(part):
                part = part[int(token)]
            else:
                return None
            if isinstance(part, Mapping):
                resource = self.enter(part, resource)
        return ReferenceTarget(part, resource, token)

    def _index(self) -> dict[int, Resource]:
        """The resource of every schema by its id(). The first call also finds all anchors and embedded resources."""
        if self._resources is None:
            self._resources = {id(self.resource.root): self.resource}
            self._by_uri[self.resource.uri] = self.resource
            for schema, resource in self._walk():
                self._note_anchors(schema, resource)
        return self._resources

    def _walk(self) -> Iterator[tuple[Mapping[str, Any], Resource]]:
        assert self._resources is not None
        stack: list[tuple[Any, Resource]] = [(self.resource.root, self.resource)]
        visited: set[int] = set()
        while stack and len(visited) < MOST_INDEXED:
            part, resource = stack.pop()
            if id(part) in visited:
                continue
            visited.add(id(part))
            if isinstance(part, Mapping):
                resource = self._embedded(part, resource)
                self._resources[id(part)] = resource
                yield part, resource
                parts = [value for key, value in part.items() if key not in _NOT_SCHEMAS]
            else:
                parts = part if isinstance(part, list) else []
            stack.extend((value, resource) for value in reversed(parts) if isinstance(value, (Mapping, list)))

    def _embedded(self, schema: Mapping[str, Any], resource: Resource) -> Resource:
        identifier = schema.get("$id")
        if schema is resource.root or not isinstance(identifier, str) or identifier.startswith("#"):
            return resource
        if self.legacy and "$ref" in schema:
            return resource
        try:
            embedded = Resource(_without_fragment(urljoin(resource.uri, identifier)), schema)
        except ValueError:
            return resource
        self._by_uri.setdefault(embedded.uri, embedded)
        return embedded

    def _note_anchors(self, schema: Mapping[str, Any], resource: Resource) -> None:
        for keyword in ("$anchor", "$dynamicAnchor", "$id"):
            name = schema.get(keyword)
            if not isinstance(name, str) or (keyword == "$id" and not name.startswith("#")):
                continue
            name = name.removeprefix("#")
            self._anchors.setdefault((resource, name), schema)
            if keyword == "$dynamicAnchor":
                self._dynamic_anchors.setdefault(name, []).append(ReferenceTarget(schema, resource, name))


def _is_legacy(root: Any) -> bool:
    dialect = root.get("$schema") if isinstance(root, Mapping) else None
    return isinstance(dialect, str) and any(draft in dialect for draft in _LEGACY)


def _without_fragment(uri: str) -> str:
    return uri.partition("#")[0]


def _last_word(address: str) -> str:
    return address.rstrip("/").rpartition("/")[2].partition(".")[0]
