"""What comes of putting a detector together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from portal.dlp.definitions import ProfileDefinition

if TYPE_CHECKING:
    from portal.dlp.detector import Detector


@dataclass(frozen=True, slots=True)
class Build:
    """What was put together of `chosen`. Without a detector there is nothing to look for, or it failed: `failure` says
    why. `refused` has a sentence for each profile that cannot be used."""

    chosen: tuple[ProfileDefinition, ...] = ()
    detector: Detector | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""

    @property
    def covered(self) -> frozenset[str]:
        """The ids of the profiles that a scan answers for: those that are searched, and those with nothing in them."""
        return frozenset(one.id for one in self.chosen) - frozenset(self.refused)
