"""The databases of the state's tests, for what is kept there of what was read."""

from tests.portal.state.conftest import anyio_backend, keys, opened, postgres, url

__all__ = ["anyio_backend", "keys", "opened", "postgres", "url"]
