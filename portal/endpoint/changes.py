"""Telling clients that a list or a resource has changed, in both generations.

A 2026-07-28 client listens on a stream of its own (`subscriptions/listen`); a 2025 client is told on its session's
stream. One slow client delays nobody: each session is told by a task of its own, one at a time, within a bound.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from portal.endpoint.aggregate import Aggregate
from portal.endpoint.background import Background
from portal.endpoint.listening import as_told
from portal.endpoint.sessions import Session, Sessions
from portal.endpoint.view import View
from portal.servers import Snapshot

TELL_SECONDS = 5.0
ANNOUNCEMENTS: Mapping[str, ServerEvent] = {
    "notifications/tools/list_changed": ToolsListChanged(),
    "notifications/prompts/list_changed": PromptsListChanged(),
    "notifications/resources/list_changed": ResourcesListChanged(),
}


def list_events(old: Aggregate, new: Aggregate) -> tuple[ServerEvent, ...]:
    """Which lists differ between two aggregates."""
    events: list[ServerEvent] = []
    if old.tool_list != new.tool_list:
        events.append(ToolsListChanged())
    if old.prompt_list != new.prompt_list:
        events.append(PromptsListChanged())
    if old.resource_list != new.resource_list or old.template_list != new.template_list:
        events.append(ResourcesListChanged())
    return tuple(events)


class Changes:
    """Fans events out to the listen streams and the sessions."""

    def __init__(self, view: View, sessions: Sessions, bus: InMemorySubscriptionBus, background: Background) -> None:
        self._view = view
        self._sessions = sessions
        self._bus = bus
        self._background = background

    def snapshot_replaced(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Servers.subscribe`."""
        if old.content_id == new.content_id:
            return
        before = self._view.whole_of(old).aggregate
        events = list_events(before, self._view.whole_of(new).aggregate)
        if self._view.access is None:
            self.publish(*events)
        else:
            self._announce(events)
            self._tell_differences()

    def access_replaced(self) -> None:
        """A listener for `LiveAccess.subscribe`: whoever now sees something else is told to look again."""
        self._announce(tuple(ANNOUNCEMENTS.values()))
        self._tell_differences()

    def upstream_notified(self, server: str, method: str, params: Mapping[str, Any]) -> None:
        """A listener for `Servers.on_notification`: what belongs to no call.

        That a list has changed is told when the new list is here and differs; a server that is shown as it is
        (`prefix` false) is taken at its word.
        """
        source = self._view.snapshot.servers.get(server)
        if method in ANNOUNCEMENTS and source is not None and not source.prefix:
            self.publish(ANNOUNCEMENTS[method])
        uri = params.get("uri")
        if method == "notifications/resources/updated" and isinstance(uri, str):
            self.publish(ResourceUpdated(uri=self._view.whole.aggregate.listed_uri(server, uri)))

    def publish(self, *events: ServerEvent) -> None:
        """Tell everyone whom it concerns."""
        self._announce(events)
        for session in self._sessions:
            personal = (as_told(event, session.principal, self._view) for event in events)
            self._tell(session, [event for event in personal if event is not None and _concerns(event, session)])

    def _announce(self, events: Iterable[ServerEvent]) -> None:
        for event in events:
            self._background.spawn(self._bus.publish(event))

    def _tell_differences(self) -> None:
        """Each session of what differs in its own lists since it was last told."""
        for session in self._sessions:
            now = self._view.seen_or_nothing(session.principal).aggregate
            events = tuple(ANNOUNCEMENTS.values()) if session.told is None else list_events(session.told, now)
            session.told = now
            self._tell(session, events)

    def _tell(self, session: Session, events: Iterable[ServerEvent]) -> None:
        session.untold.update((event, None) for event in events)
        if session.untold and not session.telling:
            session.telling = True
            self._background.spawn(_tell(session))


def _concerns(event: ServerEvent, session: Session) -> bool:
    return not isinstance(event, ResourceUpdated) or event.uri in session.subscriptions


async def _tell(session: Session) -> None:
    """Send what is untold on the session's own stream. A client that does not read is left, it will list again."""
    try:
        while session.untold:
            event = next(iter(session.untold))
            del session.untold[event]
            async with asyncio.timeout(TELL_SECONDS):
                await _send(session, event)
    except TimeoutError:
        session.untold.clear()
    finally:
        session.telling = False


async def _send(session: Session, event: ServerEvent) -> None:
    match event:
        case ToolsListChanged():
            await session.connection.send_tool_list_changed()
        case PromptsListChanged():
            await session.connection.send_prompt_list_changed()
        case ResourcesListChanged():
            await session.connection.send_resource_list_changed()
        case ResourceUpdated(uri=uri):
            await session.connection.send_resource_updated(uri)
