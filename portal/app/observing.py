"""What an instance tells those who run it, put together: who sees its rows, where spans go, `/metrics`, `/readyz`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from hmac import compare_digest
from types import TracebackType
from typing import TYPE_CHECKING

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from portal.app.definitions import OWN
from portal.app.portal import Portal
from portal.app.shared import Shared
from portal.calls import Records
from portal.http import NO_STORE, Refusal
from portal.logs import EventLog
from portal.observe import InstanceCondition, Lateness, ObservedRecords, readiness

if TYPE_CHECKING:
    from portal.observe import Metrics, Readings, SpanSender

METRICS_PATH, READY_PATH = "/metrics", "/readyz"


class Observing:
    """An async context manager, which begins with the configuration in force; `apply` takes up another one.

    `records` is where rows are written, seen by whoever counts them.
    """

    def __init__(self, shared: Shared, portals: Mapping[str, Portal], records: Records) -> None:
        self.records = ObservedRecords(records)
        self._shared = shared
        self._portals = portals
        self._metrics: Metrics | None = None
        self._sender: SpanSender | None = None
        self._late: Lateness | None = None
        self._knew_servers = False
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Observing:
        await self.apply()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._late is not None:
            self._late.close()
        await self._exits.aclose()

    async def apply(self) -> None:
        """Do what the configuration in force says. Numbers that were counted stay."""
        settings, traces = self._shared.config.portal, self._shared.traces
        traces.apply(settings.traces)
        if settings.traces is not None and self._sender is None:
            from portal.observe import SpanSender

            sender = SpanSender(traces, lambda: self._shared.config.portal.traces)
            self._sender = await self._exits.enter_async_context(sender)
        counts = settings.metrics is not None and settings.metrics.enabled
        if counts and self._metrics is None:
            from portal.observe import Metrics

            self._metrics = Metrics(self._knows)
        if counts and self._late is None and self._metrics is not None:
            self._late = Lateness(self._metrics.late.observe)
        elif not counts and self._late is not None:
            self._late.close()
            self._late = None
        self.records.watchers = (
            *((traces.take,) if settings.traces is not None else ()),
            *((self._metrics.take,) if counts and self._metrics is not None else ()),
        )
        if isinstance(events := self._shared.events, EventLog):
            events.watchers = self.records.watchers

    def routes(self) -> list[BaseRoute]:
        return [
            Route(READY_PATH, self._ready, methods=["GET"]),
            Route(METRICS_PATH, self._numbers, methods=["GET"]),
        ]

    async def _ready(self, request: Request) -> Response:
        condition = self._condition()
        found = readiness(condition)
        body: dict[str, object] = {"status": "ready" if found.ready else "not ready", "parts": found.parts}
        if condition.unknown_servers and self._portals[OWN].access is None:
            # Where policies decide, only those they let in may know which servers there are.
            body["waiting"] = condition.unknown_servers
        return Response(orjson.dumps(body), 200 if found.ready else 503, NO_STORE, "application/json")

    async def _numbers(self, request: Request) -> Response:
        section, metrics = self._shared.config.portal.metrics, self._metrics
        if section is None or not section.enabled or metrics is None:
            raise HTTPException(404)
        if section.token is not None:
            _require(section.token, request.headers.get("authorization", ""))
        text, content_type = await metrics.render(request.headers.get("accept", ""), self._readings())
        return Response(text, 200, {**NO_STORE, "content-type": content_type})

    def _condition(self) -> InstanceCondition:
        shared = self._shared
        waiting = (
            []
            if self._knew_servers
            else [server.id for server in shared.servers.snapshot.servers.values() if server.state == "waiting"]
        )
        # A server that comes later keeps nobody from being served.
        self._knew_servers = self._knew_servers or not waiting
        workers = shared.programs.load.workers if shared.programs is not None else None
        return InstanceCondition(
            store=None if shared.store is None else shared.store.health,
            log_trouble=None if shared.log is None else shared.log.trouble,
            log_blocks=shared.log is not None and shared.log.blocks,
            unknown_servers=tuple(waiting),
            workers=workers,
        )

    def _readings(self) -> Readings:
        from portal.observe import Readings

        shared, sender = self._shared, self._sender
        load = shared.programs.load if shared.programs is not None else None
        programs = load and {"running": load.running, "queued": load.queued, "suspended": load.suspended}
        return Readings(
            states={server.id: server.state for server in shared.servers.snapshot.servers.values()},
            sessions={id: portal.endpoint.session_count for id, portal in self._portals.items()},
            programs=programs,
            workers=None if load is None else load.workers,
            store_ok=None if shared.store is None else shared.store.health == "ok",
            log_ok=None if shared.log is None else not shared.log.trouble,
            log_waiting=0 if shared.log is None else shared.log.waiting,
            log_dropped=0 if shared.log is None else shared.log.dropped,
            spans_waiting=len(shared.traces),
            spans={
                "sent": 0 if sender is None else sender.sent,
                "refused": 0 if sender is None else sender.refused,
                "dropped": shared.traces.dropped,
            },
            notices={} if shared.notices is None else shared.notices.counts,
        )

    def _knows(self, server: str, tool: str) -> bool:
        found = self._shared.servers.snapshot.servers.get(server)
        return found is not None and (not tool or found.tool(tool) is not None)


def _require(token: str, authorization: str) -> None:
    """Raises `Refusal` unless the token is shown (RFC 6750)."""
    scheme, _, shown = authorization.partition(" ")
    if scheme.lower() != "bearer" or not compare_digest(shown.strip().encode("latin-1", "replace"), token.encode()):
        words = "Show the token of `portal.metrics` in the header Authorization, as a bearer token."
        raise Refusal(401, "token", words, headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
