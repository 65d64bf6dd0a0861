"""The same tools as the original Code Mode's generator declares them, from npm."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.cases import Reading
from benchmarks.subjects.declared_text import texts
from tests.stubs.original import declared


def cases() -> Mapping[str, Reading]:
    return texts(declared)
