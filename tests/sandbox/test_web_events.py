"""Event, EventTarget, AbortController and AbortSignal (DOM Standard, sections 2 and 3)."""

from __future__ import annotations

import pytest

from .web_program import logged, thrown, value


def test_listeners_run_in_order_and_once_each() -> None:
    source = """
    const target = new EventTarget(), seen = [], f = (e) => seen.push(`f:${e.type}`);
    target.addEventListener("x", f); target.addEventListener("x", f);
    const object = {name: "h", handleEvent(e) { seen.push(`object:${this.name}:${e.target === target}`); }};
    target.addEventListener("x", object);
    target.addEventListener("x", () => seen.push("once"), {once: true});
    target.addEventListener("y", () => seen.push("y"));
    target.addEventListener("x", null);
    const answers = [target.dispatchEvent(new Event("x")), target.dispatchEvent(new Event("x"))];
    target.removeEventListener("x", f); target.dispatchEvent(new Event("x"));
    [seen, answers]
    """
    assert value(source) == [["f:x", "object:h:true", "once", "f:x", "object:h:true", "object:h:true"], [True, True]]


def test_an_event_can_be_cancelled_and_stopped() -> None:
    source = """
    const target = new EventTarget(), seen = [];
    target.addEventListener("x", (e) => {
      seen.push(e.currentTarget === target, e.defaultPrevented); e.preventDefault(); e.stopImmediatePropagation();
    });
    target.addEventListener("x", () => seen.push("never"));
    const event = new CustomEvent("x", {cancelable: true, detail: {n: 1}});
    [target.dispatchEvent(event), target.dispatchEvent(new Event("x")), event.defaultPrevented, event.currentTarget,
     event.detail.n, seen]
    """
    assert value(source) == [False, True, True, None, 1, [True, False, True, False]]


def test_what_a_listener_throws_is_logged_and_stops_nobody() -> None:
    source = """
    const target = new EventTarget(); let after = 0;
    target.addEventListener("x", () => { throw new Error("mine") });
    target.addEventListener("x", () => after++);
    target.dispatchEvent(new Event("x")); if (after !== 1) throw 1; 0
    """
    ((level, text),) = logged(source)
    assert level == "error"
    assert "mine" in text


def test_listeners_added_while_dispatching_wait_and_removed_ones_do_not_run() -> None:
    source = """
    const target = new EventTarget(), seen = [], late = () => seen.push("late"), gone = () => seen.push("gone");
    target.addEventListener("x", () => { target.addEventListener("x", late); target.removeEventListener("x", gone); });
    target.addEventListener("x", gone);
    target.dispatchEvent(new Event("x")); const first = [...seen];
    target.dispatchEvent(new Event("x"));
    [first, seen]
    """
    assert value(source) == [[], ["late"]]


def test_a_signal_removes_listeners() -> None:
    source = """
    const target = new EventTarget(), c = new AbortController(); let n = 0;
    target.addEventListener("x", () => n++, {signal: c.signal});
    target.dispatchEvent(new Event("x")); c.abort(); target.dispatchEvent(new Event("x"));
    target.addEventListener("x", () => n++, {signal: c.signal}); target.dispatchEvent(new Event("x"));
    n
    """
    assert value(source) == 1


def test_aborting_happens_once_with_a_reason() -> None:
    source = """
    const c = new AbortController(), seen = [];
    c.signal.onabort = function (e) { seen.push(e.type, this === c.signal); };
    c.signal.addEventListener("abort", () => seen.push("listener"));
    c.signal.throwIfAborted();
    c.abort(); c.abort("again");
    let thrown; try { c.signal.throwIfAborted() } catch (e) { thrown = e }
    [c.signal.aborted, c.signal.reason.name, c.signal.reason instanceof DOMException, thrown === c.signal.reason, seen]
    """
    assert value(source) == [True, "AbortError", True, True, ["abort", True, "listener"]]


def test_any_reason_may_be_given() -> None:
    assert value(
        "const c = new AbortController(); c.abort(null); [c.signal.reason, AbortSignal.abort('r').reason]"
    ) == [None, "r"]


def test_a_timeout_aborts_with_a_timeout_error() -> None:
    source = """
    const signal = AbortSignal.timeout(50), before = performance.now();
    const reason = await new Promise((resolve) => signal.addEventListener("abort", () => resolve(signal.reason)));
    [reason.name, reason.code, performance.now() - before >= 50]
    """
    assert value(source) == ["TimeoutError", 23, True]


def test_any_follows_the_first_signal() -> None:
    source = """
    const a = new AbortController(), b = new AbortController(), any = AbortSignal.any([a.signal, b.signal]);
    const nested = AbortSignal.any([any]); const before = any.aborted;
    b.abort("b"); a.abort("a");
    const already = AbortSignal.any([AbortSignal.abort("x"), a.signal]);
    [before, any.reason, nested.reason, already.reason, AbortSignal.any([]).aborted]
    """
    assert value(source) == [False, "b", "b", "x", False]


MISUSE = """
new AbortSignal()
AbortSignal.timeout()
AbortSignal.timeout(-1)
AbortSignal.timeout("x")
AbortSignal.any()
AbortSignal.any([{}])
AbortController.prototype.signal
new Event()
new EventTarget().dispatchEvent({type: "x"})
new EventTarget().addEventListener("x")
new EventTarget().addEventListener("x", 5)
""".strip().splitlines()


@pytest.mark.parametrize("expression", MISUSE)
def test_misuse_is_a_type_error(expression: str) -> None:
    assert thrown(expression)[0] == "TypeError"


def test_a_program_can_extend_event_target() -> None:
    source = """
    class Bus extends EventTarget { emit(type) { return this.dispatchEvent(new Event(type)); } }
    let n = 0; const bus = new Bus(); bus.addEventListener("x", () => n++); bus.emit("x"); n
    """
    assert value(source) == 1
