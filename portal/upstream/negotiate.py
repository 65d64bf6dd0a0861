"""Opening a link and settling which generation of the protocol is spoken on it.

Probe for the modern one, fall back to the handshake; for a URL whose transport is not named, fall back from streamable
HTTP to SSE. What worked is remembered, so that reconnecting costs no probe. Source: MCP 2026-07-28 "Versioning",
2025-06-18 "Backwards Compatibility".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal, TypeVar

from portal.config import HttpServer, ServerConfig, StdioServer
from portal.errors import (
    AuthorizationRequired,
    OutcomeUnknown,
    ResponseInvalid,
    RpcError,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from portal.upstream.transports.duplex import DuplexLink
from portal.upstream.transports.http import HttpLink
from portal.upstream.transports.link import Inbound, Link
from portal.upstream.transports.protocol import (
    Agreement,
    Introduction,
    discovered,
    initialize_params,
    initialized,
    other_version,
    probe_version,
)
from portal.upstream.transports.sse import SsePipe
from portal.upstream.transports.stdio import StdioPipe

Generation = Literal["legacy", "modern"]
# A page of a listing may be larger than the result of a call.
PAGE_BYTES = 16 * 1024 * 1024
_PROBE_SECONDS = 10.0
_NO_STREAMABLE_HTTP = (400, 404, 405)
T = TypeVar("T")


@dataclass(slots=True)
class Remembered:
    """What worked with one server last time."""

    generation: Generation | None = None
    transport: Literal["http", "sse"] | None = None


async def open_link(
    config: ServerConfig, introduction: Introduction, inbound: Inbound, remembered: Remembered
) -> tuple[Link, Agreement]:
    """An open link and what was agreed on it, within the server's connect timeout.

    Raises:
        UpstreamError: it cannot be had.
    """
    try:
        async with asyncio.timeout(config.connect_timeout):
            if isinstance(config, StdioServer):
                return await _over_stdio(config, introduction, inbound, remembered)
            return await _over_http(config, introduction, inbound, remembered)
    except TimeoutError:
        raise UpstreamTimeout(f"did not answer within {config.connect_timeout:g} s of connecting") from None


async def _over_stdio(
    config: StdioServer, introduction: Introduction, inbound: Inbound, remembered: Remembered
) -> tuple[Link, Agreement]:
    for _ in range(2):
        pipe = await StdioPipe.open(config, max(PAGE_BYTES, config.max_result_bytes))
        link = DuplexLink(pipe, introduction, inbound, config.max_result_bytes)
        try:
            return link, await closing_on_failure(link, agree(link, introduction, remembered, config.connect_timeout))
        except _ProbeFatal:
            # Servers exist that exit on a first message other than `initialize`.
            remembered.generation = "legacy"
    raise UpstreamUnavailable(f"ended as soon as it was asked anything: {link.reason}")


async def _over_http(
    config: HttpServer, introduction: Introduction, inbound: Inbound, remembered: Remembered
) -> tuple[Link, Agreement]:
    refused: UpstreamError | None = None
    if config.transport == "http" or (config.transport == "auto" and remembered.transport != "sse"):
        link = HttpLink(config, introduction, inbound)
        try:
            agreement = await closing_on_failure(link, agree(link, introduction, remembered, config.connect_timeout))
            remembered.transport = "http"
            return link, agreement
        except ResponseInvalid as error:
            if config.transport == "http" or error.status not in _NO_STREAMABLE_HTTP:
                raise
            refused = error
    try:
        pipe = await SsePipe.open(config, max(PAGE_BYTES, config.max_result_bytes))
    except UpstreamError as error:
        remembered.transport = None
        raise refused or error from None
    older = DuplexLink(pipe, introduction, inbound, config.max_result_bytes)
    # This transport ended long before 2026-07-28: nothing to probe for.
    known = Remembered(generation="legacy")
    agreement = await closing_on_failure(older, agree(older, introduction, known, config.connect_timeout))
    remembered.transport = "sse"
    return older, agreement


async def agree(link: Link, introduction: Introduction, remembered: Remembered, seconds: float) -> Agreement:
    """Settle the generation on an open link; `seconds` is what connecting may take in all.

    Raises:
        UpstreamError: no version in common, or no answer.
    """
    agreement = None
    if remembered.generation != "legacy":
        agreement = await _probe(link, probe_version(), min(_PROBE_SECONDS, seconds / 2))
    if agreement is None:
        try:
            agreement = initialized(await link.request("initialize", initialize_params(introduction)))
        except RpcError as error:
            # A server that answered the probe late is modern by now, and says so; so does one that was upgraded.
            version = other_version(error.code, error.data)
            agreement = await _probe(link, version, _PROBE_SECONDS) if version is not None else None
            if agreement is None:
                remembered.generation = None
                raise ResponseInvalid(f"refused `initialize`: {error.message[:200]} ({error.code})") from None
    link.agree(agreement)
    remembered.generation = "modern" if agreement.modern else "legacy"
    if not agreement.modern:
        await link.notify("notifications/initialized", {})
    return agreement


async def _probe(link: Link, version: str, seconds: float) -> Agreement | None:
    """Ask as a modern client does; None when the answer is no sign of a modern server."""
    try:
        async with asyncio.timeout(seconds):
            return discovered(await link.request("server/discover", {}, version=version))
    except TimeoutError:
        return None
    except RpcError as error:
        again = other_version(error.code, error.data)
        return await _probe(link, again, seconds) if again not in (None, version) else None
    except (AuthorizationRequired, UpstreamUnavailable):
        raise
    except OutcomeUnknown:
        if link.closed.is_set():
            raise _ProbeFatal(link.reason) from None
        return None
    except UpstreamError:
        return None


async def closing_on_failure(link: Link, work: Awaitable[T]) -> T:
    try:
        return await work
    except BaseException:
        # Whatever ended it, cancellation included: nobody else knows this link yet.
        await asyncio.shield(link.aclose())
        raise


class _ProbeFatal(UpstreamUnavailable):
    """The link did not survive the probe."""
