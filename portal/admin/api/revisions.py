"""Which state of a stored object somebody has read, and whether it is still that one when they change it.

Over HTTP a GET has an `ETag`, and a change may carry it in `If-Match` (RFC 9110 sections 8.8.3 and 13.1.1); a page of
the console sends back the `Marks` of what it showed. Either is compared inside the transaction of the change, so that
no other writer comes in between, in any process. A change without it is made as it comes: the last one wins.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import orjson
from pydantic import BaseModel

from portal.admin.api.errors import PRECONDITION, AdminError, Problem, invalid
from portal.state import Found, Kind, Scan, Store, Stored

NOTHING = "0"
"""The revision of what is always there, while nothing of it is stored."""
MAX_MARKS = 50
D = TypeVar("D")
# Blanks stand in one place each: where two could take them, a long row of them would take forever.
_ELEMENT = re.compile(r'[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|$)')


class Reader(Protocol):
    """A store, or a transaction."""

    async def find(self, kind: Kind[D], id: str) -> Found[D] | None: ...

    async def scan(self, kind: Kind[D]) -> Scan[D]: ...


@dataclass(frozen=True, slots=True)
class Mark:
    """The state of an object, or of the `part` of it that an operation is about. `revision` is of that, `whole` of the
    object; who changed the object last, and when."""

    object: str
    revision: str
    whole: str
    part: str = ""
    by: str = ""
    at: datetime | None = None

    @property
    def key(self) -> str:
        return f"{self.object}#{self.part}" if self.part else self.object


FindMark = Callable[[Reader, Mapping[str, str], BaseModel | None], Awaitable[Mark | None]]
Part = Callable[[D, Mapping[str, str], BaseModel | None], tuple[str, object] | None]


@dataclass(frozen=True, slots=True)
class Revised:
    """What an operation shows or changes, for people a `noun`. `mark` finds its state by the path and the body, None
    where there is none. With `in_part` the operation leaves the rest of the object as it is."""

    noun: str
    store: Store
    mark: FindMark
    in_part: bool = False

    async def read(self, path: Mapping[str, str], body: BaseModel | None = None) -> Mark | None:
        """The state by now."""
        return await self.mark(self.store, path, body)


def _id(path: Mapping[str, str]) -> str:
    return path["id"]


def whole(
    store: Store,
    kind: Kind[D],
    noun: str,
    id: Callable[[Mapping[str, str]], str | None] = _id,
    *,
    always: bool = False,
) -> Revised:
    """An object of this kind. What is there `always` has a revision also while nothing of it is stored."""

    async def mark(reader: Reader, path: Mapping[str, str], body: BaseModel | None) -> Mark | None:
        if (name := id(path)) is None:
            return None
        found = await reader.find(kind, name)
        if found is None:
            return Mark(_object(kind.name, name), NOTHING, NOTHING) if always else None
        return mark_of(found)

    return Revised(noun, store, mark)


def part_of(
    store: Store, kind: Kind[D], noun: str, part: Part[D], id: Callable[[Mapping[str, str]], str] = _id
) -> Revised:
    """A part of an object of this kind: `part` gives its name and what it is, None for the whole object."""

    async def mark(reader: Reader, path: Mapping[str, str], body: BaseModel | None) -> Mark | None:
        found = await reader.find(kind, id(path))
        if not isinstance(found, Stored):
            return None if found is None else mark_of(found)
        return mark_of(found, part(found.document, path, body))

    return Revised(noun, store, mark, in_part=True)


def mark_of(found: Found[D], part: tuple[str, object] | None = None) -> Mark:
    """The state of an object as it was read, or of a part of it: its name, and what it is."""
    # An object that is removed and made again under its id begins with revision 1 again, at another time.
    microseconds = int(found.modified_at.timestamp() * 1_000_000)
    revision = f"{found.revision}-{microseconds:x}"
    name, own = ("", revision) if part is None else (part[0], _digest(part[1]))
    return Mark(_object(found.kind, found.id), own, revision, name, found.modified_by, found.modified_at)


def _object(kind: str, id: str) -> str:
    return f"{kind}/{quote(id, safe='')}"


def _digest(content: object) -> str:
    text = orjson.dumps(content, default=_plain, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:24]


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is no part of a document")


@dataclass(frozen=True, slots=True)
class ChangedMeanwhile(Problem):
    """An object is not any more what the caller has read. `by` is the key of who changed it last, "" where that is not
    known, and `at` is when."""

    noun: str = ""
    by: str = ""
    at: datetime | None = None


def overtaken(noun: str, by: str, at: datetime | None) -> AdminError:
    """The refusal of a change: 412."""
    who = f" by {by!r}" if by else ""
    when = f" at {at.astimezone(UTC).isoformat(timespec='seconds')}" if at is not None else ""
    words = (
        f"the {noun} was changed{who}{when}, after it was read for this request, which has changed nothing. "
        "Read it again and send the change with the ETag that it has then, or without If-Match to replace what "
        "stands there now"
    )
    return AdminError(412, [ChangedMeanwhile(PRECONDITION, words, noun=noun, by=by, at=at)])


class Expected:
    """What the caller of an operation takes for granted: the state of the object is one that `allows` accepts."""

    def __init__(self, of: Revised, allows: Callable[[Mark], bool]) -> None:
        self.checked: Mark | None = None
        self._of = of
        self._allows = allows

    async def check(self, reader: Reader, path: Mapping[str, str], body: BaseModel | None) -> None:
        """To be called in the transaction of the change, before it. Of an object that is not there nothing is said.

        Raises:
            AdminError: 412, it has another state.
        """
        if (mark := await self._of.mark(reader, path, body)) is not None:
            self.require(mark)

    def require(self, mark: Mark) -> None:
        """
        Raises:
            AdminError: 412, this is another state.
        """
        self.checked = mark
        if not self._allows(mark):
            raise overtaken(self._of.noun, mark.by, mark.at)


def etag(mark: Mark) -> str:
    """The strong entity tag of a state."""
    return f'"{mark.revision}"'


def expected_by(of: Revised | None, if_match: str) -> Expected | None:
    """What the header `If-Match` of a request takes for granted; None for `*`, which any state satisfies.

    Raises:
        AdminError: the header cannot be read, or the operation has no revision.
    """
    try:
        tags = read_if_match(if_match)
    except ValueError as error:
        raise invalid(f"the header If-Match cannot be read: {error}") from None
    if tags is None:
        return None
    if of is None:
        words = "this operation is about nothing that has an ETag; it was not done. Send it without If-Match"
        raise AdminError(412, [Problem(PRECONDITION, words)])
    return Expected(of, lambda mark: mark.revision in tags or mark.whole in tags)


def read_if_match(value: str) -> frozenset[str] | None:
    """The strong entity tags of the header `If-Match`, without their quotes; None for `*`. Weak ones match nothing.

    Raises:
        ValueError: it is neither `*` nor a list of entity tags.
    """
    if value.strip(" \t") == "*":
        return None
    tags, place = set[str](), 0
    while place < len(value):
        element = _ELEMENT.match(value, place)
        if element is None:
            raise ValueError('it must be * or entity tags in quotes, such as "3-64a1"')
        if element[2] is not None and element[1] is None:
            tags.add(element[2])
        place = element.end()
    return frozenset(tags)


class Marks:
    """What somebody has read of each object, by the keys of `Mark`: what a form was `sent` with, and what is read while
    it is answered. What was read first counts: what is sent was made from that."""

    def __init__(self, sent: str = "") -> None:
        try:
            self._sent = dict(parse_qsl(sent, max_num_fields=MAX_MARKS))
        except ValueError:
            self._sent = {}
        self._seen: dict[str, str] = {}

    def __str__(self) -> str:
        """The marks as a form carries them."""
        return urlencode(list((self._seen | self._sent).items())[:MAX_MARKS])

    def note(self, mark: Mark) -> None:
        """Somebody reads this state."""
        self._seen.setdefault(mark.key, mark.revision)

    def forget(self, object: str = "") -> None:
        """Forget what was read of this object; without one, of all. It is read again, or its reader has changed it."""
        for known in (self._sent, self._seen):
            for key in [key for key in known if not object or key.partition("#")[0] == object]:
                del known[key]

    def expected(self, of: Revised) -> Expected:
        """What a change of this takes for granted: the state that was read, any where none was."""
        known = self._seen | self._sent
        return Expected(of, lambda mark: known.get(mark.key, mark.revision) == mark.revision)
