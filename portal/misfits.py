"""Documents of others as values of a model, and what does not fit, in words for the person or program that wrote them.

Pydantic's own sentences name Python's types and the model's classes, and its places have the names of alternatives in
them. Nobody outside knows these, so no error shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

MAX_ROUNDS = 10
MAX_DETAILS = 1000
M = TypeVar("M", bound=BaseModel)
Place: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Misfit:
    """What does not fit: a place in the document, and a phrase without a subject: "must be a list", "is missing"."""

    place: Place
    problem: str
    value: object = field(repr=False)

    @property
    def dotted(self) -> str:
        """The place as people write it, `servers[0].name`; "" for the document itself."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.place).removeprefix(".")


@dataclass(frozen=True, slots=True)
class _Detail:
    """One of pydantic's errors. `ours` is whether its message is of a validator of ours."""

    kind: str
    location: Place
    message: str
    value: object
    context: Mapping[str, object]
    ours: bool


def _details(error: ValidationError) -> list[_Detail]:
    return [
        _Detail(
            detail["type"],
            detail["loc"],
            detail["msg"],
            detail["input"],
            detail.get("ctx", {}),
            # Only errors of pydantic's own have a page that explains them.
            ours="url" not in detail or detail["type"] in ("value_error", "assertion_error"),
        )
        for detail in error.errors()[:MAX_DETAILS]
    ]


def fitted(model: type[M], document: object) -> M:
    """The document as a value of the model. A member that is null counts as not sent if the model has no null there.

    Many programs write null for what was left out or taken out.

    Raises:
        ValidationError: the document does not fit. `misfits` has the words.
    """
    for _ in range(MAX_ROUNDS):
        try:
            return model.model_validate(document)
        except ValidationError as error:
            # Each round may uncover others: some members are read only once the rest fits.
            fitting = without_nulls(error, document)
            if fitting is document:
                raise
            document = fitting
    return model.model_validate(document)


def without_nulls(error: ValidationError, document: object) -> object:
    """The document without the members that do not fit because they are null; the same object if there are none."""
    nulls = _null_members(error, document)
    return _without(document, nulls) if nulls else document


def misfits(error: ValidationError, document: object) -> list[Misfit]:
    """What does not fit, each place once. `document` is what was validated; None if it is not known.

    No phrase quotes a value of the document.
    """
    placed = [(_place(detail, document), detail) for detail in _details(error)]
    around = {place[:length] for place, _ in placed for length in range(len(place))}
    found: dict[Place, Misfit] = {}
    for place, detail in placed:
        if detail.kind == "too_short" and place in around:
            # Entries that do not fit are not counted. They are named themselves.
            continue
        one = Misfit(place, _problem(detail), detail.value)
        before = found.get(place)
        found[place] = one if before is None else _either(before, one)
    return list(found.values())


def _either(one: Misfit, other: Misfit) -> Misfit:
    """Two alternatives that a value is neither of."""
    needed = "must be "
    if not (one.problem.startswith(needed) and other.problem.startswith(needed)) or one.problem == other.problem:
        return one
    return Misfit(one.place, f"{one.problem} or {other.problem.removeprefix(needed)}", one.value)


def _place(detail: _Detail, document: object) -> Place:
    """The location without the names of alternatives, which the document does not have.

    An alternative may be called like a member, so of the ways through the document the one is taken that ends at the
    value which does not fit.
    """
    if document is None:
        return detail.location
    parts, end = detail.location, Place()
    if detail.kind == "missing":
        # The value is the object that lacks the member.
        parts, end = parts[:-1], parts[-1:]
    ways = list(_ways(document, parts))
    right = next((place for place, value in ways if _same(value, detail.value)), None)
    return (ways[0][0] if right is None else right) + end


def _same(one: object, other: object) -> bool:
    """Whether two values are equal. A validator may have copied one of them."""
    try:
        return one is other or bool(one == other)
    except RecursionError:
        # Both are nested deeper than Python compares.
        return False


def _ways(here: object, parts: Place) -> Iterator[tuple[Place, object]]:
    """The places that a location can mean, each with the value there; those with the most of its parts first."""
    if not parts:
        yield (), here
        return
    part, rest = parts[0], parts[1:]
    known = isinstance(here, Mapping) and part in here
    listed = isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)
    if known or listed:
        for place, value in _ways(here[part], rest):  # type: ignore[index]
            yield (part, *place), value
    if isinstance(part, str):
        yield from _ways(here, rest)
    elif not listed:
        yield (), here


def _null_members(error: ValidationError, document: object) -> set[Place]:
    """The members that are null and do not fit for that reason."""
    places = {_place(detail, document) for detail in _details(error) if detail.value is None}
    return {place for place in places if place and isinstance(place[-1], str)}


def _without(here: object, places: Iterable[Place]) -> object:
    """A copy without these members. Only what holds one of them is copied, however deep the rest is."""
    gone, below = set[str | int](), dict[str | int, list[Place]]()
    for first, *rest in places:
        if rest:
            below.setdefault(first, []).append(tuple(rest))
        else:
            gone.add(first)
    if isinstance(here, list | tuple):
        return [_without(one, below[number]) if number in below else one for number, one in enumerate(here)]
    assert isinstance(here, Mapping)
    return {
        name: _without(value, below[name]) if name in below else value
        for name, value in here.items()
        if name not in gone
    }


_TEXT, _LIST, _OBJECT = "must be text", "must be a list", "must be an object"
_FLAG = "must be a boolean, true or false"
_TIME = "must be a date and time such as 2026-01-31T12:00:00Z"
_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "none_required": "must be null",
    "bool_type": _FLAG,
    "bool_parsing": _FLAG,
    "finite_number": "must be a finite number",
    "json_invalid": "must be JSON",
    "json_type": "must be JSON",
    "recursion_loop": "is nested too deep",
    "dict_type": _OBJECT,
    "mapping_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dataclass_type": _OBJECT,
    "string_type": _TEXT,
    "string_sub_type": _TEXT,
    "string_unicode": _TEXT,
    "bytes_type": _TEXT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "iterable_type": _LIST,
    "timezone_aware": "must be a date and time with a time zone, such as 2026-01-31T12:00:00Z",
    "timezone_naive": "must be a date and time without a time zone",
}
_BOUNDS = {
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "bytes_too_short": "must have at least {min_length} bytes",
    "bytes_too_long": "must have at most {max_length} bytes",
    "url_too_long": "must have at most {max_length} characters",
    "url_scheme": "must be a URL with the scheme {expected_schemes}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be greater than or equal to {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be less than or equal to {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
}
_BEGINNINGS = {
    "int": "must be a whole number",
    "float": "must be a number",
    "decimal": "must be a number",
    "datetime": _TIME,
    "date": "must be a date such as 2026-01-31",
    "timezone": _TIME,
    "time_delta": "must be a duration",
    "time": "must be a time such as 12:00:00",
    "url": "must be a URL",
    "uuid": "must be a UUID",
}


def _problem(detail: _Detail) -> str:
    if detail.ours:
        return detail.message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if detail.kind in _WORDS:
        return _WORDS[detail.kind]
    if detail.context.get("min_length") == 1:
        return "must not be empty"
    if detail.kind in _BOUNDS:
        return _BOUNDS[detail.kind].format_map(detail.context)
    return next((words for name, words in _BEGINNINGS.items() if detail.kind.startswith(f"{name}_")), "is not valid")
