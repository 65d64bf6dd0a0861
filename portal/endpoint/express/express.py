"""The short way for the requests clients make most: `tools/list`, and `tools/call`.

The SDK spends 250 to 600 us on a request before and after a handler sees it. A request that is plainly one of
these, in every header and member (`recognise`), is answered here; anything else, however slightly different, takes the
SDK's way, which is the one that knows the rules. Both give the same answers, which the tests hold.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types import INTERNAL_ERROR, SERVER_INFO_META_KEY, methods
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from portal.endpoint.aggregate import Target
from portal.endpoint.code import CODE, CodeMode
from portal.endpoint.express.attendance import Attendance
from portal.endpoint.express.recognise import PlainRequest, recognise
from portal.endpoint.modes import Mode
from portal.endpoint.relay import at_least, client_of, forwarded_meta
from portal.endpoint.server import guarded
from portal.endpoint.sessions import Session, Sessions
from portal.endpoint.tools import Tools, ToolSurface
from portal.endpoint.view import View
from portal.errors import CallDenied
from portal.http import BODY
from portal.identity import identity_of, principal_of
from portal.upstream import CallContext

# As the SDK answers a cancelled request of a 2025 version, whose stream must end with something.
REQUEST_CANCELLED = -32800
MAX_LISTS = 256
_JSON = (b"content-type", b"application/json")


class Express:
    """Answers plain requests. `stamp` is the portal's `serverInfo`; `idle` the seconds after which sessions end."""

    def __init__(
        self,
        stamp: Mapping[str, Any],
        view: View,
        modes: Mapping[Mode, ToolSurface],
        tools: Tools,
        code: CodeMode | None,
        sessions: Sessions,
        idle: float,
    ) -> None:
        self._meta = {SERVER_INFO_META_KEY: stamp}
        self._view = view
        self._modes = modes
        self._tools = tools
        self._code = code
        self._sessions = sessions
        self._idle = idle
        self._lists: OrderedDict[tuple[int, bool], tuple[dict[str, Any], bytes]] = OrderedDict()

    async def answered(self, scope: Scope, mode: Mode, receive: Receive, send: Send) -> bool:
        """Answer a plain request; False, with nothing sent and nothing received, for any other."""
        body = scope.get(BODY)
        request = recognise(scope["headers"], body) if isinstance(body, bytes) else None
        if request is None:
            return False
        session = None
        if request.session is not None:
            session = self._sessions.ready(request.session, request.version, identity_of(scope), self._idle)
            if session is None or request.id in session.runs:
                return False
            session.principal = principal_of(scope)
        attendance = Attendance(receive, send)
        work = self._work(request, mode, scope, session, attendance)
        if work is None:
            await attendance.aclose()
            return False
        await self._answer(request, guarded(request.method, work), session, attendance)
        return True

    def _work(
        self, request: PlainRequest, mode: Mode, scope: Scope, session: Session | None, attendance: Attendance
    ) -> Awaitable[bytes] | None:
        """What gives the result as JSON; None when the request is not plain after all."""
        if request.method == "tools/list":
            return self._list(mode, scope, modern=session is None)
        meta, principal, identity = forwarded_meta(request.meta, session), principal_of(scope), identity_of(scope)
        context = CallContext(identity=identity, principal=principal, protocol=request.version, meta=meta)
        if mode is Mode.CODE and self._code is not None and request.name == CODE:
            return self._run(self._code, request, context, session, attendance)
        if mode is not Mode.TOOLS or session is not None:
            return None
        try:
            seen = self._view.of(scope)
        except CallDenied:
            return None
        target, client = self._tools.plain_target(seen, request.name), client_of(identity, request.meta)
        if target is None or client.interactive:
            return None
        return self._pass_on(target, request, replace(context, client=client))

    async def _pass_on(self, target: Target, request: PlainRequest, context: CallContext) -> bytes:
        result = await self._tools.pass_on(target, request.params, context)
        try:
            whole = {"resultType": "complete", **result}
            sieved = methods.serialize_server_result(request.method, request.version, whole)
        except ValidationError as error:
            raise MCPError(INTERNAL_ERROR, "Handler returned an invalid result") from error
        return encode({**sieved, "_meta": {**self._meta, **sieved.get("_meta", {})}})

    async def _run(
        self,
        code: CodeMode,
        request: PlainRequest,
        context: CallContext,
        session: Session | None,
        attendance: Attendance,
    ) -> bytes:
        if session is None:
            result = await code.run(request.arguments, context)
            return encode({"resultType": "complete", **result, "_meta": {**self._meta, **result.get("_meta", {})}})

        async def log(params: Mapping[str, Any]) -> None:
            if at_least(params.get("level"), session.log_level):
                await attendance.event({"jsonrpc": "2.0", "method": "notifications/message", "params": params})

        return encode(await code.run(request.arguments, replace(context, on_log=log)))

    async def _list(self, mode: Mode, scope: Scope, *, modern: bool) -> bytes:
        """The result of `tools/list` as JSON, made once for each list and generation, kept for those asked for last."""
        listed = await self._modes[mode].listed(self._view.of(scope))
        key = (id(listed), modern)
        kept = self._lists.get(key)
        if kept is None or kept[0] is not listed:
            envelope = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": self._meta}
            kept = self._lists[key] = (listed, encode({**envelope, **listed} if modern else listed))
            if len(self._lists) > MAX_LISTS:
                self._lists.popitem(last=False)
        return kept[1]

    async def _answer(
        self, request: PlainRequest, work: Awaitable[bytes], session: Session | None, attendance: Attendance
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        if session is not None:
            session.runs[request.id] = task
        try:
            status, member = 200, b"result"
            try:
                content = await work
            except MCPError as error:
                status = ERROR_CODE_HTTP_STATUS.get(error.error.code, 200) if session is None else 200
                member = b"error"
                content = encode(error.error.model_dump(mode="json", by_alias=True, exclude_none=True))
            except asyncio.CancelledError:
                if session is None or not session.cancelled(request.id):
                    raise
                task.uncancel()
                member, content = b"error", encode({"code": REQUEST_CANCELLED, "message": "Request cancelled"})
            body = b'{"jsonrpc":"2.0","id":%b,"%b":%b}' % (encode(request.id), member, content)
            await attendance.finish(status, [_JSON, (b"content-length", b"%d" % len(body))], body)
        except asyncio.CancelledError:
            if not attendance.left:
                raise
            task.uncancel()
        finally:
            if session is not None:
                session.runs.pop(request.id, None)
            await attendance.aclose()


def encode(value: Any) -> bytes:
    """JSON, by the quick encoder where it can (it knows no integers beyond 64 bits, and no lone surrogates)."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()
