"""A gate whose calls wait for a person: what a missing login does to the calls of a program."""

from __future__ import annotations

import asyncio

from codemode import Waiting
from portal.calls import Call, Gate
from portal.calls.gate import Denial
from portal.upstream import CallContext

LINK = "https://portal.example/authorize?elicitationId=abcdefghijklmnopqrstuvwxyz012345"


class Login:
    """An admission. Calls of the tools in `tools` wait until the person has logged in (`done`)."""

    def __init__(self, *tools: str) -> None:
        self.tools = tools
        self.done = asyncio.Event()
        self.waiting = 0

    @property
    def gate(self) -> Gate:
        return Gate(admissions=[self])

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        if call.name not in self.tools or self.done.is_set():
            return None
        if context.on_wait is None:
            return Denial("Log in first", policy="login")
        self.waiting += 1
        try:
            async with context.on_wait(Waiting(f"Log in to {call.server}", LINK, kind="login", repeatable=True)):
                await self.done.wait()
        finally:
            self.waiting -= 1
        return None
