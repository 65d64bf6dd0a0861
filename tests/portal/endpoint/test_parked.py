"""The checkpoint of a parked run: what it keeps of its request, and that it reads nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import Adherence, PlannedCall, ProgramPlan
from portal.endpoint.parked import (
    MAX_CLIENT,
    MAX_HEADER,
    CheckpointUnreadable,
    ParkedRequest,
    checkpoint,
    entry,
    read_checkpoint,
    read_entry,
    request_of,
)
from portal.identity import IDENTITY, Identity
from portal.state import LabelRead
from portal.trace_context import TraceContext
from portal.upstream import CallSource, DownstreamClient

TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=30)
NUMBERS = st.integers(0, 2**53)
TIMES = st.datetimes(timezones=st.just(UTC))
READS = st.builds(
    LabelRead,
    person=TEXTS,
    client=TEXTS,
    label=TEXTS,
    portal=TEXTS,
    server=TEXTS,
    tool=TEXTS,
    at=TIMES,
    until=TIMES,
    number=NUMBERS,
)
TRACES = st.builds(
    TraceContext,
    trace=TEXTS,
    span=TEXTS,
    flags=st.integers(0, 255),
    state=TEXTS,
    recorded=st.booleans(),
    baggage=TEXTS,
    baggage_to=st.frozensets(TEXTS, max_size=3),
)
CLIENTS = st.builds(DownstreamClient, key=TEXTS, info=st.dictionaries(TEXTS, TEXTS, max_size=3))
SOURCES = st.builds(CallSource, TEXTS, st.none() | CLIENTS, TEXTS, st.none() | TRACES, TEXTS)
CALLS = st.builds(
    PlannedCall,
    position=NUMBERS,
    server=TEXTS,
    tool=TEXTS,
    arguments=st.dictionaries(TEXTS, TEXTS, max_size=2),
    effect=st.sampled_from(("read", "effect")),
    line=NUMBERS,
    labels=st.lists(TEXTS, max_size=2).map(tuple),
)
PLANS = st.builds(
    ProgramPlan,
    program=TEXTS,
    entries=st.lists(CALLS, max_size=3).map(tuple),
    reads=NUMBERS,
    exact_up_to=NUMBERS,
    ends_because=TEXTS,
)
REQUESTS = st.builds(
    ParkedRequest,
    login=st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
    scheme=TEXTS,
    host=TEXTS,
    root_path=TEXTS,
    path=TEXTS,
    query=TEXTS,
    source=SOURCES,
    holder=TEXTS,
    at=NUMBERS,
    received=NUMBERS,
    spent=st.dictionaries(TEXTS, NUMBERS, max_size=3),
    read=st.lists(READS, max_size=3).map(tuple),
    adherence=st.none() | st.builds(Adherence, PLANS, st.dictionaries(NUMBERS, NUMBERS, max_size=3)),
)


def a_request(client: DownstreamClient | None = None) -> ParkedRequest:
    headers = [(b"host", b"portal.example.com"), (b"authorization", b"Bearer planted-secret")]
    scope = {"scheme": "https", "headers": headers, "root_path": "/team", "path": "/team/mcp", "query_string": b"a=1"}
    source = CallSource("2026-07-28", client, "session", None, "client-1")
    return request_of(scope, login={"id": "ann"}, source=source, holder="ann", at=5)


@given(REQUESTS, st.binary(max_size=200))
def test_a_checkpoint_gives_back_what_it_was_made_of(request: ParkedRequest, program: bytes) -> None:
    assert read_checkpoint(checkpoint(request, program)) == (request, program)


@given(REQUESTS, REQUESTS, st.binary(max_size=64))
def test_what_a_run_has_used_and_read_since_its_checkpoint_comes_with_what_its_program_got(
    request: ParkedRequest, later: ParkedRequest, got: bytes
) -> None:
    written, then = entry(got, later.spent, later.read, later.adherence), request.adherence
    if then is not None and later.adherence is not None:
        then = replace(then, used=later.adherence.used, answers=later.adherence.answers)
    assert read_entry(written, request) == (replace(request, spent=later.spent, read=later.read, adherence=then), got)
    # As it was written before there was more in it.
    if not got.startswith(b"CMRE"):
        assert read_entry(got, request) == (request, got)
    for size in (5, 8, 9, len(written) - len(got) - 1):
        with pytest.raises(CheckpointUnreadable):
            read_entry(written[:size], request)


@given(REQUESTS, st.data())
def test_a_damaged_checkpoint_is_refused_or_is_another_one(request: ParkedRequest, data: st.DataObject) -> None:
    whole = bytearray(checkpoint(request, b"program"))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for damaged in (bytes(whole), bytes(whole[:cut])):
        try:
            read_checkpoint(damaged)
        except CheckpointUnreadable:
            continue


@pytest.mark.parametrize("data", [b"", b"CMRC\x02\0\0\0\0", b"CMRC\x01\xff\xff\xff\xff{}", b"CMRC\x01\x02\0\0\0{}"])
def test_what_is_no_checkpoint_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointUnreadable):
        read_checkpoint(data)


def test_a_checkpoint_has_no_credential_of_the_request() -> None:
    request = a_request()
    assert b"planted-secret" not in checkpoint(request, b"")
    scope = request.scope(identity := Identity(id="ann"))
    assert scope["headers"] == [(b"host", b"portal.example.com")]
    assert (scope["scheme"], scope["root_path"], scope["path"]) == ("https", "/team", "/team/mcp")
    assert scope[IDENTITY] is identity and IDENTITY not in request.scope(None)


def test_what_a_client_says_of_itself_is_kept_up_to_a_bound() -> None:
    client = DownstreamClient(key="k", info={"name": "x" * MAX_CLIENT}, capabilities={"elicitation": {}})
    kept = a_request(client).source.client
    assert kept == DownstreamClient(key="k")


def test_a_request_of_which_too_much_would_be_kept_is_refused() -> None:
    request = request_of({"headers": []}, login={"id": "x" * MAX_HEADER}, source=CallSource(), holder="", at=0)
    with pytest.raises(ValueError, match="at most"):
        checkpoint(request, b"")


def test_the_labels_that_a_run_has_read_go_on_with_it() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    read = LabelRead(person="ann", client="", label="secret", portal="", server="s", tool="t", at=now, until=now)
    request = ParkedRequest(**{**{n: getattr(a_request(), n) for n in ParkedRequest.__slots__}, "read": (read,)})
    assert request.labels().labels == {"secret"}
