"""Which types of a text get a name, and which name.

A type gets a name when it refers to itself, or when writing it out at every use would take more text. The choice
depends on the one text only, so the types of a single tool are mostly written out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from stubs.shapes import (
    Array,
    Intersection,
    Literal,
    Note,
    Object,
    Primitive,
    Reference,
    Shape,
    Tuple,
    Union,
    is_null,
)

SHORTEST_NAMED = 40
LONGEST_HINT = 40

_WORDS = re.compile(r"[A-Za-z0-9]+")
_HEAVY = 1_000_000
_NAME_AND_DECLARATION = 12


def name_types(roots: Iterable[tuple[str, Shape]], prefix: str) -> dict[Shape, str]:
    """Names for some of the shapes within the roots, `prefix_Word`, in the order of their first use.

    `roots`: pairs of a word for the name, and a shape. The name of a recursive definition stands for its reference and
    for its body.
    """
    uses: dict[Shape, int] = {}
    hints: dict[Shape, str] = {}
    stack = list(reversed([*roots]))
    while stack:
        hint, shape = stack.pop()
        uses[shape] = uses.get(shape, 0) + 1
        if uses[shape] == 1 or _is_transparent(shape):
            hints.setdefault(shape, shape.definition.hint if isinstance(shape, Reference) else hint)
            stack.extend(reversed([*_parts(hint, shape)]))
    choice = _Choice(uses, hints, len(prefix))
    names: dict[Shape, str] = {}
    used: set[str] = set()
    for shape in uses:
        if shape in names or not choice.is_named(shape):
            continue
        names[shape] = _distinct(f"{prefix}_{pascal(hints[shape])}", used)
        if isinstance(shape, Reference) and shape.definition.recursive:
            body = shape.definition.body
            if isinstance(body, (Object, Union, Intersection, Tuple)):
                names.setdefault(body, names[shape])
    return names


def pascal(hint: str) -> str:
    """A word for a type: `pull_request` becomes `PullRequest`."""
    words = "".join(word[:1].upper() + word[1:] for word in _WORDS.findall(hint))
    return words[:LONGEST_HINT] or "Type"


def _distinct(name: str, used: set[str]) -> str:
    candidate, number = name, 2
    while candidate in used:
        candidate, number = f"{name}{number}", number + 1
    used.add(candidate)
    return candidate


def _is_transparent(shape: Shape) -> bool:
    """Whether a name is better for the part inside than for the shape: `Issue[]`, `Issue | null`."""
    if isinstance(shape, Union):
        return sum(not is_null(member) for member in shape.members) == 1
    return isinstance(shape, (Array, Note))


class _Choice:
    """Decides from the inside out, because a type whose parts have names is short."""

    def __init__(self, uses: Mapping[Shape, int], hints: Mapping[Shape, str], prefix: int) -> None:
        self._uses = uses
        self._hints = hints
        self._prefix = prefix
        self._weights: dict[Shape, int] = {}

    def is_named(self, shape: Shape) -> bool:
        if isinstance(shape, Reference) and shape.definition.recursive:
            return True
        uses = self._uses.get(shape, 0)
        if uses < 2 or _is_transparent(shape):
            return False
        weight, name = self._full_weight(shape), self._name(shape)
        return weight >= SHORTEST_NAMED and uses * weight > weight + (uses + 1) * name + _NAME_AND_DECLARATION

    def _name(self, shape: Shape) -> int:
        return self._prefix + 1 + min(len(self._hints.get(shape, "")), LONGEST_HINT)

    def _weight(self, shape: Shape) -> int:
        """About how many characters the shape takes at each use."""
        return self._name(shape) if self.is_named(shape) else self._full_weight(shape)

    def _full_weight(self, shape: Shape) -> int:
        """About how many characters the shape takes when it is written out."""
        if shape not in self._weights:
            self._weights[shape] = min(_HEAVY, self._weigh(shape))
        return self._weights[shape]

    def _weigh(self, shape: Shape) -> int:
        match shape:
            case Primitive(text) | Literal(text):
                return len(text)
            case Reference(definition):
                return len(definition.doc) + (self._weight(definition.body) if definition.body is not None else 0)
            case Object(properties, indexes):
                total = sum(len(item.name) + len(item.doc) + 4 + self._weight(item.shape) for item in properties)
                return total + sum(16 + self._weight(item.shape) for item in indexes) + (4 if properties else 22)
            case Note(note, inner):
                return len(note) + 9 + self._weight(inner)
            case _:
                return sum(3 + self._weight(part) for _, part in _parts("", shape))


def _parts(hint: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    match shape:
        case Reference(definition):
            if definition.body is not None:
                yield definition.hint, definition.body
        case Array(item):
            yield _singular(hint), item
        case Tuple(items, _, rest):
            yield from ((hint, item) for item in items)
            if rest is not None:
                yield hint, rest
        case Object(properties, indexes):
            yield from ((item.name, item.shape) for item in properties)
            yield from ((_singular(hint), item.shape) for item in indexes)
        case Union(members) | Intersection(members):
            yield from ((hint, member) for member in members)
        case Note():
            yield hint, shape.shape
        case _:
            pass


def _singular(hint: str) -> str:
    if hint.endswith("ies"):
        return hint[:-3] + "y"
    return hint[:-1] if hint.endswith("s") and not hint.endswith("ss") else hint
