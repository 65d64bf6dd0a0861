"""The one reader and writer of YAML: a text as the JSON value it stands for, in time and memory that the text's length
bounds, and a value as a text.

It reads what YAML 1.2 has in common with JSON (https://yaml.org/spec/1.2.2/#103-core-schema, without octal and
hexadecimal numbers): `yes`, `no` and dates are text, and so is every key. There are no objects of a program's language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import yaml
    from yaml import AliasEvent, CollectionStartEvent, Event, ScalarEvent

DEEPEST = 500
MOST_VALUES = 5_000_000
"""The most values of one document, each alias counted with all it stands for."""
MOST_DIRECTIVES = 16
"""The parser compares each with all before it."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMERIC_START: Final = frozenset("-+.0123456789")
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
# Ends of lines of YAML 1.1: only in double quotes they are written so that they stay what they are.
_BREAKS = re.compile("[\x85\u2028\u2029]")
_TAG = "tag:yaml.org,2002:"
_MOST_DIGITS = 400


class YamlError(ValueError):
    """A text that is no YAML, or YAML that is refused. `str()` is a phrase: "has an alias (line 3, column 1)".

    `key`: the key that is written twice, "" for another problem.
    """

    def __init__(self, problem: str, key: str = "") -> None:
        self.key = key
        super().__init__(problem)


@dataclass(slots=True)
class _Anchor:
    """A value with a name. Until it is complete nothing may stand for it."""

    value: object = None
    values: int = 0
    height: int = 0
    complete: bool = False


@dataclass(slots=True)
class _Frame:
    """A mapping or sequence that is being read. `key`: of the value that comes next, None if a key comes next."""

    value: dict[str, object] | list[object]
    anchor: _Anchor | None
    before: int
    key: str | None = None
    height: int = 0
    merging: bool = False
    merged: list[dict[str, object]] = field(default_factory=list)


def parse_yaml(text: str, *, lenient: bool = False) -> object:
    """The value of a text with one document.

    `lenient` is for documents of others, which come as they are: aliases (with merge keys, `<<`) are read, within
    bounds, and of a key that is written twice the last one counts. Parts that aliases share are one object.

    Raises:
        YamlError: there is none.
    """
    import yaml  # noqa: PLC0415  only where there is YAML

    if len(_DIRECTIVE.findall(text)) > MOST_DIRECTIVES:
        raise YamlError("has more directives than a document needs")
    loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    reader = _Reader(lenient)
    try:
        for event in yaml.parse(text, Loader=loader):
            reader.read(event)
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"is not YAML: {error.problem or error.context or 'it is broken'}{_place(error)}") from None
    except yaml.YAMLError as error:
        raise YamlError(f"is not YAML: {(str(error).splitlines() or ['it is broken'])[0]}") from None
    except RecursionError:
        raise YamlError("is nested too deeply") from None
    return reader.result


def yaml_text(value: object, *, width: int) -> str:
    """The text of a JSON value, which `parse_yaml` and readers of YAML 1.1 read as the same value."""
    import yaml  # noqa: PLC0415  only where there is YAML

    return yaml.dump(value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=width)


@cache
def _dumper() -> type[yaml.SafeDumper]:
    import yaml  # noqa: PLC0415

    class Dumper(yaml.SafeDumper):
        """Knows which texts are to be quoted by YAML 1.1: `08` and `1e3` are numbers by 1.2 alone."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        quotes = None if resolved(text) == text else "'"
        return dumper.represent_scalar(f"{_TAG}str", text, style='"' if _BREAKS.search(text) else quotes)

    Dumper.add_representer(str, represent)
    return Dumper


class _Reader:
    """Builds the value from the parser's events, without recursion."""

    def __init__(self, lenient: bool) -> None:
        self.result: object = None
        self._lenient = lenient
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchor] = {}
        self._values = 0
        self._documents = 0

    def read(self, event: Event) -> None:
        import yaml  # noqa: PLC0415

        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event, {} if isinstance(event, yaml.MappingStartEvent) else [])
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise YamlError(f"has more than one document{_place(event)}")

    def _scalar(self, event: ScalarEvent) -> None:
        text: str = event.value
        stack = self._stack
        if stack and stack[-1].key is None and isinstance(stack[-1].value, dict):
            if event.anchor is not None:
                self._anchor(event.anchor, _Anchor(text, 1, 0, complete=True))
            self._key(text, event, merge=text == "<<" and event.implicit[0])
            return
        plain: bool = event.implicit[0]
        value = resolved(text) if plain else (text if event.tag is None else _tagged(text, event))
        if event.anchor is not None:
            self._anchor(event.anchor, _Anchor(value, 1, 0, complete=True))
        self._put(value, event, 1, 0)

    def _key(self, key: str, event: Event, *, merge: bool = False) -> None:
        frame = self._stack[-1]
        assert isinstance(frame.value, dict)
        if merge:
            frame.merging = True
        elif key in frame.value and not self._lenient:
            raise YamlError("is written twice", key)
        frame.key = key

    def _open(self, event: CollectionStartEvent, value: dict[str, object] | list[object]) -> None:
        if event.tag is not None and event.tag not in (f"{_TAG}map", f"{_TAG}seq", "!"):
            raise YamlError(f"has the tag {event.tag[:60]}, which JSON has no value for{_place(event)}")
        if self._stack and self._stack[-1].key is None and isinstance(self._stack[-1].value, dict):
            raise YamlError(f"has a key that is not text{_place(event)}")
        if len(self._stack) >= DEEPEST:
            raise YamlError("is nested too deeply")
        anchor = None
        if event.anchor is not None:
            anchor = _Anchor()
            self._anchor(event.anchor, anchor)
        self._stack.append(_Frame(value, anchor, self._values))

    def _close(self, event: Event) -> None:
        frame = self._stack.pop()
        value = frame.value
        if frame.merged and isinstance(value, dict):
            for merged in frame.merged:
                self._count(len(merged))
                for key, member in merged.items():
                    value.setdefault(key, member)
        values = self._values - frame.before + 1
        if frame.anchor is not None:
            anchor = frame.anchor
            anchor.value, anchor.values, anchor.height, anchor.complete = value, values, frame.height + 1, True
        self._put(value, event, 1, frame.height + 1)

    def _alias(self, event: AliasEvent) -> None:
        if not self._lenient:
            raise YamlError(f"has an alias, and aliases are not allowed here{_place(event)}")
        anchor = self._anchors.get(event.anchor or "")
        if anchor is None or not anchor.complete:
            raise YamlError(f"has an alias to what is not there before it{_place(event)}")
        if self._stack and self._stack[-1].key is None and isinstance(self._stack[-1].value, dict):
            if not isinstance(anchor.value, str):
                raise YamlError(f"has a key that is not text{_place(event)}")
            self._key(anchor.value, event)
            return
        if len(self._stack) + anchor.height > DEEPEST:
            raise YamlError("is nested too deeply")
        self._put(anchor.value, event, anchor.values, anchor.height)

    def _put(self, value: object, event: Event, values: int, height: int) -> None:
        self._count(values)
        if not self._stack:
            self.result = value
            return
        frame = self._stack[-1]
        if height > frame.height:
            frame.height = height
        if isinstance(frame.value, list):
            frame.value.append(value)
            return
        if frame.merging:
            parts = value if isinstance(value, list) else [value]
            for part in parts:
                if not isinstance(part, dict):
                    raise YamlError(f"merges what is not a mapping{_place(event)}")
                frame.merged.append(part)
            frame.merging = False
        else:
            assert frame.key is not None
            frame.value[frame.key] = value
        frame.key = None

    def _anchor(self, name: str, anchor: _Anchor) -> None:
        self._anchors[name] = anchor

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise YamlError(f"has more than {MOST_VALUES:,} values")


def resolved(text: str) -> object:
    """The value of a plain scalar: null, a boolean, a number, or the text."""
    if text in _NULL:
        return None
    if text[0] in _NUMERIC_START and len(text) <= _MOST_DIGITS:
        if _WHOLE.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            value = float(text)
            # A number that no double holds is no number of JSON.
            return text if value in (float("inf"), float("-inf")) else value
        return text
    return _FLAGS.get(text, text)


def _tagged(text: str, event: ScalarEvent) -> object:
    """The value of a scalar that says its type."""
    tag = event.tag or "!"
    if tag in ("!", f"{_TAG}str"):
        return text
    if tag in (f"{_TAG}int", f"{_TAG}float", f"{_TAG}bool", f"{_TAG}null"):
        return resolved(text)
    raise YamlError(f"has the tag {tag[:60]}, which JSON has no value for{_place(event)}")


def _marks(found: object) -> Iterator[object]:
    for name in ("problem_mark", "context_mark", "start_mark"):
        mark = getattr(found, name, None)
        if mark is not None:
            yield mark


def _place(found: object) -> str:
    for mark in _marks(found):
        line, column = getattr(mark, "line", None), getattr(mark, "column", None)
        if isinstance(line, int) and isinstance(column, int):
            return f" (line {line + 1}, column {column + 1})"
    return ""
