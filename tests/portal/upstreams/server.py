"""A real MCP server, written with the SDK, that can be told to misbehave.

Runs inside a test (`hosting`) or as a process of its own:

    python -m tests.portal.upstreams.server stdio [--legacy] [--tools N] [--page N] ...
    python -m tests.portal.upstreams.server http|sse --port 0      (prints its URL, then serves)

What happened to it is in its journal; the tool `journal` waits until an entry is there, so no test has to sleep.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.runner import serve_loop
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
ANY = {"type": "object"}


@dataclass(kw_only=True)
class Behaviour:
    """The switches. `more` are tools listed beside the built-in ones, as raw objects; `said` by name what tools and
    prompts say of themselves otherwise than usually. `cache_scope` is who may see its lists; `of_token` are tools that
    are listed for whoever shows an access token. `resources` and `templates` are the URIs that it lists."""

    name: str = "upstream"
    legacy: bool = False
    tools: int = 0
    page: int = 1000
    endless: bool = False
    hang_on_list: bool = False
    more: list[dict[str, Any]] = field(default_factory=list)
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    cache_scope: Literal["private", "public"] = "private"
    of_token: dict[str, str] = field(default_factory=dict)
    resources: tuple[str, ...] = ("test://one",)
    templates: tuple[str, ...] = ("test://{name}",)


class Journal:
    """What happened, in order; `wait` returns when something has."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self._changed = asyncio.Condition()

    async def add(self, entry: str) -> None:
        self.entries.append(entry)
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, entry: str, times: int = 1) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.entries.count(entry) >= times)


class _Listed(Server[Any]):
    """A server that says its lists change, which the SDK's HTTP sessions leave out."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        options = notification_options or NotificationOptions(
            prompts_changed=True, resources_changed=True, tools_changed=True
        )
        return super().create_initialization_options(options, experimental_capabilities, extensions)


class Upstream:
    """The server and its state. `server` is the SDK's; the rest is for the test to look at. `asked_of` has the URIs
    that it was asked to read, to watch or to complete."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.journal = Journal()
        self.seen_meta: list[Mapping[str, Any]] = []
        self.seen_headers: list[Mapping[str, str]] = []
        self.asked_of: list[str] = []
        self.release = asyncio.Event()
        self._bus = InMemorySubscriptionBus()
        self._sessions: list[Any] = []
        self.server = _Listed(
            self.behaviour.name,
            version="1.0",
            instructions="for tests",
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_completion=self._complete,
            on_set_logging_level=self._set_level,
            on_subscribe_resource=self._subscribe,
            on_unsubscribe_resource=self._subscribe,
            on_subscriptions_listen=ListenHandler(self._bus),
            get_tool_input_schema=lambda name: None,
        )
        self.server.middleware.append(self._watch)
        if self.behaviour.legacy:
            self.server.add_request_handler("server/discover", types.RequestParams, self._no_discovery)

    async def touch(self, uri: str) -> None:
        """Say that a resource has changed."""
        await self._bus.publish(ResourceUpdated(uri=uri))
        for session in list(self._sessions):
            await session.send_resource_updated(uri)

    async def change(self, tool: str) -> None:
        """Add a tool and tell everybody."""
        self.behaviour.more.append({"name": tool, "inputSchema": ANY})
        await self.tell_changed()

    async def tell_changed(self) -> None:
        """Say that the list of tools is another one."""
        await self._bus.publish(ToolsListChanged())
        for session in list(self._sessions):
            await session.send_tool_list_changed()

    # Handlers

    async def _watch(self, ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        if ctx.method == "notifications/initialized":
            self._sessions.append(ctx.session)
        await self.journal.add(ctx.method)
        return await call_next(ctx)

    async def _no_discovery(self, ctx: Any, params: Any) -> Any:
        raise MCPError(types.METHOD_NOT_FOUND, "Method not found")

    async def _list_tools(self, ctx: Any, params: Any) -> types.ListToolsResult:
        if self.behaviour.hang_on_list:
            await asyncio.Event().wait()
        listed = [{"name": name, "description": f"The tool {name}", "inputSchema": TEXT} for name in self.calls]
        listed += [{"name": f"numbered-{n}", "inputSchema": ANY} for n in range(self.behaviour.tools)]
        listed += self.behaviour.more
        if ctx.request is not None and (own := self.behaviour.of_token.get(_token(ctx.request))):
            listed.append({"name": own, "inputSchema": ANY})
        listed = [{**tool, **self.behaviour.said.get(str(tool["name"]), {})} for tool in listed]
        start = int(params.cursor) if params and params.cursor else 0
        end = start + self.behaviour.page
        following = str(end) if end < len(listed) else ("0" if self.behaviour.endless else None)
        tools = [types.Tool.model_validate(tool) for tool in listed[start:end]]
        scope = self.behaviour.cache_scope
        return types.ListToolsResult(tools=tools, next_cursor=following, ttl_ms=0, cache_scope=scope)

    async def _call_tool(self, ctx: Any, params: Any) -> Any:
        self.seen_meta.append(dict((ctx.params or {}).get("_meta") or {}))
        if ctx.request is not None:
            self.seen_headers.append(dict(ctx.request.headers))
        await self.journal.add(f"call {params.name}")
        call = self.calls.get(params.name)
        if call is None:
            raise MCPError(types.INVALID_PARAMS, f"no tool {params.name}", {"asked": params.name})
        try:
            return await call(self, ctx, params, (params.arguments or {}).get("text", ""))
        except asyncio.CancelledError:
            await self.journal.add(f"cancelled {params.name}")
            raise

    async def _echo(self, ctx: Any, params: Any, text: str) -> Any:
        return answer(text)

    async def _structured(self, ctx: Any, params: Any, text: str) -> Any:
        return types.CallToolResult(content=[types.TextContent(text=text)], structured_content={"text": text})

    async def _hang(self, ctx: Any, params: Any, text: str) -> Any:
        await self.release.wait()
        return answer("released")

    async def _fail(self, ctx: Any, params: Any, text: str) -> Any:
        return types.CallToolResult(content=[types.TextContent(text="it failed")], is_error=True)

    async def _progress(self, ctx: Any, params: Any, text: str) -> Any:
        for step in range(3):
            await ctx.session.report_progress(step + 1, 3, f"step {step + 1}")
        return answer("done")

    async def _log(self, ctx: Any, params: Any, text: str) -> Any:
        await ctx.session.send_log_message("info", {"said": text}, "test", related_request_id=ctx.request_id)
        return answer("logged")

    async def _ask(self, ctx: Any, params: Any, text: str) -> Any:
        question = types.ElicitRequestFormParams(message=text, requested_schema={"type": "object", "properties": {}})
        if ctx.protocol_version == "2026-07-28":
            if params.input_responses is None:
                requests: Any = {"name": types.ElicitRequest(params=question)}
                return types.InputRequiredResult(input_requests=requests, request_state="asked")
            return answer(f"{params.input_responses['name'].action} {params.request_state}")
        related = ServerMessageMetadata(related_request_id=ctx.request_id)
        try:
            found = await ctx.session.send_request(
                types.ElicitRequest(params=question), types.ElicitResult, metadata=related
            )
        except MCPError as error:
            return answer(f"refused {error.error.code}")
        return answer(f"{found.action} legacy")

    async def _big(self, ctx: Any, params: Any, text: str) -> Any:
        return answer("x" * int(text))

    async def _flood(self, ctx: Any, params: Any, text: str) -> Any:
        for _ in range(int(text)):
            await ctx.session.send_resource_updated("test://flood")
        return answer("flooded")

    async def _change(self, ctx: Any, params: Any, text: str) -> Any:
        await self.change(text)
        return answer("changed")

    async def _journal(self, ctx: Any, params: Any, text: str) -> Any:
        if text:
            await self.journal.wait(text)
        return answer("\n".join(self.journal.entries))

    async def _die(self, ctx: Any, params: Any, text: str) -> Any:
        sys.stderr.write(f"dying of {text}\n")
        sys.stderr.flush()
        os._exit(3)

    async def _environment(self, ctx: Any, params: Any, text: str) -> Any:
        return answer(f"{os.environ.get(text, '')} {os.getcwd()}")

    async def _pid(self, ctx: Any, params: Any, text: str) -> Any:
        return answer(str(os.getpid()))

    calls: Mapping[str, Callable[[Upstream, Any, Any, str], Awaitable[Any]]] = {
        "echo": _echo,
        "structured": _structured,
        "hang": _hang,
        "fail": _fail,
        "progress": _progress,
        "log": _log,
        "ask": _ask,
        "big": _big,
        "flood": _flood,
        "change": _change,
        "journal": _journal,
        "die": _die,
        "environment": _environment,
        "pid": _pid,
    }

    async def _list_prompts(self, ctx: Any, params: Any) -> types.ListPromptsResult:
        greet = types.Prompt.model_validate({"name": "greet", **self.behaviour.said.get("greet", {})})
        return types.ListPromptsResult(prompts=[greet], ttl_ms=0, cache_scope="private")

    async def _get_prompt(self, ctx: Any, params: Any) -> types.GetPromptResult:
        said = types.PromptMessage(role="user", content=types.TextContent(text=f"hello {params.arguments}"))
        return types.GetPromptResult(messages=[said])

    async def _list_resources(self, ctx: Any, params: Any) -> types.ListResourcesResult:
        listed = [types.Resource(uri=uri, name=uri) for uri in self.behaviour.resources]
        return types.ListResourcesResult(resources=listed, ttl_ms=0, cache_scope="private")

    async def _list_templates(self, ctx: Any, params: Any) -> types.ListResourceTemplatesResult:
        listed = [types.ResourceTemplate(uri_template=text, name=text) for text in self.behaviour.templates]
        return types.ListResourceTemplatesResult(resource_templates=listed, ttl_ms=0, cache_scope="private")

    async def _read_resource(self, ctx: Any, params: Any) -> types.ReadResourceResult:
        self.asked_of.append(str(params.uri))
        contents = types.TextResourceContents(uri=params.uri, text=f"the text of {params.uri}")
        return types.ReadResourceResult(contents=[contents], ttl_ms=0, cache_scope="private")

    async def _complete(self, ctx: Any, params: Any) -> types.CompleteResult:
        self.asked_of.append(str(getattr(params.ref, "uri", params.ref)))
        return types.CompleteResult(completion=types.Completion(values=[params.argument.value + "!"]))

    async def _set_level(self, ctx: Any, params: Any) -> types.EmptyResult:
        return types.EmptyResult()

    async def _subscribe(self, ctx: Any, params: Any) -> types.EmptyResult:
        self.asked_of.append(str(params.uri))
        return types.EmptyResult()


def _token(request: Any) -> str:
    return str(request.headers.get("authorization", "")).removeprefix("Bearer ")


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 is chosen by the system."""
    # With the protocol named, or asyncio leaves Nagle's algorithm on: 40 ms a call.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    return listening


def answer(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)])


def sse_app(upstream: Upstream) -> Starlette:
    """The transport of 2024-11-05."""
    transport = SseServerTransport("/messages/")

    async def connect(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await upstream.server.run(read, write, upstream.server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", connect), Mount("/messages/", app=transport.handle_post_message)])


async def _over_stdio(upstream: Upstream) -> None:
    options = upstream.server.create_initialization_options()
    async with stdio_server() as (read, write):
        if upstream.behaviour.legacy:
            await serve_loop(upstream.server, read, write, lifespan_state={}, init_options=options)
        else:
            await upstream.server.run(read, write, options)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("transport", choices=["stdio", "http", "sse"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--legacy", action="store_true")
    parser.add_argument("--tools", type=int, default=0)
    parser.add_argument("--page", type=int, default=1000)
    chosen = parser.parse_args()
    behaviour = Behaviour(legacy=chosen.legacy, tools=chosen.tools, page=chosen.page)

    async def run() -> None:
        upstream = Upstream(behaviour)
        if chosen.transport == "stdio":
            await _over_stdio(upstream)
            return
        app = sse_app(upstream) if chosen.transport == "sse" else upstream.server.streamable_http_app()
        listening = listen(chosen.port)
        path = "sse" if chosen.transport == "sse" else "mcp"
        sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/{path}\n")
        sys.stdout.flush()
        await uvicorn.Server(uvicorn.Config(app, log_level="error")).serve(sockets=[listening])

    asyncio.run(run())


if __name__ == "__main__":
    main()
