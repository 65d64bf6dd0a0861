"""Where a `$ref` leads within its own document: JSON pointers, anchors, and embedded resources with an `$id`.

JSON Schema 2020-12 core, sections 8.2 and 9.2; RFC 6901 for pointers. Nothing is ever fetched: what is not in the
document is unknown.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin

MOST_INDEXED = 100_000
"""Bound on the parts of one document looked at for anchors and ids."""

_NOT_SCHEMAS = frozenset({"enum", "const", "default", "examples", "example"})
_LEGACY = ("draft-03", "draft-04", "draft-05", "draft-06", "draft-07")
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """A schema with its own base URI: the document, or a part of it with an `$id`."""

    uri: str
    root: Any


class Target(NamedTuple):
    """A part of the document, the resource it belongs to, and a word to call it by."""

    schema: Any
    resource: Resource
    hint: str


class Document:
    """One schema document, as far as references within it go."""

    def __init__(self, root: Any) -> None:
        uri = root.get("$id") if isinstance(root, Mapping) else None
        self.legacy = _is_legacy(root)
        """Whether it says it is of a draft in which `$ref` hides everything beside it."""
        self.resource = Resource(_without_fragment(uri) if isinstance(uri, str) else "", root)
        self._resources: dict[int, Resource] | None = None
        self._by_uri: dict[str, Resource] = {}
        self._anchors: dict[tuple[Resource, str], Any] = {}
        self._dynamic_anchors: dict[str, list[Target]] = {}

    def entered(self, schema: Mapping[str, Any], resource: Resource) -> Resource:
        """The resource that `schema`, found within `resource`, belongs to."""
        if "$id" not in schema or schema is resource.root:
            return resource
        return self._indexed().get(id(schema), resource)

    def resolve(self, reference: str, resource: Resource) -> Target | None:
        """What a reference standing in `resource` leads to; None when that is not in this document."""
        address, _, fragment = reference.partition("#")
        if address:
            found = self._lookup(address, resource)
            if found is None:
                return None
            resource = found
        fragment = unquote(fragment)
        if not fragment:
            return Target(resource.root, resource, _last_word(address))
        if fragment.startswith("/"):
            return self._follow(fragment, resource)
        self._indexed()
        if (resource, fragment) in self._anchors:
            return Target(self._anchors[resource, fragment], resource, fragment)
        return None

    def resolve_dynamic(self, reference: str, resource: Resource) -> Target | None:
        """What a `$dynamicRef` leads to as far as that is known without a value.

        A `$dynamicAnchor` that it leads to lets the outermost one of that name decide: the document's own when it has
        one, else the only one there is; None when it depends on how the schema was entered.
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
        self._indexed()
        try:
            return self._by_uri.get(urljoin(resource.uri, address))
        except ValueError:
            return None

    def _follow(self, pointer: str, resource: Resource) -> Target | None:
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
                resource = self.entered(part, resource)
        return Target(part, resource, token)

    def _indexed(self) -> dict[int, Resource]:
        """Find anchors and embedded resources, on first need."""
        if self._resources is None:
            self._resources = {id(self.resource.root): self.resource}
            self._by_uri[self.resource.uri] = self.resource
            for schema, resource in self._walk():
                self._note_anchors(schema, resource)
        return self._resources

    def _walk(self) -> Iterator[tuple[Mapping[str, Any], Resource]]:
        assert self._resources is not None
        waiting: list[tuple[Any, Resource]] = [(self.resource.root, self.resource)]
        seen: set[int] = set()
        while waiting and len(seen) < MOST_INDEXED:
            part, resource = waiting.pop()
            if id(part) in seen:
                continue
            seen.add(id(part))
            if isinstance(part, Mapping):
                resource = self._embedded(part, resource)
                self._resources[id(part)] = resource
                yield part, resource
                parts = [value for key, value in part.items() if key not in _NOT_SCHEMAS]
            else:
                parts = part if isinstance(part, list) else []
            waiting.extend((value, resource) for value in reversed(parts) if isinstance(value, (Mapping, list)))

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
                self._dynamic_anchors.setdefault(name, []).append(Target(schema, resource, name))


def _is_legacy(root: Any) -> bool:
    dialect = root.get("$schema") if isinstance(root, Mapping) else None
    return isinstance(dialect, str) and any(draft in dialect for draft in _LEGACY)


def _without_fragment(uri: str) -> str:
    return uri.partition("#")[0]


def _last_word(address: str) -> str:
    return address.rstrip("/").rpartition("/")[2].partition(".")[0]
