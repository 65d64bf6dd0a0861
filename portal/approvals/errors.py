"""What goes wrong with an approval: each says in words what to do."""

from __future__ import annotations

from portal.errors import PortalError


class ApprovalError(PortalError):
    """An approval that cannot be asked for, decided or used. `str()` is for the person or agent who wanted it."""


class ApprovalUnknown(ApprovalError):
    """There is no such approval, or it is too old to be kept."""

    def __init__(self) -> None:
        super().__init__("There is no such approval. It may have been deleted after it had ended.")


class ApprovalConflict(ApprovalError):
    """It is decided already, and otherwise."""


class ApprovalRefused(ApprovalError):
    """This person may not decide so, or what they have sent does not do."""


class ApprovalImpossible(ApprovalError):
    """Nobody is asked: too many calls wait, people have denied several, or the call cannot be shown."""
