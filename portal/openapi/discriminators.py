"""Discriminators: which value of which property says which of several schemas a value has."""

from __future__ import annotations

from collections.abc import Mapping

from portal.openapi.document import OpenApiDocument, members

MOST_MAPPED = 500
_PARTS_LOOKED_AT = 16


def selecting(document: OpenApiDocument, raw: Mapping[str, object]) -> tuple[str, dict[str, list[str]]]:
    """The property that a `discriminator` names, and its values by the references that they select.

    Only a mapping that is written out counts. That a schema's name is the value where there is none is what the
    specification says, and often not what is sent.
    """
    discriminator = members(raw.get("discriminator"))
    name, mapping = discriminator.get("propertyName"), members(discriminator.get("mapping"))
    if not isinstance(name, str) or not mapping or len(mapping) > MOST_MAPPED:
        return "", {}
    found: dict[str, list[str]] = {}
    for value, target in mapping.items():
        if isinstance(value, str) and isinstance(target, str):
            reference = target if "#" in target else f"#/components/schemas/{target}"
            found.setdefault(reference, []).append(value)
    return name, {one: values for one, values in found.items() if not _says_it(document, {"$ref": one}, name, 0)}


def _says_it(document: OpenApiDocument, schema: object, name: str, depth: int) -> bool:
    """Whether a schema lists the values of the property itself."""
    if not isinstance(schema, dict) or depth > 4:
        return False
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _says_it(document, document.target(reference), name, depth + 1)
    own = members(members(schema.get("properties")).get(name))
    if "enum" in own or "const" in own:
        return True
    parts = schema.get("allOf")
    return isinstance(parts, list) and any(
        _says_it(document, part, name, depth + 2) for part in parts[:_PARTS_LOOKED_AT]
    )
