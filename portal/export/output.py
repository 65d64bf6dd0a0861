"""How records are written: `output_options` of a job, in Logpush's shape, and the text of a batch. Pure.

Source: https://developers.cloudflare.com/logs/logpush/logpush-job/log-output-options/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from portal.export.record import FIELDS, THEIR_FIELDS, TIME, Record, Value
from portal.logs import StoredRow

TimestampFormat = Literal["unixnano", "unix", "rfc3339", "rfc3339ms", "rfc3339ns"]
Text = Annotated[str, Field(max_length=4096)]
_PLACE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_TEMPLATE_OR_BRACE = re.compile(r"\{\{|\}\}")


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in FIELDS:
            raise ValueError("has a name that is no field of this dataset")
    if len(set(names)) < len(names):
        raise ValueError("has a name twice")
    return names


def _fillable(template: str) -> str:
    if _TEMPLATE_OR_BRACE.search(_PLACE.sub("", template)):
        raise ValueError("may have fields as {{.FieldName}} only: no functions, conditions or loops")
    return template


class OutputOptions(BaseModel):
    """What of each record is written, and how. A member that is None has the default of its `output_type`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    batch_prefix: Text | None = None
    batch_suffix: Text | None = None
    cve_2021_44228: bool | None = Field(default=None, alias="CVE-2021-44228")
    field_delimiter: Text | None = None
    field_names: Annotated[tuple[str, ...], Field(max_length=len(FIELDS)), AfterValidator(_known)] | None = None
    merge_subrequests: bool | None = None
    output_type: Literal["ndjson", "csv"] | None = None
    record_delimiter: Text | None = None
    record_prefix: Text | None = None
    record_suffix: Text | None = None
    record_template: Annotated[Text, AfterValidator(_fillable)] | None = None
    sample_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    timestamp_format: TimestampFormat | None = None

    @model_validator(mode="after")
    def _can_be_done(self) -> OutputOptions:
        if self.merge_subrequests:
            raise ValueError("merge_subrequests is of other datasets")
        for name in _PLACE.findall(self.record_template or ""):
            if name not in self.names:
                raise ValueError("record_template has a field that is not in field_names")
        return self

    @property
    def names(self) -> Sequence[str]:
        """The fields that are written; the original's if the job names none."""
        return self.field_names or THEIR_FIELDS

    @property
    def is_plain(self) -> bool:
        """Whether nothing is set that says how text is written."""
        return all(getattr(self, name) in (None, False) for name in _OF_TEXT)

    def takes(self, stored: StoredRow) -> bool:
        """Whether a row is in the sample: always the same answer for the same row."""
        if self.sample_rate is None or self.sample_rate == 1:
            return True
        name = f"{stored.instance}/{stored.number}".encode()
        return int.from_bytes(blake2b(name, digest_size=8).digest(), "big") < self.sample_rate * 2**64


_OF_TEXT = (
    *("batch_prefix", "batch_suffix", "cve_2021_44228", "field_delimiter"),
    *("record_delimiter", "record_prefix", "record_suffix", "record_template"),
)
_LAST = 253_402_300_799
"""The last second of the year 9999, in which dates end."""


def options_of(logpull: str) -> OutputOptions:
    """The options in a `logpull_options`, which came before them: `fields=A,B&timestamps=rfc3339`.

    Raises:
        ValueError: it has something else, or a value that is none.
    """
    query = urlsplit(logpull).query if "?" in logpull else logpull
    members: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=20):
        match name:
            case "fields":
                members["field_names"] = tuple(part for part in value.split(",") if part)
            case "timestamps":
                members["timestamp_format"] = value
            case "sample":
                members["sample_rate"] = float(value)
            case "CVE-2021-44228":
                members["cve_2021_44228"] = value == "true"
            case _:
                raise ValueError("has a name that is none of fields, timestamps, sample, CVE-2021-44228")
    return OutputOptions.model_validate(members)


def formatted_time(microseconds: int, style: TimestampFormat) -> str | int:
    """A time, microseconds since 1970, in this format."""
    if style == "unixnano":
        return microseconds * 1000
    seconds, rest = divmod(microseconds, 1_000_000)
    if style == "unix":
        return seconds
    digits = {"rfc3339": "", "rfc3339ms": f".{rest // 1000:03d}", "rfc3339ns": f".{rest:06d}000"}[style]
    return f"{datetime.fromtimestamp(max(0, min(seconds, _LAST)), UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"


class Writer:
    """Writes records as the options say. `record` gives the bytes of one, `batch` those of several together."""

    def __init__(self, options: OutputOptions) -> None:
        self.options = options
        csv = options.output_type == "csv"
        self._style: TimestampFormat = options.timestamp_format or "rfc3339"
        self._delimiter = _given(options.field_delimiter, ",")
        self._between = _given(options.record_delimiter, "").encode()
        self._before = _given(options.batch_prefix, "").encode()
        self._after = _given(options.batch_suffix, "").encode()
        prefix, suffix = ("", "\n") if csv else ("{", "}\n")
        if options.record_template is not None:
            prefix, suffix = "", "\n"
        self._prefix = _given(options.record_prefix, prefix)
        self._suffix = _given(options.record_suffix, suffix)
        self._quoted: Callable[[Value], str] = self._cell if csv else _json
        self._has_names = not csv
        self._safe = bool(options.cve_2021_44228)
        # What nearly every job has is written at once.
        self._at_once = options.is_plain and not csv

    def record(self, record: Record) -> bytes:
        """The text of one record, whose fields are those of the options. `Datetime` is in microseconds."""
        if isinstance(at := record.get(TIME), int):
            record = {**record, TIME: formatted_time(at, self._style)}
        if self._at_once:
            return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        text = self._prefix + self._filled(record) + self._suffix
        if self._safe:
            text = text.replace("${", "x{")
        return text.encode("utf-8", "replace")

    def batch(self, records: Sequence[bytes]) -> bytes:
        return self._before + self._between.join(records) + self._after

    def _filled(self, record: Record) -> str:
        if (template := self.options.record_template) is not None:
            return _PLACE.sub(lambda found: self._quoted(record[found[1]]), template)
        if self._has_names:
            return self._delimiter.join(f'"{name}":{_json(value)}' for name, value in record.items())
        return self._delimiter.join(self._quoted(value) for value in record.values())

    def _cell(self, value: Value) -> str:
        """A value of a line of CSV (RFC 4180)."""
        if not isinstance(value, str):
            return _json(value)
        needs = any(part in value for part in ('"', "\n", "\r", self._delimiter or ",", self._suffix or "\n"))
        return '"' + value.replace('"', '""') + '"' if needs else value


def _given(value: str | None, default: str) -> str:
    return default if value is None else value


def _json(value: Value) -> str:
    return orjson.dumps(value).decode()
