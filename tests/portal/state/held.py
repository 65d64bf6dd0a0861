"""A store that holds back what it has read, so that a test can change something while somebody is reading."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from portal.state import Clock, Found, KeyRing, Kind, Scan, Store, Token, Tokens
from portal.state.database import Database

D = TypeVar("D")


class Hold:
    """Answers pass at once; after `begin` they wait for `end`. `answered` is set while one waits."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    def begin(self) -> None:
        self.answered.clear()
        self._open.clear()

    def end(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        if not self._open.is_set():
            self.answered.set()
            await self._open.wait()


class HeldTokens(Tokens):
    hold: Hold
    before: Hold

    async def find(self, kind: Kind[D], token: str) -> Token[D] | None:
        await self.before.passed()
        found = await super().find(kind, token)
        await self.hold.passed()
        return found

    async def list(self, kind: Kind[D], subject: str | None = None) -> list[Token[D]]:
        found = await super().list(kind, subject)
        await self.hold.passed()
        return found


class HeldStore(Store):
    """A store on SQLite or PostgreSQL; `hold` holds back what `get`, `list`, `tokens.find` and `tokens.list` read.
    `before` holds back `tokens.find` before it reads."""

    def __init__(self, database: Database, keys: KeyRing, clock: Clock) -> None:
        super().__init__(database, keys, clock)
        self.hold, self.before = Hold(), Hold()
        self.tokens = HeldTokens(database.reading, self._writing_rows, clock)
        self.tokens.hold, self.tokens.before = self.hold, self.before

    async def find(self, kind: Kind[D], id: str) -> Found[D] | None:
        found = await super().find(kind, id)
        await self.hold.passed()
        return found

    async def scan(self, kind: Kind[D]) -> Scan[D]:
        found = await super().scan(kind)
        await self.hold.passed()
        return found
