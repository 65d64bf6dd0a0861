"""The messages of OAuth as values: parameters, errors and answers of both authorization servers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.responses import RedirectResponse, Response

from portal.http import NO_STORE

MAX_PARAMETERS = 50
MAX_PARAMETER = 4096


@dataclass(frozen=True, slots=True)
class OAuthError:
    """An error for a client: its code and a sentence (RFC 6749 sections 4.1.2.1 and 5.2, RFC 7591, RFC 8707).

    At the authorization endpoint, the error may be sent to `redirect_uri`. Without one, only the person sees it.
    """

    code: str
    description: str
    redirect_uri: str = ""

    @property
    def status(self) -> int:
        """The HTTP status at an endpoint that answers the client directly."""
        return 401 if self.code == "invalid_client" else 400


def read_parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, str] | OAuthError:
    """The parameters of a request by name. One without a value counts as absent (RFC 6749 section 3.1).

    Error: a parameter is repeated (RFC 6749 sections 3.1 and 3.2).
    """
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters:
            return OAuthError("invalid_request", f"the parameter {name[:50]!r} is repeated")
        parameters[name] = value
    return {name: value for name, value in parameters.items() if value}


def read_form(body: bytes) -> dict[str, str] | OAuthError:
    """The parameters of a form.

    Error: there are too many, one is repeated, or one is too long.
    """
    try:
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        return OAuthError("invalid_request", f"there are more than {MAX_PARAMETERS} parameters")
    parameters = read_parameters(pairs)
    if isinstance(parameters, OAuthError):
        return parameters
    return long_parameter(parameters) or parameters


def long_parameter(parameters: Mapping[str, str]) -> OAuthError | None:
    """The error of a request with a parameter that is too long."""
    name = next((name for name, value in parameters.items() if len(value) > MAX_PARAMETER), None)
    if name is None:
        return None
    return OAuthError("invalid_request", f"{name[:50]} is longer than {MAX_PARAMETER} characters")


def redirect_answer(redirect_uri: str, parameters: Mapping[str, str]) -> Response:
    """Send the browser to a client. Empty parameters are left out."""
    return see_other(with_parameters(redirect_uri, {name: value for name, value in parameters.items() if value}))


def with_parameters(uri: str, parameters: Mapping[str, str]) -> str:
    """A redirect URI with these added to its query, which stays as it is (RFC 6749 section 3.1.2)."""
    query = urlencode(parameters)
    if not query or uri.endswith(("?", "&")):
        return uri + query
    return f"{uri}{'&' if '?' in uri else '?'}{query}"


def see_other(url: str) -> Response:
    """A redirect whose URL holds a secret: not kept, and not passed on as a referrer (RFC 9700 section 4.2.4)."""
    return RedirectResponse(url, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def json_answer(document: Mapping[str, object], status: int = 200, headers: Mapping[str, str] = NO_STORE) -> Response:
    return Response(orjson.dumps(document), status, dict(headers), media_type="application/json")


def error_answer(error: OAuthError) -> Response:
    """An error as JSON (RFC 6749 section 5.2)."""
    headers = NO_STORE | ({"WWW-Authenticate": 'Basic realm="token"'} if error.status == 401 else {})
    return json_answer({"error": error.code, "error_description": error.description}, error.status, headers)
