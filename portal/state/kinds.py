"""Kinds of documents: one model for each, which checks what is written and gives a typed value for what is read.

A document is stored with the number of its shape. Shape 0 is the first one and has no number; a kind with two upgrades
writes shape 2. A document of an older shape goes through the missing upgrades in order, each time it is
read. The next write stores it in the current shape.

Why numbered upgrades, and not validators that accept every older shape: a validator cannot tell an old document from a
wrong new one, it also runs on the bodies of the API, and it can never be removed. An upgrade is a function of
one step, with its own test, and runs only on documents of that shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Generic, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from portal.misfits import misfits
from portal.state.documents import check_kind, encode
from portal.state.errors import DocumentInvalid

SHAPE = "$shape"
"""The member that holds the number of the shape. It comes first, and no document may have it as a member of its own."""

D = TypeVar("D")
Upgrade = Callable[[dict[str, object]], dict[str, object]]
"""From the members of a document of one shape to those of the next. If it raises, the document is broken."""
_WRONG = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class ShapeInvalid(Exception):
    """A stored document is not valid for its kind.

    `problem` names the member and never a value. `code` has nothing of the document, and may be logged.
    """

    def __init__(self, problem: str, code: str) -> None:
        self.problem = problem
        self.code = code
        super().__init__(code)


class Kind(Generic[D]):
    """The documents of one kind are values of `model`: a pydantic model, a dataclass, or a type for TypeAdapter.

    `mark` is how the text of a document of the current shape begins, "" where there is only one shape.
    """

    def __init__(self, name: str, model: type[D], upgrades: Sequence[Upgrade] = ()) -> None:
        self.name = check_kind(name)
        self._model = model
        self._upgrades = tuple(upgrades)
        self.mark = f'{{"{SHAPE}":{self.shape},' if upgrades else ""

    def __repr__(self) -> str:
        return f"Kind({self.name!r})"

    @property
    def shape(self) -> int:
        """The number of the shape that is written."""
        return len(self._upgrades)

    def read(self, text: str) -> D:
        """The document in this text, which may have any shape up to the current one.

        Raises:
            ShapeInvalid: the text is not a document of this kind.
        """
        try:
            if self.mark and text.startswith(self.mark):
                return self._adapter.validate_json("{" + text[len(self.mark) :])
            if self._upgrades or text.startswith(f'{{"{SHAPE}"'):
                text = orjson.dumps(self._upgraded(members_of(text))).decode()
            return self._adapter.validate_json(text)
        except ValidationError as error:
            first = misfits(error, _document(text))[0]
            place = ".".join(str(part)[:64] for part in first.place)
            code = error.errors(include_url=False, include_input=False, include_context=False)[0]["type"]
            raise ShapeInvalid(f"{place}: {first.problem}" if place else first.problem, code) from None
        except _WRONG as error:
            # The text of such an error may quote the document.
            raise ShapeInvalid("it is not a document of this kind", type(error).__name__) from None

    def text(self, document: D) -> str:
        """The text to store for this document.

        Raises:
            DocumentInvalid: `read` could not read it, or it is not JSON within the bounds of documents.
        """
        members = self.members(document)
        text = encode({SHAPE: self.shape, **members} if self._upgrades else members)
        try:
            self.read(text)
        except ShapeInvalid as error:
            raise DocumentInvalid(f"this is no document of the kind {self.name}: {error.problem}") from None
        return text

    def members(self, document: D) -> dict[str, object]:
        """The members of the document in their JSON form.

        Raises:
            DocumentInvalid: the document is not an object of this kind.
        """
        try:
            members = self._adapter.dump_python(document, mode="json", by_alias=True, warnings="error")
        except _WRONG:
            raise DocumentInvalid(f"this is no document of the kind {self.name}") from None
        if not isinstance(members, dict) or SHAPE in members:
            raise DocumentInvalid(f"this is no document of the kind {self.name}")
        return members

    @cached_property
    def _adapter(self) -> TypeAdapter[D]:
        # Built on first use: building all of them would slow down commands without a database.
        return TypeAdapter(self._model)

    def _upgraded(self, members: dict[str, object]) -> dict[str, object]:
        shape = members.pop(SHAPE, 0)
        if type(shape) is not int or not 0 <= shape <= self.shape:
            raise ShapeInvalid("it has a shape that a newer version writes", "shape")
        for upgrade in self._upgrades[shape:]:
            members = upgrade(members)
        return members


class _Plain(Kind[Mapping[str, object]]):
    def __init__(self, name: str) -> None:
        super().__init__(name, dict)

    def read(self, text: str) -> Mapping[str, object]:
        try:
            return members_of(text)
        except ValueError:
            raise ShapeInvalid("it is not a JSON object", "json") from None

    def text(self, document: Mapping[str, object]) -> str:
        return encode(document)


def plain(name: str) -> Kind[Mapping[str, object]]:
    """A kind without a model: its documents are JSON objects as stored, including `$shape`.

    For tests and tools. A room that interprets its documents has a model for them.
    """
    return _Plain(name)


def _document(text: str) -> object:
    """The JSON value in a text; None if it has none."""
    try:
        value: object = orjson.loads(text)
    except ValueError:
        return None
    return value


def members_of(text: str) -> dict[str, object]:
    """The members of the JSON object in this text.

    Raises:
        ValueError: the text is not a JSON object.
    """
    members = orjson.loads(text)
    if not isinstance(members, dict):
        raise ValueError("not an object")
    return members
