"""The runs and images a worker holds: few live isolates, many suspended runs, and nothing left behind."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from sandbox import (
    Completed,
    Engine,
    GuestAbiError,
    Image,
    IsolateClosed,
    Limits,
    LocalStateError,
    Overloaded,
    Settlement,
    Suspended,
    WorkerExecutor,
    decode_outcome,
    encode_resume,
    encode_start,
)
from sandbox.workers.child import GUEST_STACK
from sandbox.workers.runs import Images, Runs
from tests.patience import PATIENCE

SEED = bytes(32)
NOW = 1_700_000_000_000.0
LIMITS = Limits()
COUNTER = "const a = [{start}]; a[0] += await host.more(); a[0]"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(LIMITS, slots=8) as made:
        yield made


def on_guest_thread(work: Callable[[], None]) -> None:
    """Guests need a deep stack, and never run on the main thread."""
    result: Future[None] = Future()

    def run() -> None:
        try:
            work()
            result.set_result(None)
        except BaseException as error:  # carried to the test
            result.set_exception(error)

    before = threading.stack_size(GUEST_STACK)
    try:
        threading.Thread(target=run).start()
    finally:
        threading.stack_size(before)
    result.result(PATIENCE)


def start(source: str) -> bytes:
    return encode_start(source, NOW, SEED, LIMITS)


def settle(value: object) -> bytes:
    return encode_resume([Settlement.value(1, value)], NOW, LIMITS)


def test_more_runs_are_suspended_than_there_are_isolates(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=2, frozen_bytes=1 << 30, output_bytes=1 << 20)
        for run in range(10):
            assert runs.start(run, None, start(COUNTER.format(start=run))).suspended
            assert engine.live_isolates <= 2
        for run in (3, 0, 9, 1, 8, 2, 7, 5, 4, 6):
            ended = runs.resume(run, settle(100))
            assert not ended.suspended
            assert decode_outcome(ended.output, LIMITS) == Completed(run + 100)
            assert engine.live_isolates <= 2
        runs.sweep()
        assert engine.live_isolates == 0
        assert repr(runs) == "<Runs 0 runs, 0 of 2 isolates>"

    on_guest_thread(work)


def test_a_run_frozen_out_keeps_its_cpu_time(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=1, frozen_bytes=1 << 30, output_bytes=1 << 20)
        first = runs.start(1, None, start("for (let i = 0; i < 1e5; i++); await host.x()"))
        runs.start(2, None, start("await host.x()"))
        assert runs.resume(1, settle(1)).cpu_time >= first.cpu_time > 0
        runs.stop(2)

    on_guest_thread(work)


def test_when_no_more_bytes_may_be_kept_a_new_run_is_refused_and_the_others_stay(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=1, frozen_bytes=100, output_bytes=1 << 20)
        runs.start(1, None, start(COUNTER.format(start=1)))
        with pytest.raises(Overloaded):
            runs.start(2, None, start("1"))
        assert decode_outcome(runs.resume(1, settle(1)).output, LIMITS) == Completed(2)
        assert not runs.start(3, None, start("1")).suspended
        runs.sweep()
        assert engine.live_isolates == 0

    on_guest_thread(work)


def test_a_stopped_run_is_gone_whatever_it_was_doing(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=1, frozen_bytes=1 << 30, output_bytes=1 << 20)
        runs.start(1, None, start("await host.x()"))
        runs.start(2, None, start("await host.x()"))  # freezes 1 out
        for run in (1, 2, 3):
            runs.stop(run)
        assert engine.live_isolates == 0
        for run in (1, 2):
            with pytest.raises(IsolateClosed):
                runs.resume(run, settle(1))
        with pytest.raises(IsolateClosed):
            runs.start(3, None, start("1"))  # its stop came first

    on_guest_thread(work)


def test_a_running_slice_is_stopped_from_another_thread(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=1, frozen_bytes=1 << 30, output_bytes=1 << 20)
        stopper = threading.Timer(0.05, runs.stop, [1])
        stopper.start()
        with pytest.raises(IsolateClosed):
            runs.start(1, None, start("for (;;) {}"))
        stopper.join()
        assert engine.live_isolates == 0

    on_guest_thread(work)


def test_a_guest_that_puts_out_more_than_its_limits_allow_loses_its_run(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=1, frozen_bytes=1 << 20, output_bytes=100)
        with pytest.raises(GuestAbiError):
            runs.start(1, None, start("'x'.repeat(200)"))
        with pytest.raises(IsolateClosed):
            runs.resume(1, settle(1))
        assert engine.live_isolates == 0

    on_guest_thread(work)


def test_ids_are_used_once_and_only_suspended_runs_go_on(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=2, frozen_bytes=1 << 30, output_bytes=1 << 20)
        runs.start(1, None, start("await host.x()"))
        with pytest.raises(LocalStateError):
            runs.start(1, None, start("1"))
        frozen = runs.freeze(1)
        assert not runs.thaw(2, frozen, settle(5)).suspended
        with pytest.raises(IsolateClosed):
            runs.freeze(2)
        runs.stop(1)
        assert engine.live_isolates == 0

    on_guest_thread(work)


def test_images_used_least_recently_are_dropped_first() -> None:
    images = Images(cap=25)
    made = {name: Image(name, b"x" * 10) for name in "abc"}
    images.add(made["a"])
    images.add(made["b"])
    assert images.get("a") == made["a"]
    images.add(made["c"])
    assert (images.get("a"), images.get("b"), images.get("c")) == (made["a"], None, made["c"])
    huge = Image("huge", b"x" * 100)
    images.add(huge)
    assert (images.get("huge"), images.get("a"), images.get("c")) == (huge, None, None)
    images.add(made["a"])
    images.add(made["b"])
    assert images.get("huge") is None


@pytest.mark.anyio
async def test_a_worker_takes_many_more_suspended_runs_than_isolates() -> None:
    async with WorkerExecutor(workers=1, isolates=2) as executor:
        executions = [executor.execution(identity=str(number)) for number in range(30)]
        for number, execution in enumerate(executions):
            assert isinstance(await execution.start(COUNTER.format(start=number), NOW, SEED), Suspended)
        for number, execution in reversed(list(enumerate(executions))):
            assert await execution.resume([Settlement.value(1, 1000)], NOW) == Completed(number + 1000)


@pytest.mark.anyio
async def test_runs_past_their_bound_are_refused() -> None:
    async with WorkerExecutor(workers=1, runs=2) as executor:
        kept = [executor.execution() for _ in range(2)]
        for execution in kept:
            assert isinstance(await execution.start("await host.x()", NOW, SEED), Suspended)
        refused = executor.execution()
        with pytest.raises(Overloaded, match="2 programs"):
            await refused.start("1", NOW, SEED)
        await kept[0].aclose()
        assert await refused.start("1", NOW, SEED) == Completed(1)
        await kept[1].aclose()


@pytest.mark.anyio
async def test_one_identity_cannot_have_all_the_runs_there_may_be() -> None:
    async with WorkerExecutor(workers=1, runs=16) as executor:
        kept = [executor.execution(identity="ann") for _ in range(2)]
        for execution in kept:
            assert isinstance(await execution.start("await host.x()", NOW, SEED), Suspended)
        refused = executor.execution(identity="ann")
        with pytest.raises(Overloaded, match=r"2 of your programs .* nothing was run, try again when one") as refusal:
            await refused.start("1", NOW, SEED)
        assert refusal.value.own
        async with executor.execution(identity="bob") as other:
            assert await other.start("1", NOW, SEED) == Completed(1)
        await kept[0].aclose()
        assert await refused.start("1", NOW, SEED) == Completed(1)
        await kept[1].aclose()
        assert not executor._dispatch._runs_of
        assert not executor._dispatch._owners


@pytest.mark.anyio
async def test_an_image_dropped_by_a_worker_is_sent_again() -> None:
    async with WorkerExecutor(workers=1) as executor:
        image = await executor.image("globalThis.seven = 7")
        async with executor.execution(image) as execution:
            assert await execution.start("seven", NOW, SEED) == Completed(7)
        # As if others had pushed it out: the parent believes an image to be there that is not.
        other = Image("not there", image.data)
        (worker,) = executor._pool.workers
        worker.images.add(other.id)
        async with executor.execution(other) as execution:
            assert await execution.start("seven", NOW, SEED) == Completed(7)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


LARGE = "const a = new Uint8Array(1 << 20); for (let i = 0; i < a.length; i += 65536) "
LARGE += "crypto.getRandomValues(a.subarray(i, i + 65536)); await host.more(); a.length"


def test_an_owner_past_its_part_of_the_isolates_freezes_its_own_runs_and_no_others(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=8, frozen_bytes=1 << 30, output_bytes=1 << 20)
        others = {2: 101, 3: 102}
        for owner, run in others.items():
            runs.start(run, None, start(COUNTER.format(start=run)), owner)
        for run in range(50):
            assert runs.start(run, None, start(COUNTER.format(start=run)), 1).suspended
            assert engine.live_isolates <= 4
        assert [runs._runs[run].isolate is not None for run in others.values()] == [True, True]
        for run in (*range(50), *others.values()):
            assert decode_outcome(runs.resume(run, settle(1)).output, LIMITS) == Completed(run + 1)
        runs.sweep()
        assert engine.live_isolates == 0
        assert not runs._live_of
        assert not runs._frozen_of

    on_guest_thread(work)


def test_an_owner_past_its_part_of_the_bytes_loses_its_own_run_and_others_go_on(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=4, frozen_bytes=8 << 20, output_bytes=1 << 20)
        for run in range(10):
            runs.start(run, None, start(LARGE), 1)
        for run in range(100, 120):  # newcomers, as many as there are isolates and more
            assert runs.start(run, None, start(COUNTER.format(start=run)), run).suspended
        lost = 0
        for run in range(10):
            try:
                runs.resume(run, settle(1))
            except Overloaded as error:
                assert "this program was ended while it waited" in str(error)
                lost += 1
        assert 0 < lost < 10
        for run in range(100, 120):
            assert decode_outcome(runs.resume(run, settle(1)).output, LIMITS) == Completed(run + 1)
        runs.sweep()
        assert engine.live_isolates == 0
        assert runs._frozen_left == 8 << 20

    on_guest_thread(work)


def test_when_the_bytes_of_all_are_used_up_the_owner_of_most_gives_way_to_a_newcomer(engine: Engine) -> None:
    def work() -> None:
        runs = Runs(engine, isolates=4, frozen_bytes=5 << 20, output_bytes=1 << 20)
        for run in range(12):
            runs.start(run, None, start(LARGE), 1 + run % 6)
        for run in range(100, 130):
            assert runs.start(run, None, start(COUNTER.format(start=run)), run).suspended
        for run in range(100, 130):
            assert decode_outcome(runs.resume(run, settle(1)).output, LIMITS) == Completed(run + 1)
        for run in range(12):
            runs.stop(run)
        runs.sweep()
        assert engine.live_isolates == 0
        assert runs._frozen_left == 5 << 20

    on_guest_thread(work)
