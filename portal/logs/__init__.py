"""The log of calls, lines about them, and the setup of logging. Its chapter is `README.md`."""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.logs.records import Discard, RecordLog, RecordSink
from portal.logs.row import MAX_NAME, Kind, LogRow
from portal.logs.setup import configure_logging, set_level

if TYPE_CHECKING:
    from portal.logs.batch import Leaving
    from portal.logs.chain import LogKey, LogKeyUnusable
    from portal.logs.database import LogDatabase, LogUnavailable, LogUnusable
    from portal.logs.journal import JournalUnusable
    from portal.logs.log import CallLog, LogPlace, LogSettings
    from portal.logs.query import Filters, StoredRow, Sums, after, before, count, dropped, newest_id, sums
    from portal.logs.verification import Verification, verify
else:
    # A portal without a log starts without a database library: that saves half a second.
    __getattr__ = lazily(
        __name__,
        {
            "CallLog": "log",
            "Filters": "query",
            "JournalUnusable": "journal",
            "Leaving": "batch",
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
    "CallLog",
    "Discard",
    "Filters",
    "JournalUnusable",
    "Kind",
    "Leaving",
    "LogDatabase",
    "LogKey",
    "LogKeyUnusable",
    "LogPlace",
    "LogRow",
    "LogSettings",
    "LogUnavailable",
    "LogUnusable",
    "RecordLog",
    "RecordSink",
    "StoredRow",
    "Sums",
    "Verification",
    "after",
    "before",
    "configure_logging",
    "count",
    "dropped",
    "newest_id",
    "set_level",
    "sums",
    "verify",
]
