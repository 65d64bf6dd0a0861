"""Prompts of every server as `{server}_{prompt}`, and completion of the arguments of prompts and resource templates."""

from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from portal.calls import Call, Caller
from portal.endpoint.aggregate import Aggregate, Target
from portal.endpoint.questions import Questions
from portal.endpoint.request import ClientRequest
from portal.endpoint.request_log import UnlistedName
from portal.endpoint.resources import target_of
from portal.endpoint.tools import call_after_login, refuse_cursor, refuse_unavailable, unknown_name
from portal.endpoint.views import Views, may_have


class Prompts:
    """`prompts/list`, `prompts/get` and `completion/complete` over the aggregate."""

    def __init__(self, views: Views, caller: Caller, questions: Questions) -> None:
        self._views = views
        self._caller = caller
        self._questions = questions

    async def list(self, request: ClientRequest, params: types.PaginatedRequestParams) -> dict[str, Any]:
        refuse_cursor(params)
        view = await self._views.listed(request.scope)
        return {"prompts": list(view.aggregate.prompts_for(request.generation))}

    async def get(self, request: ClientRequest, params: types.GetPromptRequestParams) -> dict[str, Any]:
        async def attempt() -> dict[str, Any]:
            return await self._get(request, params.name)

        return await call_after_login(self._views, self._questions, request, "prompts/get", params.name, attempt)

    async def _get(self, request: ClientRequest, name: str) -> dict[str, Any]:
        aggregate = await self._known(request, name)
        target = aggregate.prompt(name) or self._views.hidden_target("prompt", name, request.principal)
        if target is None:
            raise UnlistedName("prompt", unknown_name("prompt", name, aggregate.prompts))
        sent = request.raw_params(name=target.name)
        call = Call(server=target.server, method="prompts/get", name=target.name, params=sent)
        return await self._questions.answer(request, self._caller, call)

    async def complete(self, request: ClientRequest, params: types.CompleteRequestParams) -> dict[str, Any]:
        target: Target | None
        if isinstance(params.ref, types.PromptReference):
            aggregate = await self._known(request, params.ref.name)
            target = aggregate.prompt(params.ref.name)
            if target is None:
                raise UnlistedName("prompt", unknown_name("prompt", params.ref.name, aggregate.prompts))
            ref = {"type": "ref/prompt", "name": target.name}
        else:
            target = await self._template(request, params.ref.uri)
            ref = {"type": "ref/resource", "uri": target.name}
        sent = request.raw_params(ref=ref)
        call = Call(server=target.server, method="completion/complete", name=target.name, params=sent)
        return await self._questions.answer(request, self._caller, call)

    async def _template(self, request: ClientRequest, uri: str) -> Target:
        """The target of a template that a server lists, or of a URI."""
        view = self._views.of(request.scope)
        if (target := view.aggregate.template(uri)) is not None:
            return target
        if (hidden := self._views.hidden_template(uri, request.principal)) is not None:
            return hidden
        if "{" in uri:
            raise MCPError(INVALID_PARAMS, f"Unknown resource template: {uri[:200]!r}.")
        return await target_of(self._views, request, uri)

    async def _known(self, request: ClientRequest, name: str) -> Aggregate:
        """What the caller has. Waits for the server of the prompt with this name if that is still connecting."""
        aggregate = self._views.of(request.scope).aggregate
        if aggregate.prompt_name(name) is not None:
            return aggregate
        view = await self._views.arrived(request.scope, may_have(name))
        refuse_unavailable(self._views, request, view, name)
        return view.aggregate
