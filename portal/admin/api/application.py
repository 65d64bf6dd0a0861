"""The admin API as an ASGI application: every operation is authenticated, checked and answered in one place."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache

import orjson
import structlog
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.admin.api import answers, errors
from portal.admin.api.answers import DoneAnswer, InfoAnswer, Paging, listing_of
from portal.admin.api.errors import AdminError, Problem
from portal.admin.api.openapi import document
from portal.admin.api.operations import ApiCaller, ApiRequest, Operation, Uploaded
from portal.admin.api.performing import Performance, paging_of, perform, require_allowed, validated
from portal.admin.api.revisions import Mark, etag, expected_by
from portal.admin.tokens import ApiTokens
from portal.config import Config, IdentitySection
from portal.credentials import LEAD
from portal.gateway import Detecting
from portal.http import ClientGone, Proxies, Refusal, body_of, client_ip, unrouted
from portal.login import Delivery
from portal.logs import NO_EVENTS, EventSink, LogRow
from portal.sdk import match_whole_paths

PREFIX = "/client/v4"
MAX_BODY = 1024 * 1024
MAX_UPLOAD = 4 * 1024 * 1024
MAX_WHOLE = 1_000_000
UPLOADS = re.compile(rf"{PREFIX}/accounts/[^/]+/dlp/datasets/[^/]+/upload/[^/]+")
"""The paths that take bytes."""
MUCH = 64 * 1024
"""Bytes. A larger body is validated in a thread."""


async def _at_once(seconds: float) -> None:
    """Nothing in this process decides by the store."""


@dataclass(slots=True)
class AdminSettings:
    """What the API needs from the configuration. An instance updates it when its configuration changes.

    `proxies` are the networks whose `X-Forwarded-For` is trusted. `integrations` names the posture checks that may be
    pushed, or is None if no portal accepts any. `delivery` sends links to people. `hostname` is the host name of the
    portal in the operator's document, or "" if it is unknown. `login_page` is the path on which an administrator logs
    in at a server, "" if there is none; `lead` is how long before its end a login is announced. `in_force` returns when
    the portals of this process decide by what is stored, or after the seconds it is given: a change is answered then.
    `documented_profiles` are the ids of the profiles of detection that the document sets, `organization` what it says
    of how people sign in. `events` takes the rows of changes and refusals. `identity` is the section of the
    configuration about people. `detector` is what searches for secrets, None where nothing does or it is not known.
    `config` is the whole document in force, None where no portal runs.
    """

    proxies: Proxies = ()
    integrations: frozenset[str] | None = None
    delivery: Delivery = Delivery()
    hostname: str = ""
    login_page: str = ""
    lead: timedelta = LEAD
    documented_profiles: frozenset[str] = frozenset()
    organization: Mapping[str, object] = field(default_factory=dict)
    in_force: Callable[[float], Awaitable[None]] = _at_once
    events: EventSink = NO_EVENTS
    detector: Detecting | None = None
    identity: IdentitySection | None = None
    config: Config | None = None


class EventsInForce:
    """Takes rows for the log that is in force by then."""

    def __init__(self, settings: AdminSettings) -> None:
        self._settings = settings

    def write(self, row: LogRow) -> None:
        self._settings.events.write(row)


def create_admin_app(
    operations: Sequence[Operation], tokens: ApiTokens, account_id: str, settings: AdminSettings
) -> Starlette:
    """The application to mount at `PREFIX`. Its OpenAPI document is at `/openapi.json`."""

    # Built on the first request: it takes longer than the rest of a portal's start.
    @cache
    def openapi_document() -> bytes:
        return orjson.dumps(document(operations, PREFIX))

    async def openapi(request: Request) -> Response:
        return Response(await asyncio.to_thread(openapi_document), media_type="application/json")

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = errors.BAD_METHOD if error.status_code == 405 else errors.NO_ROUTE
        words = unrouted(error.status_code, request.method, request.url.path)
        return _answer(error.status_code, answers.failure([Problem(code, words)]), error.headers)

    async def server_error(request: Request, error: Exception) -> Response:
        # The edge of the API: the answer says that the portal is at fault, the log says why.
        structlog.get_logger("portal.admin").exception("an admin request failed", path=request.url.path)
        return _answer(500, answers.failure([Problem(errors.FAULT, "the portal failed on this request")]))

    routes = [Route("/openapi.json", openapi, methods=["GET"])]
    routes += [_route(path, methods, tokens, account_id, settings) for path, methods in _by_path(operations).items()]
    app = Starlette(routes=routes, exception_handlers={HTTPException: http_error, Exception: server_error})
    app.router.redirect_slashes = False
    match_whole_paths(app)
    return app


def _by_path(operations: Sequence[Operation]) -> dict[str, dict[str, Operation]]:
    """Operations by path and method. Fixed paths come before those that end in a parameter: routes match in order."""
    paths: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = operation
    return dict(sorted(paths.items(), key=lambda item: "{" in item[0].rsplit("/", 1)[1]))


def _route(
    path: str, methods: Mapping[str, Operation], tokens: ApiTokens, account_id: str, settings: AdminSettings
) -> Route:
    async def answer(request: Request) -> Response:
        operation = methods["GET" if request.method == "HEAD" else request.method]
        address = client_ip(request.scope, settings.proxies)
        names = {name: str(value) for name, value in request.path_params.items() if name != "account_id"}

        async def caller() -> ApiCaller:
            return await tokens.authenticate(request.headers.get("authorization", ""), address)

        async def asked(known: ApiCaller) -> ApiRequest:
            return await _asked(operation, request, known, tokens, names, account_id, settings)

        marks: list[Mark] = []

        def answered(result: object) -> Response:
            response = _answered(operation, paging_of(operation, request.query_params, MAX_WHOLE), result)
            if marks:
                response.headers["etag"] = etag(marks[0])
            return response

        elsewhere = request.path_params["account_id"] != account_id
        wanted = Performance(operation, names, address, caller, asked, elsewhere=elsewhere, noted=marks.append)
        try:
            return await perform(wanted, answered, settings.events, settings.in_force)
        except AdminError as error:
            return refusal_of(error)

    return Route(f"/accounts/{{account_id}}{path}", answer, methods=sorted(methods))


async def _asked(
    operation: Operation,
    request: Request,
    caller: ApiCaller,
    tokens: ApiTokens,
    names: Mapping[str, str],
    account_id: str,
    settings: AdminSettings,
) -> ApiRequest:
    """What a request asks for, once its caller may ask for it."""

    async def permitted() -> None:
        address, authorization = client_ip(request.scope, settings.proxies), request.headers.get("authorization", "")
        require_allowed(operation, await tokens.authenticate(authorization, address))

    body = await _body(operation, request, caller.by)
    matches = request.headers.getlist("if-match")
    expected = expected_by(operation.of, ", ".join(matches)) if matches else None
    paging = paging_of(operation, request.query_params, MAX_WHOLE)
    query = None if operation.query is None else validated(operation.query, dict(request.query_params))
    return ApiRequest(caller, account_id, names, body, paging, query, request.headers, permitted, expected)


def _answered(operation: Operation, paging: Paging, result: object) -> Response:
    """The answer with the result of an operation."""
    if isinstance(result, Response):
        return result
    if isinstance(result, InfoAnswer):
        content = answers.success([_plain(one) for one in result.items])
        return _answer(operation.status, content | {"result_info": _plain(result.info)})
    if isinstance(result, DoneAnswer):
        content = answers.success(_plain(result.result))
        return _answer(operation.status, content | {"result_info": _plain(result.info)})
    if operation.listed:
        listing = listing_of(result)
        items, info = answers.page(listing.items, paging)
        page = answers.success([_plain(one) for one in items], listing.broken)
        return _answer(operation.status, page | {"result_info": info})
    return _answer(operation.status, answers.success(_plain(result)))


async def _body(operation: Operation, request: Request, by: str) -> BaseModel | None:
    if operation.body is None:
        return None
    try:
        is_upload = operation.body is Uploaded
        most = MAX_UPLOAD if is_upload or operation.large else MAX_BODY
        received = await body_of(request.scope, request.receive, is_json=not is_upload).read(most, by)
    except Refusal as refusal:
        raise _refused_body(refusal, most) from None
    except ClientGone:
        raise errors.invalid("the body ended early") from None
    if operation.body is Uploaded:
        return Uploaded(content=received)
    if not received and not operation.body_required:
        return operation.body()
    try:
        data = orjson.loads(received)
    except orjson.JSONDecodeError:
        raise errors.invalid("the body is not JSON") from None
    if not isinstance(data, dict):
        raise errors.invalid("the body is not a JSON object")
    if len(received) > MUCH:
        # Each member that does not fit is described, which takes a second for a body full of them.
        return await asyncio.to_thread(validated, operation.body, data)
    return validated(operation.body, data)


def _refused_body(refusal: Refusal, most: int) -> AdminError:
    """The refusal of a body, as an error of this API."""
    if refusal.status == 413:
        return AdminError(413, [Problem(errors.TOO_LARGE, f"the body is over {most} bytes")])
    code = {429: errors.LIMITED, 503: errors.UNAVAILABLE}.get(refusal.status, errors.INVALID)
    return AdminError(refusal.status, [Problem(code, refusal.message)], refusal.headers)


def _plain(result: object) -> object:
    return result.model_dump(mode="json", by_alias=True) if isinstance(result, BaseModel) else result


def refusal_of(error: AdminError) -> Response:
    """An error as an answer in the envelope."""
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else {}
    return _answer(error.status, answers.failure(error.problems), {**headers, **error.headers})


def _answer(status: int, content: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    encoded = orjson.dumps(content, default=_plain)
    return Response(encoded, status, {"cache-control": "no-store", **(headers or {})}, "application/json")
