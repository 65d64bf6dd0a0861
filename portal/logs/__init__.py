"""The log of calls, lines about them, and the setup of logging. Its chapter is `README.md`."""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.logs.records import Discard, RecordLog, RecordSink
from portal.logs.row import MAX_NAME, Kind, LogRow
from portal.logs.setup import configure_logging, set_level

if TYPE_CHECKING:
    from portal.logs.chain import LogKey, LogKeyUnusable
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
            "Filters": "query",
            "JournalUnusable": "journal",
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
    "CallLog",
    "Discard",
    "Filters",
    "JournalUnusable",
    "Kind",
    "LogDatabase",
    "LogKey",
    "LogKeyUnusable",
    "LogPage",
    "LogPlace",
    "LogRow",
    "LogSettings",
    "LogUnavailable",
    "LogUnusable",
    "Period",
    "RecordLog",
    "RecordSink",
    "StoredRow",
    "Sums",
    "Tail",
    "Verification",
    "added",
    "after",
    "before",
    "configure_logging",
    "count_calls",
    "count_some",
    "days",
    "dropped",
    "find",
    "months",
    "newer",
    "newest_id",
    "older",
    "run_of",
    "set_level",
    "sums",
    "verify",
    "zone",
]
