"""The sections `portal.traces` and `portal.metrics`: where spans go and which, and who may read the numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from portal.config.section import Section, http_url

MAX_ATTRIBUTES = 32
TRACES_PATH = "/v1/traces"
LEAST_TOKEN = 16
"""Characters of the token that opens the numbers."""


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,200}", value):
        raise ValueError("must be the name of an HTTP header")
    return value


def _header_value(value: str) -> str:
    if not re.fullmatch(r"[\t\x20-\x7e]*", value):
        raise ValueError("must be one line of printable characters")
    return value


def _endpoint(value: str) -> str:
    """Where a receiver of OTLP takes spans: a URL without a path is that of the receiver (OTLP/HTTP)."""
    url = http_url(value)
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError(
            "must be a URL without user, password and fragment: what the receiver wants goes into `headers`"
        )
    return url if parts.path.strip("/") else url.rstrip("/") + TRACES_PATH


_HeaderName = Annotated[str, AfterValidator(_header_name)]
_HeaderLine = Annotated[str, Field(max_length=8192), AfterValidator(_header_value)]
_AttributeName = Annotated[str, Field(min_length=1, max_length=200)]
_Attribute = Annotated[str, Field(max_length=1000)]


class TraceSection(Section):
    """Spans go to `endpoint` (OTLP over HTTP, as JSON), with `headers`.

    Of the traces a `sample` is kept, chosen by their ids. With `keep_errors` those are kept too in which a call failed,
    was denied or had findings, and those in which something took `slow_ms`. With `follow_caller` a trace that its
    caller keeps is kept, and of one that its caller does not keep only such failures and slow calls. `service_name` and
    `resource` say whose spans they are. `baggage_to` names the servers to which the baggage of callers goes on, `*` is
    all of them.
    """

    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(repr=False)
    headers: Mapping[_HeaderName, _HeaderLine] = Field(default_factory=dict, max_length=MAX_ATTRIBUTES, repr=False)
    sample: float = Field(default=0.1, ge=0, le=1, allow_inf_nan=False)
    keep_errors: bool = True
    slow_ms: int = Field(default=5000, ge=1, le=86_400_000)
    follow_caller: bool = False
    service_name: str = Field(default="codemode-portal", min_length=1, max_length=200)
    resource: Mapping[_AttributeName, _Attribute] = Field(default_factory=dict, max_length=MAX_ATTRIBUTES)
    baggage_to: tuple[str, ...] = Field(default=(), max_length=1000)


class MetricsSection(Section):
    """`/metrics` is there if `enabled`. A reader has to show `token`; without one everybody who reaches the portal
    may, which is for portals without identity alone."""

    enabled: bool = True
    token: str | None = Field(
        default=None, min_length=LEAST_TOKEN, max_length=1000, pattern=r"^[\x21-\x7e]+$", repr=False
    )
