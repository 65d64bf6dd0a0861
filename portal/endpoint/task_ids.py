"""The ids of tasks: sealed, so that any process of the portal knows what a task is of, and nobody can make one up.

An id names a run or a call and when its task was created. It opens only for the person and the client that it was made
for, at their portal. It is no id of a run, and gives nobody any rights by itself.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from portal.runs import Owner
from portal.state import KeyRing, KeysUnusable, Place, SecretUnreadable, seal, unseal

MAX_ID: Final = 512
_MICROSECONDS: Final = 8


@dataclass(frozen=True, slots=True)
class TaskName:
    """What an id says: the work of the task, and when the task was created."""

    work: str
    created: datetime


class TaskIds:
    """Seals and opens the ids of one portal. Without `keys` they are good in this process alone."""

    def __init__(self, portal: str, keys: KeyRing | None = None) -> None:
        self._portal = portal
        self._keys = keys

    def seal(self, name: TaskName, owner: Owner) -> str:
        at = int(name.created.timestamp() * 1_000_000)
        secret = at.to_bytes(_MICROSECONDS, "big") + name.work.encode()
        return base64.urlsafe_b64encode(seal(secret, self._place(owner), self._ring().newest)).decode().rstrip("=")

    def open(self, id: str, owner: Owner) -> TaskName | None:
        """What the id says; None if it is none, or is another owner's."""
        if len(id) > MAX_ID or not id.isascii():
            return None
        try:
            sealed = base64.urlsafe_b64decode(id + "=" * (-len(id) % 4))
            secret = unseal(sealed, self._place(owner), self._ring().find)
        except (binascii.Error, ValueError, SecretUnreadable, KeysUnusable):
            return None
        at = int.from_bytes(secret[:_MICROSECONDS], "big")
        return TaskName(secret[_MICROSECONDS:].decode(), datetime.fromtimestamp(at / 1_000_000, UTC))

    def _ring(self) -> KeyRing:
        if self._keys is None:
            self._keys = KeyRing.in_memory()
        return self._keys

    def _place(self, owner: Owner) -> Place:
        return Place("tasks", self._portal, owner.person, owner.client)
