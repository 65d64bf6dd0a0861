"""One bench: the servers it stands on, the programs it runs, and what it tells about them while they run."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from codemode import CatalogError, CodeTool, isolate_declarations
from portal.bench.backend import Backend
from portal.bench.ui.cost import Count, run_cost
from portal.bench.ui.examples import examples
from portal.bench.ui.mocked import mocked, recorded
from portal.bench.ui.offers import Offer, Offers, listed
from portal.bench.ui.requests import RunRequest
from portal.bench.ui.stream import Emit
from portal.bench.ui.watch import Watched
from portal.calls import Caller, Run
from portal.errors import InputError
from portal.http import Refusal
from portal.servers import Servers
from portal.upstream import CallContext
from sandbox import Limits

MAX_RUNS = 4
FOUND = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What the page opens with: where the servers come from, a program, and examples beside the generated ones."""

    title: str = ""
    program: str | None = None
    examples: Sequence[Mapping[str, str]] = field(default_factory=tuple)


class Bench:
    """`servers` stay the caller's to close. `limits` are the executor's, `count` gives a text's tokens."""

    def __init__(
        self,
        servers: Servers,
        caller: Caller,
        code_tool: CodeTool,
        *,
        limits: Limits,
        count: Count,
        opened: Opened | None = None,
    ) -> None:
        self._servers = servers
        self._caller = caller
        self._code_tool = code_tool
        self._limits = limits
        self._count = count
        self._opened = opened or Opened()
        self._offers = Offers(self._code_tool, count)
        self._runs: set[asyncio.Task[Any]] = set()

    async def state(self) -> dict[str, Any]:
        """Servers, tools and examples, with the id of the catalog they belong to."""
        snapshot = self._servers.snapshot
        offer = await self._offers.of(snapshot)
        return {
            "title": self._opened.title,
            "program": self._opened.program,
            "catalog": offer.catalog.id,
            "tools": len(offer.catalog),
            "servers": await asyncio.to_thread(listed, snapshot, offer.catalog),
            "examples": [*self._opened.examples, *examples(offer.catalog)],
        }

    async def declarations(self) -> dict[str, str]:
        """TypeScript for the editor: the servers' tools, and what an isolate has beside the language."""
        return {"codemode": await (await self._offer()).declarations(), "isolate": isolate_declarations()}

    async def search(self, query: str) -> list[dict[str, Any]]:
        """What `codemode.search` would find. Raises `Refusal` for a query it would not take."""
        catalog = (await self._offer()).catalog
        try:
            return await asyncio.to_thread(catalog.search, query, FOUND)
        except CatalogError as error:
            raise Refusal(400, "search", str(error)) from None

    def admit(self) -> None:
        """Raises `Refusal` when as many programs run as may."""
        if len(self._runs) >= MAX_RUNS:
            raise Refusal(429, "busy", f"{MAX_RUNS} programs are running; cancel one, or wait.")

    def stop(self) -> None:
        """End the programs that run: the bench is being closed."""
        for task in tuple(self._runs):
            task.cancel()

    async def run(self, request: RunRequest, emit: Emit) -> None:
        """Run a program, telling of it as it goes: `started`, `call`, `settled`, and `done` or `refused` at the end.

        Cancelling stops the program and its calls.
        """
        run_id = f"bench_{secrets.token_hex(8)}"
        with self._counted(), self._caller.run(CallContext(run_id=run_id)) as live:
            offer = await self._offers.of(live.snapshot)
            try:
                backend = self._backend(request, offer, live)
            except InputError as error:
                emit({"type": "refused", "message": str(error)})
                return
            await self._code_tool.prepare(backend.catalog)
            emit({"type": "started", "id": run_id, "mode": request.mode, "catalog": offer.catalog.id})
            watched = Watched(backend.caller, backend.catalog, emit)
            began = time.perf_counter()
            try:
                result = await self._code_tool.run(
                    {"code": request.code}, backend.catalog, watched, run_id=run_id, pace=backend.pace
                )
            finally:
                if backend.finish is not None:
                    await backend.finish()
            elapsed = (time.perf_counter() - began) * 1000
            emit(await self._done(request, backend, offer, watched, result, elapsed))

    async def _done(
        self, request: RunRequest, backend: Backend, offer: Offer, watched: Watched, result: dict[str, Any], ms: float
    ) -> dict[str, Any]:
        answer, content = result["structuredContent"], result["content"]
        if backend.corrected is not None:
            backend.corrected(answer["calls"])
        standing = await offer.standing()
        cost = await asyncio.to_thread(run_cost, request.code, content, watched.seen, standing, self._count)
        return {
            "type": "done",
            "answer": answer,
            "text": "\n\n".join(block["text"] for block in content if block.get("type") == "text"),
            "emitted": [block for block in content if block.get("type") != "text"],
            "elapsed": round(ms, 3),
            "cost": cost.as_dict(),
            "notes": list(backend.notes),
            "mocks": recorded(watched.seen) if request.mode == "live" else None,
        }

    def _backend(self, request: RunRequest, offer: Offer, live: Run) -> Backend:
        if request.mocks is None:
            return Backend(offer.catalog, live)
        return mocked(request.mocks, offer.catalog, self._limits.wall_time)

    async def _offer(self) -> Offer:
        return await self._offers.of(self._servers.snapshot)

    @contextmanager
    def _counted(self) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._runs.add(task)
        try:
            yield
        finally:
            self._runs.discard(task)
