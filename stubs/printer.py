"""Shapes as TypeScript source, with parentheses, line breaks, and each comment once in its place."""

from collections.abc import Iterable, Mapping

from stubs.jsdoc import block
from stubs.shapes import (
    Array,
    Index,
    Intersection,
    Literal,
    Note,
    Object,
    Primitive,
    Property,
    Reference,
    Shape,
    Tuple,
    Union,
    is_null,
)
from stubs.text import index_head, property_name

WIDTH = 88
"""The most characters of an object on one line. Only an object without comments is on one line."""
SHORT_DOC = 100

_ATOM, _POSTFIX, _INTERSECTION, _UNION = 0, 1, 2, 3


class Printer:
    """Writes shapes. Those in `names` are written as their names."""

    def __init__(self, names: Mapping[Shape, str]) -> None:
        self.mentions_integer = False
        """Whether a text so far needs `type integer = number`."""
        self._names = names
        self._flat: dict[Shape, str | None] = {}

    def declarations(self) -> Iterable[str]:
        """A declaration for every named type, each ending with a newline."""
        declared: set[str] = set()
        for shape, name in self._names.items():
            if name not in declared:
                declared.add(name)
                yield self._declaration(shape, name)

    def text(self, shape: Shape, indent: str = "") -> str:
        """A shape as it is written after `: `. Further lines begin with `indent`."""
        return self._text(shape, indent, commented=True)

    def _declaration(self, shape: Shape, name: str) -> str:
        doc, body = "", shape
        if isinstance(shape, Reference):
            doc = shape.definition.doc
            assert shape.definition.body is not None
            body = shape.definition.body
        # Not `self.text(body)`: the body has this name too, and would be declared as itself.
        if isinstance(body, Reference):
            text = self.text(body)
        else:
            text = self._flat_shape(body) or self._broken(body, "", commented=True)
        return f"{block(doc, '')}type {name} = {text};\n"

    def _text(self, shape: Shape, indent: str, *, commented: bool) -> str:
        flat = self._flat_text(shape)
        if flat is not None:
            return flat
        if shape in self._names:
            return self._names[shape]
        return self._broken(shape, indent, commented=commented)

    def _broken(self, shape: Shape, indent: str, *, commented: bool) -> str:
        """A shape on several lines, or with comments."""
        match shape:
            case Reference(definition) if definition.body is not None:
                text = self._text(definition.body, indent, commented=commented and not definition.doc)
                return f"/** {definition.doc} */ {text}" if definition.doc and commented else text
            case Note(note, inner):
                return f"/** {note} */ {self._text(inner, indent, commented=commented)}"
            case Array(item):
                return self._within(item, indent, _POSTFIX, commented=commented) + "[]"
            case Tuple():
                return self._tuple(shape, indent)
            case Object(properties, indexes):
                return self._object(properties, indexes, indent)
            case Union(members):
                alone = sum(not is_null(member) for member in members) == 1
                parts = [self._within(item, indent, _UNION, commented=commented or not alone) for item in members]
                return " | ".join(parts)
            case Intersection(members):
                return " & ".join(self._within(item, indent, _INTERSECTION, commented=True) for item in members)
            case _:
                return self._flat_shape(shape) or "unknown"

    def _within(self, shape: Shape, indent: str, level: int, *, commented: bool) -> str:
        text = self._text(shape, indent, commented=commented)
        return f"({text})" if self._level(shape) > level else text

    def _level(self, shape: Shape) -> int:
        """The precedence of the operator of a shape; `_ATOM` needs no parentheses anywhere."""
        if shape in self._names:
            return _ATOM
        match shape:
            case Union():
                return _UNION
            case Intersection():
                return _INTERSECTION
            case Array():
                return _POSTFIX
            case Note():
                return self._level(shape.shape)
            case Reference(definition) if definition.body is not None:
                return self._level(definition.body)
            case _:
                return _ATOM

    def _tuple(self, shape: Tuple, indent: str) -> str:
        items = [
            self._within(item, indent, _UNION if position < shape.required else _ATOM, commented=True)
            + ("" if position < shape.required else "?")
            for position, item in enumerate(shape.items)
        ]
        if shape.rest is not None:
            items.append(f"...{self._within(shape.rest, indent, _POSTFIX, commented=True)}[]")
        return f"[{', '.join(items)}]"

    def _object(self, properties: Iterable[Property], indexes: Iterable[Index], indent: str) -> str:
        inner = indent + "  "
        lines = [f"{inner}{self._property(item, inner)};\n" for item in properties]
        for key, shape, doc in indexes:
            comment = f"/** {doc} */ " if doc else ""
            lines.append(f"{inner}{comment}{index_head(key)}{self._text(shape, inner, commented=True)};\n")
        return "{\n" + "".join(lines) + indent + "}"

    def _property(self, item: Property, indent: str) -> str:
        doc = self._doc(item)
        comment = f"/** {doc} */ " if doc else ""
        mark = "" if item.required else "?"
        shape = item.shape.shape if isinstance(item.shape, Note) else item.shape
        return f"{comment}{property_name(item.name)}{mark}: {self._text(shape, indent, commented=False)}"

    def _doc(self, item: Property) -> str:
        """The comment of a property: its own, and that of its type where the type is written out in place."""
        inner, declared = self._docs_of_type(item.shape)
        if not item.doc or item.doc == declared:
            return inner
        if not inner or len(inner) > SHORT_DOC or inner in item.doc:
            return item.doc
        return f"{item.doc}; {inner}"

    def _docs_of_type(self, shape: Shape) -> tuple[str, str]:
        """The comment of a shape that is written out in place, and that of one with a declaration of its own."""
        match shape:
            case Reference(definition):
                if shape in self._names:
                    return "", definition.doc
                if definition.doc or definition.body is None:
                    return definition.doc, ""
                return self._docs_of_type(definition.body)
            case Array(item) if item not in self._names:
                inner, _ = self._docs_of_type(item)
                return f"each: {inner}" if inner else "", ""
            case Note(note):
                return note, ""
            case Union(members) if shape not in self._names:
                rest = [member for member in members if not is_null(member)]
                return self._docs_of_type(rest[0]) if len(rest) == 1 else ("", "")
            case _:
                return "", ""

    def _flat_text(self, shape: Shape) -> str | None:
        """The shape on one short line, or None when it has comments or is longer."""
        if shape in self._names:
            return self._names[shape]
        if shape not in self._flat:
            self._flat[shape] = self._flat_shape(shape)
        return self._flat[shape]

    def _flat_shape(self, shape: Shape) -> str | None:
        match shape:
            case Primitive(text) | Literal(text):
                self.mentions_integer |= text == "integer"
                return text
            case Reference(definition):
                return self._flat_text(definition.body) if definition.body is not None and not definition.doc else None
            case Note(note, inner):
                return _prefixed(f"/** {note} */ ", self._flat_text(inner))
            case Array(item):
                return _prefixed("", self._flat_within(item, _POSTFIX), "[]")
            case Tuple(items, required, rest):
                return self._flat_tuple(items, required, rest)
            case Object(properties, indexes):
                return self._flat_object(properties, indexes)
            case Union(members):
                return _join(" | ", (self._flat_within(item, _UNION) for item in members))
            case Intersection(members):
                return _join(" & ", (self._flat_within(item, _INTERSECTION) for item in members))

    def _flat_within(self, shape: Shape, level: int) -> str | None:
        text = self._flat_text(shape)
        return f"({text})" if text is not None and self._level(shape) > level else text

    def _flat_tuple(self, items: Iterable[Shape], required: int, rest: Shape | None) -> str | None:
        texts: list[str | None] = []
        text: str | None
        for position, item in enumerate(items):
            text = self._flat_within(item, _UNION if position < required else _ATOM)
            texts.append(text if position < required or text is None else text + "?")
        if rest is not None:
            text = self._flat_within(rest, _POSTFIX)
            texts.append(None if text is None else f"...{text}[]")
        inner = _join(", ", texts)
        return None if inner is None else f"[{inner}]"

    def _flat_object(self, properties: Iterable[Property], indexes: Iterable[Index]) -> str | None:
        properties, indexes = tuple(properties), tuple(indexes)
        if not properties and not indexes:
            return "Record<string, unknown>"
        if any(item.doc or self._doc(item) for item in properties) or any(item.doc for item in indexes):
            return None
        texts: list[str | None] = []
        for item in properties:
            text = self._flat_text(item.shape)
            texts.append(None if text is None else f"{property_name(item.name)}{'' if item.required else '?'}: {text}")
        for key, shape, _ in indexes:
            text = self._flat_text(shape)
            if text is not None and not properties and key == "string" and _is_plain(shape):
                return _short(f"Record<string, {text}>")
            texts.append(None if text is None else f"{index_head(key)}{text}")
        inner = _join("; ", texts)
        return None if inner is None else f"{{ {inner} }}"


def _is_plain(shape: Shape) -> bool:
    """Whether a shape contains no names. TypeScript resolves the argument of `Record` at once, which fails for a type
    inside its own declaration."""
    match shape:
        case Primitive() | Literal():
            return True
        case Array(item):
            return _is_plain(item)
        case Union(members):
            return all(map(_is_plain, members))
        case _:
            return False


def _prefixed(before: str, text: str | None, after: str = "") -> str | None:
    return None if text is None else _short(f"{before}{text}{after}")


def _short(text: str) -> str | None:
    return text if len(text) <= WIDTH else None


def _join(separator: str, texts: Iterable[str | None]) -> str | None:
    parts: list[str] = []
    length = 0
    for text in texts:
        if text is None:
            return None
        parts.append(text)
        length += len(text) + len(separator)
        if length > WIDTH + len(separator):
            return None
    return separator.join(parts)
