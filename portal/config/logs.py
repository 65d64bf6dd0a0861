"""The `portal.logs` section: whether calls are written into a log, where it is, and how long it is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from portal.config.section import Section


class LogSection(Section):
    """`database` is the URL of a database of the log; without it the log is beside the portal's own database. Whole
    days are kept for `keep_days`. When there is no room for a row, because the database does not answer, calls go on
    and the row is dropped and counted (`drop`), or calls wait (`block`)."""

    enabled: bool = True
    database: str | None = Field(default=None, repr=False)
    keep_days: int = Field(default=30, ge=1, le=3650)
    when_full: Literal["drop", "block"] = "drop"
