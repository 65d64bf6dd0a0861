"""The pure parts of a connection: event streams, JSON, protocol metadata, listings, backoff."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from portal.errors import ResponseInvalid, RpcError
from portal.exact import encode
from portal.upstream import CallContext, DownstreamClient, Introduction
from portal.upstream.backoff import GOOD_LIFE, LONGEST, Backoff
from portal.upstream.listing import MAX_DEPTH, fetch
from portal.upstream.transports.bounds import too_deep
from portal.upstream.transports.event_stream import EventParser, EventTooLarge
from portal.upstream.transports.protocol import (
    Agreement,
    agreement_from_discover,
    agreement_from_initialize,
    outgoing_headers,
    outgoing_params,
)
from portal.upstream.transports.wire import decode, first_words, message_in, result_in, rpc_error, snippet, tail
from tests.strategies import FINITE, json_values

pytestmark = pytest.mark.anyio
PORTAL = Introduction(info={"name": "portal", "version": "1"})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# Event streams

pieces = st.sampled_from(
    ["data: a", "data:b", "data", "event: message", "event: other", "id: 7", "retry: 50", ": comment", "", "", "x: y"]
)
endings = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.tuples(pieces, endings), max_size=30), st.integers(1, 9))
def test_events_are_those_a_known_parser_finds_however_they_are_cut(lines: list[tuple[str, str]], cut: int) -> None:
    text = "".join(line + ending for line, ending in lines)
    parser = EventParser(10_000)
    data = text.encode()
    ours = [event for start in range(0, len(data), cut) for event in parser.feed(data[start : start + cut])]
    request = httpx2.Request("GET", "http://upstream")
    response = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data, request=request)
    theirs = list(httpx2.EventSource(response))
    # A stream that ends in the middle of a line ending: the known parser then invents one.
    complete = [event for event in theirs if event.data]
    found = [(event.name, event.data.decode(), event.id) for event in ours if event.data]
    assert found == [(event.event, event.data, event.id) for event in complete][: len(found)]
    assert len(complete) - len(found) in (0, 1)


def test_an_event_has_its_name_data_id_and_retry() -> None:
    data = "\ufeffretry: 20\nid: 1\nevent: note\ndata: a\ndata: é\n\n: ping\n\ndata: next\n\n".encode()
    events = list(EventParser(1000).feed(data))
    assert [(event.name, event.data, event.id, event.retry) for event in events] == [
        ("note", "a\né".encode(), "1", 20),
        ("message", b"next", "1", None),
    ]


@pytest.mark.parametrize(
    "flood", [b"data: " + b"x" * 2000, b"data: x\n" * 500, b"x" * 2000, b": c\n" * 2 + b"y" * 2000]
)
def test_an_event_over_its_bound_ends_the_parsing(flood: bytes) -> None:
    parser = EventParser(1000)
    with pytest.raises(EventTooLarge):
        for start in range(0, len(flood), 100):
            list(parser.feed(flood[start : start + 100]))


def test_many_events_within_the_bound_and_comments_between_them_pass() -> None:
    parser = EventParser(100)
    assert len([event for _ in range(1000) for event in parser.feed(b": ping\ndata: x\n\n")]) == 1000


# JSON

VALUES = json_values(st.integers(), FINITE, st.text())


@given(VALUES)
def test_values_survive_being_sent_and_read(value: Any) -> None:
    assert json.loads(encode(value)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    try:
        decode(data)
    except ValueError:
        pass


def test_lone_surrogates_become_replacement_characters() -> None:
    assert decode(b'{"a\\ud800": ["x\\udfff", "\\ud83d\\ude00"]}') == {"a\ufffd": ["x\ufffd", "\U0001f600"]}
    assert json.loads(encode({"a": "\ud800"})) == {"a": "\ud800"}


def test_a_byte_that_is_not_utf_8_becomes_a_replacement_character() -> None:
    assert decode(b'{"a": "h\xe9llo"}') == {"a": "h\ufffdllo"}
    assert decode(b'["\xff", 123456789012345678901234567890]') == ["\ufffd", 123456789012345678901234567890]


ESCAPES = [
    "\\\\",
    '\\"',
    "\\n",
    "\\u0041",
    "\\ud800",
    "\\uDBFF",
    "\\udc00",
    "\\uDFFF",
    "u",
    "ud800",
    "\u00e9",
    "\U0001f600",
    "x",
]


@given(st.lists(st.sampled_from(ESCAPES)))
def test_only_what_is_lone_is_replaced_whatever_stands_beside_it(parts: list[str]) -> None:
    written = f'["{"".join(parts)}"]'
    expected = json.loads(written)[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert decode(written) == [expected]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "[" * 5000 + "]" * 5000, ""])
def test_what_json_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text.encode())


@given(VALUES)
def test_any_message_is_a_result_an_error_or_nothing(value: Any) -> None:
    message = message_in(encode(value))
    if message is not None:
        try:
            found = result_in(message, 1)
        except RpcError:
            return
        assert found is None or isinstance(found, dict)


def test_an_error_object_is_taken_as_it_is() -> None:
    assert rpc_error({"code": True, "message": "x"}) is None
    assert rpc_error("no") is None
    error = rpc_error({"code": -1, "message": 5, "data": [1]})
    assert error is not None and (error.code, error.message, error.data) == (-1, "5", [1])


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"message": {"text": "no such file"}}, '{"text":"no such file"}'),
        ({"message": ["no", "such"]}, '["no","such"]'),
        ({"message": True}, "true"),
        ({"message": 2**64}, "18446744073709551616"),
        ({"message": None}, ""),
        ({}, ""),
        ({"msg": "no such file", "data": 1}, '{"msg":"no such file"}'),
        ({"message": None, "details": ["a"]}, '{"details":["a"]}'),
        ({"message": "no such file", "msg": "other"}, "no such file"),
    ],
)
def test_an_error_says_what_its_message_is_in_any_form(members: dict[str, Any], says: str) -> None:
    error = rpc_error({"code": -1, **members})
    assert error is not None and error.message == says


def test_a_message_of_another_form_is_bounded() -> None:
    error = rpc_error({"code": -1, "message": ["x " * 100_000]})
    assert error is not None and 1_990 < len(error.message) <= 2_000


@given(st.text(alphabet="ab \n,", max_size=60), st.integers(1, 40))
def test_what_is_cut_off_is_never_half_a_word(text: str, length: int) -> None:
    for cut, shown in ((first_words(text, length), 1), (tail(text, length), -1)):
        assert len(cut) <= length
        kept = re.findall(r"[ab]+", cut)
        assert kept == re.findall(r"[ab]+", text)[::shown][: len(kept)][::shown]


def test_an_error_in_our_own_words_names_its_server() -> None:
    error = ResponseInvalid("the answer is not JSON")
    assert error.full_message == "the answer is not JSON"
    error.server = "files"
    assert error.full_message == "The server 'files': the answer is not JSON"
    named = ResponseInvalid("The server 'files' answered nothing.", server="files")
    assert named.full_message == named.message
    assert RpcError(-1, "no such file", server="files").full_message == "no such file"
    assert "'files' answered with the error -1" in RpcError(-1, "", server="files").full_message


@given(st.binary(max_size=2000), st.text(min_size=6, max_size=20))
def test_a_snippet_is_one_short_line_without_secrets(data: bytes, secret: str) -> None:
    found = snippet(data + secret.encode("utf-8", "replace"), [secret])
    assert len(found) <= 200
    assert "\n" not in found


# Protocol


def test_a_modern_request_is_stamped_with_the_client_it_is_made_for() -> None:
    context = CallContext(
        client=DownstreamClient(key="k", info={"name": "them"}, capabilities={"roots": {}}),
        meta={
            "traceparent": "t",
            "of/theirs": "t",
            "progressToken": "theirs",
            "codemode/idempotencyKey": "theirs",
            "io.modelcontextprotocol/clientInfo": {"name": "forged"},
        },
        headers={"Mcp-Param-Region": "eu", "authorization": "secret"},
    )
    made = {"name": "x", "_meta": {"codemode/idempotencyKey": "theirs"}}
    params = outgoing_params(made, LATEST_MODERN_VERSION, PORTAL, context, 5)
    assert params["_meta"] == {
        "of/theirs": "t",
        "progressToken": 5,
        "io.modelcontextprotocol/protocolVersion": LATEST_MODERN_VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "them"},
        "io.modelcontextprotocol/clientCapabilities": {"roots": {}},
    }
    assert outgoing_headers("tools/call", params, LATEST_MODERN_VERSION, context) == {
        "mcp-protocol-version": LATEST_MODERN_VERSION,
        "mcp-method": "tools/call",
        "mcp-name": "x",
        "Mcp-Param-Region": "eu",
    }


@pytest.mark.parametrize("version", [LATEST_MODERN_VERSION, LATEST_HANDSHAKE_VERSION])
def test_a_call_that_may_be_repeated_has_the_key_of_the_portal_and_no_other(version: str) -> None:
    context = CallContext(meta={"codemode/idempotencyKey": "theirs"})
    context.facts.repeat_key = "ours"
    meta = outgoing_params({"name": "x"}, version, PORTAL, context, None)["_meta"]
    assert isinstance(meta, dict) and meta["codemode/idempotencyKey"] == "ours"


def test_a_legacy_request_carries_only_what_was_passed_on() -> None:
    context = CallContext(client=DownstreamClient(key="k", info={"name": "them"}), meta={"progressToken": 1})
    assert outgoing_params({"name": "x"}, LATEST_HANDSHAKE_VERSION, PORTAL, context, None) == {"name": "x"}
    headers = outgoing_headers("tools/call", {"name": "x"}, LATEST_HANDSHAKE_VERSION, context)
    assert headers == {"mcp-protocol-version": LATEST_HANDSHAKE_VERSION}


@given(st.dictionaries(st.sampled_from(["protocolVersion", "supportedVersions", "capabilities", "_meta"]), VALUES))
def test_any_answer_to_the_first_request_is_an_agreement_or_refused(result: Mapping[str, Any]) -> None:
    assert agreement_from_discover(result) is None or LATEST_MODERN_VERSION in result["supportedVersions"]
    try:
        agreement = agreement_from_initialize(result)
    except ResponseInvalid:
        return
    assert not agreement.modern


# Listings


async def pages(result: Any) -> Any:
    async def request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return result if method == "tools/list" else {}

    agreement = Agreement(version=LATEST_MODERN_VERSION, capabilities={"tools": {}, "prompts": {}})
    return await fetch(request, agreement, max_items=100)


@pytest.mark.parametrize("result", [{}, {"tools": {}}, {"tools": "x"}])
async def test_a_list_that_is_none_is_an_error(result: Mapping[str, Any]) -> None:
    with pytest.raises(ResponseInvalid):
        await pages(result)


async def test_a_failing_list_of_prompts_does_not_cost_the_tools() -> None:
    listing = await pages({"tools": [{"name": "a", "inputSchema": {"type": "object"}}]})
    assert list(listing.by_name) == ["a"]
    assert any("prompts/list failed" in note for note in listing.skipped)


async def test_arguments_that_travel_in_headers_are_known_from_the_schema() -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    listing = await pages({"tools": [{"name": "a", "inputSchema": schema}]})
    assert listing.mirrored == {"a": {("region",): "Region"}}


@given(st.lists(VALUES, max_size=10))
async def test_any_items_are_used_or_named(items: list[Any]) -> None:
    listing = await pages({"tools": items})
    assert len(listing.tools) + len([note for note in listing.skipped if "tools/list" in note]) == len(items)


def test_depth_is_measured_without_recursion() -> None:
    nested: list[Any] = [[1]]
    for depth in range(100_000):
        nested.append({"a": nested[-1]} if depth % 2 else [nested[-1]])
    assert not too_deep(nested[MAX_DEPTH - 1], MAX_DEPTH)
    assert too_deep(nested[MAX_DEPTH], MAX_DEPTH)
    assert too_deep(nested[-1], MAX_DEPTH)
    while nested:  # Dropped whole it would overflow the interpreter's own stack.
        nested.pop()


# Backoff


def test_pauses_grow_to_their_maximum_and_begin_anew_after_a_good_life() -> None:
    backoff = Backoff(jitter=random.Random(1))
    pauses = [backoff.failed(0, 0) for _ in range(12)]
    assert pauses[0] < 1 < pauses[3] < pauses[6]
    assert all(pause <= LONGEST * 1.2 for pause in pauses)
    breaker = [backoff.open]
    backoff.opened()
    breaker.append(backoff.open)
    assert breaker == [True, False]
    assert backoff.failed(0, 1) > 1, "a link that died at once is no reason to hurry"
    assert backoff.failed(0, GOOD_LIFE) < 1
