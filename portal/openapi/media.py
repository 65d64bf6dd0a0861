"""Media types of bodies and answers: which of our kinds each is, and which of several is the best to use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from portal.openapi.document import OpenApiDocument
from portal.openapi.operation import BodyKind

_TEXTS: Final = frozenset(
    {"application/xml", "application/yaml", "application/x-yaml", "application/graphql", "application/javascript"}
    | {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq", "application/sql"}
)
_ORDER: Final[tuple[BodyKind, ...]] = ("json", "form", "multipart", "text", "binary")
_STRUCTURED: Final = frozenset({"object", "array", "number", "integer", "boolean"})


def media_types(content: object, document: OpenApiDocument, where: tuple[str, ...]) -> dict[str, Mapping[str, object]]:
    """The readable media types of a `content`, by their names."""
    if not isinstance(content, dict):
        document.gap(where, "has a content that is not an object")
        return {}
    found: dict[str, Mapping[str, object]] = {}
    for name, value in content.items():
        described = {} if value is None else document.follow(value, (*where, str(name)))
        if described is not None and isinstance(name, str) and _is_media_type(name):
            found[name.strip()] = described
        elif described is not None:
            document.gap((*where, str(name)), "is not the name of a media type")
    return found


def kind_of(name: str, media: Mapping[str, object], document: OpenApiDocument) -> BodyKind:
    """What a body of this media type is. A range that could be JSON is if its schema is not of text."""
    plain = name.partition(";")[0].strip().lower()
    main, _, sub = plain.partition("/")
    if sub == "json" or sub.endswith("+json"):
        return "json"
    if plain == "application/x-www-form-urlencoded":
        return "form"
    if main == "multipart":
        return "multipart"
    if plain in ("*/*", "application/*"):
        return "json" if _is_structured(media.get("schema"), document) else "binary"
    return "text" if main == "text" or plain in _TEXTS or sub.endswith("+xml") else "binary"


def best(found: Mapping[str, Mapping[str, object]], document: OpenApiDocument) -> tuple[BodyKind, list[str]]:
    """The kind that is best to use, and the media types of that kind, exact ones first."""
    kinds: dict[BodyKind, list[str]] = {}
    for name, media in found.items():
        kinds.setdefault(kind_of(name, media, document), []).append(name)
    kind = next(one for one in _ORDER if one in kinds)
    return kind, sorted(kinds[kind], key=lambda name: ("*" in name, kind == "json" and not _is_plain_json(name)))


def accept(names: Iterable[str]) -> str:
    """An Accept header for these media types, the first preferred. Errors may come in any other."""
    exact = [name for name in dict.fromkeys(names) if "*" not in name and "," not in name][:8]
    parts = [name if number == 0 else f"{name};q=0.9" for number, name in enumerate(exact)]
    return ", ".join([*parts, "*/*;q=0.1"]) if parts else "*/*"


def _is_media_type(name: str) -> bool:
    """Printable ASCII with a slash, which may stand in a header."""
    plain = name.strip()
    return 2 < len(plain) <= 255 and "/" in plain[1:-1] and all(" " <= letter <= "~" for letter in plain)


def _is_plain_json(name: str) -> bool:
    return name.partition(";")[0].strip().lower() == "application/json"


def _is_structured(schema: object, document: OpenApiDocument) -> bool:
    found = document.schema(schema)
    if found is None:
        return False
    kind = found.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return any(isinstance(one, str) and one in _STRUCTURED for one in kinds) or any(
        key in found for key in ("properties", "items", "allOf", "anyOf", "oneOf")
    )
