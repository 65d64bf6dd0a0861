"""Log records of OpenTelemetry, as JSON over HTTP.

Source: https://opentelemetry.io/docs/specs/otlp/ (OTLP/HTTP, "JSON Protobuf Encoding") and
opentelemetry/proto/collector/logs/v1/logs_service.proto. Numbers of 64 bits are texts, ids of traces hexadecimal.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import orjson

from portal.errors import Outcome
from portal.export.destination import OtlpDestination
from portal.export.over_http import Requests, compressed
from portal.export.record import DATASET, TIME, Record, Value
from portal.export.sending import ExportBatch
from portal.version import portal_version

NEEDED = (TIME, "Kind", "Method", "Name", "Outcome", "ServerID", "TraceID", "SpanID", "RowID")
"""The fields that a log record is made of; those that are exported are its attributes."""
INFO, WARN, ERROR = (9, "INFO"), (13, "WARN"), (17, "ERROR")
_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN = re.compile(r"(?!0{16})[0-9a-f]{16}")
_WARNINGS: tuple[Outcome, ...] = ("denied", "cancelled", "tool_error")


class OtlpSender:
    """One POST for each batch, whose rows have the texts of `record_text`."""

    def __init__(self, destination: OtlpDestination, requests: Requests, *, job: str) -> None:
        self._destination = destination
        self._requests = requests
        self._job = job
        self._headers = {**destination.headers, "content-encoding": "gzip", "content-type": "application/json"}

    async def send(self, batch: ExportBatch) -> int:
        body = await asyncio.to_thread(lambda: compressed(logs_body([row.text for row in batch.rows], self._job)))
        headers = {**self._headers, "idempotency-key": batch.key}
        answer = await self._requests.send("POST", self._destination.url, headers, body)
        return min(rejected(answer.body), len(batch.rows))

    async def try_out(self) -> None:
        await self._requests.send("POST", self._destination.url, self._headers, compressed(logs_body([], self._job)))

    async def aclose(self) -> None:
        await self._requests.aclose()


def logs_body(records: Sequence[bytes], job: str) -> bytes:
    """An ExportLogsServiceRequest of these LogRecords."""
    resource = {"service.name": "codemode-portal", "codemode.export.job": job, "codemode.dataset": DATASET}
    attributes = orjson.dumps([_attribute(name, value) for name, value in resource.items()])
    scope = orjson.dumps({"name": "codemode-portal", "version": portal_version()})
    return b"".join(
        (
            b'{"resourceLogs":[{"resource":{"attributes":%b},"scopeLogs":[{"scope":%b,"logRecords":['
            % (attributes, scope),
            b",".join(records),
            b"]}]}]}",
        )
    )


def record_text(record: Record, names: Sequence[str]) -> bytes:
    """The LogRecord of a row as JSON. Its record has the fields `NEEDED`; those of `names` become attributes."""
    return orjson.dumps(log_record(record, names))


def log_record(record: Record, names: Sequence[str]) -> dict[str, object]:
    """The LogRecord of a row."""
    number, text = severity(str(record["Outcome"]))
    called = ".".join(part for part in (str(record["ServerID"]), str(record["Name"])) if part)
    made: dict[str, object] = {
        "timeUnixNano": str(max(0, int(record[TIME]) * 1000)),
        "observedTimeUnixNano": str(max(0, int(record["RowID"]) * 1000)),
        "severityNumber": number,
        "severityText": text,
        "body": {"stringValue": f"{record['Method']} {called} {record['Outcome']}"},
        "attributes": [_attribute(f"mcp_portal.{name}", record[name]) for name in names if name != TIME],
    }
    if _TRACE.fullmatch(str(record["TraceID"])):
        made["traceId"] = record["TraceID"]
        if _SPAN.fullmatch(str(record["SpanID"])):
            made["spanId"] = record["SpanID"]
    return made


def severity(outcome: str) -> tuple[int, str]:
    """The number and the name of the severity of a row with this outcome."""
    if outcome == "ok":
        return INFO
    return WARN if outcome in _WARNINGS else ERROR


def rejected(answer: bytes) -> int:
    """How many records the receiver says it did not take (`partialSuccess`). They are not to be sent again."""
    try:
        document = orjson.loads(answer or b"{}")
        number = document["partialSuccess"]["rejectedLogRecords"]
        return max(0, int(number))
    except (ValueError, LookupError, TypeError):
        return 0


def _attribute(name: str, value: Value) -> dict[str, object]:
    if isinstance(value, bool):
        return {"key": name, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": name, "value": {"intValue": str(value)}}
    return {"key": name, "value": {"stringValue": value}}
