"""Jobs that export the log, in Logpush's shape: `logpush/jobs`, `logpush/datasets`, `logpush/validate`.

A destination holds secrets. It is stored as the secret of the job, and shown without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, RootModel, ValidationError

from portal.admin.api.answers import ListAnswer
from portal.admin.api.errors import in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import LOGS
from portal.admin.api.revisions import whole
from portal.export import (
    DATASET,
    EXPORT_JOB,
    FIELDS,
    MAX_DESTINATION,
    MAX_FILTER,
    MAX_JOBS,
    DestinationInvalid,
    ExportDestination,
    ExportJobDocument,
    ExportJobs,
    ExportProgress,
    ExportState,
    FilterInvalid,
    JobInvalid,
    NotTaken,
    OnRefused,
    OutputOptions,
    new_job_id,
    options_of,
    read_destination,
    read_filter,
    require_usable,
    shown_destination,
)
from portal.logs import LogUnavailable
from portal.state import KEEP, AlreadyExists, Keep, Store, Stored

JOBS = "/logpush/jobs"
_MB = 1_000_000


def _between(least: int, most: int) -> AfterValidator:
    def check(value: int | None) -> int | None:
        if value and not least <= value <= most:
            raise ValueError(f"must be 0 or between {least} and {most}")
        return value

    return AfterValidator(check)


def _filter(value: str | None) -> str | None:
    try:
        read_filter(value)
    except FilterInvalid as error:
        raise ValueError(str(error)) from None
    return value


Destination = Annotated[str, Field(min_length=1, max_length=MAX_DESTINATION)]
Number = Annotated[int, Field(ge=0)]
Logpull = Annotated[str, Field(max_length=4096)]


class ExportPlaceBody(BaseModel):
    destination_conf: Destination = Field(repr=False)


class OwnershipBody(ExportPlaceBody):
    ownership_challenge: Annotated[str, Field(max_length=4096)] = ""


class OriginBody(BaseModel):
    logpull_options: Logpull | None = None


class ExportJobBody(BaseModel):
    """A job. Of one that is changed, members that are left out stay. `on_refused` and `start_at` are ours: what happens
    when the receiver refuses a batch for good, and from when on rows are exported. `start_at` cannot be changed."""

    name: Annotated[str, Field(max_length=512)] | None = None
    dataset: Literal["mcp_portal_logs"] | None = None
    destination_conf: Destination | None = Field(default=None, repr=False)
    enabled: bool | None = None
    filter: Annotated[str, Field(max_length=MAX_FILTER), AfterValidator(_filter)] | None = None
    filter_attack_traffic: Literal[False] | None = None
    frequency: Literal["high", "low"] | None = None
    kind: Literal[""] | None = None
    logpull_options: Logpull | None = None
    max_upload_bytes: Annotated[Number | None, _between(5 * _MB, 1000 * _MB)] = None
    max_upload_interval_seconds: Annotated[Number | None, _between(30, 300)] = None
    max_upload_records: Annotated[Number | None, _between(1_000, 1_000_000)] = None
    output_options: OutputOptions | None = None
    on_refused: OnRefused | None = None
    start_at: AwareDatetime | None = None


class ShownRefusal(BaseModel):
    """A batch that the receiver refused, by the `RowID` of its first and last row."""

    first: int
    last: int
    rows: int
    at: datetime
    reason: str


class ShownProgress(BaseModel):
    """How far a job is. `lag_seconds` is the age of the oldest row that it has not come to, as far as that is known;
    `lost_rows` were removed from the log before."""

    delivered_rows: int
    delivered_batches: int
    delivered_bytes: int
    refused_rows: int
    refused_batches: int
    lost_rows: int
    lag_seconds: float
    stopped: bool


class ShownJob(BaseModel):
    """A job. `last_complete` is the time up to which rows are delivered; `error_message` and `last_error` are there
    while it fails. `progress` and `refusals` (ours) are missing where the log does not answer, `refusals` in lists
    too."""

    id: int
    name: str
    dataset: Literal["mcp_portal_logs"] = "mcp_portal_logs"
    destination_conf: str
    enabled: bool
    filter: str | None = None
    filter_attack_traffic: Literal[False] = False
    frequency: Literal["high", "low"] | None = None
    kind: Literal[""] = ""
    logpull_options: str | None = None
    max_upload_bytes: int = 0
    max_upload_interval_seconds: int = 0
    max_upload_records: int = 0
    output_options: OutputOptions | None = None
    on_refused: OnRefused = "skip"
    start_at: datetime
    last_complete: datetime | None = None
    last_error: datetime | None = None
    error_message: str | None = None
    progress: ShownProgress | None = None
    refusals: tuple[ShownRefusal, ...] | None = None


class RemovedJob(BaseModel):
    id: int


class Validity(BaseModel):
    valid: bool
    message: str = ""


class OwnershipChallenge(Validity):
    filename: str = ""


class DestinationUse(BaseModel):
    exists: bool


class FieldMeanings(RootModel[dict[str, str]]):
    """What each field of the dataset means."""


class ExportOperations:
    """`jobs` is None where no job runs."""

    def __init__(self, store: Store, jobs: ExportJobs | None) -> None:
        self._store = store
        self._jobs = jobs

    def operations(self) -> list[Operation]:
        item, datasets, validate = f"{JOBS}/{{id}}", "/logpush/datasets/{dataset}", "/logpush/validate"
        validity, body = Validity, ExportJobBody
        of = whole(self._store, EXPORT_JOB, "job")
        return [
            Operation("GET", JOBS, "List jobs that export the log", self._list, ShownJob, LOGS, listed=True),
            Operation("POST", JOBS, "Make a job that exports the log", self._create, ShownJob, LOGS, body, status=201),
            Operation("GET", item, "Show a job", self._get, ShownJob, LOGS, of=of),
            Operation("PUT", item, "Change a job", self._replace, ShownJob, LOGS, body, of=of),
            Operation("DELETE", item, "Remove a job", self._delete, RemovedJob, LOGS, of=of),
            Operation("GET", f"{datasets}/fields", "List the fields of a dataset", self._fields, FieldMeanings, LOGS),
            Operation("GET", f"{datasets}/jobs", "List jobs of a dataset", self._of, ShownJob, LOGS, listed=True),
            Operation(
                "POST", f"{validate}/destination", "Try a destination", self._validate, validity, LOGS, ExportPlaceBody
            ),
            Operation(
                "POST",
                f"{validate}/destination/exists",
                "Say whether a job has a destination",
                self._exists,
                DestinationUse,
                LOGS,
                ExportPlaceBody,
            ),
            Operation(
                "POST",
                f"{validate}/origin",
                "Check logpull_options",
                self._origin,
                validity,
                LOGS,
                OriginBody,
                reading=True,
            ),
            Operation(
                "POST",
                "/logpush/ownership",
                "Ask for a challenge of a destination",
                self._own,
                OwnershipChallenge,
                LOGS,
                ExportPlaceBody,
            ),
            Operation(
                "POST",
                "/logpush/ownership/validate",
                "Answer a challenge of a destination",
                self._owned,
                Validity,
                LOGS,
                OwnershipBody,
            ),
        ]

    async def _list(self, request: ApiRequest) -> ListAnswer[ShownJob]:
        scan, state = await self._store.scan(EXPORT_JOB), await self._state()
        search = request.paging.search.lower()
        stored = [one for one in scan.stored if search in one.document.name.lower()]
        return ListAnswer([self._shown(one, state) for one in stored], scan.broken)

    async def _of(self, request: ApiRequest) -> ListAnswer[ShownJob]:
        _require_dataset(request)
        return await self._list(request)

    async def _get(self, request: ApiRequest) -> ShownJob:
        stored = await self._store.get(EXPORT_JOB, _id(request))
        if stored is None:
            raise not_found("job")
        shown = self._shown(stored, await self._state())
        return shown.model_copy(update={"refusals": await self._refusals(stored.id)})

    async def _create(self, request: ApiRequest) -> ShownJob:
        body = request.read(ExportJobBody)
        if body.destination_conf is None:
            raise invalid("is missing", "/destination_conf")
        document = _changed(ExportJobDocument(start_at=body.start_at), body)
        document, secret = self._with_destination(document, body.destination_conf)
        self._check(document, body.destination_conf)
        for _ in range(8):
            try:
                async with self._store.transaction() as transaction:
                    scan = await transaction.scan(EXPORT_JOB)
                    if len(scan.stored) + len(scan.broken) >= MAX_JOBS:
                        raise in_use(f"there are already {MAX_JOBS} jobs, the most allowed")
                    made = await transaction.create(EXPORT_JOB, new_job_id(), document, by=request.by, secret=secret)
                return self._shown(made, None)
            except AlreadyExists:
                continue
        raise in_use("no id is free")

    async def _replace(self, request: ApiRequest) -> ShownJob:
        body, id = request.read(ExportJobBody), _id(request)
        async with request.transaction(self._store) as transaction:
            stored = await transaction.get(EXPORT_JOB, id)
            if stored is None:
                raise not_found("job")
            document = _changed(stored.document, body)
            secret: bytes | Keep = KEEP
            # What was read of a job may be sent back whole.
            if body.destination_conf is not None and body.destination_conf != stored.document.destination:
                document, secret = self._with_destination(document, body.destination_conf)
            current = secret if isinstance(secret, bytes) else await transaction.secret(EXPORT_JOB, id)
            self._check(document, (current or b"").decode())
            replaced = await transaction.replace(EXPORT_JOB, id, document, by=request.by, secret=secret)
        return self._shown(replaced, await self._state())

    async def _delete(self, request: ApiRequest) -> RemovedJob:
        async with request.transaction(self._store) as transaction:
            deleted = await transaction.delete(EXPORT_JOB, _id(request), by=request.by)
        return RemovedJob(id=int(deleted.id))

    async def _fields(self, request: ApiRequest) -> FieldMeanings:
        _require_dataset(request)
        return FieldMeanings({name: f"{field.kind}; {field.means}" for name, field in FIELDS.items()})

    async def _validate(self, request: ApiRequest) -> Validity:
        text = request.read(ExportPlaceBody).destination_conf
        try:
            destination = read_destination(text)
            require_usable(destination, OutputOptions())
            if self._jobs is not None:
                self._jobs.check(destination)
                await self._jobs.try_out(destination)
        except (DestinationInvalid, JobInvalid, NotTaken) as error:
            return Validity(valid=False, message=str(error))
        return Validity(valid=True)

    async def _exists(self, request: ApiRequest) -> DestinationUse:
        wanted = request.read(ExportPlaceBody).destination_conf.encode()
        scan = await self._store.scan(EXPORT_JOB)
        secrets = [await self._store.secret(EXPORT_JOB, one.id) for one in scan.stored]
        return DestinationUse(exists=wanted in secrets)

    async def _origin(self, request: ApiRequest) -> Validity:
        try:
            options_of(request.read(OriginBody).logpull_options or "")
        except ValueError:
            return Validity(valid=False, message=_LOGPULL)
        return Validity(valid=True)

    async def _own(self, request: ApiRequest) -> OwnershipChallenge:
        """Whoever may make jobs needs no proof: the settings of the portal say where jobs may send."""
        _destination(request.read(ExportPlaceBody).destination_conf)
        return OwnershipChallenge(valid=True, message="no challenge is needed")

    async def _owned(self, request: ApiRequest) -> Validity:
        _destination(request.read(OwnershipBody).destination_conf)
        return Validity(valid=True)

    def _with_destination(self, document: ExportJobDocument, text: str) -> tuple[ExportJobDocument, bytes]:
        _destination(text)
        return document.model_copy(update={"destination": shown_destination(text)}), text.encode()

    def _check(self, document: ExportJobDocument, text: str) -> None:
        """Require that the destination takes what the job says, and that jobs may send there."""
        destination = _destination(text)
        try:
            require_usable(destination, OutputOptions.model_validate(document.output_options or {}))
            if self._jobs is not None:
                self._jobs.check(destination)
        except JobInvalid as error:
            raise invalid(str(error), "/destination_conf") from None

    async def _state(self) -> ExportState | None:
        try:
            return await self._jobs.state() if self._jobs is not None else None
        except LogUnavailable:
            return None

    async def _refusals(self, id: str) -> Sequence[ShownRefusal] | None:
        try:
            found = await self._jobs.refusals(id) if self._jobs is not None else ()
        except LogUnavailable:
            return None
        return tuple(
            ShownRefusal(first=o.first, last=o.last, rows=o.rows, at=_time(o.at), reason=o.reason) for o in found
        )

    def _shown(self, stored: Stored[ExportJobDocument], state: ExportState | None) -> ShownJob:
        document = stored.document
        progress = None if state is None else state.jobs.get(stored.id)
        made = ShownJob(
            id=int(stored.id),
            name=document.name,
            destination_conf=document.destination,
            enabled=document.enabled,
            filter=document.filter or None,
            frequency=document.frequency,
            logpull_options=document.logpull_options,
            max_upload_bytes=document.max_upload_bytes,
            max_upload_interval_seconds=document.max_upload_interval_seconds,
            max_upload_records=document.max_upload_records,
            output_options=_options(document.output_options),
            on_refused=document.on_refused,
            start_at=document.start_at or stored.created_at,
        )
        if self._jobs is None:
            return made.model_copy(update={"error_message": "this portal writes no log: there is nothing to export"})
        if state is None or progress is None:
            return made
        return made.model_copy(update=_reached(progress, state.newest, stored.revision))


_LOGPULL = "takes fields, timestamps, sample and CVE-2021-44228, with values of theirs"


def _reached(progress: ExportProgress, newest: int, revision: int) -> dict[str, object]:
    lag = max(0, newest - progress.cursor) / 1_000_000
    return {
        "last_complete": _time(progress.cursor) if progress.batches else None,
        "last_error": _time(progress.failed_at) if progress.failed_at else None,
        "error_message": progress.error or None,
        "progress": ShownProgress(
            delivered_rows=progress.rows,
            delivered_batches=progress.batches,
            delivered_bytes=progress.bytes,
            refused_rows=progress.refused_rows,
            refused_batches=progress.refused_batches,
            lost_rows=progress.lost_rows,
            lag_seconds=lag,
            stopped=progress.stopped == revision,
        ),
    }


def _changed(document: ExportJobDocument, body: ExportJobBody) -> ExportJobDocument:
    """The document with what a body says, but for its destination. What is null or left out stays, but for the filter
    and the options, which null removes."""
    changes: dict[str, object] = {
        name: value
        for name in ("name", "enabled", "frequency", *_LIMITS, "on_refused")
        if (value := getattr(body, name)) is not None
    }
    sent = body.model_fields_set
    if "filter" in sent:
        changes["filter"] = body.filter or ""
    if "logpull_options" in sent:
        changes |= {"logpull_options": body.logpull_options, "output_options": _of_logpull(body.logpull_options)}
    if "output_options" in sent and (body.output_options is not None or not body.logpull_options):
        options = body.output_options
        changes["output_options"] = options and options.model_dump(mode="json", by_alias=True, exclude_none=True)
    return document.model_copy(update=changes)


_LIMITS = ("max_upload_bytes", "max_upload_interval_seconds", "max_upload_records")


def _of_logpull(text: str | None) -> Mapping[str, object] | None:
    if not text:
        return None
    try:
        return options_of(text).model_dump(mode="json", by_alias=True, exclude_none=True)
    except ValueError:
        raise invalid(_LOGPULL, "/logpull_options") from None


def _options(stored: Mapping[str, object] | None) -> OutputOptions | None:
    try:
        return None if stored is None else OutputOptions.model_validate(stored)
    except ValidationError:
        return None


def _destination(text: str) -> ExportDestination:
    try:
        return read_destination(text)
    except DestinationInvalid as error:
        raise invalid(str(error), "/destination_conf") from None


def _require_dataset(request: ApiRequest) -> None:
    if request.path["dataset"] != DATASET:
        raise not_found("dataset")


def _id(request: ApiRequest) -> str:
    id = request.path["id"]
    if not (id.isascii() and id.isdecimal() and len(id) <= 10 and id == str(int(id))):
        raise not_found("job")
    return id


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
