"""A running instance looks at the logins of its database, and tells where its configuration says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from portal.app import Parts
from portal.config import parse_config
from portal.credentials.notices import CREDENTIAL_NOTICE
from tests.patience import PATIENCE
from tests.portal.credentials.test_notices import Hook, hook, log_in, login
from tests.portal.portals import opened
from tests.portal.state.databases import new_state

__all__ = ["hook"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_webhook_of_the_configuration_in_force_is_told(tmp_path: Path, hook: Hook) -> None:
    told = asyncio.Event()
    document = {"mcpServers": {}, "portal": {"name": "Acme", "state": new_state(tmp_path)}}
    async with opened(document, parts=Parts(code=None, now=lambda: datetime.now(UTC))) as instance:
        store = instance.shared.require_store()
        store.subscribe(lambda kinds: told.set() if CREDENTIAL_NOTICE.name in kinds else None)
        notices = {"webhook": hook.url, "secret": "a secret that is long enough"}
        changed = {**document, "portal": {**document["portal"], "credentialNotices": notices}}
        assert await instance.apply(parse_config(changed, env={})) == ()
        await log_in(store, login(None, state="needs_reauth"))
        async with asyncio.timeout(PATIENCE):
            while not any(one.document.told for one in await store.list(CREDENTIAL_NOTICE)):
                await told.wait()
                told.clear()
    assert hook.events == ["credential.ended"] and b'"portal":"Acme"' in hook.taken[0][1]
