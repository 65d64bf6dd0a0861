"""The log of calls, lines about them, and the setup of logging. Its chapter is `README.md`."""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.logs.records import CallRecord, Discard, RecordLog, RecordSink
from portal.logs.row import MAX_NAME, Kind, LogRow
from portal.logs.setup import configure_logging, set_level

if TYPE_CHECKING:
    from portal.logs.chain import LogKey, LogKeyUnusable
    from portal.logs.database import LogDatabase, LogUnavailable, LogUnusable
    from portal.logs.journal import JournalUnusable
    from portal.logs.log import CallLog, LogPlace, LogSettings
else:
    # A portal without a log starts without a database library: that saves half a second.
    __getattr__ = lazily(
        __name__,
        {
            "CallLog": "log",
            "JournalUnusable": "journal",
            "LogDatabase": "database",
            "LogKey": "chain",
            "LogKeyUnusable": "chain",
            "LogPlace": "log",
            "LogSettings": "log",
            "LogUnavailable": "database",
            "LogUnusable": "database",
        },
    )

__all__ = [
    "MAX_NAME",
    "CallLog",
    "CallRecord",
    "Discard",
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
    "RecordLog",
    "RecordSink",
    "configure_logging",
    "set_level",
]
