"""Resources and resource templates of every server, read where they belong, and subscriptions to their changes.

One subscription stands at the upstream for however many clients watch a resource through the portal.
"""

from collections import Counter
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from portal.calls import Call, Caller
from portal.endpoint.aggregate import Target
from portal.endpoint.background import Background
from portal.endpoint.listening import Listening
from portal.endpoint.questions import Questions
from portal.endpoint.relay import own_result
from portal.endpoint.sessions import Session, Sessions, scope_of
from portal.endpoint.tools import raw_params, refuse_cursor
from portal.endpoint.view import View
from portal.errors import CallDenied, CallError
from portal.identity import identity_of, principal_of
from portal.upstream import CallContext

Context = ServerRequestContext[Any, Any]

RESOURCE_NOT_FOUND = -32002
MAX_SUBSCRIPTIONS = 1000


class Resources:
    """`resources/*` over the aggregate."""

    def __init__(self, view: View, caller: Caller, questions: Questions, watches: "Watches") -> None:
        self._view = view
        self._caller = caller
        self._questions = questions
        self._watches = watches

    async def list(self, ctx: Context, params: types.PaginatedRequestParams) -> dict[str, Any]:
        refuse_cursor(params)
        return {"resources": list(self._view.of(scope_of(ctx)).aggregate.resource_list)}

    async def list_templates(self, ctx: Context, params: types.PaginatedRequestParams) -> dict[str, Any]:
        refuse_cursor(params)
        return {"resourceTemplates": list(self._view.of(scope_of(ctx)).aggregate.template_list)}

    async def read(self, ctx: Context, params: types.ReadResourceRequestParams) -> dict[str, Any]:
        uri = str(params.uri)
        target = self._owner(ctx, uri)
        call = Call(
            server=target.server, method="resources/read", name=target.name, params=raw_params(ctx, uri=target.name)
        )
        result = own_result(await self._questions.call(ctx, self._caller, call))
        if "cacheScope" in result:
            # What the upstream may share with everyone went through this client's policies.
            result = {**result, "cacheScope": "private"}
        return result

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> dict[str, Any]:
        uri = str(params.uri)
        session = self._watches.session(ctx)
        target = self._owner(ctx, uri)
        if uri in session.subscriptions:
            return {}
        if len(session.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise MCPError(INVALID_PARAMS, f"This session watches {MAX_SUBSCRIPTIONS} resources already.")
        session.subscriptions[uri] = target
        try:
            await self._watches.add(ctx, target)
        except BaseException:
            # Whatever stopped it, cancellation too: the session does not watch what the upstream did not accept.
            session.subscriptions.pop(uri, None)
            raise
        return {}

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> dict[str, Any]:
        uri = str(params.uri)
        session = self._watches.session(ctx)
        target = session.subscriptions.pop(uri, None)
        if target is not None:
            await self._watches.remove(target)
        return {}

    def _owner(self, ctx: Context, uri: str) -> Target:
        seen = self._view.of(scope_of(ctx))
        target = seen.aggregate.resource(uri) or self._view.refused("resource", uri, principal_of(scope_of(ctx)))
        if target is None:
            modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
            code = INVALID_PARAMS if modern else RESOURCE_NOT_FOUND
            raise MCPError(code, f"Resource not found: {uri[:200]!r}. No server lists it.", {"uri": uri[:200]})
        return target


class Watches:
    """How many clients watch each URI, and the one upstream subscription behind them."""

    def __init__(
        self, view: View, caller: Caller, sessions: Sessions, listening: Listening, background: Background
    ) -> None:
        self._view = view
        self._caller = caller
        self._sessions = sessions
        self._listening = listening
        self._background = background
        self._counts: Counter[tuple[str, str]] = Counter()

    def leave(self, session: Session) -> None:
        """A session has ended, and its subscriptions with it."""
        for target in session.subscriptions.values():
            self._background.spawn(self.remove(target), needed=True)

    def session(self, ctx: Context) -> Session:
        session = self._sessions.of(ctx)
        if session is None:
            raise MCPError(INVALID_PARAMS, "This session has not been initialized.")
        return session

    async def add(self, ctx: Context, target: Target) -> None:
        key = (target.server, target.name)
        self._counts[key] += 1
        if self._counts[key] == 1:
            try:
                await self._tell("resources/subscribe", target, ctx)
            except BaseException:
                # Cancellation too: nobody else counts on a subscription that was never made.
                self._drop(key)
                raise
        elif (refusal := self._view.refused_server(target.server, principal_of(scope_of(ctx)))) is not None:
            self._drop(key)
            raise refusal

    async def remove(self, target: Target) -> None:
        """Never raises: a client that stops watching need not hear that the upstream was away."""
        key = (target.server, target.name)
        self._drop(key)
        if not self._counts[key]:
            del self._counts[key]
            try:
                await self._tell("resources/unsubscribe", target, None)
            except CallError:
                return

    async def listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """`subscriptions/listen` of 2026-07-28: the stream is the subscription, for as long as it stays open.

        Who may use the portal and none of its servers yet may wait here for one.
        """
        principal = principal_of(scope_of(ctx))
        if not (portal := self._view.portal(principal)).allowed:
            raise CallDenied(portal.reason, policy=portal.policy)
        aggregate = self._view.seen_or_nothing(principal).aggregate
        wanted = params.notifications.resource_subscriptions or []
        targets = {str(uri): aggregate.resource(str(uri)) for uri in wanted[:MAX_SUBSCRIPTIONS]}
        watched: list[Target] = []
        try:
            for _, target in sorted(targets.items()):
                if target is None:
                    continue
                try:
                    await self.add(ctx, target)
                except CallError:
                    continue
                watched.append(target)
            return await self._listening.listen(ctx, params, principal)
        finally:
            for target in watched:
                self._background.spawn(self.remove(target), needed=True)

    async def _tell(self, method: str, target: Target, ctx: Context | None) -> None:
        call = Call(server=target.server, method=method, name=target.name, params={"uri": target.name})
        # On the connection all clients share, which does not end with the first of them.
        scope = None if ctx is None else scope_of(ctx)
        await self._caller.call(call, CallContext(identity=identity_of(scope), principal=principal_of(scope)))

    def _drop(self, key: tuple[str, str]) -> None:
        if self._counts[key] > 0:
            self._counts[key] -= 1
