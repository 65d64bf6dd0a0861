"""Logs on SQLite and PostgreSQL, and receivers of exports."""

from __future__ import annotations

from tests.portal.logs.conftest import anyio_backend, place, postgres

__all__ = ["anyio_backend", "place", "postgres"]
