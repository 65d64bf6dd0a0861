"""Timers: their order, their limits, and how the host learns when to come back."""

from sandbox import Completed, Engine, Suspended
from tests.sandbox.programs import NOW, SEED, Programs


def test_timers_run_in_the_order_of_their_time_then_of_their_making(programs: Programs) -> None:
    source = """
    const order = [];
    setTimeout(() => order.push('c'), 20);
    setTimeout(() => order.push('a'), 5);
    setTimeout(() => order.push('b1'), 10);
    setTimeout(() => { order.push('b2'); queueMicrotask(() => order.push('b2 microtask')) }, 10);
    setTimeout(() => order.push('b3'), 10);
    await new Promise((done) => setTimeout(done, 30));
    order.join()"""
    assert programs.value(source) == "a,b1,b2,b2 microtask,b3,c"


def test_the_host_learns_when_the_earliest_timer_is_due(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            source = "const at = []; for (const ms of [50, 20]) setTimeout(() => at.push(Date.now()), ms);\n"
            source += "await new Promise((done) => setTimeout(done, 60)); at"
            assert isolate.start(source, NOW, SEED) == Suspended((), (), NOW + 20)
            assert isolate.resume((), NOW + 19) == Suspended((), (), NOW + 20)
            assert isolate.resume((), NOW + 20) == Suspended((), (), NOW + 50)
            assert isolate.resume((), NOW + 1000) == Completed([NOW + 20, NOW + 1000])

    programs.on_thread(play)


def test_calls_and_timers_wait_together(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            source = "Promise.race([host.slow(), new Promise((done) => setTimeout(() => done('timeout'), 10))])"
            outcome = isolate.start(source, NOW, SEED)
            assert isinstance(outcome, Suspended)
            assert (len(outcome.calls), outcome.wake_at) == (1, NOW + 10)
            assert isolate.resume((), NOW + 10) == Completed("timeout")

    programs.on_thread(play)


def test_timeouts_take_arguments_and_can_be_cleared(programs: Programs) -> None:
    source = """
    const seen = [];
    setTimeout((...given) => seen.push(given), 1, 'a', 2);
    clearTimeout(setTimeout(() => seen.push('never'), 1));
    clearTimeout(undefined); clearTimeout(99999);
    await new Promise((done) => setTimeout(done, 5));
    seen"""
    assert programs.value(source) == [["a", 2]]


def test_intervals_repeat_until_they_are_cleared(programs: Programs) -> None:
    source = """
    const at = [];
    const tick = (label) => { at.push([label, Date.now()]); if (at.length === 3) clearInterval(id) };
    const id = setInterval(tick, 10, 'tick');
    await new Promise((done) => setTimeout(done, 100));
    at"""
    assert programs.value(source) == [["tick", NOW + 10], ["tick", NOW + 20], ["tick", NOW + 30]]


def test_a_timer_made_in_a_timer_waits_for_the_next_slice(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            source = "let n = 0; const again = () => { n++; setTimeout(again, 0) }; setTimeout(again, 0);\n"
            source += "await host.never()"
            for _ in range(3):
                outcome = isolate.start(source, NOW, SEED) if _ == 0 else isolate.resume((), NOW)
                assert isinstance(outcome, Suspended)
                assert outcome.wake_at == NOW

    programs.on_thread(play)


def test_deeply_nested_timers_are_slowed_as_in_browsers(programs: Programs) -> None:
    source = """
    const at = [];
    const again = () => { at.push(Date.now()); if (at.length < 8) setTimeout(again, 0) };
    setTimeout(again, 0);
    await new Promise((done) => setTimeout(done, 100));
    at.at(-1) - at[0]"""
    assert programs.value(source) == 12


def test_too_many_timers_are_a_range_error_to_catch(programs: Programs) -> None:
    source = "let n = 0; try { for (;;) { setTimeout(() => {}, 1); n++ } } catch (e) { return [n, e.name] }"
    assert programs.value(source) == [1000, "RangeError"]


def test_timers_end_with_the_program(programs: Programs) -> None:
    assert programs.value("setInterval(() => {}, 1); setTimeout(() => host.late(), 1); 'done'") == "done"


def test_an_exception_in_a_timer_is_logged(programs: Programs) -> None:
    source = (
        "setTimeout(() => { throw new Error('in the timer') }, 1);\nawait new Promise((done) => setTimeout(done, 5)); 1"
    )
    outcome = programs.run(source)
    assert isinstance(outcome, Completed)
    assert [(line.level, "in the timer" in line.text) for line in outcome.logs] == [("error", True)]


def test_a_program_that_is_a_timer_ends_with_it(programs: Programs) -> None:
    """What a timer throws or leaves rejected is then the failure of the program."""
    assert programs.logs("setTimeout(async function () { await 0; console.log('late') }, 5)") == [("log", "late")]
    begun = "function main() { const t = setInterval(() => { console.log('tick'); clearInterval(t) }, 1) } main();"
    assert programs.logs(begun) == [("log", "tick")]
    assert programs.logs("setTimeout(async () => console.log(await host.tool(7)), 1)") == [("log", "7")]
    for function in ("() => { throw new Error('mine') }", "async () => { await 0; throw new Error('mine') }"):
        error = programs.failure(f"setTimeout({function}, 1)")
        assert (error.kind, error.message, error.line) == ("exception", "mine", 1)


def test_a_timer_holds_up_no_result(programs: Programs) -> None:
    late = "const late = new Promise((_, no) => setTimeout(() => no('late'), 60_000)); "
    assert programs.value(late + "await Promise.race([host.tool({a: 1}), late])") == {"a": 1}
    assert programs.logs(late + "Promise.race([host.tool({}), late]).then(() => console.log('won'))") == [
        ("log", "won")
    ]


def test_what_is_no_function_is_a_type_error(programs: Programs) -> None:
    assert programs.value("try { setTimeout('code') } catch (e) { return e.name }") == "TypeError"
