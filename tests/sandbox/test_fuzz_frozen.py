"""Frozen programs and images from an enemy who knows the format: a strange guest, a failed run, or an EngineError."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox import EngineError, ForeignImage, Image, Limits, Outcome, Settlement
from sandbox.frozen import VERSION, Header, read_header, unpack
from sandbox.pages import BLOCK, PAGE, WASM_PAGE
from sandbox.zstandard import zstd
from tests.deep import examples

from . import naive_patch
from .hostile.arena import NOW, QUICK, SEED, Arena, MiB, arena, peak, resident
from .hostile.strategies import JSON_VALUES, mutated

LIMITS = replace(QUICK, cpu_time=0.1, memory=4 * MiB)
SOURCE = """
const list = [1, 'two', { three: 3n }], map = new Map([[{}, list]]), f = (x) => [x, list.length, map.size];
setTimeout(() => list.push(4), 5); console.log('before');
const answer = await host.ask({ list: ['a'] }), more = await Promise.all([host.b(1), host.c(2)]);
[f(answer), more, new URL('http://h/?q=1').searchParams.get('q'), /a+/.exec('caat')[0], Math.random() < 1]"""


class Ground:
    """An arena, a frozen program and an image of its build, and what they are made of."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.program = arena.on_thread(self._freeze)
        self.image = arena.on_thread(
            lambda: arena.engine.image(
                "globalThis.ask = (x) => host.call('ask', x); globalThis.big = [...Array(500).keys()];"
            )
        )
        self.header, self.pages = self._open(self.program, "program")
        _, self.image_pages = self._open(self.image.data, "image")

    def _open(self, data: bytes, kind: str) -> tuple[Header, bytes]:
        return unpack(data, build=self.arena.engine.build_id, kind=kind, largest=64 * MiB)

    def _freeze(self) -> bytes:
        with self.arena.engine.isolate() as isolate:
            isolate.start(SOURCE, NOW, SEED)
            return isolate.freeze()

    def thaw(self, data: bytes, steps: int = 3) -> list[Outcome | str]:
        """What comes of thawing it and going on; EngineErrors by name."""
        return self.arena.on_thread(lambda: self._thaw(data, steps))

    def _thaw(self, data: bytes, steps: int) -> list[Outcome | str]:
        found: list[Outcome | str] = []
        try:
            with self.arena.engine.thaw(data) as isolate:
                for _ in range(steps):
                    isolate.freeze()
                    waiting = sorted(isolate._conversation.waiting)[:3]
                    found.append(isolate.resume([Settlement.value(id, {"a": [1]}) for id in waiting], NOW))
        except EngineError as error:
            found.append(type(error).__name__)
        return found

    def run(self, image: Image) -> list[Outcome | str]:
        def work() -> list[Outcome | str]:
            try:
                with self.arena.engine.isolate(image) as isolate:
                    return [isolate.start("const r = await ask(big.length); r", NOW, SEED)]
            except EngineError as error:
                return [type(error).__name__]

        return self.arena.on_thread(work)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with arena(LIMITS, slots=3) as made:
        yield Ground(made)
        made.check()


def sealed(head: bytes, body: bytes) -> bytes:
    return b"CMFZ" + struct.pack("<BI", VERSION, len(head)) + head + hashlib.sha256(head + body).digest() + body


def headed(ground: Ground, pages: bytes, kind: str = "program", **fields: Any) -> bytes:
    said = {"build": ground.arena.engine.build_id, "kind": kind, "cpu_used": 0.0, "wall_used": 0.0, "waiting": [1]}
    return sealed(orjson.dumps({**said, **fields}), zstd.compress(pages, 1))


def test_the_program_itself_thaws(ground: Ground) -> None:
    assert read_header(ground.program).waiting == (1,)
    found = ground.thaw(ground.program)
    assert [type(outcome).__name__ for outcome in found] == ["Suspended", "Completed", "str"]


@given(st.data())
@examples(150)
def test_frozen_bytes_with_damage(ground: Ground, data: st.DataObject) -> None:
    damaged = data.draw(mutated(st.just(ground.program)))
    if damaged == ground.program:
        return
    assert ground.thaw(damaged) == ["ForeignImage"]
    with pytest.raises(ForeignImage):
        read_header(damaged)


@given(st.binary(max_size=200), st.binary(max_size=50))
@examples(150)
@example(b"", b"")
@example(b"{", b"")
@example(b"\xff\xfe", b"")
@example(b"null", b"")
@example(b"[" * 100_000, b"")
@example(b'{"build":1e999}', b"")
def test_a_header_that_is_sealed_and_no_header(ground: Ground, head: bytes, body: bytes) -> None:
    with pytest.raises(ForeignImage):
        read_header(sealed(head, body))
    assert ground.thaw(sealed(head, body)) == ["ForeignImage"]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "build": JSON_VALUES,
            "kind": st.sampled_from(["image", "program", ""]) | JSON_VALUES,
            "cpu_used": st.floats() | JSON_VALUES,
            "wall_used": st.floats() | JSON_VALUES,
            "waiting": st.lists(st.integers(-1, 2**40) | st.booleans(), max_size=5) | JSON_VALUES,
            "more": JSON_VALUES,
        },
    )
)
@examples(200)
@example({"waiting": [True]})
@example({"waiting": [1, 1]})
@example({"waiting": [2**31]})
@example({"waiting": list(range(1, 5000))})
@example({"cpu_used": 1e308})
@example({"wall_used": -0.0})
def test_a_header_with_fields_of_any_kind(ground: Ground, fields: dict[str, Any]) -> None:
    data = headed(ground, ground.pages, **fields)
    try:
        header = read_header(data)
    except ForeignImage:
        header = None
    if header is not None:
        assert all(type(id) is int and 0 < id < 2**31 for id in header.waiting)
        assert len(set(header.waiting)) == len(header.waiting)
        assert header.cpu_used >= 0 <= header.wall_used
    assert ground.thaw(data)


def test_a_giant_header_is_refused_before_it_is_read() -> None:
    def refuse(data: bytes) -> None:
        with pytest.raises(ForeignImage, match="header has"):
            read_header(data)

    for head in (b'{"waiting":[' + b"1," * 20_000_000 + b"1]}", b"[" + b"[]," * 10_000_000 + b"1]"):
        data = sealed(head, b"")
        assert peak(lambda data=data: refuse(data)) < MiB  # type: ignore[misc]


LARGEST = (LIMITS.memory + LIMITS.memory // 8 + 4 * MiB) // WASM_PAGE
SIZES = st.integers(0, 20) | st.integers(LARGEST - 2, LARGEST + 2) | st.integers(0, 2**32 - 1)
NUMBERS = st.integers(0, 2**32 - 1) | st.integers(0, 6 * MiB) | st.integers(0, 48).map(lambda n: n * BLOCK)
RUNS = st.lists(
    st.tuples(
        NUMBERS,
        st.integers(0, 2**32 - 1) | st.none(),
        st.binary(max_size=200) | st.integers(1, 12).map(lambda n: b"\1" * n * BLOCK),
    ),
    max_size=20,
)
PIECES = st.lists(st.tuples(NUMBERS, st.integers(0, 2**32 - 1) | st.none(), st.integers(0, 3)), max_size=5)
PARTS = st.integers(0, 2**32 - 1) | st.none()


def framed(content: bytes, size: int | None) -> bytes:
    return struct.pack("<I", len(content) if size is None else size) + content


def serialised(
    size: int,
    runs: list[tuple[int, int | None, bytes]],
    pieces: list[tuple[int, int | None, int]] = [],  # noqa: B006
    of_part: int | None = None,
    of_parts: int | None = None,
) -> bytes:
    """A patch of one part and some pieces, with lengths that are right where they are None."""
    part = b"".join(struct.pack("<II", at, len(data) if length is None else length) + data for at, length, data in runs)
    behind = b"".join(
        struct.pack("<II", page, pages if count is None else count) + b"\1" * (pages * PAGE)
        for page, count, pages in pieces
    )
    return struct.pack("<I", size) + framed(framed(part, of_part) if runs else b"", of_parts) + behind


@given(SIZES, RUNS, PIECES, PARTS, PARTS)
@examples(250)
@example(0, [], [], None, None)
@example(12, [(0, None, b"x" * BLOCK)], [], None, None)
@example(12, [(2**32 - BLOCK, None, b"x" * 10 * BLOCK)], [], None, None)
@example(12, [(2**31, None, b"x" * BLOCK)], [], None, None)
@example(12, [(0, 2**32 - BLOCK, b"x" * BLOCK)], [], None, None)
@example(12, [(327680, None, b"x" * 500 * BLOCK)], [], None, None)
@example(12, [(327680, None, b"x" * BLOCK)], [], 2**32 - 1, None)
@example(12, [(327680, None, b"x" * BLOCK)], [], None, 2**32 - 1)
@example(LARGEST, [], [(LARGEST * 16 - 1, None, 1)], None, None)
@example(LARGEST, [], [(LARGEST * 16 - 1, None, 2)], None, None)
@example(LARGEST, [], [(2**32 - 1, None, 1)], None, None)
@example(LARGEST, [], [(200, 2**32 - 1, 1)], None, None)
def test_a_patch_that_lies(
    ground: Ground,
    size: int,
    runs: list[tuple[int, int | None, bytes]],
    pieces: list[tuple[int, int | None, int]],
    of_part: int | None,
    of_parts: int | None,
) -> None:
    """Runs are written by the guest into its own memory. What the host writes is checked, and lies behind that."""
    data = serialised(size, runs, pieces, of_part, of_parts)
    assert ground.thaw(headed(ground, data))
    assert ground.run(Image.of(headed(ground, data, kind="image")))


def test_parts_of_another_program_are_a_strange_guest_and_no_more(ground: Ground) -> None:
    """Frozen bytes put together from two programs of this build: the head of one, parts and memory of the other."""
    other = ground.arena.on_thread(
        lambda: _frozen(ground, "const a = Array(9e4).fill({ b: 1 }); await host.x(a.length)")
    )
    pages = unpack(other, build=ground.arena.engine.build_id, kind="program", largest=64 * MiB)[1]
    parts = struct.unpack_from("<I", ground.pages, 4)[0]
    theirs = struct.unpack_from("<I", pages, 4)[0]
    for mixed in (
        pages[:4] + ground.pages[4 : 8 + parts] + pages[8 + theirs :],
        ground.pages[:8] + ground.pages[8 : 8 + parts] + pages[8 + theirs :],
        pages[: 8 + theirs] + ground.pages[8 + parts :],
    ):
        assert ground.thaw(headed(ground, mixed, waiting=[1, 2]))


def _frozen(ground: Ground, source: str) -> bytes:
    with ground.arena.engine.isolate() as isolate:
        isolate.start(source, NOW, SEED)
        return isolate.freeze()


@given(st.data())
@examples(250)
def test_a_program_with_other_bytes_in_its_memory(ground: Ground, data: st.DataObject) -> None:
    """The sound frame of a frozen program, with bits of its heap, its stack and its tables flipped."""
    pages = bytearray(ground.pages)
    for _ in range(data.draw(st.integers(1, 60))):
        at = data.draw(st.integers(4, len(pages) - 4))
        pages[at : at + 4] = data.draw(
            st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", bytes(3) + b"\x80"]) | st.binary(min_size=4, max_size=4)
        )
    assert ground.thaw(headed(ground, bytes(pages)))


@given(st.data())
@examples(150)
def test_an_image_with_other_bytes_in_its_memory(ground: Ground, data: st.DataObject) -> None:
    pages = bytearray(ground.image_pages)
    for _ in range(data.draw(st.integers(1, 60))):
        at = data.draw(st.integers(4, len(pages) - 1))
        pages[at] ^= data.draw(st.integers(1, 255))
    assert ground.run(Image.of(headed(ground, bytes(pages), kind="image")))


RUN = struct.pack("<II", 400_000, BLOCK) + bytes(BLOCK)


@pytest.mark.parametrize(
    "parts",
    [
        [struct.pack("<II", 0, 0) * 2000] * 100,
        [struct.pack("<II", 0, 1) * 2000] * 100,
        [RUN * 600] * 100,
        [RUN] * 50_000,
        [bytes(16_000)] * 100,
        [b""] * 300_000,
    ],
    ids=["empty runs", "torn runs", "the same run", "small parts", "zeros", "empty parts"],
)
def test_many_runs_cost_little(ground: Ground, parts: list[bytes]) -> None:
    before = resident()
    for size in (12, LARGEST):
        content = naive_patch.patch(size * WASM_PAGE, parts)
        ground.thaw(headed(ground, content), steps=1)
        ground.run(Image.of(headed(ground, content, kind="image")))
    assert resident() - before < 128 * MiB


def blocks_of(memory: bytes) -> list[tuple[int, int]]:
    """The allocator's blocks (`struct block` in alloc.c), as (address, size with the bit that says free)."""

    def walk(at: int) -> Iterator[tuple[int, int]]:
        before = 0
        while at + 8 <= len(memory):
            said, size = struct.unpack_from("<II", memory, at)
            if said != before or size & ~1 < 16:
                return
            yield at, size
            before, at = size & ~1, at + (size & ~1)

    found: list[list[tuple[int, int]]] = [list(walk(at)) for at in range(327_680 + 8, 600_000, 16)]
    return max(found, key=len)


@pytest.mark.parametrize("where", ["itself", "outside", "the first bytes"])
def test_lists_of_free_memory_without_an_end_are_no_endless_freeze(ground: Ground, where: str) -> None:
    """Freezing walks them; in a forged program they are circles, or lead elsewhere."""

    def memory() -> bytes:
        with ground.arena.engine.isolate() as isolate:
            isolate.start(SOURCE, NOW, SEED)
            isolate.freeze()
            return isolate._instance.read(0, len(ground.arena.engine._home.base))

    now = ground.arena.on_thread(memory)
    forged = bytearray(now)
    free = [at for at, size in blocks_of(now) if size & 1]
    assert len(free) > 10
    for at in free:
        struct.pack_into("<I", forged, at + 8, {"itself": at, "outside": 2**31 + 8, "the first bytes": 16}[where])
    (lie,) = naive_patch.parts(naive_patch.runs(bytes(forged), now))
    end = 8 + struct.unpack_from("<I", ground.pages, 4)[0]
    parts = ground.pages[8:end] + framed(lie, None)
    pages = ground.pages[:4] + framed(parts, None) + ground.pages[end:]
    assert ground.thaw(headed(ground, pages), steps=1) == ["GuestAbiError"]


def test_a_bomb_of_zeros_is_not_inflated(ground: Ground) -> None:
    before = resident()
    bomb = struct.pack("<II", 12, 0) + bytes(400 * MiB)
    data = headed(ground, bomb)
    del bomb
    assert len(data) < 4 * MiB
    assert ground.thaw(data) == ["ForeignImage"]
    assert ground.run(Image.of(data)) == ["ForeignImage"]
    assert resident() - before < 64 * MiB


def test_what_is_refused_takes_no_place(ground: Ground) -> None:
    """Three isolates at a time: a leak of one for each refusal would soon leave none."""
    torn = naive_patch.patch(LARGEST * WASM_PAGE, []) + b"torn"
    for data in (
        torn,
        b"",
        b"\0",
        naive_patch.patch(12 * WASM_PAGE, []) + b"torn",
        struct.pack("<II", 2**31, 0),
        serialised(LARGEST, [(2**31, None, b"x" * BLOCK)]),
    ):
        for _ in range(5):
            ground.thaw(headed(ground, data))
            ground.run(Image.of(headed(ground, data, kind="image")))
            ground.run(Image(id=str(len(data)), data=b"no image"))
    ground.arena.check()


def test_a_program_of_other_limits_takes_the_limits_of_its_new_home(ground: Ground) -> None:
    with arena(Limits(cpu_time=0.1, memory=64 * MiB)) as other:

        def work() -> bytes:
            with other.engine.isolate() as isolate:
                isolate.start("const h = new Uint8Array(6e6).fill(7); await host.x(); for (;;) {}", NOW, SEED)
                return isolate.freeze()

        assert other.engine.build_id == ground.arena.engine.build_id
        found = ground.thaw(other.on_thread(work))
    assert found == ["ForeignImage"] or getattr(getattr(found[0], "error", None), "kind", "") == "cpu_time"
