"""What can go wrong with the state, and whose fault it is.

    PortalError
      StateError
        StateUnusable      the database or its settings: the operator's to mend
          KeysUnusable     the file of the keys that secrets are encrypted with
        StateUnavailable   the database does not answer just now
        DocumentInvalid    what was to be stored is not JSON within bounds, or its name is not one
        AlreadyExists      an object of that kind and id is there
        NotFound           none is
        Conflict           it was changed since it was read
        DocumentBroken     it is there, and its document cannot be read
        SecretUnreadable   a stored secret does not decrypt: changed, moved, or under a key that is lost
        Misused            a transaction used after its end, or from within another
        RunTaken           a run is not this process's any more
        RunsFull           there is no room for another parked run
        RunTooLarge        what is to be kept of a run is over its bound

No message carries a document, a secret, a token or a password.
"""

from __future__ import annotations

from typing import Literal

from portal.errors import PortalError

RETRY_SECONDS = 5
StoreHealth = Literal["ok", "read only", "unavailable"]
"""What the database does just now: everything, read and not write, or nothing."""


class StateError(PortalError):
    """Any error of the state."""


class StateUnusable(StateError):
    """`str()` says which database, what is wrong and what to do."""


class KeysUnusable(StateUnusable):
    """The key file cannot be used."""


class StateUnavailable(StateError):
    """The database did not do it, and may do it later. `str()` is for the operator, `words` for whoever asked.

    `ran` is "no" when what was asked did not happen, "unknown" when the answer to its commit was lost. `seconds` is
    when to try again, `reason` what is wrong with the database.
    """

    def __init__(
        self,
        message: str,
        *,
        ran: Literal["no", "unknown"] = "no",
        seconds: int = RETRY_SECONDS,
        reason: str = "",
    ) -> None:
        self.ran = ran
        self.reason = reason
        self.seconds = seconds
        super().__init__(message)

    @property
    def words(self) -> str:
        """What happened, whether it ran, and what to do, without the place of the database."""
        if self.ran == "no":
            return f"The portal's database does not answer. This was not done. Try again in {self.seconds} s."
        return (
            "The portal's database did not answer when this was to be stored. It may have been done: look before you "
            f"repeat it, in {self.seconds} s."
        )


class DocumentInvalid(StateError):
    """Not JSON within bounds."""


class SecretUnreadable(StateError):
    """A stored secret cannot be decrypted."""


class Misused(StateError):
    """The caller's own mistake."""


class RunTaken(StateError):
    """A run is not its writer's any more. Nothing was written, and whoever writes for it stops."""

    def __init__(self, id: str) -> None:
        self.id = id
        super().__init__(
            f"the run {id!r} is not this process's any more: another one has claimed it, or it has ended. This was not "
            "written"
        )


class RunsFull(StateError):
    """There is no room to keep another run. `own`: it is the room of whose run it is, not everybody's."""

    def __init__(self, message: str, *, own: bool) -> None:
        self.own = own
        super().__init__(message)


class RunTooLarge(StateError):
    """What is to be kept of a run is over its bound. `str()` says what to do, to whoever wrote the program."""


class _OfObject(StateError):
    problem = ""

    def __init__(self, kind: str, id: str) -> None:
        self.kind = kind
        self.id = id
        super().__init__(f"{kind} {id!r} {self.problem}")


class AlreadyExists(_OfObject):
    problem = "exists already"


class NotFound(_OfObject):
    problem = "does not exist"


class Conflict(_OfObject):
    problem = "was changed by somebody else since it was read; read it again"


class DocumentBroken(_OfObject):
    """`reason` says which member of the document is wrong, and quotes none."""

    problem = "cannot be read as what it should be; replace or delete it"

    def __init__(self, kind: str, id: str, reason: str) -> None:
        super().__init__(kind, id)
        self.reason = reason
