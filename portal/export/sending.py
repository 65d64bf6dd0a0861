"""What it means to deliver a batch: what is sent, and how a place that does not take it says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

Refusal = Literal["later", "place", "batch", "too large"]
"""Why a batch is not taken. `later`: it may be, when it is sent again. `place`: nothing is taken before somebody
changes the job or the receiver. `batch`: this one is refused. `too large`: half of it may be taken."""


class NotTaken(Exception):
    """A batch was not taken, or it is unknown whether it was. `str()` is for logs and people: it has nothing of the
    destination's secrets and nothing that the receiver said."""

    def __init__(self, text: str, refusal: Refusal = "later", retry_after: float | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One row of a batch: its `id`, and the text of its record."""

    id: int
    text: bytes


@dataclass(frozen=True, slots=True)
class ExportBatch:
    """Rows that are sent together, in order. `stream` and the ids `first` and `last` name it: a batch that is sent
    again has the same name and the same rows."""

    stream: str
    first: int
    last: int
    rows: Sequence[ExportRow]

    @property
    def key(self) -> str:
        """What a receiver knows it by."""
        return f"{self.stream}/{self.first}-{self.last}"


class Sender(Protocol):
    """Delivers batches to one place."""

    async def send(self, batch: ExportBatch) -> int:
        """How many rows of the batch the receiver says it did not take, for good; 0 is the rule.

        Raises:
            NotTaken: the batch was not taken.
        """

    async def try_out(self) -> None:
        """Send something that shows whether the place takes batches.

        Raises:
            NotTaken: it does not.
        """

    async def aclose(self) -> None:
        """Close what is open."""


def moment(id: int) -> datetime:
    """The time that the id of a row stands for."""
    return datetime.fromtimestamp(id // 1_000_000, UTC)
