"""Local administrators in the store: made, invited, removed and given new passwords, also by several at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from portal.login import (
    EVERYWHERE,
    AddressInvalid,
    AddressTaken,
    Administrator,
    Administrators,
    Invitations,
    LastAdministrator,
    Passwords,
    TooManyAccounts,
)
from portal.login.administrators import ADMINISTRATOR, INVITATION, RESET
from portal.state import KeyRing, NotFound, Store, plain
from tests.portal.login.guarded import EMAIL, PASSWORD, QUICK, Clock
from tests.portal.state.conftest import Opener

pytestmark = pytest.mark.anyio
OTHER = "grace@example.com"
TEN_TIMES = range(10)


class Accounts:
    """Administrators and invitations over one store."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self.store, self.clock = store, clock or Clock()
        self.administrators = Administrators(store, Passwords(QUICK), self.clock)
        self.invitations = Invitations(store, Passwords(QUICK), self.clock)

    async def make(self, email: str = EMAIL) -> Administrator:
        await self.administrators.create(email, "Ada", PASSWORD, by="test")
        made = await self.administrators.find(email)
        assert made is not None
        return made

    async def signed_in(self, administrator: Administrator) -> None:
        """A token of each kind that somebody holds who is signed in."""
        for kind in EVERYWHERE:
            await self.store.tokens.issue(
                plain(kind),
                f"{kind} of {administrator.id}",
                subject=administrator.identity.id,
                document={},
                expires_at=self.clock() + timedelta(days=1),
            )

    async def held(self, administrator: Administrator) -> list[str]:
        return [
            kind for kind in EVERYWHERE if await self.store.tokens.find(plain(kind), f"{kind} of {administrator.id}")
        ]

    async def deeds(self) -> list[tuple[str, str, str]]:
        """What was done to which kind by whom, oldest first."""
        return [(entry.action, entry.kind, entry.by) for entry in reversed(await self.store.audit())]


async def test_who_accepts_an_invitation_is_administrator_with_its_id_address_and_audit_trail(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        made = await accounts.invitations.invite(" Grace@Example.com ", by="ann")
        assert made.invitation.email == OTHER
        assert await accounts.invitations.acceptable(made.token) == made.invitation
        accepted = await accounts.invitations.accept(made.token, "Grace", PASSWORD)
        assert accepted is not None
        assert (accepted.id, accepted.email, accepted.name) == (made.invitation.id, OTHER, "Grace")
        assert await accounts.administrators.sign_in("GRACE@example.com", PASSWORD) == accepted
        assert await accounts.invitations.list() == []
        by = f"invitation:{made.invitation.id}"
        assert await accounts.deeds() == [
            ("create", INVITATION.name, "ann"),
            ("delete", INVITATION.name, by),
            ("create", ADMINISTRATOR.name, by),
        ]


async def test_an_invitation_is_good_once_also_for_many_at_the_same_time(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        made = await accounts.invitations.invite(OTHER, by="ann")
        tries = [accounts.invitations.accept(made.token, f"{n}", PASSWORD) for n in TEN_TIMES]
        assert [one is not None for one in await asyncio.gather(*tries)].count(True) == 1
        assert await accounts.invitations.accept(made.token, "late", PASSWORD) is None
        assert await accounts.invitations.acceptable(made.token) is None
        assert len(await accounts.administrators.list()) == 1


async def test_an_invitation_that_expired_was_renewed_or_revoked_is_dead(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/state.db", KeyRing.in_memory(), clock=(clock := Clock())) as store:
        accounts = Accounts(store, clock)
        first = await accounts.invitations.invite(OTHER, by="ann")
        clock.ahead = timedelta(days=3, minutes=1)
        assert await accounts.invitations.accept(first.token, "Grace", PASSWORD) is None
        # It is still there, so that its link can be made again.
        assert [one.email for one in await accounts.invitations.list()] == [OTHER]
        second = await accounts.invitations.renew(first.invitation.id, by="ann")
        third = await accounts.invitations.renew(first.invitation.id, by="ann")
        assert [await accounts.invitations.acceptable(one.token) is not None for one in (first, second, third)] == [
            False,
            False,
            True,
        ]
        await accounts.invitations.revoke(first.invitation.id, by="ann")
        assert await accounts.invitations.accept(third.token, "Grace", PASSWORD) is None
        assert await accounts.administrators.list() == []
        for gone in (accounts.invitations.renew, accounts.invitations.revoke):
            with pytest.raises(NotFound):
                await gone(first.invitation.id, by="ann")


async def test_nobody_is_invited_twice_or_who_is_administrator_in_whatever_case(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        await accounts.make(EMAIL)
        for taken in (EMAIL, EMAIL.upper(), f" {EMAIL.title()} "):
            with pytest.raises(AddressTaken):
                await accounts.invitations.invite(taken, by="ann")
            with pytest.raises(AddressTaken):
                await accounts.make(taken)
        tries = [accounts.invitations.invite(OTHER.upper() if n % 2 else OTHER, by="ann") for n in TEN_TIMES]
        found = await asyncio.gather(*tries, return_exceptions=True)
        assert [isinstance(one, AddressTaken) for one in found].count(False) == 1
        for wrong in ("nobody", "a@b", "x@example.com\r\nBcc: y@example.com", "a@example.com,b@example.com", ""):
            with pytest.raises(AddressInvalid):
                await accounts.invitations.invite(wrong, by="ann")


async def test_an_invitation_of_somebody_who_became_administrator_meanwhile_makes_no_second(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        made = await accounts.invitations.invite(OTHER, by="ann")
        await accounts.make(OTHER)
        assert await accounts.invitations.accept(made.token, "Grace", "another password") is None
        (only,) = await accounts.administrators.list()
        assert await accounts.administrators.sign_in(OTHER, PASSWORD) == only


async def test_there_are_only_so_many_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.login.invitations.MAX_ACCOUNTS", 2)
    async with Store.open(f"sqlite:///{tmp_path}/state.db", KeyRing.in_memory()) as store:
        accounts = Accounts(store)
        await accounts.make(EMAIL)
        await accounts.invitations.invite(OTHER, by="ann")
        with pytest.raises(TooManyAccounts):
            await accounts.invitations.invite("third@example.com", by="ann")


async def test_of_two_claim_links_of_two_portals_used_at_once_one_makes_the_administrator(opened: Opener) -> None:
    async with opened() as store:
        scopes = [store, *(store.scoped(f"portal-{n}") for n in range(5))]
        portals = [Administrators(scope, Passwords(QUICK)) for scope in scopes]
        for scope in scopes:
            expires_at = Clock()() + timedelta(hours=1)
            await scope.tokens.issue(plain("claim"), "link", subject="claim", document={}, expires_at=expires_at)
        tries = [portal.claim("link", f"{n}@example.com", "", PASSWORD) for n, portal in enumerate(portals)]
        assert [one is not None for one in await asyncio.gather(*tries)].count(True) == 1
        assert len(await store.list(ADMINISTRATOR)) == 1


async def test_removing_an_administrator_ends_what_he_holds_at_once_and_nothing_of_others(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        ada, grace = await accounts.make(EMAIL), await accounts.make(OTHER)
        for one in (ada, grace):
            await accounts.signed_in(one)
        await accounts.administrators.remove(ada.id, by="ann")
        assert (await accounts.held(ada), await accounts.held(grace)) == ([], list(EVERYWHERE))
        assert await accounts.administrators.sign_in(EMAIL, PASSWORD) is None
        assert await accounts.administrators.find(EMAIL) is None
        assert (await accounts.deeds())[-1] == ("delete", ADMINISTRATOR.name, "ann")
        with pytest.raises(NotFound):
            await accounts.administrators.remove(ada.id, by="ann")


async def test_the_last_administrator_stays(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        ada = await accounts.make(EMAIL)
        await accounts.signed_in(ada)
        # Somebody who was invited has not accepted, and may never.
        await accounts.invitations.invite(OTHER, by="ann")
        with pytest.raises(LastAdministrator):
            await accounts.administrators.remove(ada.id, by="ann")
        assert await accounts.held(ada) == list(EVERYWHERE)
        assert await accounts.administrators.sign_in(EMAIL, PASSWORD) == ada


async def test_of_the_last_two_who_remove_each_other_at_once_one_stays(opened: Opener) -> None:
    async with opened() as here, opened() as there:
        accounts = Accounts(here)
        for _ in range(5):
            pair = [await accounts.make(EMAIL), await accounts.make(OTHER)]
            removals = [
                Accounts(store).administrators.remove(one.id, by="the other")
                for store, one in zip((here, there), pair, strict=True)
            ]
            results = await asyncio.gather(*removals, return_exceptions=True)
            assert [type(one) for one in results].count(LastAdministrator) == 1, results
            (left,) = await accounts.administrators.list()
            await here.delete(ADMINISTRATOR, left.id, by="test")


async def test_an_administrator_without_a_password_is_not_who_stays(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        ada, grace = await accounts.make(EMAIL), await accounts.make(OTHER)
        link = await accounts.administrators.offer_reset(grace.id, by="operator")
        with pytest.raises(LastAdministrator):
            await accounts.administrators.remove(ada.id, by="ann")
        assert await accounts.administrators.reset(link.token, "another password") is not None
        await accounts.administrators.remove(ada.id, by="ann")
        assert [one.email for one in await accounts.administrators.list()] == [OTHER]


async def test_an_administrator_who_is_no_owner_is_not_who_stays_and_goes_freely(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        ada, grace = await accounts.make(EMAIL), await accounts.make(OTHER)
        await accounts.administrators.change_role(grace.id, "admin", by="ann")
        for refused in (
            accounts.administrators.remove(ada.id, by="ann"),
            accounts.administrators.change_role(ada.id, "auditor", by="ann"),
            accounts.administrators.offer_reset(ada.id, by="ann", keeping_one=True),
        ):
            with pytest.raises(LastAdministrator):
                await refused
        assert await accounts.administrators.sign_in(EMAIL, PASSWORD) == ada
        await accounts.administrators.remove(grace.id, by="ann")


async def test_of_the_last_two_owners_who_make_each_other_less_at_once_one_stays(opened: Opener) -> None:
    async with opened() as here, opened() as there:
        accounts = Accounts(here)
        pair = [await accounts.make(EMAIL), await accounts.make(OTHER)]
        changes = [
            Accounts(store).administrators.change_role(one.id, "admin", by="the other")
            for store, one in zip((here, there), pair, strict=True)
        ]
        results = await asyncio.gather(*changes, return_exceptions=True)
        assert [type(one) for one in results].count(LastAdministrator) == 1, results
        assert sorted(str(one.role) for one in await accounts.administrators.list()) == ["admin", "owner"]


async def test_an_account_and_an_invitation_of_before_there_were_roles_are_those_of_owners(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        made = await accounts.invitations.invite(OTHER, by="ann")
        for kind, id, members in (
            ("admin", "old", {"email": EMAIL, "name": "Ada", "password_hash": "x"}),
            ("invitation", made.invitation.id, {"email": OTHER, "expires_at": "2099-01-01T00:00:00Z"}),
        ):
            write = store.create if kind == "admin" else store.replace
            await write(plain(kind), id, members, by="an earlier version")
        assert [one.role for one in await accounts.administrators.list()] == ["owner"]
        assert [one.role for one in await accounts.invitations.list()] == ["owner"]
        accepted = await accounts.invitations.accept(made.token, "Grace", PASSWORD)
        assert accepted is not None and accepted.role == "owner"


async def test_who_is_an_owner_no_more_has_no_link_left_that_makes_one(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        ada, grace = await accounts.make(EMAIL), await accounts.make(OTHER)
        made = await accounts.invitations.invite("eve@example.com", by=grace.identity.id, role="owner")
        await accounts.signed_in(grace)
        await accounts.administrators.change_role(grace.id, "admin", by=ada.identity.id)
        assert await accounts.invitations.accept(made.token, "Eve", PASSWORD) is None
        # What they are signed in with goes on: their next request may do what the role may.
        assert await accounts.held(grace) == list(EVERYWHERE)


async def test_who_is_removed_has_no_link_left_that_makes_an_administrator(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        ada, grace = await accounts.make(EMAIL), await accounts.make(OTHER)
        own = await accounts.invitations.invite("sleeper@example.com", by=ada.identity.id)
        foreign = await accounts.invitations.invite("invited@example.com", by=grace.identity.id)
        seen = await accounts.invitations.invite("seen@example.com", by=grace.identity.id)
        seen = await accounts.invitations.renew(seen.invitation.id, by=ada.identity.id)
        await accounts.administrators.remove(ada.id, by=grace.identity.id)
        alive = [await accounts.invitations.acceptable(one.token) is not None for one in (own, foreign, seen)]
        assert alive == [False, True, False]
        assert [one.email for one in await accounts.invitations.list()] == ["invited@example.com"]


async def test_another_password_ends_every_session_and_the_former_password(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        ada, grace = await accounts.make(EMAIL), await accounts.make(OTHER)
        for one in (ada, grace):
            await accounts.signed_in(one)
        await accounts.administrators.set_password(ada.id, "another password", by="operator")
        assert (await accounts.held(ada), await accounts.held(grace)) == ([], list(EVERYWHERE))
        assert await accounts.administrators.sign_in(EMAIL, PASSWORD) is None
        signed_in = await accounts.administrators.sign_in(EMAIL, "another password")
        assert signed_in is not None and signed_in.id == ada.id
        with pytest.raises(NotFound):
            await accounts.administrators.set_password("nobody", PASSWORD, by="operator")


async def test_a_reset_link_is_good_once_for_an_hour_and_only_the_newest(opened: Opener) -> None:
    async with opened(clock=(clock := Clock())) as store:
        accounts = Accounts(store, clock)
        ada = await accounts.make(EMAIL)
        await accounts.signed_in(ada)
        first = await accounts.administrators.offer_reset(ada.id, by="operator")
        assert await accounts.held(ada) == []
        # From now on there is no password: who knows the former one is out.
        assert await accounts.administrators.sign_in(EMAIL, PASSWORD) is None
        assert await accounts.administrators.sign_in(EMAIL, "") is None
        second = await accounts.administrators.offer_reset(ada.id, by="operator")
        assert await accounts.administrators.reset(first.token, "stolen password") is None
        tries = [accounts.administrators.reset(second.token, f"new password {n}") for n in TEN_TIMES]
        assert [one is not None for one in await asyncio.gather(*tries)].count(True) == 1
        assert await accounts.administrators.reset(second.token, "late password") is None
        third = await accounts.administrators.offer_reset(ada.id, by="operator")
        clock.ahead = timedelta(minutes=61)
        assert await accounts.administrators.resettable(third.token) is None
        assert await accounts.administrators.reset(third.token, "late password") is None
        assert ("replace", ADMINISTRATOR.name, "reset link") in await accounts.deeds()


async def test_a_reset_link_of_who_was_removed_is_dead(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        await accounts.make(EMAIL)
        grace = await accounts.make(OTHER)
        link = await accounts.administrators.offer_reset(grace.id, by="operator")
        await accounts.administrators.remove(grace.id, by="ann")
        assert await accounts.administrators.resettable(link.token) is None
        assert await accounts.administrators.reset(link.token, PASSWORD) is None
        assert await store.tokens.list(RESET) == []


async def test_what_a_newer_program_says_of_an_account_stays(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        ada = await accounts.make(EMAIL)
        stored = await store.get(ADMINISTRATOR, ada.id)
        assert stored is not None
        await store.replace(ADMINISTRATOR, ada.id, stored.document.model_copy(update={"team": "platform"}), by="newer")
        await accounts.administrators.set_password(ada.id, "another password", by="operator")
        changed = await store.get(ADMINISTRATOR, ada.id)
        assert changed is not None and (changed.document.model_extra or {})["team"] == "platform"


async def test_no_link_or_password_is_stored_readably(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/state.db", KeyRing.in_memory()) as store:
        accounts = Accounts(store)
        made = await accounts.invitations.invite(OTHER, by="ann")
        ada = await accounts.make(EMAIL)
        link = await accounts.administrators.offer_reset(ada.id, by="operator")
        await accounts.administrators.set_password(ada.id, "another password", by="operator")
        content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert OTHER.encode() in content
        for secret in (made.token, link.token, PASSWORD, "another password"):
            assert secret.encode() not in content
            assert secret not in repr((made, link))


async def test_an_unknown_account_and_one_without_a_password_cost_one_computation_as_a_wrong_one_does(
    tmp_path: Path,
) -> None:
    verified: list[str] = []

    class Counted(Passwords):
        def _verify(self, stored: str, password: str) -> bool:
            verified.append(stored.split("$")[1])
            return super()._verify(stored, password)

        async def hash(self, password: str) -> str:
            hashed.append(password)
            return await super().hash(password)

    hashed: list[str] = []
    async with Store.open(f"sqlite:///{tmp_path}/state.db", KeyRing.in_memory()) as store:
        accounts = Accounts(store)
        await accounts.make(EMAIL)
        await accounts.make("another@example.com")
        grace = await accounts.make(OTHER)
        await accounts.administrators.offer_reset(grace.id, by="operator")
        costs = []
        for email in (EMAIL, "nobody@example.com", OTHER):
            # Each on a portal that has just started: nothing is prepared.
            administrators = Administrators(store, Counted(QUICK))
            assert await administrators.sign_in(email, "a wrong password") is None
            costs.append((tuple(verified), len(hashed)))
            verified.clear()
            hashed.clear()
        assert costs == [(("argon2id",), 1)] * 3


async def test_an_invitation_that_cannot_be_read_makes_nobody_administrator(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        made = await accounts.invitations.invite(OTHER, by="ann")
        await store.replace(plain(INVITATION.name), made.invitation.id, {"email": 7}, by="another program")
        assert await accounts.invitations.acceptable(made.token) is None
        assert await accounts.invitations.accept(made.token, "Grace", PASSWORD) is None
        assert await accounts.administrators.list() == []


async def test_an_account_that_cannot_be_read_is_nobodys_and_can_be_removed(opened: Opener) -> None:
    async with opened() as store:
        accounts = Accounts(store)
        ada, grace = await accounts.make(EMAIL), await accounts.make(OTHER)
        link = await accounts.administrators.offer_reset(grace.id, by="ann")
        await store.replace(plain(ADMINISTRATOR.name), grace.id, {"email": 7}, by="another program")
        assert await accounts.administrators.resettable(link.token) is None
        assert await accounts.administrators.reset(link.token, PASSWORD) is None
        assert not await accounts.administrators.is_unchanged(grace)
        assert await accounts.administrators.sign_in(OTHER, PASSWORD) is None
        await accounts.administrators.remove(grace.id, by="ann")
        assert await accounts.administrators.list() == [ada]
