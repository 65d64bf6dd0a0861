"""The detector of an instance, which follows the profiles of the configuration and of the store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from portal.app.store import state_home
from portal.dlp import LiveDetector, ProfileDefinition, rules_folder
from portal.profiles import PROFILE_KINDS, StoredProfiles, detection_key, documented_definitions, key_of_ring
from portal.state import Follower, KeysUnusable, StateUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from portal.config import Config
    from portal.state import Store


class FollowedProfiles:
    """Gives the detector the profiles that configuration and store have, again after each change of either."""

    def __init__(self, detector: LiveDetector, config: Config, store: Store | None) -> None:
        self._detector = detector
        self._config = config
        self._stored = StoredProfiles(store) if store is not None else None
        self._known: list[ProfileDefinition] | None = None
        self._follower = Follower(store, PROFILE_KINDS, self._refresh, self._unavailable) if store is not None else None
        self._taking = asyncio.Lock()
        self._log = structlog.get_logger("portal.app")

    async def aclose(self) -> None:
        if self._follower is not None:
            await self._follower.aclose()

    async def configure(self, config: Config) -> None:
        """Take up a changed configuration.

        Raises:
            StateUnavailable: the store does not answer. What was known goes on deciding, and is read when it does.
        """
        self._config = config
        try:
            await self._refresh()
        except StateUnavailable:
            if self._follower is not None:
                self._follower.again()
            raise

    async def settled(self, seconds: float) -> None:
        """Return when the detector is of what is stored, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                if self._follower is not None:
                    await self._follower.settled(seconds)
                await self._detector.settled(seconds)
        except TimeoutError:
            pass

    async def _refresh(self) -> None:
        # One after the other: an older reading must not replace a newer one.
        async with self._taking:
            try:
                if self._stored is not None:
                    self._known = await self._stored.read()
            finally:
                # Those of the document need no store.
                self._detector.offers(documented_definitions(self._config.portal.dlp, self._known))

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.debug("stored profiles cannot be read; what was known goes on deciding", reason=str(error))


@asynccontextmanager
async def open_detection(
    config: Config, store: Store | None, folder: Path | None = None
) -> AsyncIterator[tuple[LiveDetector, FollowedProfiles]]:
    """The detector of an instance until the block ends, and what keeps it up to date. `folder` keeps compiled rules.

    Raises:
        StateUnavailable: the store does not answer.
    """

    async def key() -> bytes:
        if store is not None:
            return await detection_key(store)
        # Where no rule needs it, the library of its ciphers is not loaded.
        from portal.state import KeyRing

        try:
            return key_of_ring(await asyncio.to_thread(KeyRing.open, state_home() / "detection.key"))
        except KeysUnusable as error:
            # Without a database only the hashes of findings depend on it.
            structlog.get_logger("portal.app").warning(
                "the hashes of findings will be others after a restart", reason=str(error)
            )
            return secrets.token_bytes(32)

    detector = LiveDetector(key=key, folder=folder or rules_folder())
    profiles = FollowedProfiles(detector, config, store)
    try:
        await profiles.configure(config)
        yield detector, profiles
    finally:
        await profiles.aclose()
        await detector.aclose()
