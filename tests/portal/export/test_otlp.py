"""Log records of OpenTelemetry: what arrives is what the protocol's own messages say, and rejected ones are counted."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from portal.export.otlp import logs_body, rejected, severity
from portal.logs import LogPlace
from tests.portal.export.exporting import exporting
from tests.portal.export.receivers import receiver

pytestmark = pytest.mark.anyio

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def parsed(text: str) -> ExportLogsServiceRequest:
    """The request in a body. In OTLP's JSON ids are hexadecimal, in that of protocol buffers they are base64."""
    document = json.loads(text)
    for record in records(document):
        for name in ("traceId", "spanId"):
            if name in record:
                record[name] = base64.b64encode(bytes.fromhex(record[name])).decode()
    request = ExportLogsServiceRequest()
    json_format.ParseDict(document, request)
    return request


def records(document: Any) -> Any:
    return document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]


async def test_rows_arrive_as_log_records(place: LogPlace, tmp_path: Path) -> None:
    async with receiver() as sink, exporting(place, tmp_path) as portal:
        sink.answer = b"{}"
        await portal.write(0, 2, trace=TRACE, span=SPAN)
        await portal.write(2, 3, outcome="denied", reason="not for you")
        await portal.write(3, 4, outcome="timeout", trace="0" * 32)
        address = sink.url.removeprefix("http://")
        names = ["ServerID", "Success", "ServerResponseDurationMs", "Error", "Datetime"]
        await portal.make("1", f"otlp://{address}?insecure=true&header_x-key=k", output_options={"field_names": names})
        assert (await portal.all_delivered()).rows == 4
    assert {one.path for one in sink.requests} == {"/v1/logs"}
    assert {one.headers["content-type"] for one in sink.requests} == {"application/json"}
    assert sink.requests[0].headers["x-key"] == "k"
    found = [record for one in sink.stored for record in parsed(one.text).resource_logs[0].scope_logs[0].log_records]
    assert [record.severity_text for record in found] == ["INFO", "INFO", "WARN", "ERROR"]
    assert [record.trace_id.hex() for record in found] == [TRACE, TRACE, "", ""]
    assert [record.span_id.hex() for record in found] == [SPAN, SPAN, "", ""]
    assert (
        found[0].body.string_value == "tools/call files.read ok"
        and found[0].time_unix_nano == 1_796_000_000_000_000_000
    )
    of_third = {one.key: one.value for one in found[2].attributes}
    assert list(of_third) == [f"mcp_portal.{name}" for name in names[:-1]]
    assert of_third["mcp_portal.Error"].string_value == "not for you"
    assert of_third["mcp_portal.Success"].bool_value is False
    assert of_third["mcp_portal.ServerResponseDurationMs"].int_value == 2
    resource = {
        one.key: one.value.string_value for one in parsed(sink.stored[0].text).resource_logs[0].resource.attributes
    }
    assert resource["service.name"] == "codemode-portal" and resource["codemode.export.job"] == "1"


async def test_records_that_the_receiver_rejects_are_counted_and_not_sent_again(
    place: LogPlace, tmp_path: Path
) -> None:
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = 2
    async with receiver() as sink, exporting(place, tmp_path) as portal:
        sink.answer = json_format.MessageToJson(answer).encode()
        await portal.write(0, 5)
        address = sink.url.removeprefix("http://")
        await portal.make("1", f"otlp://{address}?insecure=true")
        done = await portal.all_delivered()
        assert (done.rows, done.refused_rows, done.error, len(sink.requests)) == (3, 2, "", 1)
        assert [one.rows for one in await portal.jobs.refusals("1")] == [2]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"partialSuccess": []}',
        b'{"partialSuccess": {"rejectedLogRecords": "x"}}',
        b"\xff",
    ],
)
def test_an_answer_that_says_nothing_rejects_nothing(answer: bytes) -> None:
    assert rejected(answer) == 0


def test_an_empty_request_is_one() -> None:
    assert len(parsed(logs_body([], "1").decode()).resource_logs) == 1


def test_every_outcome_has_its_severity() -> None:
    assert [severity(one)[1] for one in ("ok", "cancelled", "unavailable")] == ["INFO", "WARN", "ERROR"]
