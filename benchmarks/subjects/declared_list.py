"""The same tools as MCP lists them: what an agent reads without code mode, hints and other extras left out."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.cases import Reading
from benchmarks.subjects.declared_text import texts
from tests.stubs.measured import listed


def cases() -> Mapping[str, Reading]:
    return texts(listed)
