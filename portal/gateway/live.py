"""The rules that hold now, for every portal of an instance, and what searches for secrets."""

from __future__ import annotations

from portal.gateway.judging import Detecting
from portal.gateway.rules import NO_RULES, Rulebook


class LiveGateway:
    """Holds the rules, which are replaced as a whole, for open sessions and running programs too. On the event loop
    only. `detector` is None where nothing can be searched: what a rule would need it for is blocked then."""

    def __init__(self, detector: Detecting | None = None) -> None:
        self.detector = detector
        self._current = NO_RULES

    @property
    def current(self) -> Rulebook:
        return self._current

    def replace(self, book: Rulebook) -> None:
        """Let these rules decide from now on."""
        if self.detector is not None:
            # Before they decide: what nobody needs is not found.
            self.detector.needs(book.profiles)
        self._current = book
