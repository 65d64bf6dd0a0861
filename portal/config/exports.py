"""The `portal.exports` section: where jobs that export the log may send it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from portal.config.section import Section


class ExportSection(Section):
    """`allow_private` lets jobs send to addresses of a private network, and over http://. `folders` are those that
    they may write files in, and below; without one they write none."""

    allow_private: bool = False
    folders: tuple[Path, ...] = Field(default=(), max_length=100)
