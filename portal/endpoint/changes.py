"""Notifying clients that a list or a resource has changed, in both generations.

A 2026-07-28 client has a stream of its own for this (`subscriptions/listen`); a 2025 client gets it on its session's
stream. One slow client delays nobody: each session is notified by a task of its own, within a bound. Callers with
policies get only events that concern their own view.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    SubscriptionBus,
    ToolsListChanged,
)
from starlette.types import Scope

from portal.endpoint.aggregate import Aggregate, Target, owned_uri, split_owned_uri
from portal.endpoint.background import Background
from portal.endpoint.sessions import Session, Sessions
from portal.endpoint.views import Views
from portal.identity import Identity, key_of
from portal.servers import Snapshot
from portal.shares import Shares

Context = ServerRequestContext[Any, Any]

MAX_STREAMS, MAX_STREAMS_FOR_EACH = 1024, 128
STREAMS = "streams for changes"
SEND_SECONDS = 5.0
LIST_EVENTS: Mapping[str, ServerEvent] = {
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


class ChangeNotices:
    """Sends events to the listen streams, over the bus, and to the sessions."""

    def __init__(
        self,
        views: Views,
        sessions: Sessions,
        bus: InMemorySubscriptionBus,
        streams: "ListenStreams",
        background: Background,
    ) -> None:
        self._views = views
        self._sessions = sessions
        self._bus = bus
        self._streams = streams
        self._background = background

    def snapshot_replaced(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Servers.subscribe`."""
        if old.content_id == new.content_id:
            return
        events = list_events(self._views.whole_of(old).aggregate, self._views.whole_of(new).aggregate)
        if self._views.access is None:
            self.publish(*events)
        else:
            self._publish_on_bus(events)
            self._notify_of_differences()

    def person_changed(self, subject: str) -> None:
        """A listener for `Servers.on_person`: what this person is offered may be something else now."""
        self._notify_of_differences(subject)
        self._streams.notify_of_differences(subject)

    def access_replaced(self) -> None:
        """A listener for `LiveAccess.subscribe`: callers whose view is another one now should list again."""
        self._publish_on_bus(tuple(LIST_EVENTS.values()))
        self._notify_of_differences()

    def upstream_notified(self, server: str, subject: str, method: str, params: Mapping[str, Any]) -> None:
        """A listener for `Servers.on_notification`: notifications that belong to no call, for a person or everybody.

        That a list has changed is passed on when the new list is here and differs. A server without prefix is the
        exception: its clients see it as it is, so its own notification is passed on at once.
        """
        source = self._views.whole.selection.servers.get(server)
        if method in LIST_EVENTS and source is not None and not source.server.prefix:
            if subject:
                self._tell_person(subject, LIST_EVENTS[method])
            else:
                self.publish(LIST_EVENTS[method])
        uri = params.get("uri")
        if method == "notifications/resources/updated" and isinstance(uri, str):
            # By its server: what one server says of a URI is nothing to those who watch it at another.
            event = ResourceUpdated(uri=owned_uri(server, uri))
            if subject:
                self._tell_person(subject, event)
            else:
                self.publish(event)

    def _tell_person(self, subject: str, event: ServerEvent) -> None:
        for session in self._sessions:
            if key_of(session.principal) == subject:
                self._notify(session, self._personal([event], session))
        self._streams.tell_person(subject, event)

    def publish(self, *events: ServerEvent) -> None:
        """Notify every client that an event concerns."""
        self._publish_on_bus(events)
        for session in self._sessions:
            self._notify(session, self._personal(events, session))

    def _personal(self, events: Iterable[ServerEvent], session: Session) -> list[ServerEvent]:
        def watched_at(uri: str) -> Target | None:
            watch = session.subscriptions.get(uri)
            return None if watch is None else watch.target

        personal = (personal_event(event, session.principal, self._views, watched_at) for event in events)
        return [event for event in personal if event is not None]

    def _publish_on_bus(self, events: Iterable[ServerEvent]) -> None:
        for event in events:
            self._background.spawn(self._bus.publish(event))

    def _notify_of_differences(self, subject: str | None = None) -> None:
        """Notify each session, or each of a person, of the lists that differ from those it was notified of last."""
        for session in self._sessions:
            if subject is not None and key_of(session.principal) != subject:
                continue
            current = self._views.for_caller_or_empty(session.principal).aggregate
            last = session.last_lists
            events = tuple(LIST_EVENTS.values()) if last is None else list_events(last, current)
            session.last_lists = current
            self._notify(session, events)

    def _notify(self, session: Session, events: Iterable[ServerEvent]) -> None:
        session.pending_events.update((event, None) for event in events)
        if session.pending_events and not session.sending:
            session.sending = True
            self._background.spawn(_send_pending(session))


async def _send_pending(session: Session) -> None:
    """Send the pending events on the session's own stream. A client that does not read loses them: it lists again."""
    try:
        while session.pending_events:
            event = next(iter(session.pending_events))
            del session.pending_events[event]
            async with asyncio.timeout(SEND_SECONDS):
                await _send(session, event)
    except TimeoutError:
        session.pending_events.clear()
    finally:
        session.sending = False


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


def asks_for_stream(scope: Scope) -> bool:
    """Whether a request asks for such a stream. Its header says so: a request whose body has another method is
    refused."""
    return any(name == b"mcp-method" and value == b"subscriptions/listen" for name, value in scope["headers"])


class ListenStreams:
    """The open `subscriptions/listen` streams. On their bus, events of resources name their server (`owned_uri`).

    Whoever lets a request in takes a place of `room` for it, because only then an HTTP answer can still refuse it.
    """

    def __init__(self, bus: SubscriptionBus, views: Views) -> None:
        self._bus = bus
        self._views = views
        self._streams: dict[ListenHandler, _PersonalBus] = {}
        self.room = Shares(MAX_STREAMS, MAX_STREAMS_FOR_EACH)

    async def listen(
        self,
        ctx: Context,
        params: types.SubscriptionsListenRequestParams,
        principal: Identity | None,
        targets: Mapping[str, Target],
    ) -> types.SubscriptionsListenResult:
        """Serve one stream, until its client leaves or `close` ends it. `targets` are what it watches, by URI."""
        bus = _PersonalBus(self._bus, principal, self._views, targets)
        stream = ListenHandler(bus)
        self._streams[stream] = bus
        try:
            return await stream(ctx, params)
        finally:
            del self._streams[stream]

    def notify_of_differences(self, subject: str) -> None:
        """Notify each stream of a person of the lists that differ from those it was notified of last."""
        for bus in tuple(self._streams.values()):
            if key_of(bus.principal) == subject:
                bus.notify_of_differences()

    def tell_person(self, subject: str, event: ServerEvent) -> None:
        """Send an event to each stream of a person that it concerns."""
        for bus in tuple(self._streams.values()):
            if key_of(bus.principal) == subject and (personal := bus.personal(event)) is not None:
                bus.tell(personal)

    def close(self) -> None:
        """Begin to end all streams."""
        for stream in tuple(self._streams):
            stream.close()


class _PersonalBus:
    """A bus that passes on one caller's part of another bus's events, and the events of that caller alone."""

    def __init__(
        self, bus: SubscriptionBus, principal: Identity | None, views: Views, targets: Mapping[str, Target]
    ) -> None:
        self.principal = principal
        self._targets = targets
        self._bus = bus
        self._views = views
        self._listeners: list[Callable[[ServerEvent], None]] = []
        self._last_lists = views.for_caller_or_empty(principal).aggregate

    async def publish(self, event: ServerEvent) -> None:
        await self._bus.publish(event)

    def personal(self, event: ServerEvent) -> ServerEvent | None:
        return personal_event(event, self.principal, self._views, self._targets.get)

    def tell(self, event: ServerEvent) -> None:
        for listener in tuple(self._listeners):
            listener(event)

    def notify_of_differences(self) -> None:
        last, self._last_lists = self._last_lists, self._views.for_caller_or_empty(self.principal).aggregate
        for event in list_events(last, self._last_lists):
            self.tell(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        def deliver(event: ServerEvent) -> None:
            if (personal := self.personal(event)) is not None:
                listener(personal)

        self._listeners.append(listener)
        unsubscribe = self._bus.subscribe(deliver)

        def end() -> None:
            self._listeners.remove(listener)
            unsubscribe()

        return end


def personal_event(
    event: ServerEvent, principal: Identity | None, views: Views, watched_at: Callable[[str], Target | None]
) -> ServerEvent | None:
    """An event for one caller: a resource under the URI by which the caller watches it at the server that has sent the
    event. None if the caller does not, or may not use that server any more. `watched_at` has the target of a URI that
    is watched.
    """
    if not isinstance(event, ResourceUpdated) or (owned := split_owned_uri(event.uri)) is None:
        return event
    server, raw = owned
    for uri in (raw, event.uri):
        target = watched_at(uri)
        if target is not None and (target.server, target.name) == owned:
            if views.access is not None and server not in views.for_caller_or_empty(principal).selection.servers:
                return None
            return ResourceUpdated(uri=uri)
    return None
