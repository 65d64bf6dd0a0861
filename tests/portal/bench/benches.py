"""A bench for tests: the real application on a real socket, over real upstreams and isolates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson

from codemode import CodeTool
from portal.bench.ui import BenchPage, InitialContent, create_bench_app
from portal.calls.caller import Caller
from portal.cli.show.token_count import count_tokens
from portal.config.config import parse_config
from portal.http import running
from portal.servers.servers import Servers
from sandbox import Engine, InProcessExecutor, Limits
from tests.patience import PATIENCE
from tests.portal.portals import Kept
from tests.portal.upstreams.hosting import Hosted

TOKEN = "the-key-of-this-start"


@dataclass
class Benched:
    """A running bench. `client` sends its key."""

    url: str
    servers: Servers
    kept: Kept
    client: httpx2.AsyncClient

    async def get(self, path: str) -> Any:
        answer = await self.client.get(f"/api/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def run(self, code: str, **request: Any) -> list[dict[str, Any]]:
        """The events of a whole run."""
        answer = await self.client.post("/api/run", json={"code": code, **request})
        assert answer.status_code == 200, answer.text
        return [orjson.loads(line) for line in answer.text.splitlines()]


@asynccontextmanager
async def bench_over(
    entries: Mapping[str, Hosted | Mapping[str, Any]],
    *,
    limits: Limits | None = None,
    editor: Path | None = None,
    initial: InitialContent | None = None,
) -> AsyncIterator[Benched]:
    """A bench over these upstreams, after they have settled."""
    document = {
        "mcpServers": {
            name: {"url": entry.url} if isinstance(entry, Hosted) else dict(entry) for name, entry in entries.items()
        }
    }
    engine = Engine(limits or Limits())
    executor = InProcessExecutor(engine)
    kept = Kept()
    try:
        async with Servers(parse_config(document).servers) as servers:
            await servers.settled()
            bench = BenchPage(
                servers,
                Caller(servers, kept),
                CodeTool(executor),
                limits=executor.limits,
                count=count_tokens,
                initial=initial,
            )
            app = create_bench_app(bench, TOKEN, editor=editor, no_editor="There is no editor in this test.")
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with running(app, http=app.state.http, on_stop=app.state.close_streams) as url:
                async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE) as client:
                    yield Benched(url, servers, kept, client)
    finally:
        await executor.aclose()
        engine.close()
