"""The plan of a program: which calls it would make, found by running it with made-up answers. Pure values.

The arguments of a planned call are a form: JSON in which three marks stand for what is not known before the calls are
made.

    {"⟨hole⟩": "3.number", "types": ["integer"]}    a part of the answer to call 3, as it comes
    {"⟨text⟩": ["Issue ", {"⟨hole⟩": "3.number"}]}  a text around such parts
    {"⟨computed⟩": ["string"]}                      a value of this type that the program computes from answers

A member of a program's own whose name begins with ⟨ has that character twice, so no program writes a mark.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import orjson

from codemode.outcome import MAX_READ, returned
from codemode.parking import digest_of
from codemode.samples import ABSENT, MAX_NAME, SAMPLED_ITEMS, Absent, Hole, Values, json_type, key_of, types_of

Form: TypeAlias = object
"""JSON with marks."""
PlannedEffect: TypeAlias = Literal["read", "effect"]

HOLE, TEXT, COMPUTED = "⟨hole⟩", "⟨text⟩", "⟨computed⟩"
_MARK = "⟨"
NO_ENTRY: Final = 0
"""In the place of a position, for a call that is not in the plan."""
_LEAST_EDGE = 3
"""So many characters in common are no accident, in texts of which nothing else is known."""
_MOST_NAMES = 3
_OR = " or "
_MOST_KNOWN, _MOST_ALIKE = 1_000, 8
"""Parts of answers that are known of one run, and those of one name."""
_LONGEST_TEXT, _MOST_TEXT = 2_000, 64 * 1024
"""Characters of a part that are known as text, and of all."""
_SHOWN_ARGUMENTS, _SHOWN_ENTRIES = 2_000, 100
# What stands for a part of an answer in a text: see `samples`.
_TOKENS: Final = re.compile(
    r"⟨[^⟨⟩]{1,200}⟩"
    r"|https://plan\.invalid/\w+"
    r"|\w+@plan\.invalid"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?"
    r"|\d+(?:\.\d+)?"
)


class FormsDiffer(Exception):
    """The arguments of a call are not of one form: the program decides by an answer what it sends."""


class Holes:
    """The holes of all the answers that a planned program has been given."""

    def __init__(self, holes: Iterable[Hole] = ()) -> None:
        self._exact: dict[tuple[bytes, ...], list[Hole]] = {}
        self._texts: dict[str, list[Hole]] = {}
        self.count = 0
        self.add(holes)

    def add(self, holes: Iterable[Hole]) -> None:
        for hole in holes:
            self.count += 1
            self._exact.setdefault(tuple(map(key_of, hole.values)), []).append(hole)
            text = _as_text(hole.values[0])
            if text is not None and _TOKENS.fullmatch(text):
                self._texts.setdefault(text, []).append(hole)

    def exact(self, values: Values) -> Hole | None:
        """The hole that has these values in the variants. Where several have, as with few words to choose from, it has
        all their names."""
        found = self._exact.get(tuple(map(key_of, values)), [])
        if len(found) <= 1:
            return found[0] if found else None
        names = [hole.name for hole in found[:_MOST_NAMES]]
        more = ["another"] if len(found) > _MOST_NAMES else []
        return replace(found[0], name=_OR.join([*names, *more]))

    def text(self, texts: Sequence[str]) -> list[object] | None:
        """A text around holes, as fixed texts and marks, that becomes these texts in the variants; None if none does.

        Where nothing else is known, what the texts have in common at both ends is fixed."""
        parts: list[str | Hole] = []
        end = 0
        for found in _TOKENS.finditer(texts[0]):
            candidates = self._texts.get(found[0], ())
            hole = next(
                (one for one in candidates if all(_in_text(one, at) in text for at, text in enumerate(texts))), None
            )
            if hole is not None:
                parts += [texts[0][end : found.start()], hole]
                end = found.end()
        parts.append(texts[0][end:])
        if end and all(_filled(parts, variant) == text for variant, text in enumerate(texts)):
            return [_mark(part) if isinstance(part, Hole) else part for part in parts if part != ""]
        return _edges(texts)


def form_of(values: Values, holes: Holes) -> Form:
    """What the variants of one value have in common.

    Raises:
        FormsDiffer: they are no variants of one thing: members or items differ by more than a hole.
    """
    first = key_of(values[0])
    if all(key_of(value) == first for value in values[1:]):
        return _constant(values[0])
    if (hole := holes.exact(values)) is not None:
        return _mark(hole)
    if any(value is ABSENT for value in values):
        raise FormsDiffer
    if all(isinstance(value, dict) for value in values):
        return _form_of_members(values, holes)
    if all(isinstance(value, list) for value in values):
        lists = [value for value in values if isinstance(value, list)]
        if len(set(map(len, lists))) > 1:
            return {COMPUTED: ["array"]}
        return [form_of(items, holes) for items in zip(*lists, strict=True)]
    if any(isinstance(value, dict | list) for value in values):
        raise FormsDiffer
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) == len(values) and (around := holes.text(texts)) is not None:
        return {TEXT: around}
    return {COMPUTED: list(types_of(values))}


def _form_of_members(values: Values, holes: Holes) -> Form:
    members: dict[str, Values] = {}
    dicts = [value for value in values if isinstance(value, dict)]
    for name in {name: None for one in dicts for name in one}:
        members[name] = tuple(one.get(name, ABSENT) for one in dicts)
    return {_escaped(name): form_of(parts, holes) for name, parts in members.items()}


def matches(form: Form, value: object, answers: RealAnswers | None = None) -> bool:
    """Whether a value is of this form: what is fixed is equal, a hole has a value of its types, and so has what is
    computed. With `answers` a hole has that part of a real answer, and nothing else."""
    if isinstance(form, dict):
        if HOLE in form:
            is_part = answers is None or answers.have(str(form[HOLE]), value)
            return value is not ABSENT and is_part and _has_type(form.get("types"), value)
        if TEXT in form:
            parts = form[TEXT]
            if not isinstance(value, str) or not isinstance(parts, list):
                return False
            filled = [parts] if answers is None else answers.filled(parts)
            return any(_text_matches(one, value) for one in filled)
        if COMPUTED in form:
            return value is not ABSENT and _has_type(form[COMPUTED], value)
        if not isinstance(value, dict):
            return False
        names = {_escaped(name): part for name, part in value.items()}
        if not names.keys() <= form.keys():
            return False
        return all(
            matches(part, names[name], answers) if name in names else _may_miss(part, answers)
            for name, part in form.items()
        )
    if isinstance(form, list):
        if not isinstance(value, list) or len(form) != len(value):
            return False
        return all(matches(part, item, answers) for part, item in zip(form, value, strict=True))
    return value is not ABSENT and not isinstance(value, dict | list) and key_of(form) == key_of(value)


def _text_matches(parts: Sequence[object], text: str) -> bool:
    """Whether a text has the fixed parts in their order, the first and the last at its ends where no hole is."""
    fixed: list[str] = [""]
    for part in parts:
        if isinstance(part, str):
            fixed[-1] += part
        else:
            fixed.append("")
    if len(fixed) == 1:
        return text == fixed[0]
    first, *middle, last = fixed
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    # The leftmost place of each leaves the most room for the others.
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _has_type(types: object, value: object) -> bool:
    if not isinstance(types, list) or not types:
        return True
    kind = json_type(value)
    return kind in types or (kind == "integer" and "number" in types)


def _may_miss(form: Form, answers: RealAnswers | None) -> bool:
    if not isinstance(form, dict) or form.get("optional") is not True:
        return False
    if HOLE in form:
        return answers is None or answers.lack(str(form[HOLE]))
    return COMPUTED in form


class RealAnswers:
    """What is known of real answers, for the holes that are named after parts of them: of each part its digest, and
    its text where it is short. Whole values are not kept."""

    def __init__(self, parts: Mapping[str, Sequence[tuple[str, str | None]]] | None = None) -> None:
        """`parts` are the values of each name: none of one that is not in its answer, several where a server has
        chosen names that read alike."""
        self.parts = {name: tuple(values) for name, values in (parts or {}).items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RealAnswers) and self.parts == other.parts

    __hash__ = None  # type: ignore[assignment]

    def add(self, position: int, value: object, names: Iterable[str]) -> None:
        """Note the parts of an answer that these holes are named after. `position` is that of the call."""
        wanted = {one for name in names for one in _names_in(name) if re.match(rf"{position}(?![0-9])", one)}
        room = _MOST_KNOWN - len(self.parts)
        found: dict[str, list[tuple[str, str | None]]] = {name: [] for name in sorted(wanted)[: max(0, room)]}
        budget = _MOST_TEXT - sum(len(text or "") for values in self.parts.values() for _, text in values)
        for name, part in _named_parts(str(position), value, found.keys()):
            if len(found[name]) < _MOST_ALIKE:
                text = _as_text(part)
                if text is None or len(text) > min(_LONGEST_TEXT, budget):
                    text = None
                budget -= len(text or "")
                found[name].append((_digest(part), text))
        self.parts |= {name: tuple(values) for name, values in found.items()}

    def have(self, name: str, value: object) -> bool:
        """Whether the value is what a hole of this name stands for."""
        digest = _digest(value)
        return any(one == digest for each in _names_in(name) for one, _ in self.parts.get(each, ()))

    def lack(self, name: str) -> bool:
        """Whether an answer is known, and does not have what a hole of this name stands for."""
        return any(self.parts.get(each) == () for each in _names_in(name))

    def filled(self, parts: Sequence[object]) -> Iterable[Sequence[object]]:
        """The parts of a text with what is known in the place of its holes; none where that is not all of them."""
        choices: list[Sequence[object]] = []
        for part in parts:
            if isinstance(part, dict) and HOLE in part:
                known = [self.parts.get(each, ()) for each in _names_in(str(part[HOLE]))]
                choices.append([text for values in known for _, text in values if text is not None])
            else:
                choices.append([part])
        return itertools.islice(itertools.product(*choices), _MOST_ALIKE)

    def as_dict(self) -> dict[str, object]:
        return {name: [list(value) for value in values] for name, values in self.parts.items()}

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> RealAnswers:
        """What `as_dict` has written. Raises ValueError for other documents."""
        return cls({name: tuple(map(_known_in, _values_in(values))) for name, values in document.items()})


def _values_in(document: object) -> list[object]:
    if not isinstance(document, list):
        raise ValueError("the parts of an answer are a list")
    return document


def _known_in(document: object) -> tuple[str, str | None]:
    match document:
        case [str(digest), str() | None as text]:
            return digest, text
    raise ValueError("of a part of an answer its digest is known, and its text")


def _names_in(name: str) -> Sequence[str]:
    """The names that the name of a hole is put together from (`Holes.exact`), and itself."""
    return (name, *name.split(_OR)) if _OR in name else (name,)


def _named_parts(name: str, value: object, wanted: Collection[str]) -> Iterator[tuple[str, object]]:
    """The parts of an answer that have these names, by which `samples` calls them."""
    if not any(one.startswith(name) for one in wanted):
        return
    if name in wanted:
        yield name, value
    if len(name) == MAX_NAME:
        return
    if isinstance(value, dict):
        for member, part in value.items():
            yield from _named_parts(f"{name}.{member}"[:MAX_NAME], part, wanted)
    elif isinstance(value, list):
        for index, part in enumerate(value[:SAMPLED_ITEMS]):
            yield from _named_parts(f"{name}[{index}]"[:MAX_NAME], part, wanted)


def _digest(value: object) -> str:
    return hashlib.sha256(key_of(value)).hexdigest()[:32]


def _holes_in(form: Form) -> Iterator[str]:
    """The names of the holes of a form."""
    if isinstance(form, dict):
        if HOLE in form:
            yield str(form[HOLE])
        else:
            for part in form.values():
                yield from _holes_in(part)
    elif isinstance(form, list):
        for part in form:
            yield from _holes_in(part)


def _mark(hole: Hole) -> dict[str, object]:
    mark: dict[str, object] = {HOLE: hole.name, "types": list(hole.types)}
    if all(value is None or isinstance(value, bool | Absent) for value in hole.values):
        # A condition of the program may have these values too: nobody must read it as a certain part of an answer.
        mark = {COMPUTED: list(types_of(hole.values))}
    return {**mark, "optional": True} if any(isinstance(value, Absent) for value in hole.values) else mark


def _constant(value: object) -> Form:
    if isinstance(value, dict):
        return {_escaped(name): _constant(part) for name, part in value.items()}
    return [_constant(part) for part in value] if isinstance(value, list) else value


def _escaped(name: str) -> str:
    return _MARK + name if name.startswith(_MARK) else name


def _as_text(value: object) -> str | None:
    """A value in the middle of a text, as JavaScript writes it there; None for one that has parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, Absent):
        return "undefined"
    if isinstance(value, dict | list):
        return None
    return key_of(value).decode()


def _in_text(hole: Hole, variant: int) -> str:
    return _as_text(hole.values[variant]) or ""


def _filled(parts: Sequence[str | Hole], variant: int) -> str:
    return "".join(_in_text(part, variant) if isinstance(part, Hole) else part for part in parts)


def _edges(texts: Sequence[str]) -> list[object] | None:
    """What texts have in common at their ends, around a computed part; None where that is too little."""
    shortest = min(map(len, texts))
    start = _common(texts, shortest)
    end = _common([text[::-1] for text in texts], shortest - start)
    start, end = (size if size >= _LEAST_EDGE else 0 for size in (start, end))
    if not start and not end:
        return None
    parts = [texts[0][:start], {COMPUTED: ["string"]}, texts[0][len(texts[0]) - end :]]
    return [part for part in parts if part != ""]


def _common(texts: Sequence[str], most: int) -> int:
    same = (len({text[at] for text in texts}) == 1 for at in range(most))
    return next((at for at, is_same in enumerate(same) if not is_same), most)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A call that the program would make. `position`: its number among the calls of the program. `server` is the id and
    `tool` the raw name. `effect` "read": it only reads, and was not made because its arguments are not known before."""

    position: int
    server: str
    tool: str
    arguments: Form
    effect: PlannedEffect
    line: int = 0
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.server}.{self.tool}"

    def as_dict(self) -> dict[str, object]:
        labels = {"labels": list(self.labels)} if self.labels else {}
        return {
            "position": self.position,
            "server": self.server,
            "tool": self.tool,
            "arguments": self.arguments,
            "effect": self.effect,
            "line": self.line,
            **labels,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramPlan:
    """What a program would do. `program` is the SHA-256 of its text, in hex. `reads`: the calls that were made to find
    out. Up to the call at `exact_up_to` the plan is exact; `ends_because` says what comes after it, and is "" where the
    program ends there. `failure`: how the program fails before it is known what it would do, as its agent reads it."""

    program: str
    entries: tuple[PlannedCall, ...] = ()
    reads: int = 0
    exact_up_to: int = 0
    ends_because: str = ""
    failure: Mapping[str, object] | None = None

    @property
    def effects(self) -> tuple[PlannedCall, ...]:
        return tuple(entry for entry in self.entries if entry.effect == "effect")

    @property
    def whole(self) -> bool:
        """Whether it has all that the program does."""
        return not self.ends_because and self.failure is None

    @property
    def digest(self) -> str:
        """The SHA-256 of what is approved: the program, its calls with their arguments, and where the plan ends."""
        calls = [[one.position, one.server, one.tool, one.arguments, one.effect] for one in self.entries]
        approved = [self.program, calls, self.exact_up_to, self.ends_because]
        return digest_of(approved).hex()

    def as_dict(self) -> dict[str, object]:
        return {
            "entries": [entry.as_dict() for entry in self.entries],
            "reads": self.reads,
            "exactUpTo": self.exact_up_to,
            "whole": self.whole,
            **({"endsBecause": self.ends_because} if self.ends_because else {}),
            **({"error": dict(self.failure)} if self.failure is not None else {}),
            "program": self.program,
            "digest": self.digest,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> ProgramPlan:
        """The plan that `as_dict` has written. Raises ValueError for other documents."""
        entries, failure = document.get("entries"), document.get("error")
        if not isinstance(entries, list) or not isinstance(failure, dict | None):
            raise ValueError("a plan has entries")
        return cls(
            program=_text_in(document, "program"),
            entries=tuple(map(_entry, entries)),
            reads=_number_in(document, "reads"),
            exact_up_to=_number_in(document, "exactUpTo"),
            ends_because=_text_in(document, "endsBecause", ""),
            failure=failure,
        )

    def to_approve(self) -> dict[str, object]:
        """What a person approves: every call in full, on a line of its own, where the plan ends, and its program."""
        return {
            "calls": [_line_of(entry, most=None) for entry in self.entries],
            "ends": self._end(),
            "reads": self.reads,
            "program": self.program,
            "plan": self.digest,
        }

    def as_text(self) -> str:
        """The plan for people: a line for each call, in which nothing hides, and where it ends."""
        shown = self.entries[:_SHOWN_ENTRIES]
        lines = [_line_of(entry) for entry in shown]
        if len(shown) < len(self.entries):
            lines.append(f"and {len(self.entries) - len(shown)} more")
        return "\n".join((self._head(), *lines, self._end()))

    def _head(self) -> str:
        effects, unread = len(self.effects), len(self.entries) - len(self.effects)
        would = f"{_counted(effects, 'call')} would have an effect" if effects else "No call would have an effect"
        made = f"{_counted(self.reads, 'read')} {'was' if self.reads == 1 else 'were'} made to find out"
        more = f", {_counted(unread, 'read')} would follow" if unread else ""
        return f"Plan: {would}{more}; {made}. Nothing was changed."

    def _end(self) -> str:
        if self.failure is not None:
            return f"The program fails: {_inert(str(self.failure.get('message', '')))}"
        if self.whole:
            return "The plan is exact: the program does nothing else."
        up_to = f"up to call {self.exact_up_to}" if self.exact_up_to else "before its first call"
        return f"The plan is exact {up_to}; then {_inert(self.ends_because)}."


def _entry(document: object) -> PlannedCall:
    if not isinstance(document, dict) or not isinstance(labels := document.get("labels", []), list):
        raise ValueError("an entry of a plan is a call")
    return PlannedCall(
        position=_number_in(document, "position"),
        server=_text_in(document, "server"),
        tool=_text_in(document, "tool"),
        arguments=document.get("arguments"),
        effect="read" if document.get("effect") == "read" else "effect",
        line=_number_in(document, "line"),
        labels=tuple(map(str, labels)),
    )


def _text_in(document: Mapping[str, object], name: str, default: str | None = None) -> str:
    if not isinstance(found := document.get(name, default), str):
        raise ValueError(f"{name} of a plan is a text")
    return found


def _number_in(document: Mapping[str, object], name: str) -> int:
    if not isinstance(found := document.get(name), int):
        raise ValueError(f"{name} of a plan is a number")
    return found


def _line_of(entry: PlannedCall, most: int | None = _SHOWN_ARGUMENTS) -> str:
    place = f", line {entry.line}" if entry.line else ""
    labels = f" [{', '.join(entry.labels)}]" if entry.labels else ""
    effect = "" if entry.effect == "effect" else " (only reads)"
    text = shown_form(entry.arguments)
    if most is not None and len(text) > most:
        text = f"{text[:most]}… ({len(text):,} characters)"
    return f"{entry.position}. {_inert(entry.name)}{effect}{place}{_inert(labels)} {text}"


def shown_form(form: Form) -> str:
    """A form in one line, as people read it: JSON with ⟨3.number⟩ for a hole. Nothing of a program looks like one."""
    if isinstance(form, dict):
        if HOLE in form:
            return _shown_hole(form)
        if TEXT in form:
            return '"' + "".join(_shown_part(part) for part in form[TEXT]) + '"'
        if COMPUTED in form:
            return f"⟨computed {' or '.join(form[COMPUTED])}⟩"
        return "{" + ", ".join(f"{_shown_text(_unescaped(name))}: {shown_form(form[name])}" for name in form) + "}"
    if isinstance(form, list):
        return "[" + ", ".join(map(shown_form, form)) + "]"
    return _shown_text(form) if isinstance(form, str) else key_of(form).decode()


def _shown_part(part: object) -> str:
    if isinstance(part, str):
        return _shown_text(part)[1:-1]
    return _shown_hole(part) if isinstance(part, dict) and HOLE in part else "⟨computed⟩"


def _shown_hole(mark: Mapping[str, object]) -> str:
    return f"⟨{_inert(str(mark[HOLE]))}⟩"


def _shown_text(text: str) -> str:
    return _inert(orjson.dumps(text.encode("utf-8", "replace").decode()).decode())


def _unescaped(name: str) -> str:
    return name[1:] if name.startswith(_MARK * 2) else name


def _inert(text: str) -> str:
    """A text in which every character is seen, and none is taken for the edge of a hole."""
    return "".join(one if one.isprintable() and one not in "⟨⟩" else f"\\u{ord(one):04x}" for one in text)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(slots=True)
class Adherence:
    """How far a real run has come in its plan. `used`: for each call with an effect, by its number in the run, the
    position of its entry, or `NO_ENTRY`. `answers` are those that its holes are named after: a program can tell that
    answers are made up, so what it hands on is compared with the real ones. `agreed`: whether people have agreed to the
    plan, so that its calls may start."""

    plan: ProgramPlan
    used: dict[int, int] = field(default_factory=dict)
    answers: RealAnswers = field(default_factory=RealAnswers)
    agreed: bool = True
    _holes: tuple[str, ...] | None = field(default=None, init=False, repr=False, compare=False)

    def takes(self, call: int, server: str, tool: str, arguments: Mapping[str, object]) -> bool:
        """Whether a call with an effect is the next one of the plan, which is used up then. One that is made again,
        because the run was parked, is what it was before."""
        if (taken := self.used.get(call)) is None:
            used = set(self.used.values())
            taken = next((one.position for one in self.plan.effects if one.position not in used), NO_ENTRY)
            is_it = self._fits(taken, server, tool, arguments)
            self.used[call] = taken if is_it else NO_ENTRY
            return is_it
        return self._fits(taken, server, tool, arguments)

    def awaits(self, call: int, server: str, tool: str) -> bool:
        """Whether the plan hands on parts of the answer to this call."""
        return bool(self._names(self._position(call, server, tool)))

    def answered(self, call: int, server: str, tool: str, result: Mapping[str, object]) -> None:
        """Note the parts of a call's result that the plan hands on."""
        position = self._position(call, server, tool)
        if position == NO_ENTRY or result.get("isError"):
            return
        if (value := result.get("structuredContent")) is None:
            # As the program gets it.
            encoded = returned(result, MAX_READ)
            if encoded is None:
                return
            value = orjson.loads(encoded)
        self.answers.add(position, value, self._names(position))

    def _names(self, position: int) -> list[str]:
        if position == NO_ENTRY:
            return []
        if self._holes is None:
            named = (name for one in self.plan.effects for name in _holes_in(one.arguments))
            self._holes = tuple(dict.fromkeys(named))
        begins = re.compile(rf"(?:^|{_OR}){position}(?![0-9])")
        return [name for name in self._holes if begins.search(name)]

    def _position(self, call: int, server: str, tool: str) -> int:
        """The position in the plan of a call of this run."""
        if (used := self.used.get(call)) is not None:
            return used
        entry = next((one for one in self.plan.entries if one.position == call and one.effect == "read"), None)
        return call if entry is not None and (entry.server, entry.tool) == (server, tool) else NO_ENTRY

    def _fits(self, position: int, server: str, tool: str, arguments: Mapping[str, object]) -> bool:
        entry = next((one for one in self.plan.effects if one.position == position), None)
        if entry is None or (entry.server, entry.tool) != (server, tool):
            return False
        return matches(entry.arguments, dict(arguments), self.answers)

    def progress(self) -> dict[str, object]:
        """How far the run has come, without its plan."""
        used = [[call, entry] for call, entry in self.used.items()]
        return {"used": used, "answers": self.answers.as_dict(), "agreed": self.agreed}

    def come_to(self, progress: Mapping[str, object]) -> Adherence:
        """The same plan with what `progress` has written. Raises ValueError for other documents."""
        used, answers, agreed = progress.get("used"), progress.get("answers", {}), progress.get("agreed", True)
        if not isinstance(used, list) or not isinstance(answers, dict) or not isinstance(agreed, bool):
            raise ValueError("which calls of a plan were made, what they were answered, and whether it is agreed to")
        made = {int(call): int(entry) for call, entry in used}
        return Adherence(self.plan, made, RealAnswers.from_dict(answers), agreed)

    def as_dict(self) -> dict[str, object]:
        return {"plan": self.plan.as_dict(), **self.progress()}

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> Adherence:
        """What `as_dict` has written. Raises ValueError for other documents."""
        plan = document.get("plan")
        if not isinstance(plan, dict):
            raise ValueError("a plan, and which of its calls were made")
        return cls(ProgramPlan.from_dict(plan)).come_to(document)
