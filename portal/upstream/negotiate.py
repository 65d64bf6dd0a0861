"""Opens a link and negotiates the generation of the protocol on it.

The portal probes for the modern generation first and falls back to the handshake. For a URL without a named transport
it falls back from streamable HTTP to SSE. It remembers what worked, so that reconnecting needs no probe. Source: MCP
2026-07-28 "Versioning", 2025-06-18 "Backwards Compatibility".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal, TypeVar

from portal.config import HttpServer, OpenApiServer, ServerConfig, StdioServer
from portal.errors import (
    AuthorizationRequired,
    OutcomeUnknown,
    ResponseInvalid,
    RpcError,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from portal.upstream.api_document import ApiDocument
from portal.upstream.credential import Confidential, Credential
from portal.upstream.process_log import NO_PROCESS_LOGS, ProcessLogs
from portal.upstream.transports.duplex import DuplexLink
from portal.upstream.transports.http import HttpLink, OlderTransport
from portal.upstream.transports.last_words import LastWords
from portal.upstream.transports.link import Inbound, Link
from portal.upstream.transports.openapi import OpenApiLink
from portal.upstream.transports.protocol import (
    Agreement,
    Introduction,
    agreement_from_discover,
    agreement_from_initialize,
    handshake_version_to_retry,
    initialize_params,
    probe_version,
    version_to_retry,
)
from portal.upstream.transports.sse import SsePipe
from portal.upstream.transports.stdio import StdioPipe

Generation = Literal["legacy", "modern"]
# A page of a listing may be larger than the result of a call.
PAGE_BYTES = 16 * 1024 * 1024
_PROBE_SECONDS = 10.0
# Too busy, or too slow: no answer to the question which transport the server has.
_NO_ANSWER = (408, 425, 429)
T = TypeVar("T")


@dataclass(slots=True)
class NegotiationCache:
    """The generation and transport that worked with one server last time, or None. `document` is that of an API."""

    generation: Generation | None = None
    transport: Literal["http", "sse"] | None = None
    document: ApiDocument | None = None

    async def aclose(self) -> None:
        """End what goes on about the document. Idempotent."""
        if self.document is not None:
            await self.document.aclose()


async def open_link(
    config: ServerConfig,
    introduction: Introduction,
    inbound: Inbound,
    negotiated: NegotiationCache,
    credential: Credential | None = None,
    logs: ProcessLogs = NO_PROCESS_LOGS,
) -> tuple[Link, Agreement]:
    """An open link and the agreement on it, within the server's connect timeout. A program is shown no credential; what
    it writes besides messages goes to `logs`.

    Raises:
        UpstreamError: no link can be opened, or there is no agreement.
    """
    words = LastWords()
    try:
        async with asyncio.timeout(config.connect_timeout):
            if isinstance(config, StdioServer):
                return await _over_stdio(config, introduction, inbound, negotiated, words, logs)
            if isinstance(config, OpenApiServer):
                return await _over_document(config, inbound, negotiated, credential)
            return await _over_http(config, introduction, inbound, negotiated, credential)
    except TimeoutError:
        written = f" (it wrote: {words})" if str(words) else ""
        raise UpstreamTimeout(f"did not answer within {config.connect_timeout:g} s of connecting{written}") from None


async def _over_stdio(
    config: StdioServer,
    introduction: Introduction,
    inbound: Inbound,
    negotiated: NegotiationCache,
    words: LastWords,
    logs: ProcessLogs,
) -> tuple[Link, Agreement]:
    for _ in range(2):
        pipe = await StdioPipe.open(config, max(PAGE_BYTES, config.max_result_bytes), words, logs.of(config.id))
        link = DuplexLink(pipe, introduction, inbound, config.max_result_bytes, config.secrets)
        try:
            return link, await close_on_failure(link, agree(link, introduction, negotiated, config.connect_timeout))
        except _ProbeFatal:
            # Some servers exit if the first message is not `initialize`.
            negotiated.generation = "legacy"
    raise UpstreamUnavailable(f"ended as soon as it was asked anything: {link.reason}")


async def _over_document(
    config: OpenApiServer, inbound: Inbound, negotiated: NegotiationCache, credential: Credential | None
) -> tuple[Link, Agreement]:
    if negotiated.document is None:
        negotiated.document = ApiDocument(config)
    # There is no session that a client could have to itself.
    negotiated.generation = "modern"
    return await OpenApiLink.open(config, negotiated.document, inbound, credential)


async def _over_http(
    config: HttpServer,
    introduction: Introduction,
    inbound: Inbound,
    negotiated: NegotiationCache,
    credential: Credential | None,
) -> tuple[Link, Agreement]:
    refused: UpstreamError | None = None
    if config.transport == "http" or (config.transport == "auto" and negotiated.transport != "sse"):
        link = HttpLink(config, introduction, inbound, credential)
        try:
            agreement = await close_on_failure(link, agree(link, introduction, negotiated, config.connect_timeout))
            negotiated.transport = "http"
            return link, agreement
        except ResponseInvalid as error:
            if config.transport == "http" or not _may_be_older(error):
                raise
            refused = error
    try:
        pipe = await SsePipe.open(config, max(PAGE_BYTES, config.max_result_bytes), credential)
    except UpstreamError as error:
        negotiated.transport = None
        raise refused or error from None
    secrets = Confidential(config.secrets, credential)
    older = DuplexLink(pipe, introduction, inbound, config.max_result_bytes, secrets)
    # No server over this transport is modern: it was replaced long before 2026-07-28.
    known = NegotiationCache(generation="legacy")
    agreement = await close_on_failure(older, agree(older, introduction, known, config.connect_timeout))
    negotiated.transport = "sse"
    return older, agreement


def _may_be_older(error: ResponseInvalid) -> bool:
    """Whether the answer to a POST may be that of a server that has only the older transport."""
    status = error.status or 0
    return isinstance(error, OlderTransport) or status == 501 or (400 <= status < 500 and status not in _NO_ANSWER)


async def agree(link: Link, introduction: Introduction, negotiated: NegotiationCache, seconds: float) -> Agreement:
    """The agreement on an open link. `seconds` is the time that connecting may take in all.

    Raises:
        UpstreamError: there is no common version, or no answer.
    """
    agreement = None
    if negotiated.generation != "legacy":
        agreement = await _probe(link, probe_version(), min(_PROBE_SECONDS, seconds / 2))
    if agreement is None:
        try:
            agreement = await _initialize(link, introduction)
        except RpcError as error:
            # The server refuses the handshake because it is modern: it answered the probe too late, or was upgraded.
            version = version_to_retry(error.code, error.data)
            agreement = await _probe(link, version, _PROBE_SECONDS) if version is not None else None
            if agreement is None:
                negotiated.generation = None
                why = f"refused `initialize`: {error.full_message[:200]} ({error.code})"
                raise ResponseInvalid(why, status=error.status) from None
    if introduction.instance in agreement.instances:
        # However it got there: a name, a proxy, a redirect, a bridge, another portal that has this one among its own.
        raise UpstreamUnavailable("leads back to this portal itself, and is not served; remove it from the portal")
    link.agree(agreement)
    negotiated.generation = "modern" if agreement.modern else "legacy"
    if not agreement.modern:
        await link.notify("notifications/initialized", {})
    return agreement


async def _initialize(link: Link, introduction: Introduction) -> Agreement:
    """The agreement by the handshake. Some servers refuse a version they do not know and name those they do."""
    try:
        result = await link.request("initialize", initialize_params(introduction))
    except RpcError as error:
        version = handshake_version_to_retry(error.data)
        if version is None:
            raise
        result = await link.request("initialize", {**initialize_params(introduction), "protocolVersion": version})
    return agreement_from_initialize(result)


async def _probe(link: Link, version: str, seconds: float) -> Agreement | None:
    """The agreement with a modern server, or None if the answer does not show a modern server."""
    try:
        async with asyncio.timeout(seconds):
            return agreement_from_discover(await link.request("server/discover", {}, version=version))
    except TimeoutError:
        return None
    except RpcError as error:
        again = version_to_retry(error.code, error.data)
        return await _probe(link, again, seconds) if again not in (None, version) else None
    except AuthorizationRequired as error:
        if error.status == 403:
            # Gateways that let through the methods they know refuse this one so. `initialize` shows what holds.
            return None
        raise
    except UpstreamUnavailable:
        raise
    except OutcomeUnknown:
        if link.closed.is_set():
            raise _ProbeFatal(link.reason) from None
        return None
    except UpstreamError:
        return None


async def close_on_failure(link: Link, work: Awaitable[T]) -> T:
    try:
        return await work
    except BaseException:
        # Cancellation too: no other code knows this link yet, so nothing else would close it.
        await asyncio.shield(link.aclose())
        raise


class _ProbeFatal(UpstreamUnavailable):
    """The link ended during the probe."""
