"""Arbitrary WebAssembly in place of the guest: what it says about its memory, and whatever it does, stays its own."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox import (
    Completed,
    Engine,
    EngineError,
    Failed,
    GuestAbiError,
    Isolate,
    Limits,
    LocalStateError,
    Overloaded,
    Settlement,
    Suspended,
    decode_outcome,
)
from tests.deep import examples
from tests.patience import PATIENCE

from .hostile.arena import HOUR, NOW, SEED, MiB, guest_threads, resident
from .hostile.puppet import (
    DEAF,
    DEEDS,
    DIFFERENCE_ANSWER,
    DIFFERENCE_SIZE,
    FIELDS,
    INPUT,
    PENDING_SIZE,
    RESERVE_ANSWER,
    STANDARD_AT,
    STANDARD_OUTPUT,
    deed,
    field,
    puppets,
    say,
    words,
)

LIMITS = Limits(cpu_time=0.05, wall_time=HOUR, memory=1 * MiB)
SUSPENDED = b'["suspended",[[1,"x",null,1]],null,[]]'


@dataclass(frozen=True)
class Stage:
    engine: Engine
    threads: ThreadPoolExecutor

    def play(self, work: Callable[[Isolate], object]) -> object:
        """What `work` returns, or the EngineError it raised."""

        def guarded() -> object:
            with self.engine.isolate() as isolate:
                try:
                    return work(isolate)
                except EngineError as error:
                    return error

        return self.threads.submit(guarded).result(PATIENCE)

    def check(self) -> None:
        assert self.play(lambda isolate: isolate.start_batch(batch())) == STANDARD_OUTPUT
        assert self.engine.live_isolates == 0


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with puppets(LIMITS) as engine:
        threads = guest_threads(1)
        yield Stage(engine, threads)
        threads.shutdown()


def batch(*pairs: tuple[int, int]) -> bytes:
    """A batch that ends in the standard output, unless the pairs say otherwise."""
    return words((field("output"), STANDARD_AT), (field("output_size"), len(STANDARD_OUTPUT)), *pairs)


EDGES = st.sampled_from([0, 1, 7, 65535, 65536, 131071, 131072, 131073, 2**31 - 1, 2**31, 2**32 - 27, 2**32 - 1])
WORD = EDGES | st.integers(0, 2**32 - 1) | st.integers(0, 140_000)
STORES = st.tuples(st.sampled_from([field(name) for name in FIELDS]) | st.integers(0, 131_072 - 4), WORD)
DEED = st.tuples(st.sampled_from([what for name, what in DEEDS.items() if name != "loop"]), WORD)


@given(st.lists(STORES | STORES | STORES | DEED, max_size=12))
@examples(400)
@example([(field("output"), 2**32 - 1), (field("output_size"), 2**32 - 1)])
@example([(field("output"), 131072), (field("output_size"), 1)])
@example([(field("output"), 131072), (field("output_size"), 0)])
@example([(field("output"), 1), (field("output_size"), 2**31)])
@example([(field("stopped"), 1), deed("unreachable")])
@example([(field("stopped"), 1), (field("output"), 2**32 - 1), deed("unreachable")])
@example([(field("logs"), 2**32 - 1), (field("logs_size"), 2**32 - 1), deed("recurse")])
@example([(field("logs"), STANDARD_AT), (field("logs_size"), 27), deed("recurse")])
@example([deed("grow", 2**32 - 1), deed("grow", 65536), deed("grow", 60)])
def test_whatever_it_does_with_its_layout_and_its_end(stage: Stage, pairs: list[tuple[int, int]]) -> None:
    found = stage.play(lambda isolate: isolate.start_batch(batch(*pairs)))
    assert isinstance(found, bytes | GuestAbiError)
    if isinstance(found, bytes):
        assert len(found) <= 64 * 65536
        try:
            assert isinstance(decode_outcome(found, LIMITS), Completed | Failed | Suspended)
        except GuestAbiError:
            pass
    stage.check()


ENDS = {
    "unreachable": "GuestAbiError",
    "divide by zero": "GuestAbiError",
    "convert nonsense": "GuestAbiError",
    "call nowhere": "GuestAbiError",
    "recurse": "stack",
    "loop": "cpu_time",
    "wipe": "completed",
    "grow": "completed",
}


@pytest.mark.parametrize("name", DEEDS)
def test_every_way_to_end_is_told_apart(stage: Stage, name: str) -> None:
    found = stage.play(lambda isolate: isolate.start_batch(batch(deed(name, 1))))
    kind = type(found).__name__
    if isinstance(found, bytes):
        outcome = decode_outcome(found, LIMITS)
        kind = outcome.error.kind if isinstance(outcome, Failed) else type(outcome).__name__.lower()
    assert kind == ENDS[name]
    stage.check()


@pytest.mark.parametrize("name", [name for name in DEEDS if name not in ("wipe", "grow")])
def test_nothing_runs_in_an_instance_that_trapped(stage: Stage, name: str) -> None:
    def work(isolate: Isolate) -> None:
        try:
            isolate.start_batch(batch(*say(SUSPENDED), deed(name)))
        except GuestAbiError:
            pass
        for step in (isolate.resume_batch, isolate.start_batch):
            with pytest.raises(LocalStateError):
                step(batch())
        with pytest.raises(LocalStateError):
            isolate.freeze()

    assert stage.play(work) is None
    stage.check()


def test_it_cannot_end_itself_as_the_host_would(stage: Stage) -> None:
    """A guest that is not ours can say any kind; ours sets `stopped` only after it has written why."""
    for kind in ("calls", "size"):
        output = b'["failed",{"kind":"%s","message":"m"},[],[]]' % kind.encode()
        found = stage.play(
            lambda isolate, output=output: isolate.start_batch(  # type: ignore[misc]
                batch(*say(output), (field("stopped"), 1), deed("unreachable"))
            )
        )
        assert found == output
    lie = b'["failed",{"kind":"engine","message":"m"},[],[]]'
    found = stage.play(
        lambda isolate: isolate.start_batch(batch(*say(lie), (field("stopped"), 1), deed("unreachable")))
    )
    assert isinstance(found, bytes)
    with pytest.raises(GuestAbiError):
        decode_outcome(found, LIMITS)


@given(
    st.binary(max_size=60) | st.sampled_from([SUSPENDED, SUSPENDED[:-1], b'["suspended"', b'["suspended" ,[],1,[]]']),
    st.binary(max_size=60)
    | st.sampled_from([b"[]", b"[1]", b"[1,1]", b"[true]", b"1", b"null", b"[0]", b"[4294967296]"]),
    st.lists(STORES | DEED, max_size=4),
    st.sampled_from([0, 8, 64, 2**20]),
)
@examples(300)
@example(SUSPENDED, b"not JSON", [], 0)
@example(SUSPENDED, b"5", [], 0)
@example(SUSPENDED, b"[" + b"1," * 30 + b"1]", [], 0)
@example(SUSPENDED, b"[1]", [(field("end"), 2**32 - 1)], 0)
@example(SUSPENDED, b"[1]", [(field("end"), 0)], 0)
@example(SUSPENDED, b"[1]", [deed("unreachable")], 16)
def test_freezing_it_gives_bytes_or_an_engine_error(
    stage: Stage, output: bytes, pending: bytes, pairs: list[tuple[int, int]], pending_size: int
) -> None:
    """`pending` may answer anything, or do anything."""

    def work(isolate: Isolate) -> bytes:
        steps = [*say(output), (PENDING_SIZE, 0)]
        said = isolate.start_batch(batch(*steps))
        assert said == output
        isolate.resume_batch(batch(*say(SUSPENDED), *say(pending, at=0x9000), *pairs, (PENDING_SIZE, pending_size)))
        return isolate.freeze()

    found = stage.play(work)
    assert isinstance(found, bytes | EngineError)
    if isinstance(found, bytes):
        thawed = stage.threads.submit(lambda: _thaw(stage.engine, found)).result(PATIENCE)
        assert thawed is None or isinstance(thawed, EngineError)
    stage.check()


def _thaw(engine: Engine, data: bytes) -> EngineError | None:
    try:
        with engine.thaw(data) as isolate:
            isolate.resume_batch(batch())
    except EngineError as error:
        return error
    return None


def test_one_that_loops_when_asked_for_its_calls_is_stopped(stage: Stage) -> None:
    def work(isolate: Isolate) -> object:
        isolate.start_batch(batch(*say(SUSPENDED), (INPUT, DEEDS["loop"]), (PENDING_SIZE, 8)))
        with pytest.raises(GuestAbiError):
            isolate.freeze()
        with pytest.raises(LocalStateError):
            isolate.resume_batch(batch())
        return None

    assert stage.play(work) is None
    stage.check()


@given(WORD, WORD, st.lists(STORES | DEED, max_size=4))
@examples(200)
@example(131072, 0, [])
@example(131072, 16376, [])
@example(131072, 16377, [])
@example(131072, 2**32 - 1, [])
@example(2**32 - 1, 128, [])
@example(0, 8, [])
@example(16, 0, [])
@example(131072, 0, [(field("end"), 2**32 - 1)])
@example(131072, 0, [(field("end"), 2**31), deed("grow", 62)])
@example(131072, 0, [deed("unreachable")])
def test_whatever_it_says_about_its_difference(
    stage: Stage, answer: int, size: int, pairs: list[tuple[int, int]]
) -> None:
    """The host copies as many bytes as it says, out of its own buffer or not at all, and does not ask for ever."""
    found = stage.play(lambda isolate: frozen_lie(isolate, answer, size, pairs))
    assert isinstance(found, bytes | EngineError)
    if isinstance(found, bytes):
        thawed = stage.threads.submit(lambda: _thaw(stage.engine, found)).result(PATIENCE)
        assert thawed is None or isinstance(thawed, EngineError)
    stage.check()


def frozen_lie(isolate: Isolate, answer: int, size: int, pairs: list[tuple[int, int]]) -> bytes:
    """Freezes one that does the pairs, claims so many bytes of difference, and names the block to go on with."""
    isolate.start_batch(batch(*say(SUSPENDED)))
    act = words(*pairs, (INPUT, size))
    for at, value in (*say(b"[1]", at=0x9000), (DIFFERENCE_ANSWER, answer), (DIFFERENCE_SIZE, len(act))):
        isolate._instance.write(at, struct.pack("<I", value))
    isolate._instance.write(INPUT, act)
    return isolate.freeze()


@pytest.mark.parametrize(
    ("answer", "size", "pairs", "kind"),
    [
        (131072, 0, [], bytes),
        (131072, 16376, [], bytes),
        (131072, 16377, [], GuestAbiError),
        (131072, 2**32 - 1, [], GuestAbiError),
        (2**32 - 1, 0, [], bytes),
        (0, 0, [], GuestAbiError),
        (131071, 128, [], GuestAbiError),
        (131072, 0, [(field("end"), 2**32 - 1)], bytes),
        (131072, 0, [deed("unreachable")], GuestAbiError),
        (131072, 0, [deed("loop")], GuestAbiError),
    ],
)
def test_what_it_says_about_its_difference_is_checked(
    stage: Stage, answer: int, size: int, pairs: list[tuple[int, int]], kind: type
) -> None:
    def work(isolate: Isolate) -> object:
        try:
            return frozen_lie(isolate, answer, size, pairs)
        finally:
            assert isolate.suspended == (kind is bytes)

    assert isinstance(stage.play(work), kind)
    stage.check()


@given(WORD)
@examples(100)
@example(0)
@example(131072)
@example(2**32 - 1)
def test_the_place_it_names_for_a_large_batch_is_checked(stage: Stage, place: int) -> None:
    """`reserve` may answer any address: the batch is written inside its memory or not at all."""

    def work(isolate: Isolate) -> bytes:
        isolate.start_batch(batch(*say(SUSPENDED), (RESERVE_ANSWER, place)))
        return isolate.resume_batch(batch(*[(0x8000, 0)] * 3000))

    found = stage.play(work)
    assert isinstance(found, bytes | GuestAbiError)
    stage.check()


def test_an_image_made_by_it_is_an_image_of_its_own(stage: Stage) -> None:
    image = stage.threads.submit(stage.engine.image, "anything").result(PATIENCE)

    def work() -> bytes:
        with stage.engine.isolate(image) as isolate:
            return isolate.start_batch(batch())

    assert stage.threads.submit(work).result(PATIENCE) == STANDARD_OUTPUT
    stage.check()


@given(
    st.lists(
        st.sampled_from([SUSPENDED, b'["completed",true,1,[],[]]', b"]", b'["suspended",[[2,"x",1,1]],null,[]]']),
        max_size=5,
    )
)
@examples(150)
def test_a_conversation_with_it_ends_in_an_outcome_or_an_engine_error(stage: Stage, said: list[bytes]) -> None:
    def tell(isolate: Isolate, output: bytes) -> None:
        for at, value in say(output):
            isolate._instance.write(at, struct.pack("<I", value))

    def work(isolate: Isolate) -> object:
        tell(isolate, SUSPENDED)
        isolate._instance.write(DEAF, b"\1\0\0\0")
        outcome = isolate.start("", NOW, SEED)
        for output in said:
            if not isinstance(outcome, Suspended):
                return outcome
            tell(isolate, output)
            outcome = isolate.resume([Settlement.value(call.id, 1) for call in outcome.calls], NOW)
        return outcome

    found = stage.play(work)
    assert isinstance(found, Suspended | Completed | Failed | EngineError)
    stage.check()


def test_memory_ends_at_the_stores_limit(stage: Stage) -> None:
    before = resident()
    for pages in (1, 16, 62, 63, 1000, 65535, 2**32 - 1):
        assert isinstance(stage.play(lambda isolate, n=pages: isolate.start_batch(batch(deed("grow", n)))), bytes)  # type: ignore[misc]
    assert resident() - before < 64 * MiB
    stage.check()


def test_slots_are_given_back_whatever_happens(stage: Stage) -> None:
    """Four slots, forty guests that end in every way."""
    for name in list(DEEDS) * 5:
        stage.play(lambda isolate, name=name: isolate.start_batch(batch(deed(name))))  # type: ignore[misc]
    assert stage.engine.live_isolates == 0

    def all_at_once() -> None:
        open_ones = [stage.engine.isolate() for _ in range(4)]
        with pytest.raises(Overloaded):
            stage.engine.isolate()
        for isolate in open_ones:
            isolate.close()

    stage.threads.submit(all_at_once).result(PATIENCE)
    stage.check()
