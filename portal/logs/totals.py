"""What is asked about what calls add up to, and what is found (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import TypeAlias

from portal.logs.schema import BOUNDS, HOUR

Keys: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Sums:
    """What an hour, a server, a tool... adds up to. Times are in microseconds; `errors` are the calls that did not end
    well, `denied` those of them that were denied."""

    n: int
    us: int
    us_max: int
    bytes_in: int
    bytes_out: int
    tokens_saved: int
    parts: Mapping[int, int] = field(default_factory=dict)
    errors: int = 0
    denied: int = 0

    def quantile(self, q: float) -> int | None:
        """The time within which this share of the calls ended, at most 6 % from the true one (or 1 ms, if that is
        more); None without a call, or where times were not asked for. Above 2 minutes it is the longest time there
        was."""
        if not self.parts:
            return None
        rank, seen = q * self.n, 0
        for part in sorted(self.parts):
            seen += self.parts[part]
            if seen >= rank and part < len(BOUNDS):
                middle = sqrt(BOUNDS[part - 1] * BOUNDS[part]) if part else BOUNDS[0]
                return min(round(middle), self.us_max)
        return self.us_max


def added(several: Iterable[Sums]) -> Sums | None:
    """What several add up to together; None if there are none."""
    every = [*several]
    if not every:
        return None
    parts: dict[int, int] = {}
    for one in every:
        for part, number in one.parts.items():
            parts[part] = parts.get(part, 0) + number
    return Sums(
        n=sum(one.n for one in every),
        us=sum(one.us for one in every),
        us_max=max(one.us_max for one in every),
        bytes_in=sum(one.bytes_in for one in every),
        bytes_out=sum(one.bytes_out for one in every),
        tokens_saved=sum(one.tokens_saved for one in every),
        parts=parts,
        errors=sum(one.errors for one in every),
        denied=sum(one.denied for one in every),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWindow:
    """Whole hours, from that of `since` on, before `until` (microseconds since 1970), and which calls. What is None
    does not matter. With `rows` the rows themselves are read, from `since` on: for a time that is no whole hours."""

    since: int
    until: int
    portal: str | None = None
    server: str | None = None
    kind: str | None = None
    identity: str | None = None
    client: str | None = None
    rows: bool = False

    @property
    def hours(self) -> tuple[int, int]:
        return self.since // HOUR, -(-self.until // HOUR)

    @property
    def span(self) -> tuple[int, int]:
        """The ids of the rows, from the first to before the last."""
        first, end = (self.since, self.until) if self.rows else (hour * HOUR for hour in self.hours)
        # Larger than any id, for any time that may be asked for.
        return max(first, 0), min(end, 2**62)


@dataclass(frozen=True, slots=True)
class FoundSums:
    """`groups` with the most calls first. What ended before `since` or after `until` is not in them, where they are not
    None (microseconds since 1970): too many rows would have had to be read."""

    groups: dict[Keys, Sums]
    since: int | None = None
    until: int | None = None


COLUMNS = (
    "day", "hour", "minutes", "portal", "server", "kind", "name", "outcome", "identity", "client", "client_version"
)  # fmt: skip
"""What sums can be told apart by. `day` and `hour` count from 1970, and so do `minutes`, five at a time and of rows
alone."""
NUMBERS = ("day", "hour", "minutes")
MINUTES = 300_000_000
"""Five of them, in microseconds."""


@dataclass(frozen=True, slots=True)
class SumsQuestion:
    """What calls add up to for each value of the columns in `by` (some of `COLUMNS`): at most `most` values, those with
    the most calls, and of `only` these if it is given. Without `times` how they lie in the parts is left out."""

    by: Sequence[str]
    most: int | None = None
    only: Sequence[Keys] | None = None
    times: bool = True
