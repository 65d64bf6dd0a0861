"""The `portal.logs` section: whether calls are written into a log, where it is, and how long it is kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from portal.config.section import Section

MAX_RULES = 200
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ContentCallsSection(Section):
    """Calls whose content is kept: those of the tools `tools` of the server `server`, both with `*` and `?`. Of them
    `arguments`, `results`, or both."""

    server: Pattern
    tools: tuple[Pattern, ...] = Field(default=("*",), min_length=1, max_length=MAX_RULES)
    arguments: bool = False
    results: bool = False

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not self.arguments and not self.results:
            raise ValueError("keeps nothing: set `arguments`, `results` or both to true")
        return self


class ContentsSection(Section):
    """What is kept with the log, sealed: arguments and results of `calls`, and with `programs` the text of each program
    that runs. `mask` are names and paths of members that are masked beside those that always are. A content has at most
    `max_bytes`, and is kept for `keep_days` whole days."""

    calls: tuple[ContentCallsSection, ...] = Field(default=(), max_length=MAX_RULES)
    programs: bool = False
    mask: tuple[Pattern, ...] = Field(default=(), max_length=MAX_RULES)
    max_bytes: int = Field(default=65_536, ge=1024, le=1024 * 1024)
    keep_days: int = Field(default=7, ge=1, le=3650)

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not self.calls and not self.programs:
            raise ValueError("keeps nothing: write `calls`, or set `programs` to true")
        return self


class LogSection(Section):
    """`database` is the URL of a database of the log; without it the log is beside the portal's own database. Whole
    days are kept for `keep_days`, and what they add up to for `keep_sums_days`, or as long as the rows. When there
    is no room for a row, because the database does not answer, calls go on and the row is dropped and counted (`drop`),
    or calls wait (`block`). `contents` are arguments, results and programs that are kept; without it there are none."""

    enabled: bool = True
    database: str | None = Field(default=None, repr=False)
    keep_days: int = Field(default=30, ge=1, le=3650)
    keep_sums_days: int = Field(default=400, ge=1, le=3650)
    when_full: Literal["drop", "block"] = "drop"
    contents: ContentsSection | None = None

    @model_validator(mode="after")
    def _contents_go_first(self) -> Self:
        if self.contents is not None and self.contents.keep_days > self.keep_days:
            raise ValueError(
                f"`contents.keepDays` is {self.contents.keep_days} and `keepDays` {self.keep_days}: contents are kept "
                "at most as long as their rows"
            )
        return self
