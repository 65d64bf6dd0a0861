"""The log of calls, lines about them, and the setup of logging. Its chapter is `README.md`."""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.logs.content import (
    MOST_FAILURE,
    Content,
    ContentRule,
    ContentSettings,
    KeptRecording,
    Recordable,
    Wanted,
)
from portal.logs.events import NO_EVENTS, EventLog, EventSink, NoEvents, PortalEvents, event
from portal.logs.masking import Masks
from portal.logs.records import Discard, RecordLog, RecordSink
from portal.logs.row import MAX_NAME, Kind, LogRow, RowName, storable
from portal.logs.setup import configure_logging, set_level

if TYPE_CHECKING:
    from portal.logs.batch import Leaving, runs_written
    from portal.logs.chain import LogKey, LogKeyUnusable
    from portal.logs.contents import ContentLog, read_content, read_recording, rewrap_contents
    from portal.logs.database import LogDatabase, LogUnavailable, LogUnusable
    from portal.logs.journal import JournalUnusable
    from portal.logs.log import CallLog, LogPlace, LogSettings
    from portal.logs.pages import LogPage, TurnedPage, count_some, find, newer, older, run_of, turned
    from portal.logs.query import COUNT_TO, Filters, StoredRow, after, before, dropped, email_of, newest_id
    from portal.logs.schema import OTHERS
    from portal.logs.series import Period, count_calls, days, months, zone
    from portal.logs.summing import sums, sums_of_each
    from portal.logs.tail import Tail
    from portal.logs.totals import CallWindow, FoundSums, Sums, SumsQuestion, added
    from portal.logs.verification import Verification, verify
else:
    # A portal without a log starts without a database library: that saves half a second.
    __getattr__ = lazily(
        __name__,
        {
            "COUNT_TO": "query",
            "CallLog": "log",
            "CallWindow": "totals",
            "ContentLog": "contents",
            "Filters": "query",
            "FoundSums": "totals",
            "read_content": "contents",
            "read_recording": "contents",
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
            "OTHERS": "schema",
            "Period": "series",
            "StoredRow": "query",
            "Sums": "totals",
            "Tail": "tail",
            "TurnedPage": "pages",
            "Verification": "verification",
            "added": "totals",
            "after": "query",
            "before": "query",
            "count_calls": "series",
            "count_some": "pages",
            "days": "series",
            "dropped": "query",
            "email_of": "query",
            "find": "pages",
            "months": "series",
            "newer": "pages",
            "newest_id": "query",
            "older": "pages",
            "run_of": "pages",
            "runs_written": "batch",
            "SumsQuestion": "totals",
            "sums": "summing",
            "sums_of_each": "summing",
            "turned": "pages",
            "verify": "verification",
            "zone": "series",
        },
    )

__all__ = [
    "COUNT_TO",
    "MAX_NAME",
    "MOST_FAILURE",
    "NO_EVENTS",
    "OTHERS",
    "CallLog",
    "CallWindow",
    "Content",
    "ContentLog",
    "ContentRule",
    "ContentSettings",
    "Discard",
    "EventLog",
    "EventSink",
    "Filters",
    "FoundSums",
    "JournalUnusable",
    "KeptRecording",
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
    "Recordable",
    "RowName",
    "StoredRow",
    "Sums",
    "SumsQuestion",
    "Tail",
    "TurnedPage",
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
    "email_of",
    "event",
    "find",
    "months",
    "newer",
    "newest_id",
    "newest_id",
    "older",
    "read_content",
    "read_recording",
    "rewrap_contents",
    "run_of",
    "runs_written",
    "set_level",
    "storable",
    "sums",
    "sums_of_each",
    "turned",
    "verify",
    "zone",
]
