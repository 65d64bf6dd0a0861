"""Tokens: only hashes are stored, one use is one use, and revoking takes hold at once."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portal.state import AlreadyExists, KeyRing, Store, plain
from portal.state.tokens import MANY
from tests.portal.state.conftest import Opener

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at


async def test_a_token_is_found_until_it_expires(opened: Opener) -> None:
    clock = Clock()
    async with opened(clock) as store:
        await store.tokens.issue(
            plain("access"),
            "secret",
            subject="ann",
            client="c",
            family="f",
            document={"scope": "a"},
            expires_at=START + HOUR,
        )
        found = await store.tokens.find(plain("access"), "secret")
        assert found is not None
        assert (found.subject, found.client, found.family, found.document) == ("ann", "c", "f", {"scope": "a"})
        assert (found.issued_at, found.expires_at, found.used_at) == (START, START + HOUR, None)
        assert await store.tokens.find(plain("refresh"), "secret") is None
        assert await store.tokens.find(plain("access"), "other") is None
        clock.at += HOUR
        assert await store.tokens.find(plain("access"), "secret") is None
        assert await store.tokens.consume(plain("access"), "secret") is None
        assert await store.tokens.list(plain("access")) == []


async def test_of_many_that_use_a_code_at_once_one_succeeds_and_the_others_are_told_apart(opened: Opener) -> None:
    async with opened() as one, opened() as other:
        expires = datetime.now(UTC) + HOUR
        await one.tokens.issue(plain("code"), "once", subject="ann", document={}, expires_at=expires)
        uses = await asyncio.gather(
            *(store.tokens.consume(plain("code"), "once") for store in (one, other) for _ in range(8))
        )
        assert [use.reused for use in uses if use].count(False) == 1
        assert all(use is not None and use.used_at is not None for use in uses)
        assert await one.tokens.consume(plain("code"), "unknown") is None


async def test_revoking_a_family_or_a_subject_takes_all_of_them_and_no_others(opened: Opener) -> None:
    async with opened() as store:
        expires = datetime.now(UTC) + HOUR

        async def issue(kind: str, token: str, subject: str, family: str = "") -> None:
            await store.tokens.issue(
                plain(kind), token, subject=subject, family=family, document={}, expires_at=expires
            )

        await issue("access", "a", "ann", "grant")
        await issue("refresh", "r", "ann", "grant")
        await issue("session", "s", "ann")
        await issue("session", "t", "bob")
        assert await store.tokens.revoke_family("grant") == 2
        assert await store.tokens.revoke_family("grant") == 0
        # Tokens of no family are not one family.
        assert await store.tokens.revoke_family("") == 0
        assert await store.tokens.find(plain("access"), "a") is None
        assert await store.tokens.revoke_subject("ann", kinds=["access"]) == 0
        assert await store.tokens.revoke_subject("ann", kinds=["session"]) == 1
        assert [token.subject for token in await store.tokens.list(plain("session"))] == ["bob"]
        assert await store.tokens.list(plain("session"), subject="ann") == []
        assert await store.tokens.revoke(plain("session"), "t")
        assert not await store.tokens.revoke(plain("session"), "t")


async def test_a_family_is_listed_by_its_unused_token_with_the_time_of_its_first(opened: Opener) -> None:
    clock = Clock()
    async with opened(clock) as store:

        async def issue(token: str, family: str, subject: str = "ann", kind: str = "refresh") -> None:
            await store.tokens.issue(
                plain(kind), token, subject=subject, family=family, document={"is": token}, expires_at=START + 9 * HOUR
            )

        for family in ("one", "two"):
            await issue(f"{family} first", family)
        await issue("of bob", "three", "bob")
        await issue("of no family", "")
        for hour in (1, 2):
            clock.at = START + hour * HOUR
            await store.tokens.consume(plain("refresh"), "one first" if hour == 1 else "one 1")
            await issue(f"one {hour}", "one")
        await issue("an access token", "two", kind="access")
        listed = await store.tokens.families(plain("refresh"), "ann")
        assert [(one.token.document, one.since) for one in listed] == [
            ({"is": "one 2"}, START),
            ({"is": "two first"}, START),
        ]
        assert listed[0].token.issued_at == START + 2 * HOUR
        await store.tokens.consume(plain("refresh"), "two first")
        assert len(await store.tokens.families(plain("refresh"), "ann")) == 1
        clock.at = START + 9 * HOUR
        assert await store.tokens.families(plain("refresh"), "ann") == []


async def test_expired_tokens_are_forgotten_and_the_others_stay(opened: Opener) -> None:
    async with opened() as store:
        at = datetime.now(UTC)
        await store.tokens.issue(plain("pin"), "old", subject="ann", document={}, expires_at=at - HOUR)
        await store.tokens.issue(plain("pin"), "new", subject="ann", document={}, expires_at=at + HOUR)
        assert await store.tokens.purge(at) == 1
        assert await store.tokens.purge(at) == 0
        assert await store.tokens.find(plain("pin"), "new") is not None


async def test_of_a_kind_the_newest_are_kept_and_others_are_left_alone(opened: Opener) -> None:
    async with opened() as store:
        expires = datetime.now(UTC) + HOUR
        for kind, token in (("person", "a"), ("pin", "old"), ("person", "b"), ("person", "c")):
            await store.tokens.issue(plain(kind), token, subject=token, document={}, expires_at=expires)
        assert await store.tokens.keep_newest(plain("person"), 3) == 0
        assert await store.tokens.keep_newest(plain("person"), 2) == 1
        assert [one.subject for one in await store.tokens.list(plain("person"))] == ["b", "c"]
        assert await store.tokens.find(plain("pin"), "old") is not None


async def test_more_tokens_than_are_read_at_once_are_listed_in_order(opened: Opener) -> None:
    async with opened() as store:
        expires, count = datetime.now(UTC) + HOUR, MANY + 5
        async with store.transaction() as transaction:
            for number in range(count):
                name = f"{number:04}"
                await transaction.tokens.issue(plain("pin"), name, subject=name, document={}, expires_at=expires)
        assert [one.subject for one in await store.tokens.list(plain("pin"))] == [f"{one:04}" for one in range(count)]


async def test_a_token_is_issued_once(opened: Opener) -> None:
    async with opened() as store:
        expires = datetime.now(UTC) + HOUR
        await store.tokens.issue(plain("pin"), "t", subject="ann", document={}, expires_at=expires)
        with pytest.raises(AlreadyExists) as refused:
            await store.tokens.issue(plain("pin"), "t", subject="bob", document={}, expires_at=expires)
        assert "'t'" not in str(refused.value)
        found = await store.tokens.find(plain("pin"), "t")
        assert found is not None and found.subject == "ann"


async def test_a_code_is_exchanged_for_tokens_in_one_transaction_or_not_at_all(opened: Opener) -> None:
    async with opened() as store:
        expires = datetime.now(UTC) + HOUR
        await store.tokens.issue(plain("code"), "c", subject="ann", document={}, expires_at=expires)
        with pytest.raises(ZeroDivisionError):
            async with store.transaction() as transaction:
                assert await transaction.tokens.consume(plain("code"), "c")
                await transaction.tokens.issue(plain("access"), "a", subject="ann", document={}, expires_at=expires)
                raise ZeroDivisionError
        code = await store.tokens.find(plain("code"), "c")
        assert code is not None and code.used_at is None
        assert await store.tokens.find(plain("access"), "a") is None


async def test_the_files_hold_the_hash_of_a_token_and_not_the_token(tmp_path: Path) -> None:
    token = "cmp_" + "Zx81Qm" * 6
    async with Store.open(f"sqlite:///{tmp_path}/s.db", KeyRing.in_memory()) as store:
        expires = datetime.now(UTC) + HOUR
        await store.tokens.issue(plain("access"), token, subject="ann", document={}, expires_at=expires)
        content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert hashlib.sha256(token.encode()).digest() in content
    assert token.encode() not in content
