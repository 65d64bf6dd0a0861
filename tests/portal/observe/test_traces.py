"""Which rows become spans, and when: a run and its calls together, within bounds."""

from __future__ import annotations

from typing import Any

import pytest

from portal.config import TraceSection
from portal.logs import LogRow
from portal.observe import Traces
from portal.observe import traces as traces_module
from portal.trace_context import SAMPLED
from tests.portal.logs.rows import row

SPAN = "00f067aa0ba902b7"
LOW, HIGH = f"{1:032x}", "f" * 32
"""Ids of traces: of the first only a sample of everything has it, of the second every sample."""


def traces_of(room: int = 100, **section: Any) -> Traces:
    traces = Traces(room)
    traces.apply(TraceSection(**{"endpoint": "http://127.0.0.1:4318", "sample": 0.5, **section}))
    return traces


def call(run: str = "", trace: str = LOW, **more: Any) -> LogRow:
    return row(**{"trace": trace, "span": SPAN, "run": run, "name": "read", **more})


def run(id: str, trace: str = LOW, **more: Any) -> LogRow:
    return call(id, trace, **{"kind": "run", "server": "", "name": "code", **more})


def kept(traces: Traces) -> list[tuple[str, str]]:
    return [(one.kind, one.outcome) for one, _ in traces.batch()]


def test_calls_of_a_run_wait_for_its_end_and_stay_or_go_with_it() -> None:
    traces = traces_of()
    for _ in range(3):
        traces.take(call("a"))
    assert len(traces) == 0
    traces.take(run("a"))
    assert kept(traces) == []
    traces.take(call("b"))
    traces.take(run("b", outcome="timeout"))
    assert kept(traces) == [("tool", "ok"), ("run", "timeout")]


def test_a_call_that_stands_out_keeps_its_whole_run_the_calls_before_and_after() -> None:
    traces = traces_of()
    for outcome in ("ok", "denied", "ok"):
        traces.take(call("a", outcome=outcome))
    traces.take(run("a"))
    traces.take(call("a", outcome="cancelled"))
    assert kept(traces) == [("tool", "ok"), ("tool", "denied"), ("tool", "ok"), ("run", "ok"), ("tool", "cancelled")]


def test_a_call_that_ends_after_its_run_was_forgotten_is_forgotten_too() -> None:
    traces = traces_of()
    traces.take(run("a"))
    traces.take(call("a", outcome="cancelled"))
    assert kept(traces) == []


def test_a_trace_of_the_sample_is_kept_and_a_row_without_a_span_is_no_span() -> None:
    traces = traces_of()
    traces.take(call(trace=HIGH))
    traces.take(call(trace=LOW))
    traces.take(call(trace=HIGH, span=""))
    assert len(kept(traces)) == 1


@pytest.mark.parametrize(("flag", "trace", "is_kept"), [("01", LOW, True), ("00", HIGH, False), ("01", HIGH, True)])
def test_what_the_caller_decided_counts_where_that_is_set(flag: str, trace: str, is_kept: bool) -> None:
    meta = {"traceparent": f"00-{trace}-{SPAN}-{flag}"}
    follows, decides = traces_of(follow_caller=True), traces_of()
    for traces in (follows, decides):
        assert traces.begin([], meta) is not None
        traces.take(call(trace=trace))
    assert bool(len(follows)) == is_kept
    assert bool(len(decides)) == (trace == HIGH)
    # What failed is kept whatever they decided.
    follows.take(call(trace=trace, outcome="error"))
    assert ("tool", "error") in kept(follows)


def test_what_is_told_further_says_whether_the_trace_is_of_the_sample() -> None:
    traces = traces_of()
    for trace, flag, told in ((LOW, "00", 0), (LOW, "01", SAMPLED), (HIGH, "00", SAMPLED)):
        place = traces.begin([], {"traceparent": f"00-{trace}-{SPAN}-{flag}"})
        assert place is not None and place.recorded and place.flags == told
    for sample, told in ((0.0, 0), (1.0, SAMPLED)):
        traces.apply(TraceSection(endpoint="http://127.0.0.1:4318", sample=sample))
        place = traces.begin([], {})
        assert place is not None and place.recorded and (place.span, place.flags) == ("", told)


def test_off_it_passes_places_on_and_takes_nothing() -> None:
    traces = Traces()
    assert traces.begin([], {}) is None
    place = traces.begin([], {"traceparent": f"00-{HIGH}-{SPAN}-01"})
    assert place is not None and not place.recorded
    traces.take(call(trace=HIGH))
    assert len(traces) == 0


def test_what_there_is_no_room_for_is_counted_and_one_caller_takes_half_of_it() -> None:
    traces = traces_of(room=10)
    for _ in range(20):
        traces.take(call(trace=HIGH), "ada")
    assert (len(traces), traces.dropped) == (5, 15)
    for _ in range(5):
        traces.take(call(trace=HIGH), "bob")
    assert (len(traces), traces.dropped) == (10, 15)
    assert len(traces.batch()) == 10
    traces.take(call(trace=HIGH), "ada")
    assert len(traces) == 1


def test_of_a_run_with_too_many_calls_the_others_are_counted_in_its_span() -> None:
    traces = traces_of(room=10_000)
    for _ in range(traces_module.CALLS_OF_A_RUN + 7):
        traces.take(call("a"))
    traces.take(run("a", outcome="error"))
    batch = traces.batch(10_000)
    assert len(batch) == traces_module.CALLS_OF_A_RUN + 1 and batch[-1][1] == 7


def test_runs_that_never_end_take_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces_module, "RUNS", 3)
    traces = traces_of(room=100)
    for number in range(10):
        traces.take(call(f"run-{number}"))
    assert traces.dropped == 7
    # Nothing that was let go is still counted: all of the room is there again.
    for number in range(7, 10):
        traces.take(run(f"run-{number}"))
    for _ in range(100):
        traces.take(call(trace=HIGH))
    assert len(traces) == 100


def test_room_of_runs_that_are_forgotten_is_given_back() -> None:
    traces = traces_of(room=4)
    for number in range(50):
        traces.take(call(f"run-{number}"), "ada")
        traces.take(run(f"run-{number}"), "ada")
    assert traces.dropped == 0
    traces.take(call(trace=HIGH), "ada")
    assert len(traces) == 1
