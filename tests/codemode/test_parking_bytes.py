"""The bytes of a parked program: what is written is read again exactly, and nothing else is read."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections import deque
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import (
    Failure,
    LoggedCall,
    LoggedResume,
    ParkedProgram,
    ParkedUnreadable,
    PendingCall,
    ProgramLog,
    Run,
    Waiting,
    digest_of,
)
from codemode.packed import Packer, Unpacked
from codemode.returned import Returned
from codemode.run import MOST_CAUSES, Rejection, RunCall, RunFailed, UnknownName
from sandbox import LogLine, Settlement

TEXTS = st.text(max_size=20).filter(lambda text: text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text))
IDS = st.integers(1, 2**31 - 1)
TIMES = st.floats(0, 1e15)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
MAYBE = st.none() | st.integers(-(2**50), 2**50)
REJECTIONS = st.builds(Rejection, TEXTS, TEXTS, MAYBE, st.none() | st.dictionaries(TEXTS, TEXTS), st.booleans())
UNKNOWN = st.builds(UnknownName, TEXTS, TEXTS, st.lists(TEXTS, max_size=3).map(tuple), st.booleans())
FAILURES = st.builds(Failure, TEXTS, TEXTS, TEXTS, MAYBE, MAYBE, st.none() | TEXTS, st.none() | REJECTIONS | UNKNOWN)
CAUSES = REJECTIONS | UNKNOWN | st.builds(RunFailed, TEXTS, TEXTS, FAILURES)
CALLS = st.lists(st.builds(LoggedCall, IDS, TEXTS, st.binary(min_size=32, max_size=32)), max_size=3).map(tuple)
SETTLEMENTS = st.lists(
    st.builds(Settlement, IDS, st.booleans(), JSON.map(lambda value: orjson.Fragment(orjson.dumps(value)))), max_size=3
)
RESUMES = st.builds(LoggedResume, TIMES, SETTLEMENTS.map(tuple), st.none() | CALLS)
LOGS = st.builds(
    ProgramLog,
    *(TEXTS, TEXTS, st.binary(min_size=32, max_size=32), TIMES),
    calls=CALLS,
    resumes=st.lists(RESUMES, max_size=3),
    whole=st.booleans(),
    made=st.integers(0, 2**31 - 1),
    last_now=TIMES,
)
RUNS = st.builds(
    Run,
    *(TEXTS, TEXTS),
    logs=st.lists(st.builds(LogLine, TEXTS, TEXTS), max_size=3),
    calls=st.lists(st.builds(RunCall, IDS, TEXTS, TIMES, TEXTS, TIMES, TEXTS, st.integers(0, 99)), max_size=3),
    emitted=st.lists(st.dictionaries(TEXTS, JSON, max_size=2), max_size=2),
    causes=st.lists(CAUSES, max_size=3).map(lambda some: deque(some, MOST_CAUSES)),
    returned=st.lists(st.builds(Returned, TEXTS, st.binary(max_size=9), st.booleans()), max_size=3).map(
        lambda some: deque(some, 20)
    ),
    check=st.none() | st.dictionaries(TEXTS, TEXTS),
    notes=st.lists(TEXTS, max_size=2),
    note=st.none() | TEXTS,
    entered=st.booleans(),
)
KINDS = st.sampled_from(["approval", "login", "question"])
PROGRAMS = st.builds(
    ParkedProgram,
    run=RUNS,
    source=TEXTS,
    own_lines=st.none() | st.integers(0, 999),
    placed=st.booleans(),
    is_part=st.booleans(),
    log=LOGS,
    frozen=st.binary(max_size=50),
    build=TEXTS,
    pending=st.lists(st.builds(PendingCall, IDS, TEXTS, JSON, st.integers(0, 99), st.integers(0, 99)), max_size=3).map(
        tuple
    ),
    waiting=st.lists(
        st.builds(Waiting, TEXTS, st.none() | TEXTS, TEXTS, TEXTS, st.booleans(), KINDS, st.booleans()), max_size=2
    ).map(tuple),
    wake_at=st.none() | TIMES,
    wall_used=TIMES,
    excused=TIMES,
    elapsed=TIMES,
    taken=st.lists(TEXTS, max_size=2).map(tuple),
)


def plain(program: ParkedProgram) -> object:
    """A program as values that can be compared: settlements as JSON, the log without what is counted anew."""
    log = program.log
    fields = {name: getattr(program, name) for name in ParkedProgram.__dataclass_fields__ if name != "log"}
    settled = [
        (one.now, [(s.id, s.ok, orjson.dumps(s.payload)) for s in one.settlements], one.calls) for one in log.resumes
    ]
    kept = (log.source, log.begin, log.seed, log.now, log.calls, log.whole, log.made, log.last_now)
    return fields, kept, settled


@given(PROGRAMS)
def test_a_parked_program_is_read_as_it_was_written(program: ParkedProgram) -> None:
    data = program.as_bytes()
    again = ParkedProgram.from_bytes(data)
    assert again.as_bytes() == data
    assert plain(again) == plain(program)


@given(RESUMES)
def test_a_resume_of_a_journal_is_read_as_it_was_written(resume: LoggedResume) -> None:
    data = resume.as_bytes()
    again = LoggedResume.from_bytes(data)
    assert (again.now, again.calls) == (resume.now, resume.calls)
    assert [orjson.dumps(one.payload) for one in again.settlements] == [
        orjson.dumps(one.payload) for one in resume.settlements
    ]
    assert again.as_bytes() == data
    with pytest.raises(ParkedUnreadable, match="of another kind"):
        ParkedProgram.from_bytes(data)
    with pytest.raises(ParkedUnreadable):
        LoggedResume.from_bytes(data + b"more")


@given(PROGRAMS, st.data())
def test_bytes_that_were_changed_are_not_read(program: ParkedProgram, data: st.DataObject) -> None:
    whole = program.as_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.binary(max_size=3).filter(lambda some: whole[at : at + 1] != some))
    with pytest.raises(ParkedUnreadable):
        ParkedProgram.from_bytes(whole[:at] + other + whole[at + 1 :])
    with pytest.raises(ParkedUnreadable):
        ParkedProgram.from_bytes(whole[:at])


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_else(data: bytes) -> None:
    for magic in (b"", b"CMPK\x01"):
        with pytest.raises(ParkedUnreadable):
            ParkedProgram.from_bytes(magic + data)


@given(PROGRAMS, st.data())
def test_well_packed_rows_of_another_form_are_refused_in_words(program: ParkedProgram, data: st.DataObject) -> None:
    """Whoever can seal bytes still cannot make the reader raise anything else, or keep a value of another type."""
    unpacked = Unpacked(b"CMPK\x01", program.as_bytes())
    rows: Any = unpacked.rows
    parent, at = rows, data.draw(st.integers(0, len(rows) - 1))
    while isinstance(parent[at], list) and parent[at] and data.draw(st.booleans()):
        parent = parent[at]
        at = data.draw(st.integers(0, len(parent) - 1))
    parent[at] = data.draw(JSON)
    packer = Packer()
    for index in range(len(unpacked._starts) - 1):
        packer.add(unpacked.value(index))
    try:
        forged = packer.pack(b"CMPK\x01", rows, unpacked.tail)
    except TypeError:
        return  # an integer that no head can hold
    try:
        read = ParkedProgram.from_bytes(forged)
    except ParkedUnreadable as refused:
        assert str(refused)
    else:
        assert ParkedProgram.from_bytes(read.as_bytes()).as_bytes() == read.as_bytes()


def sealed(packed: bytes, size: int | None = None) -> bytes:
    rest = struct.pack("<Q", len(packed) if size is None else size) + packed
    return b"CMPK\x01" + hashlib.sha256(rest).digest() + rest


def test_bytes_that_would_become_too_large_are_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codemode.packed.MAX_BYTES", 100_000)
    bomb = zlib.compress(b"\0" * 10_000_000, 9)
    assert len(bomb) < 100_000
    with pytest.raises(ParkedUnreadable, match="becomes larger"):
        ParkedProgram.from_bytes(sealed(bomb))
    with pytest.raises(ParkedUnreadable, match="at most 100,000"):
        ParkedProgram.from_bytes(sealed(b"\0" * 100_000))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"CMPK\x02" + b"\0" * 100, "of another version"),
        (sealed(b"abc", 2**60), "cut short"),
        (sealed(zlib.compress(struct.pack("<I", 2**31) + b"[]")), "head is cut short"),
        (sealed(zlib.compress(struct.pack("<I", 2) + b"{]")), "no JSON"),
        (sealed(zlib.compress(struct.pack("<I", 9) + b"[[-1],[]]")), "less than no bytes"),
        (sealed(zlib.compress(struct.pack("<I", 8) + b"[[5],[]]abc")), "another size"),
    ],
)
def test_what_is_wrong_with_the_bytes_is_said(data: bytes, says: str) -> None:
    with pytest.raises(ParkedUnreadable, match=says):
        ParkedProgram.from_bytes(data)


@given(JSON)
def test_a_digest_depends_on_the_values_and_not_on_the_order_of_names(value: Any) -> None:
    turned = dict(reversed(value.items())) if isinstance(value, dict) else value
    assert digest_of(turned) == digest_of(value)
    assert digest_of([value, 1]) != digest_of([value, 2])


def test_arguments_that_are_nested_deep_have_a_digest() -> None:
    deep: list[Any] = []
    for _ in range(390):
        deep = [deep]
    assert len(digest_of(deep)) == 32
