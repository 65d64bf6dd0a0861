"""What is looked for, by profiles. Nothing here loads an engine: most instances need none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from portal.dlp.findings import Confidence
from portal.dlp.names import RuleOf

if TYPE_CHECKING:
    from portal.dlp.lists import ExactList
    from portal.dlp.patterns import Pattern


@dataclass(frozen=True, slots=True)
class Profile:
    """What is looked for: one of PREDEFINED by its id, or an administrator's own patterns and lists under another id.

    Matches below `confidence` do not count. Up to `allowed` matches in one value are let pass, and from one more on all
    are findings. `off` are rules of a predefined profile that are not looked for; `shared` are rules of predefined
    profiles, each with the id of its profile, that are looked for in another profile too.
    """

    id: str
    confidence: Confidence = "medium"
    allowed: int = 0
    patterns: tuple[Pattern, ...] = ()
    lists: tuple[ExactList, ...] = ()
    off: frozenset[str] = frozenset()
    shared: frozenset[RuleOf] = frozenset()
