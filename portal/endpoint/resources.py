"""Resources and resource templates of every server, read where they belong, and subscriptions to their changes.

One subscription stands at the upstream for however many clients watch a resource through the portal.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from starlette.types import Scope

from portal.calls import Call, Caller
from portal.endpoint.aggregate import OWNED_SCHEME, Target, split_owned_uri
from portal.endpoint.background import Background
from portal.endpoint.changes import ListenStreams
from portal.endpoint.ownership import Ownership
from portal.endpoint.questions import Questions
from portal.endpoint.request import ClientRequest, SdkContext
from portal.endpoint.request_log import UnlistedName
from portal.endpoint.room import no_room_error
from portal.endpoint.sessions import Session, Watch, scope_of
from portal.endpoint.tools import refuse_cursor
from portal.endpoint.views import Views
from portal.errors import CallDenied, CallError
from portal.identity import Identity, principal_of
from portal.shares import Full, Shares, holder_of
from portal.upstream import CallContext

RESOURCE_NOT_FOUND = -32002
MAX_SUBSCRIPTIONS = 1000
# Resources that are watched at a portal, and of these those of one caller: in all its sessions and streams.
MAX_WATCHED, MAX_WATCHED_FOR_EACH = 10_000, 2_000
WATCH_SECONDS = 60


class Resources:
    """`resources/*` over the aggregate."""

    def __init__(self, views: Views, caller: Caller, questions: Questions, watches: "Watches") -> None:
        self._views = views
        self._caller = caller
        self._questions = questions
        self._watches = watches

    async def list(self, request: ClientRequest, params: types.PaginatedRequestParams) -> dict[str, Any]:
        refuse_cursor(params)
        view = await self._views.listed(request.scope)
        return {"resources": list(view.aggregate.resources_for(request.generation))}

    async def list_templates(self, request: ClientRequest, params: types.PaginatedRequestParams) -> dict[str, Any]:
        refuse_cursor(params)
        view = await self._views.listed(request.scope)
        return {"resourceTemplates": list(view.aggregate.templates_for(request.generation))}

    async def read(self, request: ClientRequest, params: types.ReadResourceRequestParams) -> dict[str, Any]:
        target = await target_of(self._views, request, str(params.uri))
        call = Call(
            server=target.server, method="resources/read", name=target.name, params=request.raw_params(uri=target.name)
        )
        result = await self._questions.answer(request, self._caller, call)
        if "cacheScope" in result:
            # The upstream may let everyone share its answer. Ours has gone through this client's policies.
            result = {**result, "cacheScope": "private"}
        return result

    async def subscribe(self, request: ClientRequest, params: types.SubscribeRequestParams) -> dict[str, Any]:
        uri = str(params.uri)
        session = _session(request)
        target = await target_of(self._views, request, uri)
        watch = self._watches.watch(request.principal, target)
        if uri in session.subscriptions:
            return {}
        if len(session.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise MCPError(INVALID_PARAMS, f"This session watches {MAX_SUBSCRIPTIONS} resources already.")
        # Entered before the upstream has answered: a second request for the same URI must not count twice.
        session.subscriptions[uri] = watch
        try:
            await self._watches.add(watch)
        except BaseException:
            # Cancellation too: the session watches nothing that the upstream has not accepted. By now it may be watched
            # by a later request.
            if session.subscriptions.get(uri) is watch:
                del session.subscriptions[uri]
            raise
        return {}

    async def unsubscribe(self, request: ClientRequest, params: types.UnsubscribeRequestParams) -> dict[str, Any]:
        uri = str(params.uri)
        session = _session(request)
        watch = session.subscriptions.pop(uri, None)
        if watch is not None:
            await self._watches.remove(watch)
        return {}


async def target_of(views: Views, request: ClientRequest, uri: str) -> Target:
    """The target of a URI: whose it is, of all servers of the portal. Waits for those that are still connecting, unless
    a server lists it.

    It may be at a server that the caller may not use: then the gate refuses the call, and records it.

    Raises:
        MCPError: it is nobody's.
        UpstreamUnavailable: the caller has turned its server off.
    """
    found = await views.whose(request.scope, uri)
    if (named := (split_owned_uri(uri) or ("",))[0]) and named in views.connecting(request.scope):
        await views.arrived(request.scope, lambda server: server.id == named)
    elif not found.listed:
        await views.all_arrived(request.scope)
        found = await views.whose(request.scope, uri)
    if found.server is None:
        code = INVALID_PARAMS if request.modern else RESOURCE_NOT_FOUND
        raise UnlistedName("resource", _nobodys(uri, found), code, {"uri": uri[:200]})
    if (off := views.turned_off(found.server, request.principal)) is not None:
        raise off
    return views.of(request.scope).aggregate.target(uri, found.server)


def _nobodys(uri: str, found: Ownership) -> str:
    """The error for a URI that is no server's."""
    how = f"`{OWNED_SCHEME}{{server}}/{{the URI, percent-encoded}}` reads it from a server of your choice."
    if len(found.among) > 1:
        several = ", ".join(map(repr, found.among[:10]))
        return f"Resource not found: {uri[:200]!r}. It may be of any of the servers {several}. Nobody was asked. {how}"
    return f"Resource not found: {uri[:200]!r}. No server lists it, or has a template for it. Nobody was asked. {how}"


def _session(request: ClientRequest) -> Session:
    if request.session is None:
        raise MCPError(INVALID_PARAMS, "This session has not been initialized.")
    return request.session


class Watches:
    """How many clients watch each URI, and the one upstream subscription behind them: one for each credential that is
    shown to the server.
    """

    def __init__(self, views: Views, caller: Caller, streams: ListenStreams, background: Background) -> None:
        self._views = views
        self._caller = caller
        self._streams = streams
        self._background = background
        # By what one subscription upstream serves. No entry stays without a watch: clients choose the URIs.
        self._watching: dict[object, dict[Watch, None]] = {}
        self._room = Shares(MAX_WATCHED, MAX_WATCHED_FOR_EACH)

    def watch(self, principal: Identity | None, target: Target) -> Watch:
        """What `add` and `remove` are told: whoever watches may log in or out between the two."""
        return Watch(target, principal, self._caller.whose(target.server, principal))

    def leave(self, session: Session) -> None:
        """A session has ended, and its subscriptions with it."""
        for watch in session.subscriptions.values():
            self._background.spawn(self.remove(watch), needed=True)

    async def add(self, watch: Watch) -> None:
        """Count one more client. The first one subscribes at the upstream.

        Raises:
            CallError: the upstream, or a policy, refuses.
            MCPError: there is no room for one more.
        """
        try:
            self._room.take(holder_of(watch.principal))
        except Full as full:
            raise no_room_error(full, "watched resources", WATCH_SECONDS) from None
        others = self._watching.setdefault(watch.key, {})
        is_first = not others
        others[watch] = None
        if is_first:
            try:
                await self._request("resources/subscribe", watch)
            except BaseException as error:
                # Cancellation too: the next client must not count on a subscription that was never made.
                self._given_up(watch, may_stand=not isinstance(error, Exception))
                raise
            if watch.key not in self._watching:
                # Its client has stopped watching before the server had begun.
                await self._end(watch)
        elif (denial := self._views.server_denial(watch.target.server, watch.principal)) is not None:
            await self.remove(watch)
            raise denial

    async def remove(self, watch: Watch) -> None:
        """Never raises: that the upstream is away does not matter to a client that stops watching. Idempotent."""
        if self._leave(watch) and watch.key not in self._watching:
            await self._end(watch)

    async def listen(
        self, ctx: SdkContext, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """`subscriptions/listen` of 2026-07-28: the stream is the subscription, for as long as it stays open.

        A caller to whom the portal is open, but none of its servers yet, may wait here for one.
        """
        principal = principal_of(scope_of(ctx))
        decision = self._views.portal_decision(principal)
        if not decision.allowed:
            raise CallDenied(decision.reason, policy=decision.policy)
        uris = params.notifications.resource_subscriptions or []
        targets = await self._targets(scope_of(ctx), sorted(set(map(str, uris[:MAX_SUBSCRIPTIONS]))))
        watched: list[Watch] = []
        try:
            for target in targets.values():
                watch = self.watch(principal, target)
                try:
                    await self.add(watch)
                except CallError:
                    continue
                watched.append(watch)
            return await self._streams.listen(ctx, params, principal, targets)
        finally:
            for watch in watched:
                self._background.spawn(self.remove(watch), needed=True)

    async def _targets(self, scope: Scope | None, uris: Iterable[str]) -> dict[str, Target]:
        """The targets of those URIs that the caller may watch."""
        try:
            view = self._views.of(scope)
        except CallDenied:
            return {}
        targets: dict[str, Target] = {}
        for uri in uris:
            server = (await self._views.whose(scope, uri)).server
            if server is None or server not in view.selection.servers:
                continue
            if self._views.turned_off(server, principal_of(scope)) is None:
                targets[uri] = view.aggregate.target(uri, server)
        return targets

    async def _request(self, method: str, watch: Watch) -> None:
        """On the connection that clients share: it does not end with the first of them."""
        call = Call(
            server=watch.target.server, method=method, name=watch.target.name, params={"uri": watch.target.name}
        )
        principal = watch.principal
        identity = principal.key if principal is not None else ""
        await self._caller.call(call, CallContext(identity=identity, principal=principal))

    async def _end(self, watch: Watch) -> None:
        """Nobody watches what this watch was for any more."""
        with suppress(CallError):
            await self._request("resources/unsubscribe", watch)

    def _leave(self, watch: Watch) -> bool:
        """Whether this client was counted; it is no longer. Sessions end, and clients change their minds, while the
        server is still being asked."""
        watching = self._watching.get(watch.key, {})
        if watch not in watching:
            return False
        del watching[watch]
        if not watching:
            del self._watching[watch.key]
        self._room.give_back(holder_of(watch.principal))
        return True

    def _given_up(self, watch: Watch, *, may_stand: bool) -> None:
        """The first client's subscription has failed, or its request was cancelled: then it `may_stand`."""
        self._leave(watch)
        if others := self._watching.get(watch.key):
            self._background.spawn(self._again(next(iter(others))))
        elif may_stand:
            self._background.spawn(self._end(watch), needed=True)

    async def _again(self, watch: Watch) -> None:
        """Subscribe for whoever came while the first one was waiting, and was told that they watch."""
        with suppress(CallError):
            await self._request("resources/subscribe", watch)
