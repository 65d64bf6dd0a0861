"""The spans of a row: a tree of ids, names and numbers, and nothing that is an argument, a result or a secret."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.logs import LogRow
from portal.observe import names
from portal.observe.keeping import Keeping
from portal.observe.spans import FAILED, encoded, request_of, spans_of
from tests.portal.logs.rows import row, rows
from tests.portal.observe.receiver import read

TRACE, SPAN, ABOVE = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "b7ad6b7169203331"


def spanned(**more: Any) -> LogRow:
    return row(**{"trace": TRACE, "span": SPAN, "parent_span": ABOVE, **more})


def test_a_call_is_the_agent_s_request_and_a_call_of_the_server() -> None:
    outer, inner = read(encoded([(spanned(), 0)], {"service.name": "x"}))
    assert (outer.kind, outer.id, outer.parent) == ("SERVER", request_of(SPAN), ABOVE)
    assert (inner.kind, inner.id, inner.parent) == ("CLIENT", SPAN, request_of(SPAN))
    assert outer.name == inner.name == "tools/call read"
    assert inner.raw.end_time_unix_nano - inner.raw.start_time_unix_nano == 1_500_000
    # The parent is elsewhere, and that of the other is not (OTLP, `Span.flags`).
    assert (outer.raw.flags, inner.raw.flags) == (0x301, 0x101)


def test_a_run_is_the_agent_s_request_and_a_run_and_a_call_of_it_is_one_span() -> None:
    run = spanned(kind="run", run="exec_1", server="", name="code", tokens_saved=12)
    call = spanned(run="exec_1", call=1, parent="exec_1", span="1" * 16, parent_span=SPAN)
    outer, inner, below = read(encoded([(run, 3), (call, 0)], {"service.name": "x"}))
    assert [span.kind for span in (outer, inner, below)] == ["SERVER", "INTERNAL", "CLIENT"]
    assert (inner.parent, below.parent) == (outer.id, inner.id)
    assert inner.attributes[names.TOKENS_SAVED] == 12 and inner.attributes[names.LEFT_OUT] == 3
    assert below.attributes[names.CALL] == 1 and below.attributes[names.RUN] == "exec_1"


def test_a_trace_that_begins_here_has_no_parent() -> None:
    outer, _ = read(encoded([(spanned(parent_span=""), 0)], {"service.name": "x"}))
    assert outer.parent == "" and outer.raw.flags == 0x101


@pytest.mark.parametrize("outcome", ["ok", "cancelled", *sorted(FAILED)])
def test_failures_are_errors_with_a_type_and_without_words(outcome: str) -> None:
    reason = "the policy says that Ada may not" if outcome == "denied" else "UpstreamTimeout"
    made = spanned(outcome=outcome, reason=reason, policy="only-staff", error_code=-32014)
    for span in read(encoded([(made, 0)], {"service.name": "x"})):
        assert (span.raw.status.code == 2) == (outcome in FAILED)
        assert span.raw.status.message == ""
        wanted = {"denied": "denied", "tool_error": "tool_error"}.get(outcome, "UpstreamTimeout")
        assert span.attributes.get(names.ERROR_TYPE) == (wanted if outcome in FAILED else None)
    assert span.attributes[names.POLICY] == "only-staff"


def test_no_uri_no_reason_of_a_policy_and_no_person_is_in_a_span() -> None:
    made = spanned(
        kind="resource",
        method="resources/read",
        name="notes://ada/a-secret-argument?token=x",
        identity="okta:1",
        email="ada@example.com",
        ip="203.0.113.9",
        country="AT",
        outcome="denied",
        reason="the words of a policy",
        findings=orjson.dumps([{"profile": "secrets", "path": "text", "hash": "fingerprint"}]).decode(),
    )
    text = encoded([(made, 0)], {"service.name": "x"}).decode()
    for word in ("secret", "notes:", "ada", "okta", "203.0", "AT", "words of", "fingerprint"):
        assert word not in text, word
    (outer, inner) = read(text.encode())
    assert outer.name == "resources/read" and inner.attributes[names.FINDINGS] == 1


def test_names_are_those_of_the_conventions() -> None:
    made = spanned(server_url="https://files.example.com/mcp", upstream_protocol="2026-07-28", protocol="2025-11-25")
    outer, inner = read(encoded([(made, 0)], {"service.name": "x"}))
    assert inner.attributes["mcp.method.name"] == "tools/call" and inner.attributes["gen_ai.tool.name"] == "read"
    assert inner.attributes["gen_ai.operation.name"] == "execute_tool"
    assert (inner.attributes["server.address"], inner.attributes["server.port"]) == ("files.example.com", 443)
    assert (outer.attributes["mcp.protocol.version"], inner.attributes["mcp.protocol.version"]) == (
        "2025-11-25",
        "2026-07-28",
    )
    (prompt, _) = read(encoded([(spanned(kind="prompt", method="prompts/get"), 0)], {"service.name": "x"}))
    assert prompt.name == "prompts/get read" and prompt.attributes["gen_ai.prompt.name"] == "read"


@given(st.lists(rows(), max_size=5), st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9), max_size=3))
def test_whatever_a_row_says_its_spans_are_valid(made: list[LogRow], resource: dict[str, str]) -> None:
    resource = {key: value for key, value in resource.items() if _writable(key + value)}
    fitting = [
        one._replace(trace=TRACE, span=SPAN, parent_span="", method=one.method or "m", at=abs(one.at) % 2**50 + 1)
        for one in made
    ]
    fitting = [one._replace(us=one.us % 2**40) for one in fitting]
    found = read(encoded([(one, 0) for one in fitting], {**resource, "service.name": "x"}))
    assert len(found) == sum(len(spans_of(one)) for one in fitting)


def _writable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# Which are kept


def test_a_share_of_the_traces_is_taken_by_their_ids_and_a_smaller_share_is_part_of_a_larger() -> None:
    def keeping(sample: float) -> Keeping:
        return Keeping(sample=sample, keep_errors=True, slow_us=10**9)

    ids = [f"{number * 0x9E3779B97F4A7C15 & (2**64 - 1):032x}" for number in range(1, 2001)]
    taken = {sample: {id for id in ids if keeping(sample).takes(id)} for sample in (0.0, 0.1, 0.5, 1.0)}
    assert taken[0.0] == set() and taken[1.0] == set(ids)
    assert taken[0.1] < taken[0.5]
    assert 150 < len(taken[0.1]) < 250 and 900 < len(taken[0.5]) < 1100


@pytest.mark.parametrize(
    ("changes", "errors", "stands_out"),
    [
        ({}, True, False),
        ({"us": 5_000_000}, True, True),
        ({"us": 5_000_000}, False, True),
        ({"us": 4_999_999}, True, False),
        *(({"outcome": outcome}, True, True) for outcome in sorted(FAILED)),
        ({"outcome": "timeout"}, False, False),
        ({"outcome": "cancelled"}, True, False),
        ({"findings": '[{"profile":"x"}]'}, True, True),
        ({"findings": '[{"profile":"x"}]'}, False, False),
    ],
)
def test_what_failed_was_slow_or_had_findings_stands_out(
    changes: dict[str, Any], errors: bool, stands_out: bool
) -> None:
    keeping = Keeping(sample=0, keep_errors=errors, slow_us=5_000_000)
    assert keeping.stands_out(spanned(**changes)) == stands_out
