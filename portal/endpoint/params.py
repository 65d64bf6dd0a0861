"""The params of requests, as clients send them: null counts as not sent, and what does not fit is named.

Some clients write every member that they have, with null where there is nothing (`"capabilities": {"sampling": null}`).
The SDK refuses that, as it does every other misfit, with a sentence that names neither the member nor the method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import orjson
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, InitializeRequestParams, methods
from mcp_types.version import LATEST_HANDSHAKE_VERSION
from pydantic import ValidationError

from portal.endpoint.request import SdkContext
from portal.misfits import MAX_ROUNDS, misfits, without_nulls

Params: TypeAlias = Mapping[str, object] | None

INITIALIZE: Final = "initialize"
_MOST_NAMED: Final = 5


def initialize_without_nulls(body: bytes) -> bytes | None:
    """The body of an `initialize` request that fits once members that are null are left out; None for any other body.

    It has to be done before the SDK reads the body, which it reads again for the session.
    """
    if b'"initialize"' not in body or b"null" not in body:
        return None
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(message, dict) or message.get("method") != INITIALIZE:
        return None
    params = message.get("params")
    for _ in range(MAX_ROUNDS):
        try:
            methods.validate_client_request(INITIALIZE, LATEST_HANDSHAKE_VERSION, params)
            InitializeRequestParams.model_validate(params, by_name=False)
            return orjson.dumps({**message, "params": params})
        except ValidationError as error:
            fitting = _without_nulls(error, params)
            if fitting is params:
                return None
            params = fitting
    return None


async def fit_params(ctx: SdkContext, call_next: CallNext) -> HandlerResult:
    """A middleware that leaves out what is null where the protocol has no null, and names what else does not fit.

    Raises:
        MCPError: the params do not fit. Nothing ran.
    """
    for _ in range(MAX_ROUNDS):
        try:
            return await call_next(ctx)
        except ValidationError as error:
            # Only from before the handler: those of its work never get here (`server.guarded`).
            params = _without_nulls(error, ctx.params)
            if params is ctx.params:
                raise _refusal(ctx.method, ctx.params, error) from None
            ctx = replace(ctx, params=params)
    return await call_next(ctx)


def _is_about_request(error: ValidationError) -> bool:
    """Whether the places of an error begin at the request, and not at its params."""
    return any(detail["loc"][:1] == ("params",) for detail in error.errors(include_url=False, include_input=False))


def _without_nulls(error: ValidationError, params: Params) -> Params:
    """The params without the members that do not fit because they are null; the same object if there are none."""
    if not _is_about_request(error):
        fitting = without_nulls(error, params)
        return fitting if isinstance(fitting, Mapping) else params
    request = {"params": params}
    fitting = without_nulls(error, request)
    if fitting is request or not isinstance(fitting, Mapping):
        return params
    found = fitting.get("params")
    return found if isinstance(found, Mapping) else None


def _refusal(method: str, params: Params, error: ValidationError) -> MCPError:
    """The error that names what does not fit, without a value."""
    whole = _is_about_request(error)
    found = misfits(error, {"params": params} if whole else params or {})
    named = [f"{one.dotted if whole else f'params.{one.dotted}'} {one.problem}" for one in found]
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    message = f"The request {method} does not fit: {'; '.join(named[:_MOST_NAMED])}{more}. Nothing ran."
    return MCPError(INVALID_PARAMS, message)
