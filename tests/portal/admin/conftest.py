"""The admin API of a portal on a real HTTP server, and Cloudflare's own SDK for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from cloudflare import AsyncCloudflare, Cloudflare
from starlette.applications import Starlette

from portal.admin import PREFIX, Admin, AdminSettings, Upstreams, create_admin
from portal.http import running
from portal.http.edge import HttpSettings
from portal.state import KeyRing, Store
from tests.patience import PATIENCE
from tests.portal.state.conftest import postgres, url
from tests.portal.state.databases import new_state

__all__ = ["postgres", "url"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Api:
    """`token` may do everything; `http` is for tests that are not asynchronous."""

    admin: Admin
    store: Store
    url: str
    token: str
    http: httpx2.Client
    exits: ExitStack

    @property
    def account(self) -> str:
        return self.admin.account_id

    @property
    def base_url(self) -> str:
        return f"{self.url}{PREFIX}"

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def at(self, path: str) -> str:
        return f"{self.base_url}/accounts/{self.account}{path}"

    def sdk(self, token: str | None = None) -> Cloudflare:
        """Closed with the API."""
        sdk = Cloudflare(api_token=token or self.token, base_url=self.base_url, max_retries=0)
        return self.exits.enter_context(sdk)

    def async_sdk(self) -> AsyncCloudflare:
        return AsyncCloudflare(api_token=self.token, base_url=self.base_url, max_retries=0)


@asynccontextmanager
async def admin_api(folder: Path, upstreams: Upstreams | None = None, **more: Any) -> AsyncIterator[Api]:
    async with Store.open(new_state(folder), KeyRing.in_memory()) as store:
        of_settings = ("proxies", "integrations", "hostname")
        settings = AdminSettings(**{name: more.pop(name) for name in of_settings if name in more})
        admin = await create_admin(store, upstreams, settings=settings, **more)
        made = await admin.tokens.create_with_all("test", "test")
        app = Starlette(routes=[admin.route()])
        stop = admin.close_streams
        async with running(app, host="127.0.0.1", port=0, http=HttpSettings(), on_stop=stop) as url:
            # Not from the environment, and once: making the TLS context of a client takes longer than its requests.
            with ExitStack() as exits, httpx2.Client(trust_env=False, timeout=PATIENCE) as http:
                yield Api(admin, store, url, made.value, http, exits)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, detection_rules: Path) -> Iterator[Api]:
    """One API for the tests of a module that change nothing."""
    with start_blocking_portal() as portal:
        made = admin_api(tmp_path_factory.mktemp("shared"), rules=detection_rules)
        with portal.wrap_async_context_manager(made) as served:
            yield served


@pytest.fixture
def loop() -> Iterator[BlockingPortal]:
    """An event loop in another thread, for tests that are not asynchronous themselves."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def api(loop: BlockingPortal, tmp_path: Path, detection_rules: Path) -> Iterator[Api]:
    """The API, served from another thread, for synchronous clients."""
    with loop.wrap_async_context_manager(admin_api(tmp_path, rules=detection_rules)) as served:
        yield served
