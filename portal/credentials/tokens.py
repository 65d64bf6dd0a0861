"""Asks the token endpoint of an authorization server for access tokens, and reads what it answers.

Source: RFC 6749 4.4 (client credentials), 5.1 and 5.2 (answers), RFC 8693 2.2 (answers to an exchange), RFC 8707 2.2
(`resource`), OpenID Connect Core 3.1.3.3 and 12.2 (`id_token`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from portal.credentials.errors import NoAnswer, Refused
from portal.credentials.metadata import OptionalText, read
from portal.credentials.outbound import Outbound, origin_of

MAX_TOKEN = 16 * 1024
MAX_SECONDS = 10 * 365 * 86_400
_FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
# What an authorization server says that may give the token the next time (RFC 6749 4.1.2.1, RFC 8628 3.5).
_FOR_NOW = ("temporarily_unavailable", "server_error", "slow_down")
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_CODE = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,100}")
_MAX_DESCRIPTION = 300
NO_PROPER_CODE = "an error without a proper code"
INVALID_TARGET = "invalid_target"  # RFC 8707 2
RESOURCE_KNOB = " Set `resource` in its `oauth`: to omit, or to the resource that the authorization server knows."


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token. `lifetime` is in seconds, None where the authorization server does not say; `scope` is what was
    granted, "" for what was asked for; `refresh` and `identity` are the refresh token and the ID token that came with
    it, "" for none."""

    access: str = field(repr=False)
    lifetime: float | None
    scope: str
    refresh: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)

    def ends_at(self, issued: datetime) -> datetime | None:
        """When it ends, if it was issued at this time; None where the authorization server does not say."""
        return issued + timedelta(seconds=self.lifetime) if self.lifetime is not None else None


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a token was exchanged for. `kind` is the type of the token that was issued, a URN, "" if the answer does not
    say; `lifetime` and `scope` as of an access token."""

    token: str = field(repr=False)
    kind: str
    token_type: str
    lifetime: float | None
    scope: str


def _seconds(value: object) -> float | None:
    """A lifetime; None for what is none: a token that can be used is worth more than its lifetime."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None
    return seconds if seconds is not None and 0 < seconds <= MAX_SECONDS else None


def read_jwt(value: object) -> str:
    """A JWT as text (RFC 7519 3), "" for what is none, or is longer than `MAX_TOKEN`. Nothing of it is checked."""
    return value if isinstance(value, str) and len(value) <= MAX_TOKEN and _JWT.fullmatch(value) else ""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)

    access_token: Annotated[str, Field(min_length=1, max_length=MAX_TOKEN, pattern=r"^[\x21-\x7e]+$", repr=False)]
    token_type: Annotated[str, Field(max_length=100)] = "Bearer"
    expires_in: Annotated[float | None, BeforeValidator(_seconds)] = None
    scope: Annotated[str, Field(max_length=8192)] = ""
    refresh_token: Annotated[str, Field(max_length=MAX_TOKEN, pattern=r"^[\x20-\x7e]*$", repr=False)] = ""
    id_token: Annotated[str, BeforeValidator(read_jwt), Field(repr=False)] = ""
    issued_token_type: OptionalText = ""


async def request_token(
    outbound: Outbound, endpoint: str, form: Mapping[str, str], headers: Mapping[str, str], secrets: Sequence[str]
) -> AccessToken:
    """The token that the endpoint answers with. `secrets` are blotted out of what it says.

    Raises:
        Refused: it answered with an error.
        NoAnswer: it did not answer, or with neither a token nor an error. It may have issued a token.
        Misconfigured: the portal may not send it anything.
    """
    found = await _answer(outbound, endpoint, form, headers, secrets)
    if found.token_type.lower() != "bearer":
        who = origin_of(endpoint)
        raise Refused(f"{who} issued a token of another type than Bearer, which the portal cannot show.", "")
    return AccessToken(found.access_token, found.expires_in, found.scope, found.refresh_token, found.id_token)


async def exchange_token(
    outbound: Outbound, endpoint: str, form: Mapping[str, str], headers: Mapping[str, str], secrets: Sequence[str]
) -> Exchanged:
    """What the endpoint answers a token exchange with (RFC 8693 2.2.1), of whatever type. Raises as `request_token`."""
    found = await _answer(outbound, endpoint, form, headers, secrets)
    return Exchanged(found.access_token, found.issued_token_type, found.token_type, found.expires_in, found.scope)


async def _answer(
    outbound: Outbound, endpoint: str, form: Mapping[str, str], headers: Mapping[str, str], secrets: Sequence[str]
) -> _Answer:
    """An answer with a token. Raises as `request_token`."""
    status, answer = await outbound.post(endpoint, urlencode(form).encode(), {**_FORM, **headers})
    who = origin_of(endpoint)
    # Some answer errors with status 200.
    is_error = isinstance(answer, dict) and isinstance(answer.get("error"), str) and "access_token" not in answer
    if status >= 500 or status == 429:
        raise NoAnswer(f"{who} answered a request for a token with status {status}", status=status)
    if is_error:
        assert isinstance(answer, dict)
        refusal = _refusal(who, answer, secrets)
        raise NoAnswer(str(refusal)) if refusal.code in _FOR_NOW else refusal
    if not 200 <= status < 300:
        raise NoAnswer(f"{who} answered a request for a token with status {status} and no OAuth error", status=status)
    found = read(_Answer, answer)
    if found is None:
        raise NoAnswer(f"{who} answered a request for a token with something else", arrived=True)
    return found


async def revoke_token(outbound: Outbound, endpoint: str, form: Mapping[str, str], headers: Mapping[str, str]) -> None:
    """Have a token taken back (RFC 7009). An authorization server that does not know it has nothing to take back.

    Raises:
        CredentialError: it was not.
    """
    status, _ = await outbound.post(endpoint, urlencode(form).encode(), {**_FORM, **headers})
    if not 200 <= status < 300:
        raise Refused(f"{origin_of(endpoint)} answered the revocation of a token with status {status}.", "")


def readable_code(code: object) -> str:
    """The code of an OAuth error as it may be shown (RFC 6749 5.2); "" for what is none."""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _refusal(who: str, answer: Mapping[str, object], secrets: Sequence[str]) -> Refused:
    code = readable_code(answer["error"]) or NO_PROPER_CODE
    description = answer.get("error_description")
    said = ""
    if isinstance(description, str) and description:
        for secret in filter(None, secrets):
            description = description.replace(secret, "[redacted]")
        readable = "".join(character if character.isprintable() else " " for character in description)
        said = f": {readable[:_MAX_DESCRIPTION]}"
    hint = RESOURCE_KNOB if code == INVALID_TARGET else ""
    return Refused(f"{who} refused a token with {code}{said}.{hint}", code)
