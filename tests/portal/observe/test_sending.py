"""Spans on their way to a receiver: one that fails, refuses, answers nonsense, or is not there."""

from __future__ import annotations

import asyncio

import pytest

from portal.config import TraceSection
from portal.observe import SpanSender, Traces
from tests.patience import PATIENCE
from tests.portal.logs.rows import row
from tests.portal.observe.receiver import Receiver, receiving
from tests.portal.upstreams.server import listen

pytestmark = pytest.mark.anyio
TRACE, SPAN = "f" * 32, "00f067aa0ba902b7"
QUICK = 0.001


def section(receiver: Receiver | None, url: str = "", **more: object) -> TraceSection:
    endpoint = url or (receiver.url if receiver else "http://127.0.0.1:4318")
    return TraceSection.model_validate({"endpoint": endpoint, "sample": 1, **more})


def filled(found: TraceSection, count: int = 1) -> Traces:
    traces = Traces()
    traces.apply(found)
    put(traces, count)
    return traces


def put(traces: Traces, count: int = 1) -> None:
    for number in range(count):
        traces.take(row(number, trace=TRACE, span=f"{number + 1:016x}"))
    traces.urgent.set()


async def until(holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0)


async def test_rows_go_out_in_batches_with_the_headers_of_the_document() -> None:
    async with receiving() as receiver:
        found = section(receiver, headers={"Authorization": "Bearer of-the-receiver"}, resource={"env": "test"})
        traces = filled(found, 1200)
        async with SpanSender(traces, lambda: found) as sender:
            spans = await receiver.have(2400)
            await until(lambda: sender.sent == 2400)
    assert len(receiver.bodies) == 3
    assert receiver.headers[0]["authorization"] == "Bearer of-the-receiver"
    assert spans[0].resource["env"] == "test" and spans[0].resource["service.name"] == "codemode-portal"
    assert (sender.refused, traces.dropped, sender.trouble) == (0, 0, "")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_receiver_that_asks_for_it_is_tried_again_with_the_same_spans(status: int) -> None:
    async with receiving() as receiver:
        receiver.answers = [(status, b"busy")] * 3
        found = section(receiver)
        async with SpanSender(filled(found), lambda: found, pause=QUICK) as sender:
            assert len(await receiver.have(2)) == 2
            await until(lambda: sender.sent == 2)
    assert len(set(receiver.bodies)) == 1 and len(receiver.bodies) == 4
    assert sender.trouble == "" and sender.refused == 0


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 302])
async def test_spans_that_are_refused_are_counted_and_later_ones_go_out(status: int) -> None:
    async with receiving() as receiver:
        receiver.answers = [(status, b"no")]
        found = section(receiver)
        traces = filled(found)
        async with SpanSender(traces, lambda: found, pause=QUICK) as sender:
            await until(lambda: sender.refused == 2)
            put(traces)
            await receiver.have(2)
            await until(lambda: sender.sent == 2)


async def test_spans_that_a_receiver_says_it_has_not_taken_are_counted() -> None:
    async with receiving() as receiver:
        receiver.answers = [(200, b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "old"}}')]
        found = section(receiver)
        async with SpanSender(filled(found), lambda: found) as sender:
            await until(lambda: (sender.sent, sender.refused) == (1, 1))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"ok",
        b"[]",
        b'{"partialSuccess": null}',
        b'{"partialSuccess": {"rejectedSpans": {}}}',
        b"\xff",
        b"9" * 5000,
    ],
)
async def test_whatever_a_receiver_answers_with_200_it_has_taken_them(answer: bytes) -> None:
    async with receiving() as receiver:
        receiver.answers = [(200, answer)]
        found = section(receiver)
        async with SpanSender(filled(found), lambda: found) as sender:
            await until(lambda: sender.sent == 2)
    assert sender.refused == 0


async def test_a_receiver_that_comes_later_gets_what_waited() -> None:
    place = listen(0)
    port = place.getsockname()[1]
    place.close()
    found = section(None, f"http://127.0.0.1:{port}")
    async with SpanSender(filled(found), lambda: found, pause=QUICK) as sender:
        await until(lambda: sender.trouble != "")
        async with receiving(port) as receiver:
            await receiver.have(2)
            await until(lambda: sender.trouble == "")
    assert str(port) not in sender.trouble


async def test_what_waits_at_the_end_is_sent_and_a_receiver_that_is_away_holds_nobody_up() -> None:
    async with receiving() as receiver:
        found = section(receiver)
        async with SpanSender(filled(found, 3), lambda: found):
            pass
        assert len(receiver.spans) == 6
    gone = section(None, "http://127.0.0.1:9")
    async with asyncio.timeout(PATIENCE):
        async with SpanSender(filled(gone), lambda: gone) as sender:
            pass
    assert sender.sent == 0


async def test_a_name_that_is_no_text_keeps_no_other_span_back() -> None:
    async with receiving() as receiver:
        found = section(receiver)
        traces = filled(found)
        traces.take(row(5, trace=TRACE, span=SPAN, name="half \ud800"))
        traces.urgent.set()
        async with SpanSender(traces, lambda: found):
            await receiver.have(4)


async def test_the_receiver_and_its_headers_follow_the_document() -> None:
    async with receiving() as one, receiving() as two:
        current = [section(one)]
        traces = filled(current[0])
        async with SpanSender(traces, lambda: current[0]):
            await one.have(2)
            current[0] = section(two)
            put(traces)
            await two.have(2)
