"""A real detector as the gateway has it, which counts what it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from portal.dlp import DetectionUnavailable, Detector, Pattern, Profile, Verdict
from tests.portal.dlp.conftest import KEY

TICKET = Pattern("ticket", r"\bT-\d{5}\b")
PROFILES = (
    Profile("credentials"),
    Profile("personal"),
    Profile("own", patterns=(TICKET,)),
    Profile("two", allowed=2, patterns=(Pattern("code", r"\bC-\d{5}\b"),)),
)


class Searching:
    """`asked` has the root of each search. With `away` nothing can be searched."""

    def __init__(self, folder: Path, profiles: Sequence[Profile] = PROFILES) -> None:
        self.asked: list[str] = []
        self.away = False
        self.needed: frozenset[str] = frozenset()
        self._known = {profile.id for profile in profiles}
        self._detector = Detector(profiles, key=KEY, folder=folder)

    async def scanned(self, value: object, root: str = "value", *, as_arguments: bool = False) -> Verdict:
        if self.away:
            raise DetectionUnavailable("nothing searches now")
        self.asked.append(root)
        return await self._detector.scanned(value, root, as_arguments=as_arguments)

    def knows(self, profile: str) -> bool:
        return self.profile(profile) is not None

    def profile(self, name: str) -> str | None:
        """Each has two names: its id, and `the <id>`."""
        id = name.removeprefix("the ")
        return id if id in self._known else None

    def needs(self, profiles: Iterable[str]) -> None:
        self.needed = frozenset(profiles)

    def forget(self, profile: str) -> None:
        self._known.discard(profile)
