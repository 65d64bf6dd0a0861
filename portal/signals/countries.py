"""The country of an address, from a MaxMind file of the operator (GeoLite2-Country, ...; extra `geo`)."""

from __future__ import annotations

import importlib
import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Any

from portal.access import PolicyError

NOWHERE = "XX"
"""An address in no country's range, as Cloudflare writes it."""
_CACHED = 10_000


class Countries:
    """An open database, read into memory. A replaced file needs a new object."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.of = lru_cache(maxsize=_CACHED)(self._look_up)

    @classmethod
    def open(cls, path: Path) -> Countries:
        """Raises `PolicyError` if the extra is not installed or the file cannot be read."""
        try:
            maxminddb = importlib.import_module("maxminddb")
        except ImportError:
            problem = "countries need the extra `geo`: pip install 'codemode-portal[geo]'"
            raise PolicyError(problem, where=str(path)) from None
        try:
            return cls(maxminddb.open_database(path, maxminddb.MODE_MEMORY))
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            raise PolicyError(f"is no MaxMind database that can be read: {error}", where=str(path)) from None

    def _look_up(self, address: str) -> str:
        """The ISO code; "XX" for an address in no country's range, "" if the lookup fails."""
        try:
            record = self._reader.get(ipaddress.ip_address(address))
        except Exception:  # The reader fails in many ways on a damaged file.
            return ""
        if not isinstance(record, dict):
            return NOWHERE
        for part in ("country", "registered_country"):
            entry = record.get(part)
            if isinstance(entry, dict) and isinstance(code := entry.get("iso_code"), str):
                return code.upper()
        return NOWHERE
