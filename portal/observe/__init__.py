"""What an instance tells those who run it: traces, numbers, whether it can serve. Its chapter is `README.md`."""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.observe.lateness import Lateness
from portal.observe.readiness import InstanceCondition, Readiness, readiness
from portal.observe.rows import ObservedRecords
from portal.observe.traces import Traces

if TYPE_CHECKING:
    from portal.observe.metrics import Metrics, Readings
    from portal.observe.sending import SpanSender
else:
    # An instance without numbers loads no library for them.
    __getattr__ = lazily(__name__, {"Metrics": "metrics", "Readings": "metrics", "SpanSender": "sending"})

__all__ = [
    "InstanceCondition",
    "Lateness",
    "Metrics",
    "ObservedRecords",
    "Readiness",
    "Readings",
    "SpanSender",
    "Traces",
    "readiness",
]
