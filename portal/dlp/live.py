"""The detector of an instance: put together when a rule needs it, and replaced when profiles change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import Context
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

import structlog

from portal.dlp.build import Build
from portal.dlp.definitions import ProfileDefinition, by_reference, predefined_definitions
from portal.dlp.expressions import compiler
from portal.dlp.findings import DetectionUnavailable, Verdict
from portal.errors import PortalError
from sandbox import user_cache

if TYPE_CHECKING:
    from portal.dlp.detector import Detector

PATIENCE = 20.0
"""Seconds that a scan waits for a detector: putting the first one together takes some 4 of a core."""
RETRY = 10.0
"""Seconds after which what failed is tried again, if a scan asks for it."""


_NOTHING = Build()


def rules_folder() -> Path:
    """The folder of compiled rules in the user's cache."""
    return user_cache() / "detection"


class LiveDetector:
    """Looks for what the profiles say that rules need. One per instance, used on its event loop.

    A rule names a profile by its id, its UUID or its name; findings have the id: `profile` gives it. Nothing is put
    together before `needs` names a profile that is there, and one detector at a time, in a thread. Until a newer one is
    ready the former one answers, if it has all profiles that are needed; otherwise a scan waits, at most `patience`
    seconds. A scan that has begun ends with the detector that it began with.

    `key` gives at least 16 bytes, the same after a restart; it is asked when a detector is first put together. `folder`
    keeps compiled rules, for this user alone.
    """

    def __init__(
        self, *, key: Callable[[], Awaitable[bytes]], folder: Path, patience: float = PATIENCE, retry: float = RETRY
    ) -> None:
        self._find_key = key
        self._key = b""
        self._folder = folder
        self._patience = patience
        self._retry = retry
        self._needed: frozenset[str] = frozenset()
        self._known: Mapping[str, ProfileDefinition] = {}
        self._several: frozenset[str] = frozenset()
        self._refused: Mapping[str, str] = {}
        self._built = _NOTHING
        self._task: asyncio.Task[None] | None = None
        self._taken = asyncio.Event()
        self._failed_at: float | None = None
        self._closed = False
        self._log = structlog.get_logger("portal.dlp")
        self.offers(predefined_definitions().values())

    async def aclose(self) -> None:
        """Build nothing any more. What is being put together in a thread is dropped."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    # What there is, and what is needed

    def offers(self, definitions: Iterable[ProfileDefinition]) -> None:
        """Take up what all profiles are now. If one of those that are needed changed, a detector is put together."""
        self._known, self._several = by_reference(definitions)
        self._follow()

    def needs(self, profiles: Iterable[str]) -> None:
        """Take up which profiles all rules together name, by id, UUID or name. Replaces what was needed before."""
        self._needed = frozenset(profiles)
        self._follow()

    def knows(self, profile: str) -> bool:
        """Whether a rule may name this profile: there is one, and it can be used as far as is known."""
        return not self.why_not(profile)

    def profile(self, name: str) -> str | None:
        """The id that findings of this profile have; None if there is none of this id, UUID or name."""
        definition = self._known.get(name)
        return definition.id if definition is not None else None

    def why_not(self, profile: str) -> str:
        """Why a rule cannot name this profile, in a sentence for its author; "" if it can."""
        definition = self._known.get(profile)
        if definition is None:
            if profile in self._several:
                return f"several profiles have the name {profile[:64]!r}; name the one that is meant by its id"
            return f"there is no profile {profile[:64]!r}"
        if definition.problem:
            return definition.problem
        if (refused := self._refused.get(definition.id)) is not None:
            return refused
        try:
            compiler()
        except DetectionUnavailable as error:
            return str(error)
        return ""

    # Scanning

    async def scanned(self, value: object, root: str = "value", *, as_arguments: bool = False) -> Verdict:
        """What is found of the profiles that are needed; see `Detector.scan`. Those of one rule are told by `profile`.

        Raises:
            DetectionUnavailable: nothing can be searched, so nothing may pass: the extra is not installed, putting the
                detector together failed or takes too long, or a profile that was needed turned out to be of no use.
        """
        detector = await self._ready()
        return await detector.scanned(value, root, as_arguments=as_arguments) if detector is not None else Verdict()

    async def redacted(
        self, value: object, root: str = "value", *, as_arguments: bool = False
    ) -> tuple[object, Verdict]:
        """The value without what is found, and the verdict about it as it was; see `Detector.redacted`.

        Raises:
            DetectionUnavailable: as `scanned`.
        """
        detector = await self._ready()
        if detector is None:
            return value, Verdict()
        return await detector.cleaned(value, root, as_arguments=as_arguments)

    async def settled(self, seconds: float) -> None:
        """Return when the detector is of the profiles as they are, or after `seconds`."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)

    async def _ready(self) -> Detector | None:
        """A detector of all profiles that are needed; None if there is nothing to look for."""
        wanted = frozenset(one.id for one in self._chosen())
        if self._built.covered >= wanted and not self._built.failure:
            return self._built.detector
        # Rules that name one of these know by now that they cannot.
        wanted -= frozenset(self._refused)
        await self._wait(wanted)
        if self._built.failure:
            raise DetectionUnavailable(self._built.failure)
        if missing := wanted - self._built.covered:
            # Its rules asked whether it is known before it was refused, and would let the value pass now.
            id = min(missing)
            raise DetectionUnavailable(
                self._refused.get(id) or "detection is not ready yet: its profiles have just changed. Try again"
            )
        return self._built.detector

    async def _wait(self, wanted: frozenset[str]) -> None:
        """Wait until there is a detector of these profiles, or nothing is being put together any more. After a failure
        that is old enough it is tried again.

        Raises:
            DetectionUnavailable: it takes too long.
        """
        now = asyncio.get_running_loop().time
        if self._task is None and self._failed_at is not None and now() - self._failed_at >= self._retry:
            self._begin()
        end = now() + self._patience
        while self._task is not None and not (self._built.covered >= wanted and not self._built.failure):
            try:
                await asyncio.wait_for(self._taken.wait(), end - now())
            except TimeoutError:
                raise DetectionUnavailable(
                    "detection is not ready yet: its rules are still being compiled. Try again"
                ) from None

    # Putting together

    def _chosen(self) -> tuple[ProfileDefinition, ...]:
        """The definitions that are needed, each once, in the order of their ids. One with a problem is left out."""
        found = {self._known[name].id: self._known[name] for name in self._needed if name in self._known}
        return tuple(found[id] for id in sorted(found) if not found[id].problem)

    def _follow(self) -> None:
        """Begin to put together what is needed now, if it is not what there is."""
        if self._task is not None or self._closed:
            return
        chosen = self._chosen()
        if not chosen:
            # The memory of a detector that nobody needs.
            self._built, self._refused, self._failed_at = _NOTHING, {}, None
        elif chosen != self._built.chosen or self._built.failure:
            self._begin()

    def _begin(self) -> None:
        # A person whose call begins it does not pay for it.
        self._task = asyncio.get_running_loop().create_task(self._build(), context=Context())

    async def _build(self) -> None:
        """Put together what is needed, until that is what there is."""
        try:
            while not self._closed:
                chosen = self._chosen()
                former = self._built.detector
                self._take(await self._put_together(chosen, former))
                if chosen == self._chosen():
                    break
        finally:
            self._task = None
            self._tell()

    async def _put_together(self, chosen: tuple[ProfileDefinition, ...], former: Detector | None) -> Build:
        try:
            self._key = self._key or await self._find_key()
        except PortalError as error:
            return Build(chosen, failure=f"the key of detection cannot be used: {error}")
        return await asyncio.to_thread(_built, chosen, self._key, self._folder, former)

    def _tell(self) -> None:
        """Wake those who wait."""
        self._taken.set()
        self._taken = asyncio.Event()

    def _take(self, build: Build) -> None:
        for id, reason in build.refused.items():
            if self._refused.get(id) != reason:
                self._log.error("a profile cannot be used, so rules that name it let nothing pass", reason=reason)
        if build.failure:
            self._failed_at = asyncio.get_running_loop().time()
            self._log.error("detection failed, so rules that need it let nothing pass", reason=build.failure)
        else:
            self._failed_at = None
        self._built, self._refused = build, build.refused
        self._tell()


def _built(chosen: tuple[ProfileDefinition, ...], key: bytes, folder: Path, former: Detector | None) -> Build:
    """As `building.built`. The engine is loaded here, in the thread."""
    building = import_module("portal.dlp.building")
    return cast("Build", building.built(chosen, key, folder, former))
