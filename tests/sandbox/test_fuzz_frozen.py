"""Frozen programs and images from an enemy who knows the format: a strange guest, a failed run, or an EngineError."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox import EngineError, ForeignImage, Image, Limits, Outcome, Settlement
from sandbox.frozen import Header, read_header, unpack
from sandbox.pages import BLOCK, WASM_PAGE
from tests.deep import examples

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
    return b"CMFZ\x01" + struct.pack("<I", len(head)) + head + hashlib.sha256(head + body).digest() + body


def headed(ground: Ground, pages: bytes, kind: str = "program", **fields: Any) -> bytes:
    said = {"build": ground.arena.engine.build_id, "kind": kind, "cpu_used": 0.0, "wall_used": 0.0, "waiting": [1]}
    return sealed(orjson.dumps({**said, **fields}), zlib.compress(pages, 1))


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


RUNS = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1) | st.integers(0, 6 * MiB) | st.integers(0, 48).map(lambda n: n * BLOCK),
        st.integers(0, 2**32 - 1) | st.just(None),
        st.binary(max_size=200) | st.just(bytes(BLOCK)),
    ),
    max_size=20,
)


def serialised(size: int, runs: list[tuple[int, int | None, bytes]]) -> bytes:
    parts = [struct.pack("<I", size)]
    for at, length, content in runs:
        parts += (struct.pack("<II", at, len(content) if length is None else length), content)
    return b"".join(parts)


LARGEST = (LIMITS.memory + LIMITS.memory // 8 + 4 * MiB) // WASM_PAGE
SIZES = st.integers(0, 20) | st.integers(LARGEST - 2, LARGEST + 2) | st.integers(0, 2**32 - 1)


@given(SIZES, RUNS)
@examples(200)
@example(0, [])
@example(LARGEST, [(0, None, b"x")])
@example(LARGEST, [(2**32 - 1, None, b"x" * 100)])
@example(LARGEST, [(0, 2**32 - 1, b"x")])
@example(LARGEST - 1, [(0, None, bytes(70_000))])
def test_runs_of_memory_that_lie(ground: Ground, size: int, runs: list[tuple[int, int | None, bytes]]) -> None:
    """Written by the guest into its own memory, or by the host where there is no room to pass them in."""
    data = serialised(size, runs)
    assert ground.thaw(headed(ground, data))
    assert ground.run(Image.of(headed(ground, data, kind="image")))


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


@pytest.mark.parametrize(
    "runs",
    [
        struct.pack("<II", 0, 0) * 9_000_000,
        struct.pack("<II", 0, 1) * 100_000,
        (struct.pack("<II", 0, BLOCK) + bytes(BLOCK)) * 60_000,
        b"\0" * 8_000_000,
    ],
    ids=["empty runs", "torn runs", "the same run", "zeros"],
)
def test_many_runs_cost_little(ground: Ground, runs: bytes) -> None:
    before = resident()
    for size in (12, LARGEST):
        content = struct.pack("<I", size) + runs
        ground.thaw(headed(ground, content), steps=1)
        ground.run(Image.of(headed(ground, content, kind="image")))
    assert resident() - before < 128 * MiB


def test_a_bomb_of_zeros_is_not_inflated(ground: Ground) -> None:
    before = resident()
    bomb = struct.pack("<I", 12) + bytes(400 * MiB)
    data = headed(ground, bomb)
    del bomb
    assert len(data) < 4 * MiB
    assert ground.thaw(data) == ["ForeignImage"]
    assert ground.run(Image.of(data)) == ["ForeignImage"]
    assert resident() - before < 64 * MiB


def test_what_is_refused_takes_no_place(ground: Ground) -> None:
    """Three isolates at a time: a leak of one for each refusal would soon leave none."""
    torn = struct.pack("<I", LARGEST) + b"torn"
    for data in (
        torn,
        b"",
        b"\0",
        struct.pack("<I", 12) + b"torn",
        struct.pack("<I", 2**31),
        serialised(LARGEST, [(2**31, None, b"x")]),
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
