"""What all reading of the log over the API shares: the log, filters in a URL, rows as they are shown, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from portal.admin.api import errors
from portal.admin.api.application import AdminSettings
from portal.admin.api.errors import AdminError, Problem, invalid
from portal.admin.api.operations import ApiRequest
from portal.logs import Filters, LogUnavailable, StoredRow, Tail
from portal.objects import PORTAL
from portal.shares import Full, Shares
from portal.state import Store, Stored

if TYPE_CHECKING:
    from portal.logs import CallLog

T = TypeVar("T")

MCP = "/access/ai-controls/mcp"
OWN = "_"
"""The portal of the operator's document, in a path or URL: no id has an underscore, and clients drop what is empty."""
QUERIES, QUERIES_EACH = 12, 4
"""Questions that may wait for an answer, and those of one token."""
RETRY_SECONDS = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFF = (
    "this portal writes no log: it has no database, or `portal.logs.enabled` is false in its configuration. "
    "Its log begins at the next start after that is changed."
)


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must have no NUL")
    return value


Text = Annotated[str, Field(max_length=512), AfterValidator(_storable)]
RowId = Annotated[int, Field(ge=0, le=2**63 - 1)]


class LogFilters(BaseModel):
    """Which rows. A parameter that is not one of these is refused: without it more rows would be shown than are wanted.

    `_` is the portal of the operator's document. `email` is the address of a person, in whatever case. `since` and
    `until` are about when a call ended.
    """

    model_config = ConfigDict(extra="forbid")

    portal_id: Text | None = None
    server_id: Text | None = None
    kind: Text | None = None
    name: Text | None = None
    identity: Text | None = None
    email: Text | None = None
    client: Text | None = None
    outcome: Text | None = None
    run: Text | None = None
    policy: Text | None = None
    trace: Text | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    failed: bool = False


class LoggedRow(BaseModel):
    """A row of the log: what the original shows of it, by its names, and then all columns (`portal/logs`)."""

    id: int
    time: str
    status: str
    server: str
    capability: str
    duration_ms: float
    kind: str
    method: str
    outcome: str
    portal: str
    name: str
    run: str
    call: int
    parent: str
    identity: str
    email: str
    ip: str
    country: str
    session: str
    client: str
    client_version: str
    protocol: str
    upstream_protocol: str
    server_url: str
    policy: str
    reason: str
    error_code: int | None
    bytes_in: int
    bytes_out: int
    tokens_saved: int
    findings: str
    labels: str
    trace: str
    span: str
    parent_span: str
    line: int
    recording: str
    at: int
    us: int
    instance: str
    number: int


def shown(stored: StoredRow) -> LoggedRow:
    row = stored.row
    return LoggedRow(
        id=stored.id,
        instance=stored.instance,
        number=stored.number,
        time=row.time,
        status="success" if row.outcome == "ok" else "error",
        capability=row.name,
        duration_ms=row.ms,
        **row._asdict(),
    )


class LogReading:
    """The log that is read, None if there is none. `tail` is for those who follow it."""

    def __init__(self, store: Store, log: CallLog | None, settings: AdminSettings) -> None:
        self.tail = None if log is None else Tail(log)
        self._store = store
        self._log = log
        self._settings = settings
        self._shares = Shares(QUERIES, QUERIES_EACH)

    def close(self) -> None:
        """End what follows the log."""
        if self.tail is not None:
            self.tail.close()

    def require_tail(self) -> Tail:
        """Raises AdminError: there is no log."""
        if self.tail is None:
            raise AdminError(404, [Problem(errors.NOT_FOUND, _OFF)])
        return self.tail

    async def read(self, request: ApiRequest, work: Callable[[Connection], T]) -> T:
        """The answer of the log.

        Raises:
            AdminError: there is no log, it does not answer, or this token asks too much at once.
        """
        if self._log is None:
            raise AdminError(404, [Problem(errors.NOT_FOUND, _OFF)])
        with self.asking(request):
            return await self._log.database.read(work)

    @contextmanager
    def asking(self, request: ApiRequest) -> Iterator[None]:
        """A block that asks the log something.

        Raises:
            AdminError: it does not answer, or this token asks too much at once.
        """
        try:
            with self._shares.held(request.by):
                yield
        except Full as full:
            raise busy(full, "questions about the log") from None
        except LogUnavailable as error:
            raise unavailable(error) from None

    async def filters(self, request: ApiRequest, asked: LogFilters) -> Filters:
        """The filters of a request: those of its URL, and the portal or server that its path names.

        Raises:
            AdminError: the path and the URL name one both.
        """
        for name in ("portal_id", "server_id"):
            if name in request.path and getattr(asked, name) is not None:
                raise invalid(f"{name} is in the path already")
        return Filters(
            portal=await self.portal(request, asked.portal_id),
            server=request.path.get("server_id", asked.server_id),
            kind=asked.kind,
            name=asked.name,
            identity=asked.identity,
            email=asked.email,
            client=asked.client,
            outcome=asked.outcome,
            run=asked.run or None,
            policy=asked.policy,
            trace=asked.trace,
            since=microseconds(asked.since),
            until=microseconds(asked.until),
            failed=asked.failed,
        )

    async def portal(self, request: ApiRequest, asked: str | None = None) -> str | None:
        """The portal that a request is about, as its rows name it."""
        id = request.path.get("portal_id", asked)
        if id == OWN:
            return ""
        if not id or not self._settings.hostname:
            return id
        # A stored portal with the host name of the operator's document is the document's own.
        found = await self._store.find(PORTAL, id)
        is_own = isinstance(found, Stored) and found.document.hostname == self._settings.hostname
        return "" if is_own else id


def busy(full: Full, what: str) -> AdminError:
    """The error when a cap is used up."""
    whose = "this token has" if full.own else "all together have"
    message = f"{whose} {full.most} {what} open, the most allowed; try again in {RETRY_SECONDS} s"
    return AdminError(429, [Problem(errors.LIMITED, message)], {"retry-after": str(RETRY_SECONDS)})


def unavailable(error: LogUnavailable) -> AdminError:
    message = f"the log cannot be read now ({error}); ask for less (a shorter time, fewer filters) or try again"
    return AdminError(503, [Problem(errors.UNAVAILABLE, message)], {"retry-after": str(RETRY_SECONDS)})


def microseconds(at: datetime | None) -> int | None:
    """Since 1970."""
    return None if at is None else (at - _EPOCH) // timedelta(microseconds=1)
