"""Expressions that say which texts some fields have, and nothing else: read as that, and written from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from portal.gateway.fields import FIELDS, Field
from portal.gateway.matching import profiles_in
from portal.gateway.reading import All, Comparison, ExpressionRefused, read_expression

PlainConditions = Mapping[str, tuple[str, ...]]
"""The texts of which each field has one, by the name of the field."""


def plain_conditions(source: str, family: str) -> PlainConditions | None:
    """What an expression of this family says, if that is plain; None if it says more, or cannot be read."""
    try:
        node = read_expression(source, family)
    except ExpressionRefused:
        return None
    if node is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for part in node.parts if isinstance(node, All) else (node,):
        if not isinstance(part, Comparison) or part.operator not in ("==", "in") or part.field.name in found:
            return None
        found[part.field.name] = part.texts
    return found


def written_conditions(conditions: PlainConditions) -> str:
    """The expression that says this; empty for no conditions. A field without texts says nothing."""
    return " and ".join(_written(FIELDS[name], texts) for name, texts in conditions.items() if texts)


def profiles_asked(source: str) -> frozenset[str]:
    """The profiles that an expression of `traffic` names; none if it cannot be read."""
    try:
        return profiles_in(read_expression(source, "traffic"))
    except ExpressionRefused:
        return frozenset()


def _written(field: Field, texts: tuple[str, ...]) -> str:
    quoted = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    if field.several:
        return f"any({field.shown} in {{{' '.join(quoted)}}})"
    return f"{field.shown} == {quoted[0]}" if len(quoted) == 1 else f"{field.shown} in {{{' '.join(quoted)}}}"
