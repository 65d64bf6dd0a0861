"""The steps of a refresh at which a test kills the process that takes them: seen and held from outside of it.

lease    before the lease is stored: the row is locked
sent     the request has left and reaches nobody: the authorization server is not asked
used     the authorization server has used the refresh token up, and its answer is held
stored   the answer has arrived and is not stored: the row is locked
shown    the new token is stored, and the first request that shows it is held
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

import httpx2
import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http import HttpSettings, running
from tests.end_to_end.processes import Processes, owner_of
from tests.node_tools import listening_script
from tests.patience import PATIENCE
from tests.portal.login.test_providers import OIDC_PROVIDER
from tests.portal.upstreams.hosting import hosted

Step = Literal["lease", "sent", "used", "stored", "shown"]
_SCRIPT = Path(__file__).with_name("person_logins.mjs")


@dataclass
class KillPoint:
    """A step of the next refresh of one person. `reached` is the process that takes it, 0 if that may be any."""

    step: Step
    reached: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self, pid: int) -> None:
        """The step is reached; wait until the process has been killed."""
        if not self.reached.done():
            self.reached.set_result(pid)
        await self.over.wait()


class Rows:
    """The rows of credentials, which a test locks so that no process can change one."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def locked(self, subject: str, server: str) -> AsyncIterator[None]:
        """The row of this login is locked until the block ends."""
        row = text("SELECT 1 FROM credentials WHERE subject = :subject AND server = :server FOR UPDATE")
        async with self._engine.connect() as connection:
            await connection.execute(row, {"subject": subject, "server": server})
            yield
            await connection.rollback()

    async def wanted(self) -> None:
        """Returns when a process waits for the row that is locked. There is one writer at a time, so it is one."""
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            " AND query LIKE 'UPDATE credentials SET %'"
        )
        async with asyncio.timeout(PATIENCE), self._engine.connect() as connection:
            while (await connection.execute(waits)).scalar_one() == 0:
                await connection.rollback()
                await asyncio.sleep(0.02)


class LoginServer:
    """An authorization server, what is between it and the portal, and the MCP server that it protects.

    `points` are the kill points by person, `subjects` the persons as the portal knows them. `calls` are those that the
    MCP server let pass: the text, and whose token it came with; `refused` counts the others.
    """

    def __init__(self, server: str, rows: Rows, subjects: dict[str, str]) -> None:
        self.server = server
        self.issuer = self.url = ""
        self.processes: Processes | None = None
        self.points: dict[str, KillPoint] = {}
        self.calls: list[tuple[str, str]] = []
        self.refused = 0
        self._rows, self._subjects = rows, subjects
        self._inner = ""
        self._seen: set[str] = set()
        self._transport = httpx2.AsyncHTTPTransport()
        self._http = httpx2.AsyncClient(transport=self._transport, timeout=PATIENCE)

    async def whose(self, token: str) -> str:
        """The person whose access or refresh token this is, "" if it is none, or none any more."""
        found: str = await self._ask("whose", token=token)
        return found

    async def take_back(self, who: str) -> None:
        """End all logins of a person."""
        await self._ask("take-back", who=who)

    async def records(self) -> dict[str, Any]:
        """`refreshed`: how often tokens of a person were; `usedTwice`: whose login a second use of a token ended."""
        found: dict[str, Any] = await self._ask("records")
        return found

    async def locked(self, who: str, point: KillPoint) -> None:
        """Hold the process that is about to store the lease of a person's refresh."""
        async with self._rows.locked(self._subjects[who], self.server):
            await self._rows.wanted()
            await point.hold(0)

    @asynccontextmanager
    async def running(self, seconds: int, *, rotates: bool) -> AsyncIterator[None]:
        """Access tokens live so many seconds; with `rotates` a refresh token serves once."""
        gate = Starlette(routes=[Mount("/", self._between)])
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._http)
            self.issuer = await stack.enter_async_context(running(gate, http=HttpSettings()))
            settings = {"issuer": self.issuer, "seconds": seconds, "rotates": rotates}
            self._inner = await stack.enter_async_context(listening_script(OIDC_PROVIDER, _SCRIPT, settings))
            host = await stack.enter_async_context(hosted(wrap=self._guarded))
            self.url = host.url
            try:
                yield
            finally:
                for point in self.points.values():
                    point.over.set()

    # Between the portal and the authorization server

    async def _between(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        point, who = None, ""
        if request.url.path == "/token":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            if form["grant_type"] == "refresh_token":
                who = await self.whose(form["refresh_token"])
                point = self._due(who, "sent", "used", "stored")
        pid = self._pid_of(request)
        if point is None or not pid:
            await (await self._passed_on(request, body))(scope, receive, send)
        elif point.step == "sent":
            await point.hold(pid)
            await Response(status_code=503)(scope, receive, send)
        elif point.step == "used":
            answer = await self._passed_on(request, body)
            await point.hold(pid)
            await answer(scope, receive, send)
        else:
            answer = await self._passed_on(request, body)
            async with self._rows.locked(self._subjects[who], self.server):
                await answer(scope, receive, send)
                await self._rows.wanted()
                await point.hold(pid)

    def _due(self, who: str, *steps: Step) -> KillPoint | None:
        """The kill point of a person that is not reached yet, if it is at one of these steps."""
        point = self.points.get(who)
        return point if point is not None and point.step in steps and not point.reached.done() else None

    def _pid_of(self, request: Request) -> int:
        assert request.client is not None
        return 0 if self.processes is None else owner_of(request.client.port, self.processes.pids)

    async def _ask(self, what: str, **query: str) -> Any:
        return (await self._http.get(f"{self._inner}/{what}", params=query)).json()

    async def _passed_on(self, request: Request, body: bytes) -> Response:
        raw_path = request.scope["raw_path"] + (b"?" + request.scope["query_string"]).rstrip(b"?")
        url = httpx2.URL(self._inner).copy_with(raw_path=raw_path)
        # Without a client, which would keep one person's cookies and send them with another's request.
        passed = httpx2.Request(request.method, url, headers=request.headers.raw, content=body)
        found = await self._transport.handle_async_request(passed)
        await found.aread()
        answer = Response(found.content, found.status_code)
        decoded = (b"transfer-encoding", b"connection", b"content-encoding", b"content-length")
        kept = [(name.lower(), value) for name, value in found.headers.raw if name.lower() not in decoded]
        answer.raw_headers = [*kept, (b"content-length", str(len(found.content)).encode())]
        return answer

    # In front of the MCP server

    def _guarded(self, app: ASGIApp) -> ASGIApp:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            request = Request(scope, receive)
            body = await request.body()
            answer = await self._answer(request, body)
            await (answer or app)(scope, _again(body, receive), send)

        return guarded

    async def _answer(self, request: Request, body: bytes) -> Response | None:
        origin = f"{request.url.scheme}://{request.url.netloc}"
        if request.url.path == "/.well-known/oauth-protected-resource/mcp":
            return JSONResponse({"resource": f"{origin}/mcp", "authorization_servers": [self.issuer]})
        if request.url.path.startswith("/.well-known/"):
            return Response(status_code=404)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        who = await self.whose(token) if token else ""
        if not who:
            self.refused += 1
            return Response(status_code=401, headers={"www-authenticate": 'Bearer scope="files:read"'})
        is_new, point = token not in self._seen, self._due(who, "shown")
        self._seen.add(token)
        if is_new and point is not None and (pid := self._pid_of(request)):
            await point.hold(pid)
            return Response(status_code=503)
        message = orjson.loads(body) if body else {}
        if message.get("method") == "tools/call":
            self.calls.append((message["params"]["arguments"]["text"], who))
        return None


def _again(body: bytes, receive: Receive) -> Receive:
    """What receives a body that was read already, and then what comes."""
    sent = False

    async def read() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


@asynccontextmanager
async def rows_of(database: str) -> AsyncIterator[Rows]:
    """The rows in the PostgreSQL database at this URL."""
    engine = create_async_engine(database.replace("postgresql:", "postgresql+asyncpg:", 1), poolclass=NullPool)
    try:
        yield Rows(engine)
    finally:
        await engine.dispose()
