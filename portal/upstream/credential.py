"""What a connection shows its server to be let in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, overload

from portal.errors import AuthorizationRequired


class Credential(Protocol):
    """One credential for one server, which changes over time: an access token expires, and another one is fetched.

    The connections that show it share it; whoever made it closes it after them. `present` is whether there is anything
    to show, as far as that is known. `secrets` are the values that it shows now, which no error may repeat; `advice`
    says what a person does to be let in, "" for nothing.
    """

    @property
    def present(self) -> bool: ...

    @property
    def advice(self) -> str: ...

    @property
    def secrets(self) -> Sequence[str]: ...

    async def headers(self) -> Mapping[str, str]:
        """The HTTP headers of the next request.

        Raises:
            AuthorizationRequired: there is no credential that could be shown. The text says why and what to do.
        """

    async def renew(self, sent: Mapping[str, str], refused: AuthorizationRequired) -> bool:
        """Whether there are other headers now than those that were `sent` and `refused`, so that the request may be
        sent once more.

        Raises:
            AuthorizationRequired: there are none, for a reason of the portal's. The text says what to do.
        """

    async def aclose(self) -> None:
        """End what it does in the background. Idempotent."""


class Confidential(Sequence[str]):
    """The values that no error may repeat: those of a server's configuration, and those of its credential as it is at
    the moment of reading.
    """

    def __init__(self, configured: Sequence[str], credential: Credential | None) -> None:
        self._configured = configured
        self._credential = credential

    def _now(self) -> Sequence[str]:
        return self._configured if self._credential is None else (*self._configured, *self._credential.secrets)

    def __iter__(self) -> Iterator[str]:
        # Of one moment, and not gathered again for each value.
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._now()[index]
