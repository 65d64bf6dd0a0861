"""The databases of the state's tests, for what is decided in its transactions."""

from tests.portal.state.conftest import keys, opened, postgres, url

__all__ = ["keys", "opened", "postgres", "url"]
