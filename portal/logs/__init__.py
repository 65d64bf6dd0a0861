"""The record of calls."""

from portal.logs.records import MAX_NAME, CallRecord, Kind, RecordLog, RecordSink
from portal.logs.setup import configure_logging

__all__ = ["MAX_NAME", "CallRecord", "Kind", "RecordLog", "RecordSink", "configure_logging"]
