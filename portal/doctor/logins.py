"""The portal's own logins as its database has them, read from a copy: shown to servers, and never renewed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from portal.config import HttpServer
from portal.credentials import Ending, State, ending, ends_at, own_login, shown_token, state_of
from portal.state import StateError, utc_now

if TYPE_CHECKING:
    from portal.credentials import FixedToken
    from portal.state import Store


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """What is stored of a login. `shown`: its token lives, and was shown to the server. `problem`: why it cannot be
    read."""

    state: State = "absent"
    reason: str = ""
    ending: Ending = "no"
    ends: datetime | None = None
    shown: bool = False
    problem: str = ""


class StoredLogins:
    """`problem` says why none can be read."""

    def __init__(self, store: Store | None, lead: timedelta, problem: str = "") -> None:
        self._store = store
        self._lead = lead
        self._problem = problem

    async def of(self, server: HttpServer) -> tuple[LoginFacts, FixedToken | None]:
        """What there is of the login for a server, and the token to show; None without one that lives."""
        if self._store is None:
            return LoginFacts(problem=self._problem), None
        now = utc_now()
        try:
            stored = await own_login(self._store, server)
            if stored is None:
                return LoginFacts(), None
            token = await shown_token(self._store, stored, now)
        except StateError as error:
            return LoginFacts(problem=str(error)), None
        found = LoginFacts(
            state=state_of(stored, now),
            reason=stored.document.reason,
            ending=ending(stored, now, self._lead),
            ends=ends_at(stored, now),
            shown=token is not None,
        )
        return found, token
