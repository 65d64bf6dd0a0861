"""The jobs of a portal: those of the store run while it serves, changed ones begin again, removed ones end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection

from portal.config import ExportSection
from portal.export import progress
from portal.export.destination import (
    ExportDestination,
    FileDestination,
    HttpsDestination,
    OtlpDestination,
)
from portal.export.files import FileSender, is_within
from portal.export.job import EXPORT_JOB, ExportJob, JobInvalid, read_job
from portal.export.otlp import NEEDED, OtlpSender, record_text
from portal.export.output import OutputOptions, Writer
from portal.export.over_http import HttpsSender, Requests
from portal.export.progress import ExportProgress, RefusedBatch
from portal.export.reading import BatchReader
from portal.export.record import Audiences, Record
from portal.export.run import ExportPace, JobRun
from portal.export.sending import Sender
from portal.logs import CallLog, Leaving, LogUnavailable, newest_id
from portal.objects import APP, PORTAL
from portal.state import Follower, SecretUnreadable, StateUnavailable

if TYPE_CHECKING:
    from portal.state import Store

MAX_JOBS = 20
TRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ExportState:
    """How far the jobs are, by their ids, and the id of the last row of the log."""

    jobs: Mapping[str, ExportProgress]
    newest: int


@dataclass(frozen=True, slots=True)
class _Running:
    revision: int
    task: asyncio.Task[None]


class ExportJobs:
    """An async context manager: while it is open, jobs run. `settings` are those in force."""

    def __init__(
        self, store: Store, log: CallLog, settings: Callable[[], ExportSection], pace: ExportPace | None = None
    ) -> None:
        self._store = store
        self._log_of_calls = log
        self._settings = settings
        self._pace = pace or ExportPace()
        self._audiences = Audiences()
        self._running: dict[str, _Running] = {}
        self._known: set[str] = set()
        self._prepared = False
        self._exits = AsyncExitStack()
        self._follower: Follower | None = None
        # Two runs of one job in one process are as foreign to each other as two processes.
        self._process = secrets.token_hex(8)
        self._log = structlog.get_logger("portal.export")

    async def __aenter__(self) -> ExportJobs:
        self._exits.push_async_callback(self._stop_all)
        self._exits.callback(self._log_of_calls.before_removal(self._count_lost))
        kinds = {EXPORT_JOB.name, APP.name, PORTAL.name}
        self._follower = Follower(self._store, kinds, self._follow, self._unavailable)
        self._exits.push_async_callback(self._follower.aclose)
        self._follower.again()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def settled(self, seconds: float) -> None:
        """Return when the jobs that run are those of the store, or after `seconds`."""
        if self._follower is not None:
            await self._follower.settled(seconds)

    async def state(self) -> ExportState:
        """How far the jobs are.

        Raises:
            LogUnavailable: the log cannot be read.
        """
        await self._prepare()
        return await self._log_of_calls.database.read(
            lambda connection: ExportState(progress.read_progress(connection), newest_id(connection))
        )

    async def refusals(self, job: str) -> Sequence[RefusedBatch]:
        """The batches of a job that its receiver refused, the newest first.

        Raises:
            LogUnavailable: the log cannot be read.
        """
        await self._prepare()
        return await self._log_of_calls.database.read(lambda connection: progress.read_refusals(connection, job))

    def check(self, destination: ExportDestination) -> None:
        """Require that jobs may send there.

        Raises:
            JobInvalid: they may not; the text says which setting would let them.
        """
        settings = self._settings()
        if isinstance(destination, FileDestination):
            if not settings.folders or not is_within(destination.folder, settings):
                raise JobInvalid("its folder is in none of portal.exports.folders")
        elif not destination.is_encrypted and not settings.allow_private:
            raise JobInvalid("must be https://, unless portal.exports.allowPrivate is set")

    async def try_out(self, destination: ExportDestination) -> None:
        """Send something that shows whether batches are taken there.

        Raises:
            NotTaken: they are not; the text says why.
        """
        sender = sender_to(destination, Writer(OutputOptions()), self._settings, job="test", seconds=TRY_SECONDS)
        try:
            await sender.try_out()
        finally:
            await sender.aclose()

    async def _prepare(self) -> None:
        if not self._prepared:
            await self._log_of_calls.database.write(progress.prepare)
            self._prepared = True

    def _count_lost(self, connection: Connection, leaving: Leaving) -> None:
        if self._prepared:
            progress.count_lost(connection, leaving)

    async def _follow(self) -> None:
        """Make the jobs that run those of the store."""
        try:
            await self._prepare()
        except LogUnavailable as error:
            raise StateUnavailable(str(error)) from None
        await self._read_audiences()
        scan = await self._store.scan(EXPORT_JOB)
        known = {one.id for one in scan.stored} | {one.id for one in scan.broken}
        wanted = {one.id: one for one in scan.stored if one.document.enabled}
        for id in [id for id in self._running if id not in wanted or wanted[id].revision != self._running[id].revision]:
            await self._stop(id)
        # Only those of this portal: others may have theirs in the same log.
        for id in self._known - known:
            await self._forget(id)
        self._known = known
        for id, stored in wanted.items():
            if id not in self._running:
                try:
                    job = read_job(stored, await self._store.secret(EXPORT_JOB, id))
                except (JobInvalid, SecretUnreadable) as error:
                    self._log.error("a job of the export cannot run", job=id, reason=str(error))
                    continue
                self._running[id] = _Running(stored.revision, asyncio.create_task(self._run(job)))

    async def _read_audiences(self) -> None:
        apps = [one.document for one in await self._store.list(APP)]
        portals = await self._store.list(PORTAL)
        names = {one.id: one.document.hostname.lower() for one in portals}
        self._audiences = Audiences(
            {id: app.aud for id, hostname in names.items() for app in apps if app.is_for_portal(hostname)},
            {
                place.mcp_server_id: app.aud
                for app in apps
                for place in app.destinations
                if place.mcp_server_id and app.is_for_server(place.mcp_server_id)
            },
        )

    async def _run(self, job: ExportJob) -> None:
        try:
            sender = sender_to(job.destination, job.writer, self._settings, job=job.id, stream=job.stream)
        except Exception:
            # The edge of a background task: nobody awaits it, and the other jobs go on.
            self._log.exception("a job of the export cannot run", job=job.id)
            return
        try:
            database = self._log_of_calls.database
            reader = BatchReader(database, job, lambda: self._audiences, *text_for(job))
            holder = f"{self._process}-{secrets.token_hex(4)}"
            await JobRun(job, database, sender, reader, holder, self._pace).run()
        finally:
            await sender.aclose()

    async def _stop(self, id: str) -> None:
        running = self._running.pop(id)
        running.task.cancel()
        await asyncio.wait({running.task})

    async def _stop_all(self) -> None:
        for running in self._running.values():
            running.task.cancel()
        if self._running:
            await asyncio.wait([running.task for running in self._running.values()])
        self._running.clear()

    async def _forget(self, id: str) -> None:
        try:
            await self._log_of_calls.database.write(lambda connection: progress.forget(connection, id))
        except LogUnavailable:
            self._log.debug("what is known of a removed job stays in the log", job=id)

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.debug("the jobs of the export cannot be read; those that were known go on", reason=str(error))


def text_for(job: ExportJob) -> tuple[Sequence[str], Callable[[Record], bytes]]:
    """The fields that a job's destination needs, and how a record of them is written."""
    names = job.writer.options.names
    if isinstance(job.destination, OtlpDestination):
        return tuple(dict.fromkeys((*names, *NEEDED))), lambda record: record_text(record, names)
    return names, job.writer.record


def sender_to(
    destination: ExportDestination,
    writer: Writer,
    settings: Callable[[], ExportSection],
    *,
    job: str,
    stream: str = "",
    seconds: float | None = None,
) -> Sender:
    """What delivers batches there. A destination of S3 needs the extra `s3`."""
    is_csv = writer.options.output_type == "csv"
    kind = "csv" if is_csv else "ndjson"
    if isinstance(destination, FileDestination):
        return FileSender(destination, settings, writer, kind=kind, stream=stream or job)
    requests = Requests(settings) if seconds is None else Requests(settings, seconds=seconds)
    if isinstance(destination, HttpsDestination):
        content_type = "text/csv; charset=utf-8" if is_csv else "application/x-ndjson"
        return HttpsSender(destination, requests, writer, content_type=content_type)
    if isinstance(destination, OtlpDestination):
        return OtlpSender(destination, requests, job=job)
    from portal.export.objects_s3 import S3Sender  # noqa: PLC0415  of the extra `s3`

    return S3Sender(destination, requests, writer, kind=kind)
