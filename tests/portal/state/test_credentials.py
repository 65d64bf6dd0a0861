"""Credentials that are renewed: bound to their key, leased to one process at a time, and never two outcomes of one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from portal.state import CredentialKey, KeyRing, Kind, SecretUnreadable, plain
from portal.state.database import Database
from tests.patience import PATIENCE
from tests.portal.state.conftest import Opener

pytestmark = pytest.mark.anyio

KIND: Kind[Mapping[str, object]] = plain("test_credential")
KEY = CredentialKey("ann", "files", "https://login.example", "https://files.example/mcp", "portal")


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


async def test_a_credential_is_found_by_whose_it_is_and_what_for(opened: Opener) -> None:
    async with opened() as store:
        rows = store.credentials
        first = await rows.put(KIND, KEY, {"state": "ready"}, b"a token")
        assert (first.key, first.document, first.leased_until) == (KEY, {"state": "ready"}, None)
        assert await rows.secret(KIND, KEY) == b"a token"
        await rows.put(KIND, replace(KEY, subject="bob"), {}, b"of bob")
        await rows.put(KIND, replace(KEY, server="wiki"), {}, b"of the wiki")
        await rows.put(plain("other"), KEY, {}, b"of another kind")
        assert [one.key.server for one in await rows.list(KIND, subject="ann")] == ["files", "wiki"]
        assert [one.key.subject for one in await rows.list(KIND, server="files")] == ["ann", "bob"]
        assert len(await rows.list(KIND)) == 3
        assert await rows.get(KIND, replace(KEY, issuer="https://login.example/")) is None
        assert await rows.secret(KIND, replace(KEY, client="other")) is None


async def test_one_that_is_put_again_replaces_the_other_and_one_that_is_deleted_is_gone(opened: Opener) -> None:
    async with opened() as store:
        rows = store.credentials
        first = await rows.put(KIND, KEY, {"state": "ready"}, b"first")
        assert await rows.lease(KIND, KEY, first.version, "me", 60, {"state": "refreshing"})
        second = await rows.put(KIND, KEY, {"state": "ready"}, b"second")
        assert (second.version, second.leased_until) == (first.version + 1, None)
        assert await rows.secret(KIND, KEY) == b"second"
        assert await rows.delete(KIND, KEY) and not await rows.delete(KIND, KEY)
        assert await rows.get(KIND, KEY) is None
        # What was begun with one that is gone ends with it.
        anew = await rows.put(KIND, KEY, {"state": "ready"}, b"of another login")
        assert anew.version not in (first.version, second.version)
        assert await rows.settle(KIND, KEY, first.version, {}, b"late") is None


async def test_whether_somebody_got_a_credential_since_a_time_is_known(opened: Opener) -> None:
    clock = Clock()
    async with opened(clock=clock) as store:
        await store.credentials.put(KIND, KEY, {}, b"a token")
        assert await store.credentials.changed_since("ann", clock.at)
        assert not await store.credentials.changed_since("ann", clock.at + timedelta(microseconds=1))
        assert not await store.credentials.changed_since("bob", clock.at)


async def test_of_many_that_want_to_renew_it_one_may_until_its_lease_ends(opened: Opener) -> None:
    clock = Clock()
    async with opened(clock) as one, opened(clock) as other:
        version = (await one.credentials.put(KIND, KEY, {"state": "ready"}, b"old")).version
        taken = await asyncio.gather(
            *(
                store.credentials.lease(KIND, KEY, version, f"{name} {number}", 60, {"state": "refreshing"})
                for number in range(4)
                for name, store in (("one", one), ("other", other))
            )
        )
        assert taken.count(True) == 1
        found = await other.credentials.get(KIND, KEY)
        assert found is not None and found.document == {"state": "refreshing"}
        assert found.leased_until == clock.at + timedelta(seconds=60)
        clock.at += timedelta(seconds=60)
        assert await other.credentials.lease(KIND, KEY, version, "another", 60, {"state": "refreshing"})
        assert await other.credentials.lease(KIND, KEY, version, "another", 60, {"state": "refreshing"})
        assert not await one.credentials.lease(KIND, KEY, version + 1, "of a version that is not", 60, {})


async def test_a_lease_of_a_process_whose_clock_is_wrong_keeps_nobody_waiting(opened: Opener) -> None:
    fast, right = Clock(), Clock()
    fast.at += timedelta(hours=2)
    async with opened(fast) as one, opened(right) as other:
        version = (await one.credentials.put(KIND, KEY, {}, b"old")).version
        assert await one.credentials.lease(KIND, KEY, version, "fast", 60, {})
        assert await other.credentials.lease(KIND, KEY, version, "right", 60, {})


async def test_an_outcome_ends_the_lease_and_is_stored_once(opened: Opener) -> None:
    async with opened() as store:
        rows = store.credentials
        version = (await rows.put(KIND, KEY, {}, b"old")).version
        await rows.lease(KIND, KEY, version, "me", 60, {})
        settled = await rows.settle(KIND, KEY, version, {"state": "ready"}, b"new")
        assert settled is not None and (settled.version, settled.leased_until) == (version + 1, None)
        assert await rows.settle(KIND, KEY, version, {"state": "late"}, b"late") is None
        assert await rows.secret(KIND, KEY) == b"new"
        # Without a secret the one that is there stays.
        assert await rows.settle(KIND, KEY, version + 1, {"state": "needs_reauth"}) is not None
        assert await rows.secret(KIND, KEY) == b"new"
        assert await rows.settle(KIND, replace(KEY, subject="bob"), 1, {}, b"of nobody") is None


async def test_another_change_waits_while_a_credential_is_renewed(opened: Opener) -> None:
    async with opened() as store:
        rows = store.credentials
        version = (await rows.put(KIND, KEY, {}, b"old")).version
        assert await rows.lease(KIND, KEY, version, "me", 60, {})
        assert await rows.settle(KIND, KEY, version, {"wanted": "more"}, unless_leased=True) is None
        assert await rows.settle(KIND, KEY, version, {}, b"new") is not None
        noted = await rows.settle(KIND, KEY, version + 1, {"wanted": "more"}, unless_leased=True)
        assert noted is not None and await rows.secret(KIND, KEY) == b"new"


async def test_logins_and_logouts_are_told_to_every_process_and_renewals_to_none(opened: Opener) -> None:
    async with opened() as one, opened() as other:
        heard: list[frozenset[str]] = []
        told = asyncio.Event()

        def hear(kinds: frozenset[str]) -> None:
            heard.append(kinds)
            told.set()

        other.subscribe(hear)

        async def one_more() -> None:
            async with asyncio.timeout(PATIENCE):
                await told.wait()
            told.clear()

        version = (await one.credentials.put(KIND, KEY, {}, b"token")).version
        await one_more()
        assert await one.credentials.lease(KIND, KEY, version, "me", 60, {})
        assert await one.credentials.settle(KIND, KEY, version, {}, b"renewed")
        assert await one.credentials.settle(KIND, KEY, version + 1, {"state": "needs_reauth"}, tell=True)
        await one_more()
        await one.credentials.delete(KIND, KEY)
        await one_more()
        assert heard == [frozenset({KIND.name})] * 3


@pytest.mark.parametrize(
    ("column", "value"),
    [("subject", "eve"), ("server", "evil"), ("issuer", "https://evil.example"), ("resource", "r"), ("client", "c")],
)
async def test_a_row_that_was_changed_by_hand_does_not_open(opened: Opener, url: str, column: str, value: str) -> None:
    async with opened() as store:
        await store.credentials.put(KIND, KEY, {}, b"a token")
        await _sql(url, f"UPDATE credentials SET {column} = '{value}'")
        (found,) = await store.credentials.list(KIND)
        # Neither under the key that the row now has, which is not that of its digest, nor with the digest mended.
        assert await store.credentials.secret(KIND, found.key) is None
        await _sql(url, "UPDATE credentials SET digest = :digest", digest=found.key.digest)
        with pytest.raises(SecretUnreadable):
            await store.credentials.secret(KIND, found.key)


async def test_a_rotation_of_keys_takes_credentials_along(opened: Opener, keys: KeyRing) -> None:
    async with opened() as store:
        for number in range(150):
            await store.credentials.put(KIND, replace(KEY, subject=f"person {number}"), {}, b"a token")
        await store.create(plain("server"), "files", {}, by="test", secret=b"another")
        former = keys.kids
        rotation = await store.rotate_keys(forget=True)
        assert (rotation.rewrapped, rotation.forgotten) == (151, former)
        assert await store.credentials.secret(KIND, replace(KEY, subject="person 149")) == b"a token"
        assert await store.secret(plain("server"), "files") == b"another"


async def test_tokens_are_not_in_the_files_in_clear(opened: Opener, url: str) -> None:
    async with opened() as store:
        await store.credentials.put(KIND, KEY, {}, b"a very visible token")
        found = await _sql(url, "SELECT document, secret FROM credentials")
        assert b"visible" not in repr(found).encode()


async def _sql(url: str, statement: str, **values: object) -> object:
    database = Database(url)
    async with database.writing() as connection:
        answer = await connection.execute(text(statement), values)
        rows = answer.fetchall() if answer.returns_rows else None
    await database.close()
    return rows


def test_no_two_keys_are_taken_for_each_other() -> None:
    first = CredentialKey("a", "b", "c", "d", "e")
    assert first.digest != CredentialKey("a", "b", "c", "", "de").digest
    assert first.digest != CredentialKey("ab", "", "c", "d", "e").digest
    assert first.digest == CredentialKey("a", "b", "c", "d", "e").digest
