"""Records, filters, texts and destinations: what is read is what was meant, and nothing outside breaks them."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.export import (
    FIELDS,
    THEIR_FIELDS,
    Audiences,
    DestinationInvalid,
    FilterInvalid,
    OutputOptions,
    Writer,
    read_destination,
    read_filter,
    record_of,
    shown_destination,
)
from portal.export.destination import HttpsDestination, OtlpDestination, S3Destination
from portal.export.otlp import log_record
from portal.export.output import formatted_time
from portal.logs import LogRow, StoredRow
from portal.logs.row import storable
from tests.portal.logs.rows import AT, row, rows

HUSH = "hush7f3a"


def stored(one: LogRow, id: int = 7) -> StoredRow:
    return StoredRow(id, "i", 3, one)


def test_a_call_is_a_record_of_the_nineteen_fields() -> None:
    call = row(
        us=12_600,
        portal="team",
        email="ada@example.com",
        ip="192.0.2.7",
        country="DE",
        session="5e55",
        server_url="https://files.example.com/mcp",
    )
    audiences = Audiences({"team": "of-team"}, {"files": "of-files"})
    assert record_of(stored(call), THEIR_FIELDS, audiences) == {
        "ClientCountry": "DE",
        "ClientIP": "192.0.2.7",
        "ColoCode": "",
        "Datetime": AT,
        "Error": "",
        "Method": "tools/call",
        "PortalAUD": "of-team",
        "PortalID": "team",
        "PromptGetName": "",
        "ResourceReadURI": "",
        "ServerAUD": "of-files",
        "ServerID": "files",
        "ServerResponseDurationMs": 13,
        "ServerURL": "https://files.example.com/mcp",
        "SessionID": "5e55",
        "Success": True,
        "ToolCallName": "read",
        "UserEmail": "ada@example.com",
        "UserID": "ada",
    }


@pytest.mark.parametrize(
    ("kind", "field"),
    [("tool", "ToolCallName"), ("run", "ToolCallName"), ("prompt", "PromptGetName"), ("resource", "ResourceReadURI")],
)
def test_what_was_called_is_in_the_field_of_its_kind(kind: Any, field: str) -> None:
    record = record_of(stored(row(kind=kind, name="x")), THEIR_FIELDS, Audiences())
    names = ("ToolCallName", "PromptGetName", "ResourceReadURI")
    assert {name: record[name] for name in names} == {name: "x" if name == field else "" for name in names}


@given(rows())
def test_any_row_that_is_stored_is_a_line_and_a_log_record(one: LogRow) -> None:
    record = record_of(stored(storable(one)), tuple(FIELDS), Audiences())
    for style in ("rfc3339", "rfc3339ms", "rfc3339ns", "unix", "unixnano"):
        text = Writer(OutputOptions(timestamp_format=style, field_names=tuple(FIELDS))).record(record)
        assert text.endswith(b"}\n") and text.count(b"\n") == 1 and list(json.loads(text)) == list(FIELDS)
    assert json.loads(json.dumps(log_record(record, THEIR_FIELDS)))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=3, max_size=3))
def test_any_text_is_one_cell_of_csv_and_one_place_of_a_template(texts: list[str]) -> None:
    names = ("UserID", "ServerID", "ToolCallName")
    record: Any = dict(zip(names, texts, strict=True))
    line = Writer(OutputOptions(output_type="csv", field_names=names)).record(record).decode()
    if texts != ["", "", ""]:
        assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [texts]
    options = OutputOptions(field_names=names, record_template='{"who": {{.UserID}}, "what": [{{ .ServerID }}]}')
    assert json.loads(Writer(options).record(record)) == {"who": texts[0], "what": [texts[1]]}
    own = OutputOptions(field_names=names, record_prefix='{"a":1,', record_suffix="}|", field_delimiter=", ")
    assert json.loads(Writer(own).record(record)[:-1]) == {"a": 1, **record}


def test_prefixes_delimiters_and_suffixes_are_where_they_belong() -> None:
    options = OutputOptions.model_validate(
        {
            "field_names": ("UserID",),
            "batch_prefix": "[",
            "batch_suffix": "]\n",
            "record_delimiter": ",",
            "record_suffix": "}",
            "CVE-2021-44228": True,
        }
    )
    writer = Writer(options)
    text = writer.batch([writer.record({"UserID": "${jndi:x}"}), writer.record({"UserID": "b"})])
    assert text == b'[{"UserID":"x{jndi:x}"},{"UserID":"b"}]\n'


@given(st.integers(0, 4 * 10**15))
def test_a_time_is_the_same_in_each_format(at: int) -> None:
    exact = formatted_time(at, "rfc3339ns")
    assert isinstance(exact, str) and exact.endswith("000Z")
    assert datetime.fromisoformat(exact[:-4] + "+00:00").timestamp() == pytest.approx(at / 1e6, abs=1e-5)
    assert formatted_time(at, "unixnano") == at * 1000 and formatted_time(at, "unix") == at // 10**6
    assert str(formatted_time(at, "rfc3339ms"))[:19] == str(formatted_time(at, "rfc3339"))[:19] == exact[:19]


@given(st.floats(0.01, 1), st.integers(1, 10**6))
def test_a_sample_takes_the_same_rows_each_time_and_more_at_a_higher_rate(rate: float, number: int) -> None:
    one = StoredRow(1, "i", number, row())
    taken = OutputOptions(sample_rate=rate).takes(one)
    assert taken is OutputOptions(sample_rate=rate).takes(one)
    assert OutputOptions(sample_rate=1).takes(one) and (
        not taken or OutputOptions(sample_rate=min(1, rate * 2)).takes(one)
    )


def where(key: str, operator: str, value: object) -> dict[str, object]:
    return {"key": key, "operator": operator, "value": value}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (where("ServerID", "eq", "files"), True),
        (where("ServerID", "!eq", "files"), False),
        (where("ServerID", "in", ["mail", "files"]), True),
        (where("ServerID", "!in", ["mail", "files"]), False),
        (where("ToolCallName", "startsWith", "re"), True),
        (where("ToolCallName", "!startsWith", "re"), False),
        (where("ToolCallName", "endsWith", "re"), False),
        (where("ToolCallName", "contains", "ea"), True),
        (where("ToolCallName", "!contains", "ea"), False),
        (where("ServerResponseDurationMs", "gt", 1), True),
        (where("ServerResponseDurationMs", "leq", 1), False),
        (where("BytesIn", "geq", 10), True),
        (where("BytesIn", "lt", 10), False),
        (where("Success", "eq", True), True),
        ({"and": [where("Success", "eq", True), where("ServerID", "eq", "mail")]}, False),
        ({"or": [where("Success", "eq", False), {"and": [where("ServerID", "eq", "files")]}]}, True),
    ],
)
def test_a_filter_says_which_records_are_wanted(condition: object, holds: bool) -> None:
    wanted = read_filter(json.dumps({"where": condition}))
    assert wanted.wants(record_of(stored(row()), wanted.keys, Audiences())) is holds


@pytest.mark.parametrize(
    "condition",
    [
        where("Nothing", "eq", 1),
        where("Datetime", "gt", 1),
        where("ServerID", "gt", "a"),
        where("ServerID", "eq", 1),
        where("Success", "eq", 1),
        where("BytesIn", "eq", True),
        where("BytesIn", "!gt", 1),
        where("BytesIn", "contains", 1),
        where("ServerID", "", "a"),
        where("ServerID", "in", []),
        where("ServerID", "in", "files"),
        {"and": []},
        {"and": [], "or": []},
        {"not": {}},
        [],
        {"or": [where("ServerID", "eq", "a")] * 101},
    ],
)
def test_what_is_no_filter_is_refused(condition: object) -> None:
    with pytest.raises(FilterInvalid):
        read_filter(json.dumps({"where": condition}))


def test_a_filter_has_a_depth() -> None:
    deep: object = where("ServerID", "eq", "a")
    for _ in range(20):
        deep = {"and": [deep]}
    for text in (json.dumps({"where": deep}), '{"where":' * 3000, "[" * 29_000, "x" * 40_000, '{"a": 1}', "null"):
        with pytest.raises(FilterInvalid):
            read_filter(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5))
def test_no_value_breaks_the_reading_of_a_filter(value: object) -> None:
    for document in (value, {"where": value}, {"where": where("ServerID", "in", value)}, {"where": {"and": value}}):
        try:
            read_filter(json.dumps(document))
        except FilterInvalid as error:
            assert "hush" not in str(error)


def test_destinations_are_read_whole() -> None:
    https = read_destination("https://a.example:8443/in?x=1&header_Authorization=Basic%20YQ%3D%3D&y=%2F")
    assert https == HttpsDestination("https://a.example:8443/in?x=1&y=%2F", {"Authorization": "Basic YQ=="})
    assert read_destination("otlp://a.example") == OtlpDestination("https://a.example/v1/logs")
    assert read_destination("otlp://a.example:4318/x?insecure=true") == OtlpDestination("http://a.example:4318/x")
    s3 = read_destination("s3://logs/a/{DATE}?region=eu-central-1&access-key-id=AK&secret-access-key=a%2Fb+c")
    assert s3 == S3Destination(
        "logs", "a/{DATE}", "eu-central-1", "https://s3.eu-central-1.amazonaws.com", "AK", "a/b+c"
    )


SECRETIVE = [
    f"https://a.example/{HUSH}",
    f"https://a.example/?{HUSH}",
    f"https://a.example/?{HUSH}={HUSH}",
    f"https://a.example/in?key={HUSH}&header_Authorization={HUSH}",
    f"otlp://a.example/{HUSH}?header_x={HUSH}",
    f"s3://b/p?region=r&endpoint=https://e.example&access-key-id={HUSH}&secret-access-key={HUSH}",
    f"https://{HUSH}:{HUSH}@a.example/",
    f"https://a.example/{HUSH}#{HUSH}",
    f"s3://b?endpoint=https://{HUSH}@e.example",
    f"ftp://a.example/?{HUSH}",
]


@pytest.mark.parametrize("text", SECRETIVE)
def test_no_secret_of_a_destination_is_shown_or_said(text: str) -> None:
    assert HUSH not in shown_destination(text)
    try:
        assert HUSH not in repr(read_destination(text))
    except DestinationInvalid as error:
        assert HUSH not in str(error)


@given(st.text(max_size=60) | st.sampled_from(SECRETIVE).flatmap(lambda text: st.text(max_size=9).map(text.__add__)))
def test_no_text_breaks_the_reading_of_a_destination(text: str) -> None:
    assert isinstance(shown_destination(text), str)
    try:
        read_destination(text)
    except DestinationInvalid:
        pass


@pytest.mark.parametrize(
    "text",
    [
        "https://",
        "https:///in",
        "https://a.example/?header_Content-Length=1",
        "https://a.example/?header_a=1&header_A=2",
        "https://a.example/?header_=1",
        "https://a.example/?header_x=%C3%A4",
        "otlp://a.example?x=1",
        "s3://b/a//b?region=r&access-key-id=a&secret-access-key=b",
        "s3://b/../b?region=r&access-key-id=a&secret-access-key=b",
        "s3://b/a?region=r&access-key-id=a&secret-access-key=b&endpoint=https://e.example/path",
        "s3://b/a?region=r&region=s&access-key-id=a&secret-access-key=b",
        "file://host/var/log",
        "file:///",
        "file:///var/../etc",
        "file:relative",
        "https://a.example/" + "x" * 5000,
        "https://a.example/ x",
        "https://a.example\\@b.example/",
    ],
)
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(DestinationInvalid):
        read_destination(text)
