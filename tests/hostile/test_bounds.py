"""What is too much of one server's answer is refused in our own words, with the bound, and says that the call may have
run. What is just within the bound is passed on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import excess
from portal.calls import Call
from portal.errors import CallError, OutcomeUnknown, ResponseTooLarge
from portal.upstream.transports.bounds import MAX_BLOCKS, MAX_DEPTH, PerSecond, bounded_data, check_number
from portal.upstream.transports.event_stream import EventParser
from portal.upstream.transports.wire import decode
from tests.hostile.upstream import hostile_upstream
from tests.portal.portals import Portal, portal_over
from tests.portal.upstreams.raw import Exchange, raw_upstream


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def refusal(portal: Portal, tool: str) -> CallError:
    with pytest.raises(CallError) as caught:
        await portal.caller.call(Call.tool("h", tool, {}))
    return caught.value


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("blocks", "the answer has more than 52,428 lists and objects"),
        ("numbers", "the answer has more than 262,144 values"),
        ("informational", "sent more than 32 informational responses (1xx) before its answer"),
        ("lines_before_the_status", "sent more than 4194304 bytes before its answer"),
        ("chunks_of_a_byte", "sent far more around the pieces of its answer than is in them"),
        ("chunk_extension", "sent far more around the pieces of its answer than is in them"),
        ("rather_deep", "the result of tools/call is nested deeper than 200 levels"),
        ("keep_alives", "sent more than 20,000 events or lines in a second"),
        ("comments", "sent more than 100,000 lines without data in a second"),
        ("empty_lines", "sent more than 100,000 lines without data in a second"),
    ],
)
async def test_the_refusal_names_the_server_and_the_bound_and_says_that_the_call_may_have_run(
    tool: str, words: str
) -> None:
    async with hostile_upstream() as entry, portal_over({"h": entry}) as portal:
        error = await refusal(portal, tool)
    assert isinstance(error, ResponseTooLarge)
    assert error.full_message == f"The server 'h': {words}; the call may have run"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("empty_lines", "wrote more than 100,000 empty lines in a second"),
        ("no_json", "sent more than 20,000 events or lines in a second"),
        ("batches_of_nothing", "sent a message that answers no call and has more than 52,428 lists and objects"),
    ],
)
async def test_a_program_that_floods_its_output_is_disconnected_with_the_reason(tool: str, words: str) -> None:
    async with hostile_upstream("stdio") as entry, portal_over({"h": entry}) as portal:
        error = await refusal(portal, tool)
    assert isinstance(error, OutcomeUnknown)
    assert words in error.full_message


@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_an_answer_with_too_many_values_fails_its_call_and_no_other(transport: str) -> None:
    async with hostile_upstream(transport) as entry, portal_over({"h": entry}) as portal:
        assert isinstance(await refusal(portal, "empty_lists"), ResponseTooLarge)
        result = await portal.caller.call(Call.tool("h", "fine", {}))
    assert result["content"] == [{"type": "text", "text": "fine"}]


@pytest.mark.anyio
@pytest.mark.parametrize("more", [0, 1])
async def test_a_result_has_ten_thousand_blocks_and_no_more(more: int) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.result({"content": [{"type": "text", "text": ""}] * (MAX_BLOCKS + more)})

    async with raw_upstream(answer) as raw, portal_over({"h": {"url": raw.url}}) as portal:
        if more:
            error = await refusal(portal, "echo")
            assert "the result of tools/call has 10,001 content blocks; the limit is 10,000" in error.full_message
        else:
            result = await portal.caller.call(Call.tool("h", "echo", {}))
            assert len(result["content"]) == MAX_BLOCKS


@pytest.mark.anyio
async def test_a_result_may_be_nested_as_deep_as_clients_read() -> None:
    value: Any = 0
    for _ in range(MAX_DEPTH - 5):
        value = [value]

    async def answer(exchange: Exchange) -> None:
        await exchange.result({"content": [], "structuredContent": {"a": value}})

    async with raw_upstream(answer) as raw, portal_over({"h": {"url": raw.url}}) as portal:
        result = await portal.caller.call(Call.tool("h", "echo", {}))
    assert result["structuredContent"] == {"a": value}


JSON = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('"\\,[{]} xß')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('"\\,[{')), inner),
)


def parts_of(value: Any) -> tuple[int, int]:
    """The lists and objects of a value, and the most values that they make known by commas and brackets."""
    if not isinstance(value, list | dict):
        return 0, 0
    inner = list(value.values()) if isinstance(value, dict) else value
    counted = [parts_of(one) for one in inner]
    groups = 1 + sum(groups for groups, _ in counted)
    return groups, 1 + max(0, len(inner) - 1) + sum(values for _, values in counted)


@given(JSON, st.booleans())
def test_values_are_counted_as_they_are_whatever_is_in_strings(value: Any, ascii: bool) -> None:
    # More than is left uncounted, in the encoding that is sent.
    copies = 70_000 // (len(json.dumps(value, ensure_ascii=ascii).encode()) + 1) + 1
    data = json.dumps([value] * copies, ensure_ascii=ascii).encode()
    groups, values = parts_of([value] * copies)
    assert excess(data, values, groups) is None
    if groups > 1:
        assert excess(data, values, groups - 1) == "lists and objects"
    if values > groups:
        assert excess(data, values - 1, groups) == "values"


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_071, 131_072])
def test_an_escape_at_the_end_of_a_piece_is_read_whole(size: int) -> None:
    text = "x" * size + '\\",[' * 40_000
    data = json.dumps([text, []]).encode()
    assert excess(data, 4, 2) is None


def test_a_server_that_may_send_more_may_send_more_values() -> None:
    data = b"[" + b"1," * 300_000 + b"1]"
    with pytest.raises(ResponseTooLarge):
        check_number(data, 5 * 1024 * 1024)
    check_number(data, 50 * 1024 * 1024)


def test_empty_lines_are_counted_and_cost_nothing_more() -> None:
    parser = EventParser(1000)
    events = list(parser.feed(b"data: a\n" + b"\n" * 160_000 + b"data: b\n\n"))
    assert [event.data for event in events] == [b"a", b"b"]
    assert 9_000 < parser.others < 11_000


def test_data_of_an_error_with_too_many_values_are_left_out() -> None:
    assert bounded_data({"a": [1] * 1_000}) == {"a": [1] * 1_000}
    assert bounded_data([[]] * 10_000) is None
    assert bounded_data("x" * 10_000) == "x" * 10_000


def test_a_rate_begins_again_with_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("portal.upstream.transports.bounds.time.monotonic", lambda: now)
    rate = PerSecond(2)
    assert [rate.exceeded() for _ in range(3)] == [False, False, True]
    now = 1.0
    assert not rate.exceeded(2)
    assert rate.exceeded()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"\ud83d\ude00", "😀"),
        (rb"\ud83d", "\ufffd"),
        (rb"\ude00", "\ufffd"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\\ud83d", r"\ud83d"),
        (b"\xff\xc3\xa4", "\ufffdä"),
    ],
)
def test_letters_that_are_none_are_replaced_in_small_and_large_texts(sent: bytes, read: str, large: bool) -> None:
    times = 20_000 if large else 1
    # With one that has to be replaced, or it would be read as it is.
    text = b'["' + (b"x" + sent) * times + rb'", "\ud800"]'
    # Not `==` in the assertion: pytest would compare the long texts letter by letter.
    assert (decode(text) == [f"x{read}" * times, "\ufffd"]) is True
