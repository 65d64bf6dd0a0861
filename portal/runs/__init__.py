"""The programs of a portal that outlive the request which started them."""

from portal.runs.line import Line
from portal.runs.live import LiveRun, Owner, in_words
from portal.runs.registry import OwnRuns, RunRegistry, TooManyRuns

__all__ = ["Line", "LiveRun", "OwnRuns", "Owner", "RunRegistry", "TooManyRuns", "in_words"]
