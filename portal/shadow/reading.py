"""The bytes of a log become its requests. Which form a line has is seen from the line itself. Pure.

Memory is bounded by the longest line: one that is longer is passed over as a whole, however long it is. A line that
cannot be read costs only itself; of the first ones the shape is kept, in which no letter and no digit of them is left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from portal.shadow.har import HarEntries, begins_har, read_entry
from portal.shadow.json_lines import inner_line, is_request, parse_line, read_record
from portal.shadow.request import LogRequest
from portal.shadow.signs import may_have_signs
from portal.shadow.text_lines import TEXT_FORMATS, W3cColumns, read_w3c

MAX_LINE = 1024 * 1024
SHOWN = 5
_BEGINNING = 4096
_SHAPE = 60
_CAPITAL, _SMALL, _DIGIT = re.compile("[A-Z]"), re.compile("[a-z]"), re.compile("[0-9]")
_STRANGE = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class UnreadLine:
    """A line, or an entry of a HAR, that could not be read: its number from 1, its bytes (at least), its shape."""

    file: str
    number: int
    length: int
    shape: str


class LogFile:
    """One log, as its bytes come. Lines with one of `words`, names of hosts in lower case, are looked at as well."""

    def __init__(self, name: str, words: Iterable[str] = ()) -> None:
        self.name = name
        self.lines = 0
        self.unread = 0
        self.first_unread: list[UnreadLine] = []
        self.formats: Counter[str] = Counter()
        self._words = tuple(words)
        self._rest = b""
        self._passed_over = 0  # bytes so far of a line that is too long
        self._begun = False
        self._entries: HarEntries | None = None
        self._columns: W3cColumns | None = None
        self._text_formats = list(TEXT_FORMATS)

    def feed(self, chunk: bytes) -> Iterator[LogRequest]:
        """The requests that end in this chunk and may be MCP."""
        if not self._begun:
            self._rest += chunk
            if len(self._rest) < _BEGINNING:
                return
            chunk = self._begin()
        yield from self._cut(chunk)

    def end(self) -> Iterator[LogRequest]:
        """The requests in what is left."""
        if not self._begun:
            yield from self._cut(self._begin())
        if self._entries is not None:
            if self._entries.unfinished:
                self._pass(b"", 0)
        elif self._passed_over:
            self._end_long_line()
        elif self._rest:
            yield from self._lines([self._rest])
            self._rest = b""

    def _begin(self) -> bytes:
        """What has come so far, after a look at what it is."""
        chunk, self._rest, self._begun = self._rest.removeprefix(b"\xef\xbb\xbf"), b"", True
        if begins_har(chunk):
            self._entries = HarEntries()
        return chunk

    def _cut(self, chunk: bytes) -> Iterator[LogRequest]:
        if self._entries is not None:
            for entry in self._entries.feed(chunk):
                yield from self._entry(entry)
            return
        if self._passed_over:
            end = chunk.find(b"\n")
            if end < 0:
                self._passed_over += len(chunk)
                return
            self._passed_over += end
            self._end_long_line()
            chunk = chunk[end + 1 :]
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        yield from self._lines(lines)
        if len(self._rest) > MAX_LINE:
            self._passed_over, self._rest = len(self._rest), self._rest[:_SHAPE]

    def _end_long_line(self) -> None:
        self.lines += 1
        self._pass(self._rest, self._passed_over)
        self._passed_over, self._rest = 0, b""

    def _entry(self, entry: bytes | None) -> Iterator[LogRequest]:
        self.lines += 1
        try:
            request = read_entry(entry) if entry is not None else None
        except ValueError:
            request, entry = None, None
        if entry is None:
            self._pass(b"", 0)
        elif request is None:
            self.lines -= 1
        else:
            self.formats["har"] += 1
            yield request

    def _lines(self, lines: Iterable[bytes]) -> Iterator[LogRequest]:
        for line in lines:
            text = line.decode("utf-8", "replace").strip()
            if not text:
                continue
            if text[0] == "#":
                self._columns = W3cColumns.of(text) or self._columns
                continue
            self.lines += 1
            if len(line) > MAX_LINE:
                self._pass(line, len(line))
            elif isinstance(request := self._line(text), LogRequest):
                yield request
            elif not request:
                self._pass(line, len(line))

    def _line(self, text: str, *, inner: bool = False) -> LogRequest | bool:
        """The request in this line; True if it is one without any sign, False if the line cannot be read."""
        if text[0] == "{":
            return self._json(text, inner=inner)
        if self._columns is not None and (fields := self._columns.cut(text)) is not None:
            if not may_have_signs(text, self._words):
                self.formats["w3c"] += 1
                return True
            request = read_w3c(fields)
            if request is not None:
                self.formats["w3c"] += 1
                return request
        for at, form in enumerate(self._text_formats):
            found = form.pattern.match(text)
            if found is None:
                continue
            if at:  # The next line is likely to have the same form.
                self._text_formats.insert(0, self._text_formats.pop(at))
            self.formats[form.name] += 1
            if not may_have_signs(text, self._words):
                return True
            return form.read(found) or True
        return False

    def _json(self, text: str, *, inner: bool) -> LogRequest | bool:
        record = parse_line(text)
        if record is None:
            return False
        signs = may_have_signs(text, self._words)
        if not signs and is_request(record):
            self.formats["json"] += 1
            return True
        request = read_record(record)
        if request is not None:
            self.formats["json"] += 1
            return request if signs else True
        line = None if inner else inner_line(record)
        return self._line(line.strip(), inner=True) if line and line.strip() else False

    def _pass(self, line: bytes, length: int) -> None:
        self.unread += 1
        if len(self.first_unread) < SHOWN:
            self.first_unread.append(UnreadLine(self.name, self.lines, length, shape(line)))


def shape(line: bytes) -> str:
    """The beginning of a line with `a` for each small letter, `A` for each capital and `9` for each digit.

    That is enough to see what kind of line it is, and nothing of what it says.
    """
    text = line[:_SHAPE].decode("utf-8", "replace").strip()
    text = _DIGIT.sub("9", _SMALL.sub("a", _CAPITAL.sub("A", text)))
    return _STRANGE.sub("?", text)
