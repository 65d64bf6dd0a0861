"""Memory as a difference, and memory written back into a module: pure functions over bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import ForeignImage
from sandbox.frozen import Header, pack, read_header, unpack
from sandbox.pages import WASM_PAGE, difference, merge, parse, split
from sandbox.snapshot import with_memory
from tests.deep import examples

EDITS = st.lists(st.tuples(st.integers(0, 3 * WASM_PAGE - 1), st.binary(min_size=1, max_size=5000)), max_size=10)


def edited(memory: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    out = bytearray(memory)
    for at, data in edits:
        out[at : at + len(data)] = data[: len(out) - at]
    return bytes(out)


def applied(base: bytes, size: int, runs: list[tuple[int, bytes]]) -> bytes:
    out = bytearray(base.ljust(size, b"\0"))
    for at, data in runs:
        out[at : at + len(data)] = data
    return bytes(out)


@examples(100)
@given(EDITS, EDITS)
def test_a_difference_applied_to_the_base_is_the_memory(
    first: list[tuple[int, bytes]], later: list[tuple[int, bytes]]
) -> None:
    base = edited(bytes(2 * WASM_PAGE), first)
    memory = edited(base.ljust(3 * WASM_PAGE, b"\0"), later)
    patch = parse(difference(memory, base), 3 * WASM_PAGE)
    assert patch.size == len(memory)
    assert applied(base, patch.size, list(split(patch.runs))) == memory
    merged = merge(patch.runs, base)
    assert applied(base, patch.size, list(merged)) == memory
    assert len(merged) <= len(list(split(patch.runs)))


def test_equal_memories_have_no_difference() -> None:
    memory = bytes(range(256)) * 256
    assert difference(memory, memory) == b"\x01\0\0\0"


@examples(200)
@given(st.binary(max_size=200))
def test_any_runs_are_split_or_refused(data: bytes) -> None:
    try:
        assert sum(8 + len(part) for _, part in split(data)) == len(data)
    except ForeignImage:
        pass


def test_a_memory_too_large_is_refused() -> None:
    with pytest.raises(ForeignImage, match="bytes of memory"):
        parse(struct.pack("<I", 3), 2 * WASM_PAGE)


HEADER = Header("build", "program", 1.5, 2.5, (1, 2))


@examples(100)
@given(st.binary(max_size=2000))
def test_what_is_packed_is_unpacked(pages: bytes) -> None:
    frozen = pack(HEADER, pages)
    assert read_header(frozen) == HEADER
    assert unpack(frozen, build="build", kind="program", largest=1 << 20) == (HEADER, pages)


@examples(300)
@given(st.data())
def test_a_changed_file_is_refused(data: st.DataObject) -> None:
    frozen = bytearray(pack(HEADER, b"some pages"))
    frozen[data.draw(st.integers(0, len(frozen) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ForeignImage):
        unpack(bytes(frozen), build="build", kind="program", largest=1 << 20)


def test_a_bomb_is_not_inflated() -> None:
    with pytest.raises(ForeignImage, match="more than"):
        unpack(pack(HEADER, bytes(50 << 20)), build="build", kind="program", largest=1 << 20)


def test_a_module_starts_with_the_memory_written_into_it() -> None:
    # (module (memory 1) (data (i32.const 8) "hi"))
    module = bytes.fromhex("0061736d010000000503010001" + "0b08010041080b026869")
    memory = bytearray(2 * WASM_PAGE)
    memory[5000:5004] = b"here"
    memory[-1] = 7
    rewritten = with_memory(module, bytes(memory))
    assert rewritten[8:13] == bytes.fromhex("0503010002")
    assert rewritten.count(b"here") == 1
    assert b"hi" not in rewritten


@pytest.mark.parametrize(("module", "memory"), [(b"nonsense", bytes(WASM_PAGE)), (b"\0asm\1\0\0\0", b"x")])
def test_what_is_no_module_is_refused(module: bytes, memory: bytes) -> None:
    with pytest.raises(ValueError, match="not a module"):
        with_memory(module, memory)
