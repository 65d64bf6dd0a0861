"""Mistakes in the files a developer wrote, as the command line tells them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from portal.bench.errors import BenchError
from portal.cli.exits import CommandError


@contextmanager
def developers_mistakes() -> Iterator[None]:
    """A file that cannot be used is a mistake of usage, and its message is all there is to say."""
    try:
        yield
    except BenchError as error:
        raise CommandError(str(error)) from error
