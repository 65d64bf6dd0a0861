"""The bench behind the page: its servers, the programs it runs, and the events about them."""

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
from portal.bench.ui.editor_catalog import EditorCatalog, EditorCatalogs, server_list
from portal.bench.ui.examples import examples
from portal.bench.ui.run_mocks import mock_backend, mocks_from_calls
from portal.bench.ui.run_request import RunRequest
from portal.bench.ui.stream import Emit
from portal.bench.ui.watch import CallWatcher
from portal.calls import Caller, LeasedRun
from portal.errors import InputError
from portal.http import Refusal
from portal.servers import Servers
from portal.upstream import CallContext
from sandbox import Limits

MAX_RUNS = 4
FOUND = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialContent:
    """The first content of the page: a title that says where the servers come from, a program, and further examples."""

    title: str = ""
    program: str | None = None
    examples: Sequence[Mapping[str, str]] = field(default_factory=tuple)


class BenchPage:
    """Runs the programs of the page. It does not close `servers`.

    `limits` are those of the executor. `count` counts the tokens of a text.
    """

    def __init__(
        self,
        servers: Servers,
        caller: Caller,
        code_tool: CodeTool,
        *,
        limits: Limits,
        count: Count,
        initial: InitialContent | None = None,
    ) -> None:
        self._servers = servers
        self._caller = caller
        self._code_tool = code_tool
        self._limits = limits
        self._count = count
        self._initial = initial or InitialContent()
        self._editor_catalogs = EditorCatalogs(self._code_tool, count)
        self._runs: set[asyncio.Task[Any]] = set()

    async def state(self) -> dict[str, Any]:
        """The servers, tools and examples for the page, with the id of their catalog."""
        snapshot = self._servers.snapshot
        editor_catalog = await self._editor_catalogs.of(snapshot)
        return {
            "title": self._initial.title,
            "program": self._initial.program,
            "catalog": editor_catalog.catalog.id,
            "tools": len(editor_catalog.catalog),
            "servers": await asyncio.to_thread(server_list, snapshot, editor_catalog.catalog),
            "examples": [*self._initial.examples, *examples(editor_catalog.catalog)],
        }

    async def declarations(self) -> dict[str, str]:
        """TypeScript for the editor: the servers' tools, and the globals of an isolate."""
        return {"codemode": await (await self._editor_catalog()).declarations(), "isolate": isolate_declarations()}

    async def search(self, query: str) -> list[dict[str, Any]]:
        """The tools that `codemode.search` finds. Raises `Refusal` for a query that it does not accept."""
        catalog = (await self._editor_catalog()).catalog
        try:
            return await asyncio.to_thread(catalog.search, query, FOUND)
        except CatalogError as error:
            raise Refusal(400, "search", str(error)) from None

    def admit(self) -> None:
        """Raises `Refusal` if `MAX_RUNS` programs are running."""
        if len(self._runs) >= MAX_RUNS:
            raise Refusal(429, "busy", f"{MAX_RUNS} programs are running; cancel one, or wait.")

    def stop(self) -> None:
        """Stop the running programs, when the bench closes."""
        for task in tuple(self._runs):
            task.cancel()

    async def run(self, request: RunRequest, emit: Emit) -> None:
        """Run a program. Its events go to `emit`: `started`, `call`, `settled`, and last `done` or `refused`.

        Cancelling stops the program and its calls.
        """
        run_id = f"bench_{secrets.token_hex(8)}"
        with self._counted(), self._caller.run(CallContext(run_id=run_id)) as live:
            editor_catalog = await self._editor_catalogs.of(live.snapshot)
            try:
                backend = self._backend(request, editor_catalog, live)
            except InputError as error:
                emit({"type": "refused", "message": str(error)})
                return
            await self._code_tool.prepare(backend.catalog)
            emit({"type": "started", "id": run_id, "mode": request.mode, "catalog": editor_catalog.catalog.id})
            watched = CallWatcher(backend.caller, backend.catalog, emit)
            began = time.perf_counter()
            try:
                result = await self._code_tool.run(
                    {"code": request.code}, backend.catalog, watched, run_id=run_id, pace=backend.pace
                )
            finally:
                if backend.finish is not None:
                    await backend.finish()
            elapsed = (time.perf_counter() - began) * 1000
            emit(await self._done(request, backend, editor_catalog, watched, result, elapsed))

    async def _done(
        self,
        request: RunRequest,
        backend: Backend,
        editor_catalog: EditorCatalog,
        watched: CallWatcher,
        result: dict[str, Any],
        ms: float,
    ) -> dict[str, Any]:
        answer, content = result["structuredContent"], result["content"]
        if backend.correct_times is not None:
            backend.correct_times(answer["calls"])
        listing_cost = await editor_catalog.listing_cost()
        cost = await asyncio.to_thread(run_cost, request.code, content, watched.finished, listing_cost, self._count)
        return {
            "type": "done",
            "answer": answer,
            "text": "\n\n".join(block["text"] for block in content if block.get("type") == "text"),
            "emitted": [block for block in content if block.get("type") != "text"],
            "elapsed": round(ms, 3),
            "cost": cost.as_dict(),
            "notes": list(backend.notes),
            "mocks": mocks_from_calls(watched.finished) if request.mode == "live" else None,
        }

    def _backend(self, request: RunRequest, editor_catalog: EditorCatalog, live: LeasedRun) -> Backend:
        if request.mocks is None:
            return Backend(editor_catalog.catalog, live)
        return mock_backend(request.mocks, editor_catalog.catalog, self._limits.wall_time)

    async def _editor_catalog(self) -> EditorCatalog:
        return await self._editor_catalogs.of(self._servers.snapshot)

    @contextmanager
    def _counted(self) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._runs.add(task)
        try:
            yield
        finally:
            self._runs.discard(task)
