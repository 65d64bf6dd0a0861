"""The log over the API: pages of rows, one row with its run, and rows as they come. Ours, not Cloudflare's.

`access/ai-controls/mcp/logs`, `.../portals/{portal_id}/logs`, `.../servers/{server_id}/logs`.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from portal.admin.api.answers import InfoAnswer
from portal.admin.api.errors import invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import LOGS
from portal.admin.log_reading import MCP, LogFilters, LoggedRow, LogReading, RowId, shown, unavailable
from portal.admin.log_stream import LogStream, StreamRoom
from portal.logs import Filters, LogUnavailable, count_some, find, run_of, turned

MAX_ROWS = 500
_LAST_ID = "last-event-id"


class LogQuery(LogFilters):
    """`before` is the id of a row: rows older than it are shown, the newest first. After that of `after` the oldest
    come first, or with `newest_first` the same rows the other way. With `count` it is said how many rows there are."""

    before: RowId | None = None
    after: RowId | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 50
    count: bool = False
    newest_first: bool = False


class TailQuery(LogFilters):
    """`after` is the id of a row: those that follow it are sent first."""

    after: RowId | None = None


class LogPageInfo(BaseModel):
    """`more` says that there may be more rows, also where the page is not full. `before` and `after` are the ids to ask
    for the next page with. For a page that turns both ways, `next` is what to ask `before`, and `previous` what to ask
    `after`, with `newest_first`; null where there is no such page. `total_count` is at most 10,000; `total` is then
    `10,000+`."""

    count: int
    limit: int
    more: bool
    before: int | None = None
    after: int | None = None
    next: int | None = None
    previous: int | None = None
    total_count: int | None = None
    total: str | None = None


class LoggedDetail(BaseModel):
    """A row with the run that it is of: the run's own row, and its calls in order. `more` says that calls are left
    out."""

    row: LoggedRow
    run: LoggedRow | None = None
    calls: tuple[LoggedRow, ...] = ()
    more: bool = False


class LogOperations:
    def __init__(self, reading: LogReading) -> None:
        self._reading = reading
        self._room = StreamRoom()

    def operations(self) -> list[Operation]:
        found = [Operation("GET", f"{MCP}/logs/{{log_id}}", "Show a row of the log", self._get, LoggedDetail, LOGS)]
        scopes = {
            f"{MCP}/logs": "the log",
            f"{MCP}/portals/{{portal_id}}/logs": "the log of a portal",
            f"{MCP}/servers/{{server_id}}/logs": "the log of a server",
        }
        for path, what in scopes.items():
            found += [
                Operation(
                    "GET", path, f"List rows of {what}", self._list, LoggedRow, LOGS, query=LogQuery, info=LogPageInfo
                ),
                Operation(
                    "GET",
                    f"{path}/tail",
                    f"Follow {what}",
                    self._follow,
                    LoggedRow,
                    LOGS,
                    query=TailQuery,
                    media_type="text/event-stream",
                ),
            ]
        return found

    async def _list(self, request: ApiRequest) -> InfoAnswer:
        asked = request.asked(LogQuery)
        if asked.before is not None and asked.after is not None:
            raise invalid("before and after cannot both be given")
        filters = await self._reading.filters(request, asked)
        return await self._reading.read(request, partial(_page, filters=filters, asked=asked))

    async def _get(self, request: ApiRequest) -> LoggedDetail:
        text = request.path["log_id"]
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise not_found("row of the log")
        found = await self._reading.read(request, partial(_detail, id=int(text)))
        if found is None:
            raise not_found("row of the log")
        return found

    async def _follow(self, request: ApiRequest) -> LogStream:
        asked = request.asked(TailQuery)
        filters, tail = await self._reading.filters(request, asked), self._reading.require_tail()
        # What a client that comes back had last is newer than what it asked for at first.
        last = request.headers.get(_LAST_ID, "")
        if last and not (last.isascii() and last.isdecimal() and len(last) < 19):
            raise invalid("Last-Event-ID is not the id of a row")
        try:
            begin = int(last) if last else await tail.newest() if asked.after is None else asked.after
        except LogUnavailable as error:
            raise unavailable(error) from None
        return LogStream(tail, filters, begin, self._room, request.by, request.permitted)


def _page(connection: Connection, filters: Filters, asked: LogQuery) -> InfoAnswer:
    page = turned(connection, filters, before=asked.before, after=asked.after, limit=asked.limit)
    rows, more = page.rows, page.next is not None
    info = LogPageInfo(count=len(rows), limit=asked.limit, more=more, next=page.next, previous=page.previous)
    newest = rows[0].id if rows else None
    if asked.after is None:
        info.before, info.after = page.next, newest
    else:
        info.more = page.previous is not None
        info.before, info.after = rows[-1].id if rows else None, page.reached
        rows = rows if asked.newest_first else rows[::-1]
    if asked.count:
        number, more = count_some(connection, filters)
        info.total_count, info.total = number, f"{number:,}+" if more else f"{number:,}"
    # Here, in a thread: hundreds of rows take milliseconds.
    return InfoAnswer([shown(one) for one in rows], info)


def _detail(connection: Connection, id: int) -> LoggedDetail | None:
    found = find(connection, id)
    if found is None:
        return None
    if not found.row.run:
        return LoggedDetail(row=shown(found))
    run, calls, more = run_of(connection, found.row.run)
    return LoggedDetail(
        row=shown(found), run=None if run is None else shown(run), calls=tuple(map(shown, calls)), more=more
    )
