"""The databases of the state, for the runs that are parked in one."""

from tests.portal.state.conftest import keys, opened, postgres, url

__all__ = ["keys", "opened", "postgres", "url"]
