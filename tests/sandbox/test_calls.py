"""Host calls: what the host sees, how settlements reach the program, and what cannot be forged."""

from typing import Any

import pytest

from sandbox import (
    CallsExceeded,
    Completed,
    Conversation,
    Engine,
    Failed,
    GuestAbiError,
    HostCall,
    Limits,
    LocalStateError,
    Settlement,
    SizeExceeded,
    Suspended,
    encode_resume,
    encode_start,
)
from tests.sandbox.programs import NOW, SEED, Programs


def test_a_call_suspends_the_program_until_it_is_settled(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            first = isolate.start("const a = await host.get({ id: 1 }); const b = await host.get(a); [a, b]", NOW, SEED)
            assert first == Suspended((HostCall(1, "get", {"id": 1}),))
            second = isolate.resume([Settlement.value(1, {"next": 2})], NOW)
            assert second == Suspended((HostCall(2, "get", {"next": 2}),))
            assert isolate.resume([Settlement.value(2, None)], NOW) == Completed([{"next": 2}, None])

    programs.on_thread(play)


def test_calls_made_together_arrive_together_in_order(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            outcome = isolate.start("(await Promise.all([host.a(), host.b(1), host.c('x')])).join()", NOW, SEED)
            assert isinstance(outcome, Suspended)
            assert [(c.id, c.name, c.arguments) for c in outcome.calls] == [(1, "a", None), (2, "b", 1), (3, "c", "x")]
            assert isolate.resume([Settlement.value(3, "three")], NOW) == Suspended(())
            rest = [Settlement.value(1, "one"), Settlement.value(2, "two")]
            assert isolate.resume(rest, NOW) == Completed("one,two,three")

    programs.on_thread(play)


LINES = """
async function page(number) {
  return await host.get({ number })
}
const first = await host.first(), all = await Promise.all([1, 2].map((n) => page(n)))
await new Promise((done) => setTimeout(done, 1))
for (const one of all)
  await host.put(one)
eval("host.other()")
"""


def test_a_call_has_the_line_of_the_program_that_makes_it(programs: Programs, engine: Engine) -> None:
    found: list[tuple[str, int]] = []

    def answer(call: HostCall) -> Settlement:
        found.append((call.name, call.line))
        return Settlement.value(call.id, None)

    programs.run(LINES, answer=answer)
    assert found == [("first", 5), ("get", 3), ("get", 3), ("put", 8), ("put", 8), ("other", 9)]


def test_the_line_of_a_call_is_kept_by_a_program_that_was_frozen(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start("await host.a()\n\nawait host.b()", NOW, SEED)
            frozen = isolate.freeze()
        with engine.thaw(frozen) as thawed:
            outcome = thawed.resume([Settlement.value(1, None)], NOW)
            assert isinstance(outcome, Suspended) and [call.line for call in outcome.calls] == [3]

    programs.on_thread(play)


@pytest.mark.parametrize(
    "first",
    [
        "Error.prepareStackTrace = () => 'program.js:99999999999999999999999:1'",
        "Error.prepareStackTrace = () => 'program.js:'",
        "Error.prepareStackTrace = () => 'p'.repeat(1_000_000)",
        "Error.prepareStackTrace = () => ({})",
        "Error.prepareStackTrace = () => { throw 1 }",
        "Error.stackTraceLimit = 0",
        "Object.defineProperty(Error.prototype, 'stack', { get() { throw 1 } })",
        "globalThis.Error = undefined",
    ],
)
def test_a_program_that_plays_with_stacks_gets_no_more_than_a_wrong_line(programs: Programs, first: str) -> None:
    found: list[int] = []

    def answer(call: HostCall) -> Settlement:
        found.append(call.line)
        return Settlement.value(call.id, 7)

    assert programs.value(f"{first}\nawait host.get()", answer=answer) == 7
    assert len(found) == 1 and 0 <= found[0] < 2**31


def test_an_error_settlement_rejects_with_an_error_of_that_name_and_properties(programs: Programs) -> None:
    def answer(call: HostCall) -> Settlement:
        return Settlement.error(
            call.id, name="ToolError", message="no such row", properties={"code": 7, "__proto__": 1}
        )

    source = """
    try { await host.get({}) } catch (e) {
      return [e instanceof Error, e.name, e.message, e.code, Object.keys(e), String(e)];
    }"""
    assert programs.value(source, answer=answer) == [
        True,
        "ToolError",
        "no such row",
        7,
        ["code", "__proto__"],
        "ToolError: no such row",
    ]


def test_an_uncaught_rejection_has_the_place_of_the_call(programs: Programs) -> None:
    def answer(call: HostCall) -> Settlement:
        return Settlement.error(call.id, name="ToolError", message="no")

    error = programs.failure("async function load() {\n  return await host.get({})\n}\nawait load()", answer=answer)
    assert (error.kind, error.name, error.message, error.line) == ("exception", "ToolError", "no", 2)
    assert all("program.js:" in line for line in error.stack.splitlines())


@pytest.mark.parametrize(
    "settlements",
    [
        [Settlement.value(2, None)],
        [Settlement.value(0, None)],
        [Settlement.value(-1, None)],
        [Settlement.value(1, None), Settlement.value(1, None)],
        [Settlement.value(1, None), Settlement.value(999, None)],
    ],
)
def test_settling_an_unknown_call_is_refused(programs: Programs, engine: Engine, settlements: list[Settlement]) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start("await host.get()", NOW, SEED)
            with pytest.raises(LocalStateError, match="cannot settle"):
                isolate.resume(settlements, NOW)
            assert isolate.resume([Settlement.value(1, 5)], NOW) == Completed(5)

    programs.on_thread(play)


def test_a_call_is_settled_once(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start("await host.a(); await host.b()", NOW, SEED)
            isolate.resume([Settlement.value(1, None)], NOW)
            with pytest.raises(LocalStateError):
                isolate.resume([Settlement.value(1, None)], NOW)

    programs.on_thread(play)


def test_the_guest_ignores_settlements_it_does_not_know(programs: Programs, engine: Engine) -> None:
    """The host refuses them first; this is the guest's own guard."""

    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start_batch(encode_start("await host.get()", NOW, SEED, engine.limits))
            wrong = [Settlement.value(id, "forged") for id in (0, 2, 77, 2**31 - 1)]
            output = isolate.resume_batch(encode_resume(wrong, NOW, engine.limits))
            assert output == b'["suspended",[],null,[]]'
            right = encode_resume([Settlement.value(1, "honest"), Settlement.value(1, "late")], NOW, engine.limits)
            assert isolate.resume_batch(right) == b'["completed",true,"honest",[],[]]'

    programs.on_thread(play)


def test_what_is_no_json_is_refused_before_it_is_settled(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start("await host.get()", NOW, SEED)
            with pytest.raises(LocalStateError, match="call 1 is not JSON"):
                isolate.resume([Settlement.value(1, object())], NOW)
            assert isolate.resume([Settlement.value(1, 1)], NOW) == Completed(1)

    programs.on_thread(play)


def test_calls_nobody_waited_for_come_with_the_last_outcome(programs: Programs) -> None:
    outcome = programs.run("host.emit({ a: 1 }); host.emit({ a: 2 }); 5")
    assert isinstance(outcome, Completed)
    assert [(call.id, call.arguments) for call in outcome.calls] == [(1, {"a": 1}), (2, {"a": 2})]
    failed = programs.run("await host.first(); host.emit(1); throw new Error('x')")
    assert isinstance(failed, Failed)
    assert [(call.id, call.name) for call in failed.calls] == [(2, "emit")]


def test_too_many_calls_stop_the_program_for_good(programs: Programs) -> None:
    answered: list[int] = []

    def answer(call: HostCall) -> Settlement:
        answered.append(call.id)
        return Settlement.value(call.id, None)

    source = "for (;;) { try { await host.x() } catch {} finally { continue } }"
    error = programs.failure(source, answer=answer)
    assert isinstance(error, CallsExceeded)
    assert (error.kind, len(answered)) == ("calls", programs.engine.limits.calls)
    assert isinstance(programs.failure("await Promise.all(Array.from({ length: 500 }, () => host.x()))"), CallsExceeded)


def test_arguments_over_their_limit_stop_the_program_for_good(programs: Programs) -> None:
    error = programs.failure("try { await host.x('y'.repeat(2_000_000)) } catch {} 5")
    assert isinstance(error, SizeExceeded)
    assert error.line == 1


def test_the_arguments_of_calls_made_at_once_have_a_limit_together(programs: Programs) -> None:
    error = programs.failure("for (let i = 0; i < 8; i++) host.x('y'.repeat(700_000)); 1")
    assert isinstance(error, SizeExceeded)
    one_by_one = "for (let i = 0; i < 8; i++) await host.x('y'.repeat(700_000)); 'done'"
    assert programs.value(one_by_one, answer=lambda call: Settlement.value(call.id, None)) == "done"


def test_a_result_over_its_limit_rejects_the_call(programs: Programs) -> None:
    def answer(call: HostCall) -> Settlement:
        return Settlement.value(call.id, "x" * (6 << 20))

    source = "await host.get().catch((e) => [e.name, e.message.length > 0])"
    assert programs.value(source, answer=answer) == ["RangeError", True]


def test_a_large_batch_goes_through(programs: Programs) -> None:
    rows = [{"id": i, "name": f"row {i}"} for i in range(20_000)]

    def answer(call: HostCall) -> Settlement:
        return Settlement.value(call.id, rows)

    assert programs.value("(await host.get()).length", answer=answer) == len(rows)


def test_a_result_too_big_for_the_memory_rejects_the_call_with_an_error_to_catch(with_limits: Any) -> None:
    small = with_limits(memory=2 << 20)

    def answer(call: HostCall) -> Settlement:
        return Settlement.value(call.id, [[i] for i in range(200_000)] if call.name == "big" else "small")

    source = "const e = await host.big().catch((e) => e.message); [e, await host.get()]"
    assert small.value(source, answer=answer) == ["out of memory", "small"]
    assert small.failure("await host.big()", answer=answer).kind == "memory"


def test_a_program_that_patches_promises_cannot_reach_the_resolving_functions(programs: Programs) -> None:
    source = """
    const seen = [];
    const Original = Promise;
    globalThis.Promise = function (executor) { seen.push('constructed'); return new Original(executor) };
    Original.prototype.then = function (...args) { seen.push('then'); throw new Error('never called by the engine') };
    const value = await host.get();
    [value, seen.length]
    """
    assert programs.value(source, answer=lambda call: Settlement.value(call.id, "honest")) == ["honest", 0]


def test_a_guest_that_invents_calls_is_not_believed() -> None:
    for ids in ((2,), (1, 1), (1, 3), (201,)):
        calls = ",".join(f'[{id},"x",null,1]' for id in ids)
        conversation = Conversation(Limits())
        conversation.start("1", NOW, SEED)
        with pytest.raises(GuestAbiError, match="out of turn"):
            conversation.receive(f'["suspended",[{calls}],null,[]]'.encode())


def test_then_and_symbols_of_host_are_no_calls(programs: Programs) -> None:
    assert programs.value(
        "[typeof host.then, typeof host.toJSON, host[Symbol.iterator] === undefined, await host === host]"
    ) == [
        "undefined",
        "undefined",
        True,
        True,
    ]
