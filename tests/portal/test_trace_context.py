"""W3C Trace Context and Baggage as they come in and go out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.trace_context import (
    MAX_STATE,
    RANDOM,
    SAMPLED,
    TraceContext,
    found_in,
    new_span,
    new_trace,
    parse,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
OTHER = f"00-{'1' * 32}-{'2' * 16}-00"
digits = st.text("0123456789abcdef")


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARENT[:-1],
        PARENT + "0",
        PARENT + "-more",
        PARENT.upper(),
        f" {PARENT}",
        f"{PARENT}\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}-١١",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_a_traceparent_that_is_not_valid_counts_as_not_there(text: str) -> None:
    assert parse(text, "a=1") is None


@pytest.mark.parametrize("text", [PARENT, f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-later"])
def test_of_a_later_version_the_known_parts_are_read_and_version_00_is_written(text: str) -> None:
    found = parse(text)
    assert found == TraceContext(TRACE, SPAN, SAMPLED)
    assert found is not None and found.traceparent == PARENT


def test_flags_that_nobody_knows_are_not_passed_on() -> None:
    found = parse(f"00-{TRACE}-{SPAN}-ff")
    assert found is not None and found.flags == SAMPLED | RANDOM
    assert found.traceparent.endswith("-03")


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (" rojo=1 ,\t,congo=2,", "rojo=1,congo=2"),
        ("fw529a3039@dt=FfffBw==", ""),
        ("fw529a3039@dt=Fff;Bw", "fw529a3039@dt=Fff;Bw"),
        ("1a@b=x", "1a@b=x"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a=", ""),
        ("a", ""),
        ("a=b\r\nx: y", ""),
        ("a=é", ""),
        (",".join(f"k{n}=v" for n in range(32)), ",".join(f"k{n}=v" for n in range(32))),
        (",".join(f"k{n}=v" for n in range(33)), ""),
        ("a=" + "x" * 9000, ""),
    ],
)
def test_a_tracestate_goes_on_if_it_is_valid_and_the_parent_stays_either_way(state: str, kept: str) -> None:
    found = parse(PARENT, state)
    assert found is not None and found.state == kept and found.span == SPAN


def test_of_a_long_tracestate_long_entries_go_first_and_then_the_last() -> None:
    entries = [f"k{n}={'x' * 60}" for n in range(7)]
    found = parse(PARENT, ",".join([f"long={'y' * 200}", *entries]))
    assert found is not None and found.state.split(",") == entries
    many = parse(PARENT, ",".join(f"k{n}={'x' * 60}" for n in range(20)))
    assert many is not None and len(many.state) <= MAX_STATE and many.state.startswith("k0=")


def test_what_meta_says_wins_and_what_is_not_valid_there_gives_way_to_the_headers() -> None:
    headers = [(b"traceparent", OTHER.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    assert found_in(headers, {}) == TraceContext("1" * 32, "2" * 16, 0, "a=1,b=2")
    assert found_in(headers, {"traceparent": PARENT}) == TraceContext(TRACE, SPAN, SAMPLED)
    for bad in ("00-no", 5, None, [PARENT], {"a": 1}):
        assert found_in(headers, {"traceparent": bad, "tracestate": "c=3"}) == found_in(headers, {})
    assert found_in([*headers, (b"traceparent", OTHER.encode())], {}) is None
    assert found_in([(b"tracestate", b"a=1")], {"tracestate": "a=1"}) is None


def test_baggage_is_read_only_where_it_is_asked_for_and_told_only_to_servers_that_are_named() -> None:
    meta = {"traceparent": PARENT, "baggage": "who=ada"}
    assert getattr(found_in([], meta), "baggage", None) == ""
    found = found_in([], meta, baggage=True)
    assert found is not None and found.baggage == "who=ada"
    assert "baggage" not in found.for_server("one").members()
    allowed = TraceContext(TRACE, SPAN, baggage="who=ada", baggage_to=frozenset({"one"}))
    assert allowed.for_server("one").members()["baggage"] == "who=ada"
    assert "baggage" not in allowed.for_server("two").members()
    everywhere = TraceContext(TRACE, SPAN, baggage="who=ada", baggage_to=frozenset({"*"}))
    assert everywhere.for_server("two").members()["baggage"] == "who=ada"
    for bad in ("a=1\r\nx: y", "é=1", "a" * 9000, 7):
        assert getattr(found_in([], {**meta, "baggage": bad}, baggage=True), "baggage", None) == ""


def test_a_recorded_place_gives_each_call_a_span_of_its_own_and_another_goes_on_as_it_came() -> None:
    place = TraceContext(TRACE, SPAN, SAMPLED, "a=1")
    assert place.for_server("one").members() == {"traceparent": PARENT, "tracestate": "a=1"}
    recorded = TraceContext(TRACE, SPAN, SAMPLED, "a=1", recorded=True)
    one, two = recorded.for_server("one"), recorded.for_server("one")
    assert len({one.span, two.span, SPAN}) == 3 and one.trace == TRACE and one.state == "a=1"


def test_new_ids_are_valid() -> None:
    for _ in range(100):
        assert parse(f"00-{new_trace()}-{new_span()}-00") is not None


@given(st.one_of(st.text(), st.builds("00-{}-{}-{}".format, digits, digits, digits)), st.text())
def test_whatever_comes_in_what_goes_out_is_valid(parent: str, state: str) -> None:
    found = parse(parent, state)
    if found is None:
        return
    again = parse(found.traceparent, found.state)
    assert again == found
    for value in found.members().values():
        assert value.isascii() and value.isprintable()


@given(
    st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate", b"baggage", b"x"]), st.binary(max_size=70))),
    st.dictionaries(
        st.sampled_from(["traceparent", "tracestate", "baggage"]),
        st.one_of(st.text(), st.just(PARENT), st.integers(), st.none(), st.lists(st.text())),
    ),
)
def test_no_header_and_no_meta_breaks_the_reading(headers: list[tuple[bytes, bytes]], meta: dict[str, object]) -> None:
    found = found_in(headers, meta, baggage=True)
    assert found is None or parse(found.traceparent, found.state) is not None
