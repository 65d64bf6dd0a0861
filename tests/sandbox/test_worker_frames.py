"""The wire between the portal and its workers: whatever the bytes and however they arrive, frames or a refusal."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.workers.boot import Report
from sandbox.workers.confinement import Confinement
from sandbox.workers.frames import (
    BUFFER,
    HEADER,
    MAGIC,
    Fault,
    Frame,
    FrameKind,
    FrameReader,
    ProtocolViolation,
    pack,
    pack_fault,
    pack_named,
    unpack_fault,
    unpack_named,
)

headers = st.tuples(
    st.sampled_from(FrameKind), st.integers(0, 2**64 - 1), st.integers(0, 200) | st.integers(0, 3 * BUFFER)
)
"""Of frames, with the sizes of their payloads."""


def frame_of(kind: FrameKind, run: int, size: int) -> Frame:
    return Frame(kind, run, random.Random(run).randbytes(size))


def feed(reader: FrameReader, stream: bytes, cuts: Sequence[int]) -> list[Frame]:
    """Give the reader the stream in pieces of at most the given sizes, in turn."""
    found: list[Frame] = []
    position = turn = 0
    while position < len(stream):
        room = reader.buffer()
        assert len(room) > 0
        piece = stream[position : position + min(len(room), cuts[turn % len(cuts)])]
        room[: len(piece)] = piece
        found += reader.feed(len(piece))
        position += len(piece)
        turn += 1
    return found


@given(st.lists(headers, max_size=8), st.lists(st.integers(1, 2 * BUFFER), min_size=1, max_size=5))
def test_frames_survive_being_cut_anywhere(shapes: list[tuple[FrameKind, int, int]], cuts: list[int]) -> None:
    sent = [frame_of(*shape) for shape in shapes]
    if min(cuts) < 100:
        cuts = [*cuts, BUFFER]  # else the large ones arrive in more pieces than a test has time for
    stream = b"".join(pack(*frame) for frame in sent)
    found = feed(FrameReader(4 * BUFFER), stream, cuts)
    assert len(found) == len(sent)
    assert all(got == meant for got, meant in zip(found, sent, strict=True))


@given(st.binary(min_size=HEADER.size, max_size=500), st.integers(1, 64))
def test_noise_is_refused_or_waits_for_more_and_never_kept_without_bound(noise: bytes, cut: int) -> None:
    reader = FrameReader(cap=1000)
    try:
        found = feed(reader, noise, [cut])
    except ProtocolViolation:
        return
    assert all(len(frame.payload) <= 1000 for frame in found)


@pytest.mark.parametrize(
    "header",
    [
        HEADER.pack(0, FrameKind.READY, 0, MAGIC + 1, 0),
        HEADER.pack(0, 255, 0, MAGIC, 0),
        HEADER.pack(0, FrameKind.READY, 1, MAGIC, 0),
        HEADER.pack(1001, FrameKind.READY, 0, MAGIC, 0),
        HEADER.pack(2**32 - 1, FrameKind.READY, 0, MAGIC, 0),
    ],
    ids=["magic", "kind", "reserved", "one byte too long", "four gigabytes"],
)
def test_a_bad_header_is_refused_before_any_room_is_made_for_its_payload(header: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        feed(FrameReader(cap=1000), header, [len(header)])


@given(st.text(max_size=60), st.lists(st.binary(max_size=100), min_size=1, max_size=3))
def test_named_payloads_come_back(name: str, parts: list[bytes]) -> None:
    assert unpack_named(pack_named(name, *parts), len(parts)) == (name, parts)


@given(st.binary(max_size=40), st.integers(1, 3))
def test_a_named_payload_from_an_enemy_is_read_or_refused(payload: bytes, parts: int) -> None:
    try:
        _, found = unpack_named(payload, parts)
    except ProtocolViolation:
        return
    assert sum(map(len, found)) <= len(payload)


@given(st.sampled_from(Fault), st.text(max_size=5000))
def test_a_fault_keeps_its_code_and_the_beginning_of_its_message(fault: Fault, message: str) -> None:
    found, text = unpack_fault(pack_fault(fault, message))
    assert found is fault
    assert message.encode(errors="replace").decode().startswith(text)


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\xff?"])
def test_an_unknown_fault_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        unpack_fault(payload)


def test_a_report_survives_the_wire() -> None:
    report = Report("build", Confinement({"seccomp": "on"}, {"landlock": "not on this kernel"}), (7, 8))
    assert Report.from_json(report.to_json()) == report


@given(
    st.binary(max_size=60)
    | st.sampled_from(
        [
            b"[]",
            b"{}",
            b'{"build_id":1,"in_force":{},"missing":{},"threads":[]}',
            b'{"build_id":"b","in_force":{},"missing":{},"threads":["../../1"]}',
            b'{"build_id":"b","in_force":{},"missing":{},"threads":7}',
            b"[" * 9999,
        ]
    )
)
def test_a_report_from_an_enemy_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Report.from_json(payload)
