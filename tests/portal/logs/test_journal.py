"""The journal: what was appended is there after the process, in order, once, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from portal.logs.journal import HEAD_BYTES, MAX_RECORD, Journal, JournalInUse, JournalUnusable
from portal.logs.row import LogRow, packed, storable, unpacked
from tests.deep import examples
from tests.portal.logs.rows import row, rows

SIZE = 4096


def left(path: Path) -> list[bytes]:
    journal = Journal.open(path)
    try:
        return list(journal.waiting())
    finally:
        journal.close()


@examples(100)
@given(one=rows())
def test_a_row_comes_back_as_it_was_but_for_what_no_database_takes(one: LogRow) -> None:
    text = packed(one)
    if text is not None:
        assert unpacked(text) == one
        return
    fitting = storable(one)
    again = packed(fitting)
    assert again is not None and unpacked(again) == fitting
    for before, after in zip(one, fitting, strict=True):
        if isinstance(before, str) and isinstance(after, str):
            assert after == before or "\0" in before or not before.isprintable()
            assert "\0" not in after and after.encode().decode() == after
        else:
            assert after == before or abs(int(before or 0)) > 2**62


def test_a_row_of_an_older_version_has_the_defaults_of_what_it_lacks() -> None:
    short = (packed(row()) or b"")[1:-1].split(b",")[:6]
    assert unpacked(b"[" + b",".join(short) + b"]").trace == ""
    for text in (b"[]", b"{}", b"[1,2]", b"nothing"):
        with pytest.raises(ValueError):
            unpacked(text)


def test_what_was_appended_is_there_for_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal.open(path, SIZE)
    instance = journal.instance
    assert journal.append(b"one") and journal.append(b"two")
    journal.stored_until(journal.mark)
    assert journal.append(b"three")
    journal.close()
    journal = Journal.open(path)
    assert (journal.instance, journal.stored) == (instance, 2)
    assert list(journal.waiting()) == [b"three"] and journal.last == 3
    journal.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_process_that_is_killed_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "j"
    child = os.fork()
    if not child:
        journal = Journal.open(path, SIZE)
        for number in range(20):
            journal.append(b"row %d" % number)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert left(path) == [b"row %d" % number for number in range(20)]


def test_a_journal_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "j", SIZE)
    with pytest.raises(JournalInUse, match="another process has it"):
        Journal.open(tmp_path / "j")
    journal.close()
    Journal.open(tmp_path / "j").close()


@pytest.mark.parametrize("content", [b"x", b"x" * 10_000, b"codemode journal 1\n" + b"x" * 9_000])
def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(JournalUnusable, match="j: it is"):
        Journal.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("length", [0, 10, HEAD_BYTES + SIZE])
def test_a_file_without_a_head_is_one_whose_process_ended_as_it_made_it(tmp_path: Path, length: int) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"\0" * length)
    journal = Journal.open(path, SIZE)
    assert journal.append(b"one")
    journal.close()
    assert left(path) == [b"one"]


def test_without_room_nothing_is_written_and_it_can_be_counted(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal.open(path, SIZE)
    written = 0
    while journal.append(b"x" * 100):
        written += 1
    journal.drop()
    assert not journal.append(b"x" * (MAX_RECORD + 1))
    journal.close()
    journal = Journal.open(path)
    assert len(list(journal.waiting())) == written and journal.dropped == 1
    journal.stored_until(journal.mark)
    assert journal.append(b"y" * 100)
    journal.close()


def test_what_was_cut_off_in_the_middle_ends_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal.open(path, SIZE)
    for text in (b"one", b"two", b"three"):
        journal.append(text)
    journal.close()
    data = bytearray(path.read_bytes())
    at = data.index(b"two")
    data[at] ^= 1
    path.write_bytes(data)
    assert left(path) == [b"one"]


def test_one_of_the_two_states_may_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal.open(path, SIZE)
    for number in range(3):
        journal.append(b"%d" % number)
        journal.stored_until(journal.mark)
    journal.append(b"last")
    journal.close()
    for at in (1024, 2048):
        data = bytearray(path.read_bytes())
        data[at : at + 40] = b"\xff" * 40
        copy = tmp_path / f"copy{at}"
        copy.write_bytes(data)
        # The older one knows less of what is stored: those rows are stored once more, which changes nothing.
        assert left(copy)[-1] == b"last"


class Model(RuleBasedStateMachine):
    """A journal beside a list: appended to, stored up to some record, closed and opened again."""

    folder: Path

    @initialize()
    def begin(self) -> None:
        self.path = self.folder / os.urandom(8).hex()
        self.journal = Journal.open(self.path, 2048)
        self.waiting: list[tuple[bytes, tuple[int, int]]] = []

    @rule(text=st.binary(max_size=300))
    def append(self, text: bytes) -> None:
        if self.journal.append(text):
            self.waiting.append((text, self.journal.mark))
        else:
            assert sum(len(one) + 24 for one, _ in self.waiting) + len(text) > 2048 - 400

    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        if self.waiting:
            upto = data.draw(st.integers(0, len(self.waiting) - 1))
            self.journal.stored_until(self.waiting[upto][1])
            del self.waiting[: upto + 1]

    @rule()
    def open_again(self) -> None:
        last = self.journal.last
        self.journal.close()
        self.journal = Journal.open(self.path)
        found = [(text, self.journal.mark) for text in self.journal.waiting()]
        assert [text for text, _ in found] == [text for text, _ in self.waiting]
        assert self.journal.last == last
        self.waiting = found

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "journal"):
            assert self.journal.last - self.journal.stored == len(self.waiting)

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.remove()
            self.journal.close()


def test_a_journal_holds_what_a_list_would(tmp_path: Path) -> None:
    Model.folder = tmp_path
    run_state_machine_as_test(Model, settings=examples(100, settings(stateful_step_count=60)))
