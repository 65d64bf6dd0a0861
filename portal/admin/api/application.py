"""The admin API as an ASGI application: every operation is authenticated, checked and answered in one place."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TypeVar

import orjson
import structlog
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.admin.api import answers, errors
from portal.admin.api.answers import DoneAnswer, InfoAnswer, Paging, listing_of
from portal.admin.api.changes import MAX_IN_PATH, change_row
from portal.admin.api.errors import AdminError, Problem
from portal.admin.api.openapi import document
from portal.admin.api.operations import ApiCaller, ApiRequest, Operation, Uploaded
from portal.admin.tokens import ApiTokens
from portal.config import IdentitySection
from portal.credentials import LEAD
from portal.gateway import Detecting
from portal.http import ClientGone, Proxies, Refusal, body_of, client_ip, unrouted
from portal.login import Delivery
from portal.logs import NO_EVENTS, EventSink
from portal.misfits import fitted, misfits
from portal.sdk import match_whole_paths
from portal.state import (
    AlreadyExists,
    Conflict,
    DocumentBroken,
    DocumentInvalid,
    NotFound,
    StateError,
    StateUnavailable,
)

PREFIX = "/client/v4"
MAX_BODY = 1024 * 1024
MAX_UPLOAD = 4 * 1024 * 1024
MAX_WHOLE = 1_000_000
UPLOADS = re.compile(rf"{PREFIX}/accounts/[^/]+/dlp/datasets/[^/]+/upload/[^/]+")
"""The paths that take bytes."""
MUCH = 64 * 1024
"""Bytes. A larger body is validated in a thread."""
MAX_PROBLEMS = 20
IN_FORCE_SECONDS = 1.0
M = TypeVar("M", bound=BaseModel)


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
    `documented_profiles` are the ids of the profiles of detection that the document sets. `events` takes the rows of
    changes and refusals. `identity` is the section of the configuration about people. `detector` is what searches for
    secrets, None where nothing does or it is not known.
    """

    proxies: Proxies = ()
    integrations: frozenset[str] | None = None
    delivery: Delivery = Delivery()
    hostname: str = ""
    login_page: str = ""
    lead: timedelta = LEAD
    documented_profiles: frozenset[str] = frozenset()
    in_force: Callable[[float], Awaitable[None]] = _at_once
    events: EventSink = NO_EVENTS
    detector: Detecting | None = None
    identity: IdentitySection | None = None


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
        at, caller = time.time_ns() // 1000, None

        def note(result: object = None, error: AdminError | None = None) -> None:
            row = change_row(operation, names, caller, ip=address, at=at, result=result, error=error)
            if row is not None:
                settings.events.write(row)

        try:
            caller = await tokens.authenticate(request.headers.get("authorization", ""), address)
            result, response = await _perform(operation, request, caller, tokens, names, account_id, settings)
        except AdminError as error:
            note(error=error)
            return refusal_of(error)
        except StateUnavailable as error:
            refused = AdminError(503, [Problem(errors.UNAVAILABLE, error.words)], {"retry-after": str(error.seconds)})
            note(error=refused)
            return refusal_of(refused)
        except StateError as error:
            refused = _state_error(error)
            note(error=refused)
            return refusal_of(refused)
        except Exception:
            note(error=AdminError(500, [Problem(errors.FAULT, "the portal failed on this request")]))
            raise
        note(result)
        return response

    return Route(f"/accounts/{{account_id}}{path}", answer, methods=sorted(methods))


async def _perform(
    operation: Operation,
    request: Request,
    caller: ApiCaller,
    tokens: ApiTokens,
    names: Mapping[str, str],
    account_id: str,
    settings: AdminSettings,
) -> tuple[object, Response]:
    """The result of an operation, and the answer with it."""
    # The same answer for every other account, so that nobody learns which accounts exist.
    if request.path_params["account_id"] != account_id:
        raise errors.forbidden("Authentication error: the token does not belong to this account")
    _require_allowed(operation, caller)

    async def permitted() -> None:
        address, authorization = client_ip(request.scope, settings.proxies), request.headers.get("authorization", "")
        _require_allowed(operation, await tokens.authenticate(authorization, address))

    if any(len(name) > MAX_IN_PATH or not name.isprintable() for name in names.values()):
        raise errors.not_found("the object")
    body = await _body(operation, request, caller.by)
    paging = _paging(operation, request)
    query = None if operation.query is None else _validated(operation.query, dict(request.query_params))
    asked = ApiRequest(caller, account_id, names, body, paging, query, request.headers, permitted)
    result = await operation.handler(asked)
    if isinstance(result, Response):
        return result, result
    if operation.writing:
        # Who has just denied somebody may rely on it when the answer comes.
        await settings.in_force(IN_FORCE_SECONDS)
    if isinstance(result, InfoAnswer):
        content = answers.success([_plain(one) for one in result.items])
        return result, _answer(operation.status, content | {"result_info": _plain(result.info)})
    if isinstance(result, DoneAnswer):
        content = answers.success(_plain(result.result))
        return result, _answer(operation.status, content | {"result_info": _plain(result.info)})
    if operation.listed:
        listing = listing_of(result)
        items, info = answers.page(listing.items, paging)
        page = answers.success([_plain(one) for one in items], listing.broken)
        return result, _answer(operation.status, page | {"result_info": info})
    return result, _answer(operation.status, answers.success(_plain(result)))


def _require_allowed(operation: Operation, caller: ApiCaller) -> None:
    if operation.area is not None and not operation.area.allows(caller.permissions, writing=operation.writing):
        raise errors.forbidden()


def _paging(operation: Operation, request: Request) -> Paging:
    if not operation.listed:
        return Paging()
    paging = _validated(Paging, dict(request.query_params))
    if operation.whole and "page" not in request.query_params and "per_page" not in request.query_params:
        return paging.model_copy(update={"per_page": MAX_WHOLE})
    return paging


async def _body(operation: Operation, request: Request, by: str) -> BaseModel | None:
    if operation.body is None:
        return None
    try:
        is_upload = operation.body is Uploaded
        most = MAX_UPLOAD if is_upload else MAX_BODY
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
        return await asyncio.to_thread(_validated, operation.body, data)
    return _validated(operation.body, data)


def _refused_body(refusal: Refusal, most: int) -> AdminError:
    """The refusal of a body, as an error of this API."""
    if refusal.status == 413:
        return AdminError(413, [Problem(errors.TOO_LARGE, f"the body is over {most} bytes")])
    code = {429: errors.LIMITED, 503: errors.UNAVAILABLE}.get(refusal.status, errors.INVALID)
    return AdminError(refusal.status, [Problem(code, refusal.message)], refusal.headers)


def _validated(model: type[M], data: Mapping[str, object]) -> M:
    try:
        return fitted(model, data)
    except ValidationError as error:
        found = misfits(error, data)
    except RecursionError:
        raise errors.invalid("the body is nested too deep") from None
    problems = [Problem(errors.INVALID, one.problem, _pointer(one.place)) for one in found[:MAX_PROBLEMS]]
    raise AdminError(400, problems)


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)[:512]


def _state_error(error: StateError) -> AdminError:
    match error:
        case NotFound():
            return errors.not_found(error.kind.replace("_", " "))
        case AlreadyExists():
            return errors.conflict(f"a {error.kind.replace('_', ' ')} with that id exists already")
        case Conflict():
            return errors.conflict(str(error))
        case DocumentBroken():
            message = f"the stored {error.kind.replace('_', ' ')} {error.id!r} cannot be read ({error.reason}); "
            return AdminError(409, [Problem(errors.BROKEN, message + "replace or delete it")])
        case DocumentInvalid():
            return errors.invalid(str(error))
        case _:
            raise error


def _plain(result: object) -> object:
    return result.model_dump(mode="json", by_alias=True) if isinstance(result, BaseModel) else result


def refusal_of(error: AdminError) -> Response:
    """An error as an answer in the envelope."""
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else {}
    return _answer(error.status, answers.failure(error.problems), {**headers, **error.headers})


def _answer(status: int, content: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    encoded = orjson.dumps(content, default=_plain)
    return Response(encoded, status, {"cache-control": "no-store", **(headers or {})}, "application/json")
