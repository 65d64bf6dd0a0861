"""The log of calls, lines about them, and the setup of logging. Its chapter is `README.md`."""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.logs.content import Content, ContentRule, ContentSettings, Wanted
from portal.logs.events import NO_EVENTS, EventLog, EventSink, NoEvents, PortalEvents, event
from portal.logs.masking import Masks
from portal.logs.records import Discard, RecordLog, RecordSink
from portal.logs.row import MAX_NAME, Kind, LogRow, RowName, storable
from portal.logs.setup import configure_logging, set_level

if TYPE_CHECKING:
    from portal.logs.batch import Leaving
    from portal.logs.chain import LogKey, LogKeyUnusable
    from portal.logs.contents import ContentLog, read_content, rewrap_contents
    from portal.logs.database import LogDatabase, LogUnavailable, LogUnusable
    from portal.logs.journal import JournalUnusable
    from portal.logs.log import CallLog, LogPlace, LogSettings
    from portal.logs.pages import LogPage, count_some, find, newer, older, run_of
    from portal.logs.query import COUNT_TO, Filters, StoredRow, Sums, added, after, before, dropped, newest_id, sums
    from portal.logs.series import Period, count_calls, days, months, zone
    from portal.logs.tail import Tail
    from portal.logs.verification import Verification, verify
else:
    # A portal without a log starts without a database library: that saves half a second.
    __getattr__ = lazily(
        __name__,
        {
            "COUNT_TO": "query",
            "CallLog": "log",
            "ContentLog": "contents",
            "Filters": "query",
            "read_content": "contents",
            "rewrap_contents": "contents",
            "JournalUnusable": "journal",
            "Leaving": "batch",
            "LogDatabase": "database",
            "LogKey": "chain",
            "LogKeyUnusable": "chain",
            "LogPage": "pages",
            "LogPlace": "log",
            "LogSettings": "log",
            "LogUnavailable": "database",
            "LogUnusable": "database",
            "Period": "series",
            "StoredRow": "query",
            "Sums": "query",
            "Tail": "tail",
            "Verification": "verification",
            "added": "query",
            "after": "query",
            "before": "query",
            "count_calls": "series",
            "count_some": "pages",
            "days": "series",
            "dropped": "query",
            "find": "pages",
            "months": "series",
            "newer": "pages",
            "newest_id": "query",
            "older": "pages",
            "run_of": "pages",
            "sums": "query",
            "verify": "verification",
            "zone": "series",
        },
    )

__all__ = [
    "COUNT_TO",
    "MAX_NAME",
    "NO_EVENTS",
    "CallLog",
    "Content",
    "ContentLog",
    "ContentRule",
    "ContentSettings",
    "Discard",
    "EventLog",
    "EventSink",
    "Filters",
    "JournalUnusable",
    "Kind",
    "Leaving",
    "LogDatabase",
    "LogKey",
    "LogKeyUnusable",
    "LogPage",
    "LogPlace",
    "LogRow",
    "LogSettings",
    "LogUnavailable",
    "LogUnusable",
    "Masks",
    "NoEvents",
    "Period",
    "PortalEvents",
    "RecordLog",
    "RecordSink",
    "RowName",
    "StoredRow",
    "Sums",
    "Tail",
    "Verification",
    "Wanted",
    "added",
    "after",
    "before",
    "configure_logging",
    "count_calls",
    "count_some",
    "days",
    "dropped",
    "event",
    "find",
    "months",
    "newer",
    "newest_id",
    "newest_id",
    "older",
    "read_content",
    "rewrap_contents",
    "run_of",
    "set_level",
    "storable",
    "sums",
    "verify",
    "zone",
]
