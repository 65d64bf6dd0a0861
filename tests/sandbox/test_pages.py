"""Memory as a difference, and memory written back into a module: pure functions over bytes."""

import hashlib
import struct
from dataclasses import asdict

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import ForeignImage
from sandbox.frozen import VERSION, Header, pack, read_header, unpack
from sandbox.pages import BLOCK, PAGE, WASM_PAGE, Patch, parse, pieces_of, serialise, written
from sandbox.snapshot import with_memory
from sandbox.zstandard import zstd
from tests.deep import examples
from tests.sandbox import naive_patch

EDITS = st.lists(st.tuples(st.integers(0, 3 * WASM_PAGE - 1), st.binary(min_size=1, max_size=5000)), max_size=10)


def edited(memory: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    out = bytearray(memory)
    for at, data in edits:
        if at < len(out):
            out[at : at + len(data)] = data[: len(out) - at]
    return bytes(out)


def read(data: bytes, initial: int = 2 * WASM_PAGE, largest: int = 4 * WASM_PAGE) -> Patch:
    return parse(data, initial=initial, largest=largest, part=naive_patch.INPUT_SIZE)


def behind(memory: bytes, initial: int) -> list[tuple[int, bytes]]:
    return [(at, memory[at : at + WASM_PAGE]) for at in range(initial, len(memory), WASM_PAGE)]


@examples(100)
@given(EDITS, EDITS)
def test_a_difference_applied_to_the_initial_memory_is_the_memory(
    first: list[tuple[int, bytes]], later: list[tuple[int, bytes]]
) -> None:
    initial = edited(bytes(2 * WASM_PAGE), first)
    memory = edited(initial.ljust(4 * WASM_PAGE, b"\0"), later)
    parts = naive_patch.parts(naive_patch.runs(memory[: len(initial)], initial))
    patch = read(serialise(len(memory), parts, pieces_of(behind(memory, len(initial)))))
    assert patch == Patch(len(memory), tuple(parts), patch.pieces)
    assert all(page.strip(b"\0") for _, piece in patch.pieces for page in (piece[:PAGE], piece[-PAGE:]))
    # For a program: the guest applies the parts, and the host writes the rest.
    whole = bytearray(naive_patch.applied(patch.parts, initial).ljust(patch.size, b"\0"))
    for at, data in patch.pieces:
        whole[at : at + len(data)] = data
    assert whole == memory
    # For an image: the host writes everything.
    image = bytearray(initial.ljust(patch.size, b"\0"))
    for at, data in written(patch, initial):
        image[at : at + len(data)] = data
    assert image == memory


def test_an_image_is_written_in_few_runs() -> None:
    initial = bytes(range(256)) * 512
    memory = bytearray(initial)
    for at in range(0, 40 * PAGE // 2, PAGE // 2):
        memory[at] ^= 1
    parts, page = naive_patch.parts(naive_patch.runs(bytes(memory), initial)), (len(initial), b"\1" * WASM_PAGE)
    patch = read(serialise(len(initial) + WASM_PAGE, parts, pieces_of([page])))
    assert [at for at, _ in written(patch, initial)] == [0, len(initial)]


def test_equal_memories_have_no_difference() -> None:
    memory = bytes(range(256)) * 512
    assert serialise(len(memory), [], pieces_of(behind(memory, len(memory)))) == b"\2\0\0\0" + bytes(4)
    assert naive_patch.difference(memory, memory) == b"\2\0\0\0" + bytes(4)
    assert list(pieces_of([(0, bytes(WASM_PAGE)), (WASM_PAGE, bytes(WASM_PAGE))])) == []


@examples(300)
@given(st.integers(0, 5), st.integers(0, 2**32 - 1) | st.integers(0, 300), st.binary(max_size=300))
def test_any_bytes_are_a_patch_or_refused(pages: int, size: int, rest: bytes) -> None:
    try:
        patch = read(struct.pack("<II", pages, size) + rest)
        written(patch, bytes(2 * WASM_PAGE))
    except ForeignImage:
        return
    assert patch.size == pages * WASM_PAGE
    assert sum(4 + len(part) for part in patch.parts) == size


PART = struct.pack("<II", 0, BLOCK) + bytes(BLOCK)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated"),
        (naive_patch.patch(WASM_PAGE, []), "malformed"),
        (naive_patch.patch(5 * WASM_PAGE, []), "bytes of memory"),
        (naive_patch.patch(2 * WASM_PAGE, [PART[:-1]]), "malformed"),
        (naive_patch.patch(2 * WASM_PAGE, [bytes(naive_patch.INPUT_SIZE + 1)]), "malformed"),
        (naive_patch.patch(2 * WASM_PAGE, [PART])[:-1], "truncated"),
        (naive_patch.patch(2 * WASM_PAGE, [PART] * (2 * WASM_PAGE // PAGE + 1)), "malformed"),
        (naive_patch.patch(3 * WASM_PAGE, [], [(WASM_PAGE, bytes(PAGE))]), "malformed"),
        (naive_patch.patch(3 * WASM_PAGE, [], [(3 * WASM_PAGE, bytes(PAGE))]), "malformed"),
        (naive_patch.patch(3 * WASM_PAGE, [], [(2 * WASM_PAGE, b"")]), "malformed"),
        (naive_patch.patch(3 * WASM_PAGE, [], [(2 * WASM_PAGE, bytes(PAGE))] * 2), "malformed"),
        (naive_patch.patch(3 * WASM_PAGE, [], [(2 * WASM_PAGE, bytes(PAGE))])[:-1], "truncated"),
        (naive_patch.patch(3 * WASM_PAGE, []) + b"torn", "truncated"),
        (struct.pack("<II", 2, 5 * WASM_PAGE), "malformed"),
    ],
)
def test_a_patch_that_lies_about_its_sizes_or_places_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ForeignImage, match=message):
        read(data)


@pytest.mark.parametrize(
    "run",
    [
        struct.pack("<II", 2 * WASM_PAGE, BLOCK) + bytes(BLOCK),
        struct.pack("<II", 8, BLOCK) + bytes(BLOCK),
        struct.pack("<II", 0, 2 * BLOCK) + bytes(BLOCK),
        struct.pack("<II", 0, 0) + bytes(BLOCK),
        PART + b"torn",
    ],
    ids=["outside", "not at a block", "cut off", "empty", "torn"],
)
def test_an_image_with_a_run_that_lies_is_refused(run: bytes) -> None:
    patch = read(naive_patch.patch(2 * WASM_PAGE, [run]))
    with pytest.raises(ForeignImage):
        written(patch, bytes(2 * WASM_PAGE))


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


def test_the_version_of_the_format_is_told_from_damage() -> None:
    """One that was frozen by an earlier release: its bytes are whole, and cannot be read."""
    frozen = pack(HEADER, b"some pages")
    for version in (0, 1, 2, 4, 255):
        with pytest.raises(ForeignImage, match=f"has version {version} of the format, this is version 3"):
            read_header(b"CMFZ" + bytes([version]) + frozen[5:])


def test_what_follows_the_body_is_refused() -> None:
    head = orjson.dumps(asdict(HEADER))
    for body in (zstd.compress(b"pages") + b"more", zstd.compress(b"pages") * 2, zstd.compress(b"pages")[:-1], b""):
        digest = hashlib.sha256(head + body).digest()
        sealed = b"CMFZ" + struct.pack("<BI", VERSION, len(head)) + head + digest + body
        with pytest.raises(ForeignImage):
            unpack(sealed, build="build", kind="program", largest=1 << 20)


def test_a_window_larger_than_ours_is_not_made() -> None:
    """Reading takes as much memory as the window that the bytes name, however few they are."""
    head = orjson.dumps(asdict(HEADER))
    level = {int(zstd.CompressionParameter.window_log): 27, int(zstd.CompressionParameter.content_size_flag): 0}
    packer = zstd.ZstdCompressor(options=level)
    body = packer.compress(b"pages") + packer.flush()
    sealed = b"CMFZ" + struct.pack("<BI", VERSION, len(head)) + head + hashlib.sha256(head + body).digest() + body
    with pytest.raises(ForeignImage, match="damaged"):
        unpack(sealed, build="build", kind="program", largest=1 << 20)


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
