"""`subscriptions/listen` of 2026-07-28: every stream hears of what its own caller may see, and of nothing else."""

from collections.abc import Callable
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ServerEvent, SubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from portal.endpoint.view import View
from portal.identity import Identity

MAX_STREAMS = 1024

Context = ServerRequestContext[Any, Any]


class Listening:
    """All open streams over one bus, on which events carry the URIs of the whole portal."""

    def __init__(self, bus: SubscriptionBus, view: View) -> None:
        self._bus = bus
        self._view = view
        self._streams: set[ListenHandler] = set()

    async def listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams, principal: Identity | None
    ) -> types.SubscriptionsListenResult:
        """One stream, until its client leaves or `close` ends it."""
        if len(self._streams) >= MAX_STREAMS:
            raise MCPError(INTERNAL_ERROR, "Subscription limit reached")
        stream = ListenHandler(_Personal(self._bus, lambda event: as_told(event, principal, self._view)))
        self._streams.add(stream)
        try:
            return await stream(ctx, params)
        finally:
            self._streams.discard(stream)

    def close(self) -> None:
        """Begin to end all streams."""
        for stream in tuple(self._streams):
            stream.close()


class _Personal:
    """A bus on which one caller hears what is meant for him."""

    def __init__(self, bus: SubscriptionBus, told: Callable[[ServerEvent], ServerEvent | None]) -> None:
        self._bus = bus
        self._told = told

    async def publish(self, event: ServerEvent) -> None:
        await self._bus.publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        def deliver(event: ServerEvent) -> None:
            told = self._told(event)
            if told is not None:
                listener(told)

        return self._bus.subscribe(deliver)


def as_told(event: ServerEvent, principal: Identity | None, view: View) -> ServerEvent | None:
    """An event as one caller may hear it: a resource by the URI he knows it by, nothing of what is not for him."""
    if view.access is None or not isinstance(event, ResourceUpdated):
        return event
    target = view.whole.aggregate.resource(event.uri)
    seen = view.seen_or_nothing(principal)
    if target is None or target.server not in seen.snapshot.servers:
        return None
    return ResourceUpdated(uri=seen.aggregate.listed_uri(target.server, target.name))
