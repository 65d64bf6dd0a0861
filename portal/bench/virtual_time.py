"""The times and seeds of virtual time as people write them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from portal.errors import InputError


def parse_time(value: object, where: str) -> float:
    """Milliseconds since the epoch, from ISO text or a number of milliseconds. Raises `InputError`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 8.64e15:
        return float(value)
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000
    raise InputError(f'{where} must be a time such as "2026-01-31T12:00:00Z", or milliseconds since 1970.')


def parse_seed(value: object, where: str) -> bytes:
    """A seed of 32 bytes from a text or a number. Equal ones give equal runs. Raises `InputError`."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        return hashlib.sha256(str(value).encode()).digest()
    raise InputError(f"{where} must be text or a whole number.")
