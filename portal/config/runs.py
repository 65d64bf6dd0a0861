"""How long programs may wait: for people while their client is there, and parked in the database without it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from portal.config.section import Section

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Parked = Annotated[float, Field(ge=300, le=30 * 86_400, allow_inf_nan=False)]
Plans = Literal["off", "offered", "required"]


class RunSettings(Section):
    """How long a program may wait for a person; times in seconds.

    Its client is thought to wait `patience` after its request, or `patience_with_progress` if it asked for progress,
    which it gets every `progress_every`. Then the answer is `paused`, and the program is kept for `keep`, at most
    `most_for_each` for one person and `most` in all. A client that declares tasks gets a task then, for whatever takes
    so long.

    With `durable: on_park` a program that only waits is parked in the database of the portal, if it has one: it
    outlives the process, and ends when it has not gone on for `expires`.

    With `record: on` each program is recorded with the log of calls, sealed: it can be replayed without a server.
    With `plan: offered` clients may ask what a program would do before it does it. With `required` a program that would
    change something makes its first call when its person has approved what it would do.
    """

    patience: Seconds = 45.0
    patience_with_progress: Seconds = 240.0
    progress_every: Seconds = 15.0
    keep: Seconds = 900.0
    most_for_each: int = Field(default=10, ge=0, le=10_000)
    most: int = Field(default=500, ge=0, le=10_000)
    durable: Literal["off", "on_park"] = "on_park"
    expires: Parked = 86_400.0
    record: Literal["off", "on"] = "off"
    plan: Plans = "off"
