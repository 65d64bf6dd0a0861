"""The codec of batches: everything from the guest is hostile, and either an outcome or a GuestAbiError."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import (
    Completed,
    Failed,
    GuestAbiError,
    GuestException,
    HostCall,
    Limits,
    LocalStateError,
    LogLine,
    Suspended,
    decode_outcome,
    encode_failed,
    encode_start,
)
from sandbox.errors import PROGRAM_ERRORS
from tests.deep import examples
from tests.strategies import json_values

LIMITS = Limits()


def test_each_shape_is_read() -> None:
    assert decode_outcome(b'["suspended",[[1,"a",{"b":1},1]],12.5,[["warn","w"]]]', LIMITS) == Suspended(
        (HostCall(1, "a", {"b": 1}),), (LogLine("warn", "w"),), 12.5
    )
    assert decode_outcome(b'["completed",true,[1],[],[[2,"e",null,1]]]', LIMITS) == Completed(
        [1], (), True, (HostCall(2, "e", None),)
    )
    assert decode_outcome(b'["completed",false,null,[],[]]', LIMITS) == Completed(None, (), False)
    failure = b'["failed",{"kind":"exception","name":"E","message":"m","stack":"    at f (program.js:3:7)"},[],[]]'
    assert decode_outcome(failure, LIMITS) == Failed(
        GuestException("m", name="E", line=3, column=7, stack="    at f (program.js:3:7)")
    )


MALFORMED = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b'["suspended"]',
    b'["suspended",[],null,[],[]]',
    b'["suspended",{},null,[]]',
    b'["suspended",[],"soon",[]]',
    b'["suspended",[],true,[]]',
    b'["suspended",[],1e999,[]]',
    b'["suspended",[[0,"a",1,1]],null,[]]',
    b'["suspended",[[true,"a",1,1]],null,[]]',
    b'["suspended",[[1.0,"a",1,1]],null,[]]',
    b'["suspended",[[4294967296,"a",1,1]],null,[]]',
    b'["suspended",[[1,2,1,1]],null,[]]',
    b'["suspended",[[1,"a"]],null,[]]',
    b'["suspended",[[1,"a",1]],null,[]]',
    b'["suspended",[[1,"a",1,-1]],null,[]]',
    b'["suspended",[[1,"a",1,true]],null,[]]',
    b'["suspended",[[1,"a",1,4294967296]],null,[]]',
    b'["suspended",[[1,"a",1,1,1]],null,[]]',
    b'["completed",1,2,[],[]]',
    b'["completed",true,2,[]]',
    b'["completed",true,2,[["loud","x"]],[]]',
    b'["completed",true,2,[["log",1]],[]]',
    b'["completed",true,2,[["log"]],[]]',
    b'["failed",{},[],[]]',
    b'["failed",{"kind":"engine","message":"m"},[],[]]',
    b'["failed",{"kind":"memory"},[],[]]',
    b'["failed",{"kind":"memory","message":"m","stack":1},[],[]]',
    b'["failed",{"kind":["memory"],"message":"m"},[],[]]',
    b'["cancelled",[],null,[]]',
    b'["completed",true,"\xff",[],[]]',
    b"[" * 100_000,
    b'["completed",true,' + b"[" * 5000 + b"]" * 5000 + b",[],[]]",
]


@pytest.mark.parametrize("data", MALFORMED, ids=range(len(MALFORMED)))
def test_what_does_not_fit_is_the_guests_broken_contract(data: bytes) -> None:
    with pytest.raises(GuestAbiError):
        decode_outcome(data, LIMITS)


def decodes_or_refuses(data: bytes) -> None:
    try:
        outcome = decode_outcome(data, LIMITS)
    except GuestAbiError:
        return
    assert isinstance(outcome, Suspended | Completed | Failed)


@examples(300)
@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    decodes_or_refuses(data)


JSON = json_values(st.integers(), st.floats(), st.text(), keys=st.text(), size=5)
NEARLY = st.tuples(st.sampled_from(["suspended", "completed", "failed"]), JSON, JSON, JSON, JSON)


@examples(300)
@given(NEARLY, st.integers(2, 5))
def test_any_json_decodes_or_is_refused(parts: tuple[Any, ...], size: int) -> None:
    decodes_or_refuses(json.dumps(parts[:size]).encode())


GOOD = [
    b'["suspended",[[1,"a",{"b":1},1],[2,"c",null,1]],12.5,[["warn","w"]]]',
    b'["completed",true,{"x":[1,2]},[["log","l"]],[]]',
    b'["failed",{"kind":"exception","name":"E","message":"m","stack":"    at f (program.js:3:7)"},[],[]]',
]


@examples(500)
@given(st.sampled_from(GOOD), st.data())
def test_a_mutated_outcome_decodes_or_is_refused(good: bytes, data: st.DataObject) -> None:
    mutated = bytearray(good)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not mutated:
            break
    decodes_or_refuses(bytes(mutated))


@pytest.mark.parametrize("kind", PROGRAM_ERRORS)
def test_a_failure_made_by_the_host_reads_like_one_of_the_guest(kind: str) -> None:
    outcome = decode_outcome(encode_failed(kind, "why", b'["log","kept"]'), LIMITS)
    assert isinstance(outcome, Failed)
    assert (type(outcome.error), outcome.error.kind, outcome.error.message) == (PROGRAM_ERRORS[kind], kind, "why")
    assert outcome.logs == (LogLine("log", "kept"),)


def test_a_seed_of_another_size_is_refused() -> None:
    with pytest.raises(LocalStateError, match="seed"):
        encode_start("1", 0.0, b"short", LIMITS)


def test_finding_function_names_takes_linear_time() -> None:
    """A quadratic pattern would take minutes on these."""
    for hostile in (
        "function" + " " * 250_000,
        "async " * 40_000,
        "const a" + " " * 250_000 + "=",
        "function f(){}\n" * 16_000,
        "\n" * 250_000,
        "const " + "a" * 250_000,
    ):
        encode_start(hostile, 0.0, bytes(32), LIMITS)
