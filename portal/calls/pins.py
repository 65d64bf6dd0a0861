"""Admission by pins: a pinned server's tool or prompt can be called only as somebody approved it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from portal.calls.gate import Call, Denial
from portal.servers import Snapshot
from portal.upstream import CallContext

_KINDS: Mapping[str, Literal["tool", "prompt"]] = {"tools/call": "tool", "prompts/get": "prompt"}


@dataclass(frozen=True, slots=True)
class PinAdmission:
    """Decides by what servers offer now (`current`), also for a program whose servers stay as they were (`leased`).

    A server that was removed, or is not listed again yet, is judged by its last listing, which is the leased one.
    """

    current: Snapshot
    leased: Snapshot

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        kind = _KINDS.get(call.method)
        server = self.current.servers.get(call.server)
        if server is None or not server.listed:
            server = self.leased.servers.get(call.server)
        if kind is None or server is None:
            return None
        # By the name that is sent, which is what the server will run.
        reason = server.unapproved(kind, str(call.params.get("name", call.name)))
        return None if reason is None else Denial(reason, policy="pin")
