"""The programs of a portal: those that outlive the request which started them, and runs as people look at them."""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.runs.line import Line
from portal.runs.live import LiveRun, Owner, in_words
from portal.runs.registry import OwnRuns, RunRegistry, TooManyRuns
from portal.runs.watched import WatchedRun, WatchedRuns, ended_by
from portal.runs.waterfall import CallOfRun, RunFacts, RunStory, parallel_width

if TYPE_CHECKING:
    from portal.runs.durable import DurableRuns, DurableSettings, NextAttempt, NextEnd, NextHold, NextPark, RunOutcome
    from portal.runs.history import PersonRuns, RunHistory, RunPage
    from portal.runs.kept import failure_in_words, kept_call, row_of_end, waits_of
    from portal.runs.replay import (
        ReplayImpossible,
        RunReplays,
        RunsPrograms,
        has_just_ended,
        recording_of,
        repeated,
        row_of_run,
    )
else:
    # It reads the log, with a database library that a portal without a log does not load.
    __getattr__ = lazily(
        __name__,
        {
            "DurableRuns": "durable",
            "DurableSettings": "durable",
            "NextAttempt": "durable",
            "NextEnd": "durable",
            "NextHold": "durable",
            "NextPark": "durable",
            "PersonRuns": "history",
            "ReplayImpossible": "replay",
            "RunHistory": "history",
            "RunOutcome": "durable",
            "RunPage": "history",
            "RunReplays": "replay",
            "RunsPrograms": "replay",
            "has_just_ended": "replay",
            "recording_of": "replay",
            "repeated": "replay",
            "failure_in_words": "kept",
            "kept_call": "kept",
            "row_of_end": "kept",
            "row_of_run": "replay",
            "waits_of": "kept",
        },
    )

__all__ = [
    "CallOfRun",
    "DurableRuns",
    "DurableSettings",
    "Line",
    "LiveRun",
    "NextAttempt",
    "NextEnd",
    "NextHold",
    "NextPark",
    "OwnRuns",
    "Owner",
    "PersonRuns",
    "ReplayImpossible",
    "RunFacts",
    "RunHistory",
    "RunOutcome",
    "RunPage",
    "RunRegistry",
    "RunReplays",
    "RunStory",
    "RunsPrograms",
    "TooManyRuns",
    "WatchedRun",
    "WatchedRuns",
    "ended_by",
    "failure_in_words",
    "has_just_ended",
    "in_words",
    "kept_call",
    "parallel_width",
    "recording_of",
    "repeated",
    "row_of_end",
    "row_of_run",
    "waits_of",
]
