"""The pages of Logpush jobs: how far each is, what it sends, and where to."""

from __future__ import annotations

from datetime import timedelta

from starlette.routing import Route

from portal.admin import LOGS, FieldMeanings, ShownJob, Validity, invalid
from portal.config import say_duration
from portal.console.configured import configured_settings
from portal.console.destinations import KINDS, DestinationKind
from portal.console.frame import Confirmation, ConsoleFrame, deletion, name_to_type
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "logpush", "/admin/logpush"
API = "/logpush/jobs"
ITEM = f"{API}/{{id}}"
DATASET = "mcp_portal_logs"
ABOVE = (Crumb("Logpush jobs", LIST),)
FAILED = '{"where": {"key": "Success", "operator": "eq", "value": false}}'
ROWS = (("all", "Every row"), ("failed", "What did not succeed"), ("filter", "What the filter below says"))
FREQUENCIES = (("", "As it comes"), ("high", "High: each 30 seconds"), ("low", "Low: each 5 minutes"))
REFUSED = (("skip", "Leave it out, count and note it"), ("stop", "Stop the job until it is changed"))
TYPES = (("", "As usual (ndjson)"), ("ndjson", "ndjson: a JSON object a line"), ("csv", "csv"))
TIMES = (("", "As usual (rfc3339)"), *((one, one) for one in ("rfc3339", "rfc3339ms", "rfc3339ns", "unix", "unixnano")))
LIMITS = ("max_upload_records", "max_upload_bytes", "max_upload_interval_seconds")
OPTIONS = ("output_type", "timestamp_format", "sample_rate")
BEHIND = 300.0
"""Seconds behind the log from which on a job is late."""


class LogpushPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        names = {"destination_conf": "destination"}
        return [
            page("/logpush", HERE, self._list),
            page("/logpush/new", HERE, self._new, changes=LOGS),
            form("/logpush/new", HERE, self._add, self._new, names),
            page("/logpush/{id}", HERE, self._show),
            form("/logpush/{id}/enabled", HERE, self._switch, self._show),
            page("/logpush/{id}/edit", HERE, self._edit, changes=LOGS),
            form("/logpush/{id}/edit", HERE, self._save, self._edit),
            page("/logpush/{id}/destination", HERE, self._destination, changes=LOGS),
            form("/logpush/{id}/destination", HERE, self._put_destination, self._destination, names),
            *self._frame.confirmation("/logpush/{id}/remove", HERE, self._remove, LOGS),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownJob, API, visit.page_query())
        states = {job.id: state_of(job) for job in found.items}
        values = {
            "found": found,
            "search": visit.query("search"),
            "states": states,
            "behind": behind,
            "places": await configured_settings(visit, "portal.exports"),
        }
        return Shown("logpush.html", "Logpush jobs", values)

    async def _new(self, visit: Visit) -> Answer:
        values = {**await self._choices(visit), "job": None, "kinds": KINDS.values(), "kind": _kind(visit)}
        return Shown("logpush_new.html", "Add a Logpush job", values, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        kind = _kind(visit)
        if visit.sent("do") == "try":
            return await self._tried(visit, kind)
        body = {"dataset": DATASET, "destination_conf": kind.written(visit.sent), **_said(visit, None)}
        if start := visit.sent("start_at"):
            body["start_at"] = start
        made = await visit.api.made(ShownJob, "POST", API, body)
        return Went(f"{LIST}/{made.id}", "made")

    async def _show(self, visit: Visit) -> Answer:
        job = await visit.api.show(ShownJob, ITEM, id=visit.id())
        values = {"job": job, "state": state_of(job), "behind": behind(job), "rows": dict(ROWS)[rows_of(job)]}
        return Shown("logpush_job.html", called(job), values, ABOVE)

    async def _switch(self, visit: Visit) -> Answer:
        enabled = visit.sent("enabled") == "yes"
        await visit.api.change("PUT", ITEM, {"enabled": enabled}, id=visit.id())
        return Went(f"{LIST}/{visit.id()}", "job-on" if enabled else "job-off")

    async def _edit(self, visit: Visit) -> Answer:
        job = await visit.api.show(ShownJob, ITEM, id=visit.id())
        values = {**await self._choices(visit), "job": job}
        return Shown("logpush_edit.html", f"Edit {called(job)}", values, (*ABOVE, _crumb(job)))

    async def _save(self, visit: Visit) -> Answer:
        """Change what the form shows. The destination, with its secrets, stays."""
        job = await visit.api.show(ShownJob, ITEM, id=visit.id())
        await visit.api.change("PUT", ITEM, _said(visit, job), id=visit.id())
        return Went(f"{LIST}/{job.id}", "saved")

    async def _destination(self, visit: Visit) -> Answer:
        job = await visit.api.show(ShownJob, ITEM, id=visit.id())
        values = {"job": job, "kinds": KINDS.values(), "kind": _kind(visit)}
        return Shown("logpush_destination.html", "Send it elsewhere", values, (*ABOVE, _crumb(job)))

    async def _put_destination(self, visit: Visit) -> Answer:
        kind = _kind(visit)
        if visit.sent("do") == "try":
            return await self._tried(visit, kind)
        await visit.api.change("PUT", ITEM, {"destination_conf": kind.written(visit.sent)}, id=visit.id())
        return Went(f"{LIST}/{visit.id()}", "saved")

    async def _tried(self, visit: Visit, kind: DestinationKind) -> Answer:
        """What trying a destination says: on a page of its own, so that the secrets of the form stay where they were
        typed."""
        body = {"destination_conf": kind.written(visit.sent)}
        judged = await visit.api.made(Validity, "POST", "/logpush/validate/destination", body)
        return Shown("logpush_tried.html", "Try the destination", {"judged": judged}, ABOVE)

    async def _remove(self, visit: Visit) -> Confirmation:
        job = await visit.api.show(ShownJob, ITEM, id=visit.id())
        return Confirmation(
            f"Remove {called(job)}?",
            name=name_to_type(job.name, str(job.id)),
            back=f"{LIST}/{job.id}",
            consequences=("It sends nothing any more, and how far it came is forgotten. The log stays.",),
            act=deletion(visit, ITEM, LIST, id=visit.id()),
        )

    async def _choices(self, visit: Visit) -> dict[str, object]:
        path = "/logpush/datasets/{dataset}/fields"
        fields = await visit.api.show(FieldMeanings, path, dataset=DATASET)
        return {
            "rows": ROWS,
            "rows_of": rows_of,
            "frequencies": FREQUENCIES,
            "refused": REFUSED,
            "types": TYPES,
            "times": TIMES,
            "fields": fields.root,
        }


def _kind(visit: Visit) -> DestinationKind:
    """The kind of destination that the URL names; HTTPS unless it names one."""
    return KINDS.get(visit.query("kind"), KINDS["https"])


def _said(visit: Visit, before: ShownJob | None) -> dict[str, object]:
    """The members of a job that the form has. Of the output options, what the form does not have stays."""
    options = before.output_options if before is not None else None
    kept = {} if options is None else options.model_dump(mode="json", by_alias=True, exclude_none=True)
    written: dict[str, object] = {**kept, **{name: visit.sent(name) or None for name in OPTIONS}}
    written["field_names"] = visit.lines("field_names") or None
    said: dict[str, object] = {
        "name": visit.sent("name"),
        "filter": _filter(visit, before),
        "on_refused": visit.sent("on_refused"),
        "frequency": visit.sent("frequency") or None,
        "output_options": {name: value for name, value in written.items() if value is not None} or None,
        **{name: visit.sent(name) or 0 for name in LIMITS},
    }
    if before is None:
        said["enabled"] = visit.ticked("enabled")
    return said


def _filter(visit: Visit, before: ShownJob | None) -> str:
    """
    Raises:
        AdminError: a filter was typed that the choice of rows leaves out.
    """
    typed, rows = visit.sent("filter"), visit.sent("rows")
    if rows == "filter":
        return typed
    if typed and (before is None or typed != before.filter):
        raise invalid("this does not count: choose above that rows are what it says, or empty it", "/filter")
    return FAILED if rows == "failed" else ""


def state_of(job: ShownJob) -> tuple[str, str]:
    """How a job is, in words, and their colour."""
    progress = job.progress
    if not job.enabled:
        return "Disabled", "off"
    if progress is not None and progress.stopped:
        return "Stopped", "bad"
    if job.error_message:
        return "Failing", "bad"
    if progress is not None and progress.lag_seconds > BEHIND:
        return "Late", "warn"
    return ("Sending", "good") if progress is not None else ("Begins", "warn")


def behind(job: ShownJob) -> str:
    """How far a job is behind the log, in words."""
    if job.progress is None:
        return "not known"
    seconds = int(job.progress.lag_seconds)
    return say_duration(timedelta(seconds=seconds)) if seconds else "nothing"


def rows_of(job: ShownJob | None) -> str:
    """Which rows a job sends: a key of `ROWS`."""
    if job is None or not job.filter:
        return "all"
    return "failed" if job.filter == FAILED else "filter"


def called(job: ShownJob) -> str:
    return job.name or f"Job {job.id}"


def _crumb(job: ShownJob) -> Crumb:
    return Crumb(called(job), f"{LIST}/{job.id}")
