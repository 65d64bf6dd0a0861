"""The short way for the requests clients make most: `tools/list`, and `tools/call`.

The SDK's transport and dispatcher take more than half of the time of a plain call. A request that is plain in every
header and member (`recognise`) is read here and its answer is written here; in between is the same handler as on the
SDK's way (`ToolMethods`). Any other request, however slightly different, takes the SDK's way, which knows all the
rules. Both ways give the same answers; tests send every kind of request down each and compare.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types import INTERNAL_ERROR, SERVER_INFO_META_KEY, methods
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from portal.endpoint.envelope import encode
from portal.endpoint.express.attendance import Attendance
from portal.endpoint.express.recognise import PlainRequest, recognise
from portal.endpoint.modes import Mode
from portal.endpoint.request import MODE, ClientRequest, plain_context
from portal.endpoint.server import guarded
from portal.endpoint.sessions import Session, Sessions
from portal.endpoint.tools import ToolMethods
from portal.http import BODY
from portal.identity import Identity

# As the SDK answers a cancelled request of a 2025 version, whose stream must end with something.
REQUEST_CANCELLED = -32800
_JSON = (b"content-type", b"application/json")


class Express:
    """Answers plain requests. `stamp` is the portal's `serverInfo`; `idle` the seconds after which sessions end."""

    def __init__(self, stamp: Mapping[str, Any], tools: ToolMethods, sessions: Sessions, idle: float) -> None:
        self.name_server(stamp)
        self._tools = tools
        self._sessions = sessions
        self._idle = idle

    def name_server(self, stamp: Mapping[str, Any]) -> None:
        """From now on this is the portal's `serverInfo`."""
        self._meta = {SERVER_INFO_META_KEY: stamp}
        self._stamp = encode(self._meta)

    async def answered(self, scope: Scope, caller: Identity | None, receive: Receive, send: Send) -> bool:
        """Answer a plain request; False, with nothing sent and nothing received, for any other."""
        body = scope.get(BODY)
        plain = recognise(scope["headers"], body) if isinstance(body, bytes) else None
        if plain is None:
            return False
        session = None
        if plain.session is not None:
            session = self._sessions.for_short_way(plain.session, plain.version, caller, self._idle)
            if session is None or plain.id in session.runs:
                return False
        context = plain_context(caller, plain.version, plain.meta, session)
        request = ClientRequest(scope=scope, mode=scope[MODE], params=plain.params, session=session, context=context)
        if plain.method == "tools/call" and request.mode is not Mode.CODE and not _has_plain_answer(request):
            return False
        attendance = Attendance(receive, send)
        if session is not None:
            request = replace(request, context=replace(context, on_log=attendance.relay_logs(session)))
        work = self._list(request) if plain.method == "tools/list" else self._call(request, plain)
        await self._answer(plain, guarded(plain.method, work), session, attendance)
        return True

    async def _list(self, request: ClientRequest) -> bytes:
        """The result of `tools/list` as JSON."""
        if not request.modern:
            return await self._tools.list_as_json(request, b"", {})
        members = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": self._meta}
        return await self._tools.list_as_json(request, self._stamp, members)

    async def _call(self, request: ClientRequest, plain: PlainRequest) -> bytes:
        """The result of `tools/call` as JSON."""
        result = await self._tools.call(request, plain.name, plain.arguments)
        if not request.modern:
            return encode(result)
        result = {"resultType": "complete", **result}
        if request.mode is not Mode.CODE:
            try:
                result = methods.serialize_server_result(plain.method, plain.version, result)
            except ValidationError as error:
                raise MCPError(INTERNAL_ERROR, "Handler returned an invalid result") from error
        return encode({**result, "_meta": {**self._meta, **result.get("_meta", {})}})

    async def _answer(
        self, plain: PlainRequest, work: Awaitable[bytes], session: Session | None, attendance: Attendance
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        if session is not None:
            session.runs[plain.id] = task
        try:
            status, member = 200, b"result"
            try:
                content = await work
            except MCPError as error:
                status = ERROR_CODE_HTTP_STATUS.get(error.error.code, 200) if session is None else 200
                member = b"error"
                content = encode(error.error.model_dump(mode="json", by_alias=True, exclude_none=True))
            except asyncio.CancelledError:
                if session is None or not session.cancelled(plain.id):
                    raise
                task.uncancel()
                member, content = b"error", encode({"code": REQUEST_CANCELLED, "message": "Request cancelled"})
            body = b'{"jsonrpc":"2.0","id":%b,"%b":%b}' % (encode(plain.id), member, content)
            await attendance.finish(status, [_JSON, (b"content-length", b"%d" % len(body))], body)
        except asyncio.CancelledError:
            # The attendance cancels this task when the client leaves; any other cancellation is the server's.
            if not attendance.left:
                raise
            task.uncancel()
        finally:
            if session is not None:
                session.runs.pop(plain.id, None)
            await attendance.aclose()


def _has_plain_answer(request: ClientRequest) -> bool:
    """Whether a call of an upstream's tool is answered by nothing but a result.

    Calls of a session have streams that can be resumed, and a call whose upstream may ask the client can end in a
    sealed state: only the SDK offers these.
    """
    client = request.context.client
    return request.session is None and client is not None and not client.interactive
