"""The databases of a log, for runs that are read in one."""

from tests.portal.logs.conftest import place, postgres

__all__ = ["place", "postgres"]
