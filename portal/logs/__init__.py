"""Records of calls, and the setup of logging."""

from portal.logs.records import MAX_NAME, CallRecord, Discard, Kind, RecordLog, RecordSink
from portal.logs.setup import configure_logging, set_level

__all__ = ["MAX_NAME", "CallRecord", "Discard", "Kind", "RecordLog", "RecordSink", "configure_logging", "set_level"]
