"""Which traces are kept, from what is known when a call or a run has ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from portal.logs import LogRow
from portal.observe.spans import FAILED

_DIGITS = 14
"""The last digits of a trace id, which are random (W3C Trace Context level 2)."""
_RANGE = float(16**_DIGITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """A `sample` of the traces by their ids; with `keep_errors` also those in which something failed, was denied or had
    findings; and those in which something took `slow_us` microseconds."""

    sample: float
    keep_errors: bool
    slow_us: int

    def takes(self, trace: str) -> bool:
        """Whether a trace is of the sample. Everybody who keeps as large a share keeps the same traces (OpenTelemetry,
        "Consistent Probability Sampling")."""
        return int(trace[-_DIGITS:], 16) >= (1 - self.sample) * _RANGE

    def stands_out(self, row: LogRow) -> bool:
        """Whether a row is a reason to keep its trace."""
        return row.us >= self.slow_us or (self.keep_errors and (row.outcome in FAILED or bool(row.findings)))
