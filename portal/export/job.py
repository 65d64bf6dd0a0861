"""A job: what is stored of it, and what it says to do."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from portal.export.destination import (
    DestinationInvalid,
    ExportDestination,
    FileDestination,
    OtlpDestination,
    S3Destination,
    read_destination,
)
from portal.export.output import OutputOptions, Writer
from portal.export.record import DATASET
from portal.export.wanted import FilterInvalid, RowFilter, read_filter
from portal.objects import Document
from portal.state import Kind, Stored

MAX_BATCH_ROWS = 5_000
MAX_BATCH_BYTES = 2 * 1024 * 1024
"""The largest batch, before it is compressed. Jobs may ask for smaller ones."""
_INTERVAL, _OBJECT_INTERVAL = 1.0, 30.0
_FREQUENCIES: Mapping[str, float] = {"high": 30.0, "low": 300.0}

OnRefused = Literal["skip", "stop"]


class ExportJobDocument(Document):
    """`destination` is as people see it: whole, with its secrets, it is the secret of the object. `on_refused` (ours)
    says what happens when the receiver refuses a batch for good, `start_at` (ours) from when on rows are exported, if
    that is not when the job was made."""

    name: str = ""
    enabled: bool = False
    destination: str = ""
    filter: str = ""
    output_options: Mapping[str, object] | None = None
    logpull_options: str | None = None
    frequency: Literal["high", "low"] | None = None
    max_upload_bytes: int = Field(default=0, ge=0)
    max_upload_interval_seconds: int = Field(default=0, ge=0)
    max_upload_records: int = Field(default=0, ge=0)
    on_refused: OnRefused = "skip"
    start_at: AwareDatetime | None = None


EXPORT_JOB = Kind("export_job", ExportJobDocument)


class JobInvalid(ValueError):
    """A job cannot run. The message says why, and quotes nothing of its destination."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The largest batch, and how many seconds there are between two that are not full."""

    rows: int = MAX_BATCH_ROWS
    bytes: int = MAX_BATCH_BYTES
    interval: float = _INTERVAL


@dataclass(frozen=True, slots=True)
class ExportJob:
    """What a job does. `start` is the id of the row behind which it begins: the time when it was made. `shown` is its
    destination without secrets."""

    id: str
    revision: int
    start: int
    destination: ExportDestination = field(repr=False)
    shown: str
    wanted: RowFilter = RowFilter()
    writer: Writer = field(default_factory=lambda: Writer(OutputOptions()))
    limits: BatchLimits = BatchLimits()
    on_refused: OnRefused = "skip"

    @property
    def stream(self) -> str:
        """What the names of its batches begin with."""
        return f"{DATASET}-{self.id}"


def read_job(stored: Stored[ExportJobDocument], secret: bytes | None) -> ExportJob:
    """The job that is stored. `secret` is its destination.

    Raises:
        JobInvalid: it cannot run.
    """
    document = stored.document
    try:
        destination = read_destination((secret or b"").decode())
        wanted = read_filter(document.filter)
        options = OutputOptions.model_validate(document.output_options or {})
    except ValidationError:
        raise JobInvalid("its output_options are not valid") from None
    except (DestinationInvalid, FilterInvalid, UnicodeDecodeError) as error:
        raise JobInvalid(f"its destination or filter is not valid ({error})") from None
    require_usable(destination, options)
    start = int((document.start_at or stored.created_at).timestamp() * 1_000_000)
    limits = limits_of(document, destination)
    return ExportJob(
        stored.id,
        stored.revision,
        start,
        destination,
        document.destination,
        wanted,
        Writer(options),
        limits,
        document.on_refused,
    )


def require_usable(destination: ExportDestination, options: OutputOptions) -> None:
    """Require that this destination takes what these options say.

    Raises:
        JobInvalid: it does not, or the extra for it is not installed.
    """
    if isinstance(destination, OtlpDestination) and not (options.is_plain and options.output_type != "csv"):
        raise JobInvalid("records of OTLP have fields; of output_options they take field_names and sample_rate alone")
    if isinstance(destination, S3Destination) and find_spec("obstore") is None:
        raise JobInvalid("S3 needs the extra: pip install 'codemode-portal[s3]'")


def new_job_id() -> str:
    """An id that no job has had: a whole number."""
    return str(secrets.randbelow(2**31 - 1) + 1)


def limits_of(document: ExportJobDocument, destination: ExportDestination) -> BatchLimits:
    """The limits of a job's batches: its own, where they are smaller than the portal's."""
    usual = _OBJECT_INTERVAL if isinstance(destination, S3Destination) else _INTERVAL
    if document.frequency is not None and not isinstance(destination, FileDestination):
        usual = _FREQUENCIES[document.frequency]
    return BatchLimits(
        min(document.max_upload_records or MAX_BATCH_ROWS, MAX_BATCH_ROWS),
        min(document.max_upload_bytes or MAX_BATCH_BYTES, MAX_BATCH_BYTES),
        float(document.max_upload_interval_seconds or usual),
    )
