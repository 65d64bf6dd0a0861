"""Prompts of every server as `{server}_{prompt}`, and completion of the arguments of prompts and resource templates."""

from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from portal.calls import Call, Caller
from portal.endpoint.questions import Questions
from portal.endpoint.relay import own_result
from portal.endpoint.sessions import scope_of
from portal.endpoint.tools import raw_params, refuse_cursor, unknown_name
from portal.endpoint.view import View
from portal.identity import principal_of

Context = ServerRequestContext[Any, Any]


class Prompts:
    """`prompts/list`, `prompts/get` and `completion/complete` over the aggregate."""

    def __init__(self, view: View, caller: Caller, questions: Questions) -> None:
        self._view = view
        self._caller = caller
        self._questions = questions

    async def list(self, ctx: Context, params: types.PaginatedRequestParams) -> dict[str, Any]:
        refuse_cursor(params)
        return {"prompts": list(self._view.of(scope_of(ctx)).aggregate.prompt_list)}

    async def get(self, ctx: Context, params: types.GetPromptRequestParams) -> dict[str, Any]:
        prompts = self._view.of(scope_of(ctx)).aggregate.prompts
        name = params.name
        target = prompts.get(name) or self._view.refused("prompt", name, principal_of(scope_of(ctx)))
        target = target or self._view.withheld("prompt", name)
        if target is None:
            raise MCPError(INVALID_PARAMS, unknown_name("prompt", params.name, prompts))
        sent = raw_params(ctx, name=target.name)
        call = Call(server=target.server, method="prompts/get", name=target.name, params=sent)
        return own_result(await self._questions.call(ctx, self._caller, call))

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> dict[str, Any]:
        aggregate = self._view.of(scope_of(ctx)).aggregate
        if isinstance(params.ref, types.PromptReference):
            target = aggregate.prompts.get(params.ref.name)
            if target is None:
                raise MCPError(INVALID_PARAMS, unknown_name("prompt", params.ref.name, aggregate.prompts))
            ref = {"type": "ref/prompt", "name": target.name}
        else:
            target = aggregate.template(params.ref.uri) or aggregate.resource(params.ref.uri)
            if target is None:
                raise MCPError(INVALID_PARAMS, f"Unknown resource template: {params.ref.uri[:200]!r}.")
            ref = {"type": "ref/resource", "uri": target.name}
        sent = raw_params(ctx, ref=ref)
        call = Call(server=target.server, method="completion/complete", name=target.name, params=sent)
        return own_result(await self._questions.call(ctx, self._caller, call))
