"""Time and randomness come in with the batches: a run is deterministic, and no clock measures other tenants."""

from sandbox import Completed, Engine, Settlement, Suspended
from tests.sandbox.programs import NOW, SEED, Programs

CHANCE = "[Math.random(), Math.random(), crypto.randomUUID()]"


def test_time_is_that_of_the_batch_and_stands_still_within_a_slice(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            source = """
            const a = [Date.now(), performance.now()]; for (let i = 0; i < 1e5; i++);
            const b = [Date.now(), performance.now(), new Date().toISOString()];
            await host.wait();
            [a, b, Date.now(), performance.now(), performance.timeOrigin]"""
            assert isinstance(isolate.start(source, NOW, SEED), Suspended)
            found = isolate.resume([Settlement.value(1, None)], NOW + 250)
            first = [NOW, 0, "2023-11-14T22:13:20.000Z"]
            assert found == Completed([first[:2], first, NOW + 250, 250, NOW])

    programs.on_thread(play)


def test_the_time_zone_is_utc(programs: Programs) -> None:
    assert programs.value("new Date(2020, 0, 1).toISOString()") == "2020-01-01T00:00:00.000Z"


def test_the_same_seed_gives_the_same_run(programs: Programs) -> None:
    assert programs.value(CHANCE) == programs.value(CHANCE)


def test_every_seed_gives_its_own_run(programs: Programs) -> None:
    seen = {str(programs.value(CHANCE, seed=bytes([n, *range(31)]))) for n in range(100)}
    assert len(seen) == 100


def test_a_random_number_lies_between_zero_and_one(programs: Programs) -> None:
    numbers = programs.value("Array.from({ length: 1000 }, Math.random)")
    assert all(0 <= n < 1 for n in numbers)
    assert 400 < sum(n < 0.5 for n in numbers) < 600


def test_the_key_stream_is_that_of_the_rfc(programs: Programs) -> None:
    """RFC 8439, appendix A.1, test vector 1: key and nonce all zero."""
    source = "Array.from(crypto.getRandomValues(new Uint8Array(32)), (b) => b.toString(16).padStart(2, '0')).join('')"
    expected = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    assert programs.value(source, seed=bytes(32)) == expected


def test_a_thawed_program_goes_on_with_its_own_randomness(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start("Math.random(); await host.wait(); Math.random()", NOW, SEED)
            frozen = isolate.freeze()
            straight = isolate.resume([Settlement.value(1, None)], NOW)
        with engine.thaw(frozen) as thawed:
            assert thawed.resume([Settlement.value(1, None)], NOW) == straight

    programs.on_thread(play)
