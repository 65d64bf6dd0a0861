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
from sandbox.frozen import Header, pack, read_header
from tests.deep import examples
from tests.patience import PATIENCE
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
    assert len(frozen) < 32 * 1024


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
    for foreign, message in (
        (pack(Header("another", "program"), b"\x10\0\0\0"), "was made by build another"),
        (pack(Header(engine.build_id, "image"), b"\x10\0\0\0"), "expected a program"),
        (b"", "not a frozen program"),
        (b"CMFZ\x02" + bytes(100), "not a frozen program"),
        (pack(Header(engine.build_id, "program"), b""), "truncated"),
        (pack(Header(engine.build_id, "program"), b"\xff\xff\0\0"), "bytes of memory"),
        (pack(Header(engine.build_id, "program"), b"\x0c\0\0\0" + b"\xff" * 8), "does not fit"),
    ):
        with pytest.raises(ForeignImage, match=message):
            programs.on_thread(engine.thaw, foreign)


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
@given(st.lists(st.tuples(st.integers(0, 13 << 16), st.binary(min_size=1, max_size=300)), max_size=30))
def test_a_forged_program_is_a_strange_guest_and_no_more(runs: list[tuple[int, bytes]]) -> None:
    """The hash is no secret: who can write frozen bytes can put anything into the guest's memory, and only there."""
    patch = b"\x0d\0\0\0" + b"".join(struct.pack("<II", at, len(data)) + data for at, data in runs)
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
