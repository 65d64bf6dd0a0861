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
    from portal.logs.chain import LogKey, LogKeyUnusable
    from portal.logs.contents import ContentLog, read_content, rewrap_contents
    from portal.logs.database import LogDatabase, LogUnavailable, LogUnusable
    from portal.logs.journal import JournalUnusable
    from portal.logs.log import CallLog, LogPlace, LogSettings
    from portal.logs.query import Filters, StoredRow, Sums, after, before, count, dropped, newest_id, row_of, sums
    from portal.logs.verification import Verification, verify
else:
    # A portal without a log starts without a database library: that saves half a second.
    __getattr__ = lazily(
        __name__,
        {
            "CallLog": "log",
            "ContentLog": "contents",
            "Filters": "query",
            "read_content": "contents",
            "rewrap_contents": "contents",
            "row_of": "query",
            "JournalUnusable": "journal",
            "LogDatabase": "database",
            "LogKey": "chain",
            "LogKeyUnusable": "chain",
            "LogPlace": "log",
            "LogSettings": "log",
            "LogUnavailable": "database",
            "LogUnusable": "database",
            "Verification": "verification",
            "StoredRow": "query",
            "Sums": "query",
            "after": "query",
            "before": "query",
            "count": "query",
            "dropped": "query",
            "newest_id": "query",
            "sums": "query",
            "verify": "verification",
        },
    )

__all__ = [
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
    "LogDatabase",
    "LogKey",
    "LogKeyUnusable",
    "LogPlace",
    "LogRow",
    "LogSettings",
    "LogUnavailable",
    "LogUnusable",
    "Masks",
    "NoEvents",
    "PortalEvents",
    "RecordLog",
    "RecordSink",
    "RowName",
    "StoredRow",
    "Sums",
    "Verification",
    "Wanted",
    "after",
    "before",
    "configure_logging",
    "count",
    "dropped",
    "event",
    "newest_id",
    "read_content",
    "rewrap_contents",
    "row_of",
    "set_level",
    "storable",
    "sums",
    "verify",
]
