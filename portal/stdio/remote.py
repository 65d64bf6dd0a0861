"""A portal elsewhere: requests of streamable HTTP over the network, with the sign-in of the person who started this."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import aiohttp

from portal.config import HttpServer
from portal.errors import AuthorizationRequired
from portal.stdio.relay import MAX_ANSWER
from portal.upstream import Body, Credential, HttpClient, opened


class SignInCredential(Credential, Protocol):
    """The sign-in at a portal: what `Credential` shows is what it left."""

    async def renewed(self, refused: AuthorizationRequired) -> None:
        """Sign in again. Bridges that wait for the same at once make one sign-in.

        Raises:
            UpstreamError: it failed. The text says why.
        """


class Remote:
    """Implements `Exchange` with a portal at a URL. Without a `sign_in` it shows what the configuration has alone."""

    def __init__(self, config: HttpServer, sign_in: SignInCredential | None) -> None:
        self._client = HttpClient(config, sign_in)
        self._sign_in = sign_in
        self._signing_in = asyncio.Lock()
        self._signed_in = 0

    async def send(self, method: str, headers: Mapping[str, str], data: bytes = b"") -> _RemoteAnswer:
        known = self._signed_in
        try:
            return await self._once(method, headers, data)
        except AuthorizationRequired as error:
            if self._sign_in is None or not error.login_helps:
                raise
            async with self._signing_in:
                # All that wait need only one.
                if self._signed_in == known:
                    await self._sign_in.renewed(error)
                    self._signed_in += 1
        return await self._once(method, headers, data)

    async def aclose(self) -> None:
        await self._client.aclose()
        if self._sign_in is not None:
            await self._sign_in.aclose()

    async def _once(self, method: str, headers: Mapping[str, str], data: bytes) -> _RemoteAnswer:
        response = await self._client.send(method, headers, data or None)
        if response.status != 401:
            return _RemoteAnswer(response)
        try:
            error = await self._client.authorization_required(response)
        finally:
            response.release()
        # Its own text advises whoever writes a configuration.
        words = "The portal wants another credential than it is shown (HTTP 401); see --header."
        raise AuthorizationRequired(words, status=401, challenge=error.challenge)


class _RemoteAnswer:
    """Implements `ExchangeAnswer`."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    def header(self, name: str) -> str:
        return self._response.headers.get(name, "")

    async def body(self) -> Body:
        # The stream of a session goes on for as long as that does.
        return await opened(self._response, MAX_ANSWER, None)

    async def aclose(self) -> None:
        self._response.release()
