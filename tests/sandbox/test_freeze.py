"""A suspended program as bytes: frozen here, thawed in this process or another, refused when it is not ours."""

import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Completed, Engine, EngineError, ForeignImage, Limits, LocalStateError, Settlement, Suspended
from sandbox.epoch import TimeBudget
from sandbox.frozen import Header, pack, read_header, unpack
from sandbox.isolate import difference
from sandbox.pages import BLOCK, WASM_PAGE, parse
from sandbox.wasm import WasmInstance
from tests.deep import examples
from tests.patience import PATIENCE
from tests.sandbox import naive_patch
from tests.sandbox.programs import NOW, SEED, Programs

JOIN = """
const rows = Array.from({ length: 200 }, (_, i) => ({ id: i, name: 'row ' + i }));
const secret = new Map([['kept', [1n, new Date(0)]]]);
const parts = [];
for (const key of ['a', 'b']) parts.push((await host.get({ key })).id);
setTimeout(() => parts.push('timer'), 10);
await new Promise((done) => setTimeout(done, 10));
({ parts, rows: rows.length, last: rows.at(-1), secret })
"""
ENDING = {
    "parts": [7, 99, "timer"],
    "rows": 200,
    "last": {"id": 199, "name": "row 199"},
    "secret": [["kept", ["1", "1970-01-01T00:00:00.000Z"]]],
}


def freeze_at(engine: Engine, source: str, settlements: list[list[Settlement]]) -> bytes:
    with engine.isolate() as isolate:
        assert isinstance(isolate.start(source, NOW, SEED), Suspended)
        for batch in settlements:
            assert isinstance(isolate.resume(batch, NOW), Suspended)
        return isolate.freeze()


def test_a_thawed_program_goes_on_where_it_was(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        frozen = freeze_at(engine, JOIN, [[Settlement.value(1, {"id": 7})]])
        for _ in range(2):  # as often as one likes
            with engine.thaw(frozen) as isolate:
                assert isolate.resume([Settlement.value(2, {"id": 99})], NOW) == Suspended((), (), NOW + 10)
                assert isolate.resume((), NOW + 10) == Completed(ENDING)

    programs.on_thread(play)


def test_the_frozen_isolate_stays_usable(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start("await host.get()", NOW, SEED)
            isolate.freeze()
            assert isolate.resume([Settlement.value(1, 5)], NOW) == Completed(5)

    programs.on_thread(play)


def test_a_small_program_freezes_to_little(programs: Programs, engine: Engine) -> None:
    frozen = programs.on_thread(freeze_at, engine, JOIN, [[Settlement.value(1, {"id": 7})]])
    assert len(frozen) < 10 * 1024


def test_freezing_and_thawing_again_and_again_does_not_grow(programs: Programs, engine: Engine) -> None:
    def play() -> list[int]:
        frozen = freeze_at(engine, "for (;;) await host.next()", [])
        sizes = []
        for id in range(1, 60):
            with engine.thaw(frozen) as isolate:
                isolate.resume([Settlement.value(id, id)], NOW)
                frozen = isolate.freeze()
                sizes.append(len(frozen))
        return sizes

    sizes = programs.on_thread(play)
    assert sizes[-1] < sizes[0] * 1.5


def memory_of(engine: Engine, frozen: bytes) -> bytes:
    """The patch in frozen bytes. The header has the time that was used, and so differs."""
    return unpack(frozen, build=engine.build_id, kind="program", largest=1 << 30)[1]


@pytest.mark.parametrize("source", [JOIN, "const big = new Uint8Array(3 << 20).fill(7); await host.get(); big.length"])
def test_freezing_twice_and_freezing_what_was_thawed_give_the_same_bytes(
    programs: Programs, engine: Engine, source: str
) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start(source, NOW, SEED)
            first = isolate.freeze()
            assert memory_of(engine, isolate.freeze()) == memory_of(engine, first)
        again = first
        for _ in range(3):
            with engine.thaw(again) as thawed:
                again = thawed.freeze()
            assert memory_of(engine, again) == memory_of(engine, first)
            assert read_header(again).waiting == read_header(first).waiting
        with engine.isolate() as isolate:  # and so does the same program, started again
            isolate.start(source, NOW, SEED)
            assert memory_of(engine, isolate.freeze()) == memory_of(engine, first)

    programs.on_thread(play)


def test_a_text_that_a_program_has_freed_is_not_in_its_frozen_bytes(programs: Programs, engine: Engine) -> None:
    source = """
    let kept = Array.from({ length: 3000 }, (_, i) => 'kept ' + i).join();
    { let freed = Array.from({ length: 3000 }, (_, i) => 'freed ' + i).join(); freed = null; }
    await host.get(); kept.length"""
    frozen = memory_of(engine, programs.on_thread(freeze_at, engine, source, []))
    assert b"kept 1234,kept 1235" in frozen
    assert b"freed 1234,freed 1235" not in frozen


def test_what_lay_on_the_stack_is_not_in_the_frozen_bytes(programs: Programs, engine: Engine) -> None:
    """Nothing on it is alive between two slices, and a deep recursion leaves much."""
    deep = "const down = (n) => n ? 1 + down(n - 1) : 0; down({}); await host.get()"
    flat, long = (programs.on_thread(freeze_at, engine, deep.replace("{}", depth), []) for depth in ("1", "400"))
    assert len(long) < 1.2 * len(flat)


EDITS = st.lists(
    st.tuples(st.integers(0, 458_000), st.integers(1, 20) | st.integers(1, 40_000), st.integers(0, 255)), max_size=12
)
STACK = 327_680  # bytes: the option `stack-size` in build.py; the stack lies first


@examples(40)
@given(EDITS)
def test_the_guest_finds_the_difference_that_plain_code_finds(
    programs: Programs, engine: Engine, edits: list[tuple[int, int, int]]
) -> None:
    """In random memories, and a fresh guest makes the same memory of it."""
    home = engine._home
    initial, own = home.base, slice(home.input_at, home.input_at + home.input_size + 128)

    def alive(memory: bytes) -> bytes:
        """Without the stack and the input buffer."""
        return initial[:STACK] + memory[STACK : own.start] + initial[own] + memory[own.stop :]

    def play() -> None:
        one, other = WasmInstance(engine._module), WasmInstance(engine._module)
        try:
            for at, size, step in edits:
                begin = STACK + at
                end = min(begin + size, len(initial))
                one.write(begin, bytes((i * step + 1) & 0xFF for i in range(end - begin)))
            memory = alive(one.read(0, len(initial)))
            # A guest runs while the ticker knows its budget, or it is stopped.
            with engine._ticker.running(TimeBudget(60, 60)):
                # From 0 it would first clear what the allocator calls free, which is random here.
                found, at = [], 1
                while at < len(initial):
                    at = one.call(b"difference", at)
                    size = int.from_bytes(one.read(home.input_at, 4), "little")
                    found.append(one.read(home.input_at + 8, size))
                assert alive(one.read(0, len(initial))) == memory  # it has changed nothing
                assert all(len(part) <= naive_patch.INPUT_SIZE for part in found)
                plain = naive_patch.parts(naive_patch.runs(memory, initial))
                assert naive_patch.applied(found, initial) == naive_patch.applied(plain, initial) == memory
                assert sum(map(len, found)) <= sum(map(len, plain)) + 16 * len(found)
                for part in found:
                    other.write(home.input_at, part)
                    other.call(b"patch", len(part))
                assert alive(other.read(0, len(initial))) == memory
        finally:
            one.close()
            other.close()

    programs.on_thread(play)


def test_the_whole_difference_is_a_patch(programs: Programs, engine: Engine) -> None:
    """With the memory behind the initial one, of which only what is not zeros is kept."""
    home = engine._home

    def play() -> None:
        instance = WasmInstance(engine._module)
        try:
            size = len(home.base) + 3 * WASM_PAGE
            instance.grow_to(size)
            instance.write(size - WASM_PAGE + 5000, b"\1" * 10)
            with engine._ticker.running(TimeBudget(60, 60)):
                data = difference(instance, home, size)
        finally:
            instance.close()
        patch = parse(data, initial=len(home.base), largest=size, part=home.input_size)
        assert (patch.size, len(patch.pieces)) == (size, 1)
        at, piece = patch.pieces[0]
        assert (at, len(piece)) == (size - WASM_PAGE + 4096, 4096)
        assert piece.strip(b"\0") == b"\1" * 10

    programs.on_thread(play)


OTHER_PROCESS = """
import sys, threading
from pathlib import Path
from sandbox import Engine, Settlement

def play():
    with Engine(slots=2) as engine, engine.thaw(Path(sys.argv[1]).read_bytes()) as isolate:
        isolate.resume([Settlement.value(2, {"id": 99})], NOW)
        print(isolate.resume((), NOW + 10).value)

threading.stack_size(16 << 20)
thread = threading.Thread(target=play)
thread.start()
thread.join()
""".replace("NOW", repr(NOW))


def test_a_program_thaws_in_another_process(programs: Programs, engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "frozen"
    path.write_bytes(programs.on_thread(freeze_at, engine, JOIN, [[Settlement.value(1, {"id": 7})]]))
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(path)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stdout.strip() == str(ENDING), done.stderr


def test_a_big_program_freezes_and_thaws(programs: Programs, engine: Engine) -> None:
    source = "const big = new Uint8Array(40 << 20); for (let i = 0; i < big.length; i += 4096) big[i] = i / 4096;"
    source += (
        "const extra = await host.get(); let sum = extra; for (let i = 0; i < big.length; i += 4096) sum += big[i]; sum"
    )

    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start(source, NOW, SEED)
            frozen = isolate.freeze()
            straight = isolate.resume([Settlement.value(1, 1)], NOW)
        with engine.thaw(frozen) as thawed:
            assert thawed.resume([Settlement.value(1, 1)], NOW) == straight

    programs.on_thread(play)


def test_a_program_of_an_image_thaws_without_it(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        image = engine.image("globalThis.tools = { get: (a) => host.call('tools.get', a) }")
        with engine.isolate(image) as isolate:
            isolate.start("await tools.get(1) + await tools.get(2)", NOW, SEED)
            frozen = isolate.freeze()
        with Engine(slots=2) as other, other.thaw(frozen) as thawed:
            second = thawed.resume([Settlement.value(1, 10)], NOW)
            assert isinstance(second, Suspended)
            assert second.calls[0].name == "tools.get"
            assert thawed.resume([Settlement.value(2, 20)], NOW) == Completed(30)

    programs.on_thread(play)


def test_used_time_travels_with_the_program(with_limits: Callable[..., Programs]) -> None:
    programs = with_limits(cpu_time=0.3)

    def play() -> Any:
        with programs.engine.isolate() as isolate:
            isolate.start("for (let i = 0; i < 3e5; i++); await host.a(); for (;;);", NOW, SEED)
            before, frozen = isolate.cpu_time, isolate.freeze()
        with programs.engine.thaw(frozen) as thawed:
            assert 0 < before <= thawed.cpu_time < 0.3
            outcome = thawed.resume([Settlement.value(1, None)], NOW)
            return before, thawed.cpu_time, outcome.error.kind  # type: ignore[union-attr]

    before, after, kind = programs.on_thread(play)
    assert kind == "cpu_time"
    assert before < 0.3 <= after


def test_waiting_calls_are_known_after_the_thaw(programs: Programs, engine: Engine) -> None:
    frozen = programs.on_thread(freeze_at, engine, "await Promise.all([host.a(), host.b(), host.c()])", [])
    assert read_header(frozen).waiting == (1, 2, 3)

    def play() -> None:
        with engine.thaw(frozen) as thawed:
            with pytest.raises(LocalStateError):
                thawed.resume([Settlement.value(4, None)], NOW)
            thawed.resume([Settlement.value(2, None)], NOW)
            with pytest.raises(LocalStateError):
                thawed.resume([Settlement.value(2, None)], NOW)
            rest = [Settlement.value(1, None), Settlement.value(3, None)]
            assert thawed.resume(rest, NOW) == Completed([None] * 3)

    programs.on_thread(play)


def test_only_a_suspended_program_can_be_frozen(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            with pytest.raises(LocalStateError):
                isolate.freeze()
            isolate.start("1", NOW, SEED)
            with pytest.raises(LocalStateError):
                isolate.freeze()

    programs.on_thread(play)


def test_another_build_is_refused(programs: Programs, engine: Engine) -> None:
    outside = naive_patch.patch(1 << 20, [struct.pack("<II", 1 << 30, BLOCK) + bytes(BLOCK)])
    for foreign, message in (
        (pack(Header("another", "program"), b"\x10\0\0\0"), "was made by build another"),
        (pack(Header(engine.build_id, "image"), b"\x10\0\0\0"), "expected a program"),
        (b"", "not a frozen program"),
        (b"CMFZ\x01" + bytes(100), "version 1 of the format, this is version 3"),
        (pack(Header(engine.build_id, "program"), b""), "truncated"),
        (pack(Header(engine.build_id, "program"), b"\xff\xff\0\0" + bytes(4)), "bytes of memory"),
        (pack(Header(engine.build_id, "program"), b"\1\0\0\0" + bytes(4)), "malformed"),
        (pack(Header(engine.build_id, "program"), outside), "does not fit"),
    ):
        with pytest.raises(ForeignImage, match=message):
            programs.on_thread(engine.thaw, foreign)


COMMON = "globalThis.words = Array.from({ length: 1000 }, (_, i) => ({ word: 'word ' + ((i * 7919) % 1000) }));"
WAITS = "const first = await ask(); return [first, words.length]"
TELLS = f"{COMMON} globalThis.ask = () => host.call('ask');"


def test_a_frozen_program_does_not_repeat_what_its_image_has_in_common_with_others(programs: Programs) -> None:
    def frozen_over(engine: Engine) -> bytes:
        with engine.isolate(engine.image(TELLS)) as isolate:
            assert isinstance(isolate.start(WAITS, NOW, SEED), Suspended)
            return isolate.freeze()

    def play() -> None:
        with (
            Engine(slots=2) as plain,
            Engine(slots=2, common=COMMON) as engine,
            Engine(slots=2, common=COMMON) as other,
        ):
            frozen = frozen_over(engine)
            assert len(frozen) < len(frozen_over(plain)) / 2
            with other.thaw(frozen) as isolate:
                assert isolate.resume([Settlement.value(1, 7)], NOW) == Completed([7, 1000])

    programs.on_thread(play)


def test_what_images_have_in_common_is_part_of_the_build(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with Engine(slots=1, common=COMMON) as one, Engine(slots=1, common=COMMON) as same:
            with Engine(slots=1, common=f"{COMMON} words.pop();") as other:
                assert one.build_id == same.build_id
                assert len({one.build_id, other.build_id, engine.build_id}) == 3
                frozen = freeze_at(one, "await host.get()", [])
                for foreign in (other, engine):
                    with pytest.raises(ForeignImage, match="was made by build"):
                        foreign.thaw(frozen)
        with pytest.raises(EngineError, match="threw"):
            Engine(slots=1, common="throw new Error('no')")

    programs.on_thread(play)


def test_a_program_larger_than_this_engines_memory_is_refused(
    programs: Programs, engine: Engine, with_limits: Callable[..., Programs]
) -> None:
    frozen = programs.on_thread(
        freeze_at, engine, "const a = new Uint8Array(40 << 20).fill(1); await host.x(a.length)", []
    )
    small = with_limits(memory=4 << 20)
    assert small.engine.build_id == engine.build_id
    with pytest.raises(ForeignImage, match="bytes of memory"):
        small.on_thread(small.engine.thaw, frozen)


@examples(150)
@given(data=st.data())
def test_a_damaged_program_is_refused_and_nothing_leaks(
    programs: Programs, engine: Engine, data: st.DataObject
) -> None:
    frozen = bytearray(_frozen_once(programs, engine))
    for _ in range(data.draw(st.integers(1, 4))):
        frozen[data.draw(st.integers(0, len(frozen) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(frozen[: data.draw(st.integers(0, len(frozen)))])
    for damaged in (bytes(frozen), cut):
        if damaged != _frozen_once(programs, engine):
            with pytest.raises(ForeignImage):
                programs.on_thread(engine.thaw, damaged)


_ONCE: list[bytes] = []


def _frozen_once(programs: Programs, engine: Engine) -> bytes:
    if not _ONCE:
        _ONCE.append(programs.on_thread(freeze_at, engine, "await host.x()", []))
    return _ONCE[0]


@examples(60)
@given(st.lists(st.tuples(st.integers(0, 52 << 10), st.binary(min_size=1, max_size=300)), max_size=30))
def test_a_forged_program_is_a_strange_guest_and_no_more(runs: list[tuple[int, bytes]]) -> None:
    """The hash is no secret: who can write frozen bytes can put anything into the guest's memory, and only there."""
    padded = [(at * BLOCK, data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")) for at, data in runs]
    patch = naive_patch.patch(13 << 16, naive_patch.parts(padded))
    programs = _FORGED[0]

    def play() -> None:
        forged = pack(Header(programs.engine.build_id, "program", waiting=(1,)), patch)
        try:
            with programs.engine.thaw(forged) as isolate:
                isolate.resume([Settlement.value(1, None)], NOW)
        except EngineError:
            pass

    programs.on_thread(play)


_FORGED: list[Programs] = []


@pytest.fixture(autouse=True, scope="module")
def _forged(on_guest_thread: Callable[..., Any]) -> Any:
    with Engine(Limits(cpu_time=0.2), slots=2) as engine:
        _FORGED.append(Programs(engine, on_guest_thread))
        yield
        _FORGED.clear()


def test_threads_may_take_turns(engine: Engine) -> None:
    """One thread at a time, but not always the same."""
    outcomes: list[Any] = []
    isolate = engine.isolate()
    steps: list[Callable[[], Any]] = [
        lambda: isolate.start("[await host.a(), await host.b()]", NOW, SEED),
        lambda: isolate.resume([Settlement.value(1, 1)], NOW),
        lambda: isolate.resume([Settlement.value(2, 2)], NOW),
        isolate.close,
    ]
    before = threading.stack_size(16 << 20)
    for step in steps:
        thread = threading.Thread(target=lambda step=step: outcomes.append(step()))
        thread.start()
        thread.join()
    threading.stack_size(before)
    assert outcomes[2] == Completed([1, 2])
