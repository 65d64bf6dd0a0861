"""An upstream that runs already, so that each command does not have to start one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from portal.demo.company import build_company
from portal.demo.shop import build_server
from portal.http import running
from tests.portal.state.conftest import postgres

__all__ = ["postgres", "shop"]


@pytest.fixture(scope="session")
def shop() -> Iterator[dict[str, Any]]:
    """The entry of the demo's shop in a configuration."""
    app = build_server(build_company()).streamable_http_app(host="127.0.0.1")
    with start_blocking_portal() as loop, loop.wrap_async_context_manager(running(app)) as url:
        yield {"url": f"{url}/mcp"}
