"""What a guest may say, under fuzz: an outcome or an EngineError, no other exception, no more than was allowed."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox import (
    Completed,
    Conversation,
    EngineError,
    Failed,
    GuestAbiError,
    Limits,
    LocalStateError,
    Settlement,
    State,
    Suspended,
    decode_outcome,
    encode_failed,
)
from tests.deep import deep, examples

from .hostile.arena import NOW, SEED, KiB, MiB, peak
from .hostile.strategies import JSON_VALUES, mutated, outcomes

LIMITS = Limits(depth=20, result=64 * KiB, arguments=16 * KiB, log_bytes=4 * KiB, log_lines=50, calls=50)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def check(data: bytes) -> None:
    """The promise of `decode_outcome`."""
    try:
        outcome = decode_outcome(data, LIMITS)
    except GuestAbiError:
        return
    assert isinstance(outcome, Suspended | Completed | Failed)
    values = [call.arguments for call in outcome.calls]
    assert all(type(call.id) is int and type(call.name) is str for call in outcome.calls)
    assert all(type(line.level) is str and type(line.text) is str for line in outcome.logs)
    match outcome:
        case Suspended():
            assert outcome.wake_at is None or abs(outcome.wake_at) < 1e300
        case Completed():
            values.append(outcome.value)
        case Failed():
            assert outcome.error.kind != "engine"
            assert outcome.error.line is None or 0 <= outcome.error.line < 10**9
    assert all(depth(value) <= LIMITS.depth + 2 for value in values)


@given(st.binary(max_size=300))
@examples(200)
def test_any_bytes(data: bytes) -> None:
    check(data)


@given(JSON_VALUES.map(orjson.dumps))
@examples(200)
def test_any_json(data: bytes) -> None:
    check(data)


@given(outcomes())
@examples(250)
def test_what_is_nearly_an_outcome(outcome: list[Any]) -> None:
    check(json.dumps(outcome).encode())


@given(mutated(outcomes().map(lambda outcome: json.dumps(outcome).encode())))
@examples(250)
@example(b'["completed",true,1e999,[],[]]')
@example(b'["suspended",[],1e999,[]]')
@example(b'["suspended",[],-1e400,[]]')
@example(b'["suspended",[],true,[]]')
@example(b'["suspended",[[true,"x",1]],null,[]]')
@example(b'["suspended",[[1.0,"x",1]],null,[]]')
@example(b'["failed",{"kind":["memory"],"message":"x"},[],[]]')
@example(b'["failed",{"kind":"engine","message":"x"},[],[]]')
@example(b'["failed",{"kind":"memory","message":"x","stack":"program.js:999999999:999999999"},[],[]]')
@example(b'["failed",{"kind":"memory","message":"x","stack":"program.js:9999999999:1"},[],[]]')
@example(b'["completed",true,"\\ud800",[],[]]')
@example(b'["completed",true,1,[["log","x"],["fatal","x"]],[]]')
@example(b'\xef\xbb\xbf["completed",true,1,[],[]]')
def test_mutated_outcomes(data: bytes) -> None:
    check(data)


@given(outcomes(), st.integers(min_value=0, max_value=400))
@examples(200)
def test_truncated_outcomes(outcome: list[Any], size: int) -> None:
    data = orjson.dumps(outcome, option=orjson.OPT_NON_STR_KEYS)
    check(data[:size])
    check(data[size:])


@pytest.mark.parametrize(
    ("place", "shape", "levels"),
    deep(
        product(
            ["value", "argument", "message", "junk"],
            [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")],
            [23, 100, 200, 1020, 1025, 2000, 200_000],
        )
    ),
)
def test_a_value_deeper_than_allowed_is_refused(place: str, shape: tuple[bytes, bytes], levels: int) -> None:
    deep = shape[0] * levels + b"1" + shape[1] * levels
    data = {
        "value": b'["completed",true,%b,[],[]]',
        "argument": b'["suspended",[[1,"x",%b,1]],null,[]]',
        "message": b'["failed",{"kind":"exception","message":%b},[],[]]',
        "junk": b"%b",
    }[place] % deep
    with pytest.raises(GuestAbiError):
        decode_outcome(data, LIMITS)


def test_values_as_deep_as_allowed_are_read() -> None:
    for shape in ((b"[", b"]"), (b'{"a":', b"}")):
        deep = shape[0] * 20 + b"1" + shape[1] * 20
        assert isinstance(decode_outcome(b'["completed",true,%b,[],[]]' % deep, LIMITS), Completed)
        many = b"[%b]" % b",".join([shape[0] * 19 + shape[1] * 19] * 100) if shape[0] == b"[" else deep
        assert isinstance(decode_outcome(b'["suspended",[[1,"x",%b,1]],null,[]]' % many, LIMITS), Suspended)


def test_the_parser_reads_as_deep_as_is_said() -> None:
    assert orjson.loads(b"[" * 1024 + b"]" * 1024)
    for deeper in (b"[" * 1025 + b"]" * 1025, b'{"a":' * 1025 + b"1" + b"}" * 1025):
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(deeper)


MIDDLES = (
    b"],[",
    b"]],[[",
    b"],1,[",
    b'],["completed",true,1,[],[]],[',
    b"",
    b"1,2",
    b"],[],[",
    b"]" * 1002 + b"[" * 1002,
    b"]]]",
)
AROUND = (b"%b", b'["completed",true,1,[],[]],%b', b'%b,["completed",true,1,[],[]]')


@pytest.mark.parametrize(("middle", "around"), deep(product(MIDDLES, AROUND)))
def test_text_that_closes_brackets_it_did_not_open_is_refused(middle: bytes, around: bytes) -> None:
    padding = b"[" * 50 + b"]" * 50
    for data in (
        around % middle,
        around % (middle + padding),
        around % (padding + b"," + middle),
        around % middle + padding,
    ):
        with pytest.raises(GuestAbiError):
            decode_outcome(data, LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        b'["completed",true,[%b[]],[],[]]' % (b"[]," * 10_000_000),
        b'["completed",true,"%b",[],[]]' % (b"x" * 30_000_000),
        b'["suspended",[%b[1,"x",1]],null,[]]' % (b'[1,"x",1],' * 3_000_000),
        b'["completed",false,1,[%b["log","x"]],[]]' % (b'["log","x"],' * 3_000_000),
        b'["failed",{"kind":"exception","message":"%b"},[],[]]' % (b"m" * 30_000_000),
        b"[" * 30_000_000,
        b" " * 30_000_000,
    ],
    ids=["lists", "text", "calls", "logs", "message", "open", "blank"],
)
def test_a_flood_is_refused_before_it_is_read(data: bytes) -> None:
    """Thirty megabytes of it would be ten times that in Python's objects."""

    def refuse() -> None:
        with pytest.raises(GuestAbiError):
            decode_outcome(data, LIMITS)

    assert peak(refuse) < 16 * MiB


def test_the_largest_honest_outcomes_are_read() -> None:
    text = "\u0001" * (LIMITS.log_bytes // LIMITS.log_lines)
    logs = [["error", text + " (cut: the log is full)"]] * LIMITS.log_lines + [
        ["warn", "9 more log lines were dropped"]
    ]
    calls = [[n, "n" * 1024, "a" * LIMITS.arguments, 99_999_999] for n in range(1, 4)]
    for outcome in (
        ["completed", True, "r" * (LIMITS.result - 2), logs, calls],
        ["suspended", calls, 1.0, logs],
        ["failed", {"kind": "exception", "name": "\u0001" * 4096, "message": "\u0001" * 4096}, logs, calls],
    ):
        assert decode_outcome(json.dumps(outcome).encode(), LIMITS)


@given(st.sampled_from(["cpu_time", "memory", "stack", "wall_time"]), st.text(max_size=50), st.binary(max_size=50))
@examples(100)
def test_a_failure_made_by_the_host_with_whatever_logs_were_found(kind: str, message: str, logs: bytes) -> None:
    try:
        data = encode_failed(kind, message, logs)
    except (TypeError, ValueError):
        return  # a lone surrogate in the host's own message
    check(data)


class Talk:
    """One conversation with a guest that says anything; keeps what must hold after every step."""

    def __init__(self) -> None:
        self.conversation = Conversation(LIMITS)
        self.waiting: set[int] = set()
        self.settled: set[int] = set()

    def say(self, data: bytes) -> None:
        before = self.conversation.state
        try:
            outcome = self.conversation.receive(data)
        except LocalStateError:
            assert before is not State.RUNNING
            assert self.conversation.state is before
            return
        except GuestAbiError:
            assert self.conversation.state is State.ENDED
            return
        new = {call.id for call in outcome.calls}
        assert not new & (self.settled | self.waiting)
        assert len(new) == len(outcome.calls)
        assert all(0 < id <= LIMITS.calls for id in new)
        if isinstance(outcome, Suspended):
            self.waiting |= new
            assert self.conversation.waiting == self.waiting
            assert self.waiting or outcome.wake_at is not None
        else:
            assert self.conversation.waiting == set()

    def settle(self, ids: list[int]) -> None:
        settlements = [Settlement.value(id, None) for id in ids]
        allowed = set(ids) <= self.waiting and len(set(ids)) == len(ids)
        suspended = self.conversation.state is State.SUSPENDED
        try:
            self.conversation.resume(settlements, NOW)
        except LocalStateError:
            assert not (allowed and suspended)
            return
        assert allowed and suspended
        self.waiting -= set(ids)
        self.settled |= set(ids)


CALL_IDS = st.lists(st.integers(min_value=-1, max_value=55), max_size=5)
SAID = outcomes(ids=st.integers(min_value=0, max_value=12)).map(lambda outcome: json.dumps(outcome).encode())


@given(st.lists(st.one_of(SAID, mutated(SAID), CALL_IDS), max_size=12))
@examples(120)
@example([b'["suspended",[[1,"a",1]],null,[]]', [1], b'["suspended",[[1,"a",1]],null,[]]'])
@example([b'["suspended",[[2,"a",1]],null,[]]'])
@example([b'["suspended",[[1,"a",1],[1,"a",1]],null,[]]'])
@example([b'["suspended",[],null,[]]'])
@example([b'["suspended",[[1,"a",1]],null,[]]', [1, 1], [2], [1], b'["completed",true,1,[],[]]', [1]])
def test_whatever_the_guest_says_no_call_is_known_twice_and_none_settled_twice(steps: list[bytes | list[int]]) -> None:
    talk = Talk()
    talk.conversation.start("1", NOW, SEED)
    for step in steps:
        if isinstance(step, bytes):
            talk.say(step)
        else:
            talk.settle(step)


@given(
    st.lists(
        st.sampled_from(["start", "received", "resume", "close"]),
        max_size=8,
    )
)
@examples(200)
def test_steps_in_any_order_raise_only_engine_errors(steps: list[str]) -> None:
    conversation = Conversation(LIMITS)
    for step in steps:
        try:
            match step:
                case "start":
                    conversation.start("1", NOW, SEED)
                case "received":
                    conversation.receive(b'["suspended",[[1,"a",1]],null,[]]')
                case "resume":
                    conversation.resume([Settlement.value(1, 1)], NOW)
                case _:
                    conversation.close()
        except EngineError:
            pass
