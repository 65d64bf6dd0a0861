"""Kinds of documents: typed when read, older shapes upgraded, and one that cannot be read costs itself alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from structlog.testing import capture_logs

from portal.state import Broken, DocumentBroken, DocumentInvalid, Kind, Stored, plain
from portal.state.kinds import ShapeInvalid
from tests.portal.state.conftest import Opener

pytestmark = pytest.mark.anyio

HUSH = "hush-7f3a"


class Account(BaseModel):
    """The current shape of the kind of these tests."""

    model_config = ConfigDict(frozen=True, extra="allow")

    addresses: tuple[str, ...]
    name: str = Field(max_length=20)


def several_addresses(members: dict[str, object]) -> dict[str, object]:
    """0 -> 1"""
    return {"addresses": [members.pop("address")], **members}


def one_name(members: dict[str, object]) -> dict[str, object]:
    """1 -> 2"""
    return {"name": f"{members.pop('first')} {members.pop('last')}", **members}


ACCOUNT = Kind("account", Account, upgrades=[several_addresses, one_name])
ADA = Account(addresses=("ada@example.com",), name="Ada Byron")


async def test_a_document_of_an_older_shape_is_read_in_the_current_one_and_written_in_it(opened: Opener) -> None:
    async with opened() as store:
        oldest = {"address": "ada@example.com", "first": "Ada", "last": "Byron"}
        await store.create(plain("account"), "oldest", oldest, by="old")
        newer = {"$shape": 1, "addresses": ["ada@example.com"], "first": "Ada", "last": "Byron"}
        await store.create(plain("account"), "newer", newer, by="old")
        await store.create(ACCOUNT, "now", ADA, by="new")
        found = await store.list(ACCOUNT)
        assert [(one.id, one.document) for one in found] == [("oldest", ADA), ("newer", ADA), ("now", ADA)]
        await store.replace(ACCOUNT, "oldest", found[0].document, by="new")
        written = await store.get(plain("account"), "oldest")
        assert written is not None
        assert written.document == {"$shape": 2, "addresses": ["ada@example.com"], "name": "Ada Byron"}


async def test_members_that_nobody_knows_are_kept(opened: Opener) -> None:
    async with opened() as store:
        document = {"$shape": 2, "addresses": [], "name": "Ada", "colour": {"of": ["hair", None, 1.5]}}
        await store.create(plain("account"), "ada", document, by="ann")
        found = await store.get(ACCOUNT, "ada")
        assert found is not None
        renamed = found.document.model_copy(update={"name": "Bob"})
        await store.replace(ACCOUNT, "ada", renamed, by="ann")
        kept = await store.get(plain("account"), "ada")
        assert kept is not None and kept.document == {**document, "name": "Bob"}


async def test_nothing_is_written_that_could_not_be_read(opened: Opener) -> None:
    async with opened() as store:
        wrong = ADA.model_copy(update={"name": HUSH * 10})
        with pytest.raises(DocumentInvalid, match="name") as refused:
            await store.create(ACCOUNT, "ada", wrong, by="ann")
        assert HUSH not in str(refused.value)
        await store.create(ACCOUNT, "ada", ADA, by="ann")
        with pytest.raises(DocumentInvalid):
            await store.replace(ACCOUNT, "ada", wrong, by="ann")
        found = await store.get(ACCOUNT, "ada")
        assert found is not None and (found.document, found.revision) == (ADA, 1)


@pytest.mark.parametrize(
    "document",
    [
        {"address": HUSH},
        {"address": 3, "first": HUSH, "last": ""},
        {"$shape": 2, "addresses": HUSH, "name": "x"},
        {"$shape": 3, "addresses": [], "name": HUSH},
        {"$shape": HUSH, "addresses": [], "name": "x"},
        {"$shape": -1, "address": HUSH, "first": "", "last": ""},
    ],
)
async def test_a_document_that_cannot_be_read_costs_itself_alone(opened: Opener, document: dict[str, object]) -> None:
    async with opened() as store:
        await store.create(ACCOUNT, "before", ADA, by="ann")
        await store.create(plain("account"), "broken", document, by="ann", secret=b"s")
        await store.create(ACCOUNT, "after", ADA, by="ann")
        with capture_logs() as logged:
            for _ in range(3):
                assert [one.id for one in await store.list(ACCOUNT)] == ["before", "after"]
        assert [(line["kind"], line["id"]) for line in logged] == [("account", "broken")]
        scan = await store.scan(ACCOUNT)
        [broken] = scan.broken
        assert (broken.id, broken.revision, broken.has_secret, broken.members) == ("broken", 1, True, document)
        with pytest.raises(DocumentBroken) as refused:
            await store.get(ACCOUNT, "broken")
        said = [repr(logged), str(refused.value), refused.value.reason, repr(broken), broken.problem]
        assert HUSH not in "".join(said)
        assert isinstance(await store.find(ACCOUNT, "broken"), Broken)
        mended = await store.replace(ACCOUNT, "broken", ADA, by="ann")
        assert (mended.document, mended.revision, mended.has_secret) == (ADA, 2, True)
        assert [one.id for one in await store.list(ACCOUNT)] == ["before", "broken", "after"]


async def test_an_object_that_cannot_be_read_can_be_deleted_and_is_in_the_way_of_a_new_one(opened: Opener) -> None:
    async with opened() as store:
        await store.create(plain("account"), "broken", {"address": 3}, by="ann")
        async with store.transaction() as transaction:
            assert isinstance(await transaction.find(ACCOUNT, "broken"), Broken)
            gone = await transaction.delete(ACCOUNT, "broken", by="ann")
        assert isinstance(gone, Broken) and await store.find(ACCOUNT, "broken") is None
        made = await store.create(ACCOUNT, "broken", ADA, by="ann")
        assert isinstance(made, Stored)
        assert [entry.action for entry in await store.audit()] == ["create", "delete", "create"]


async def test_a_token_whose_document_cannot_be_read_is_unknown(opened: Opener) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    async with opened() as store:
        odd: dict[str, object] = {"address": 3}
        await store.tokens.issue(plain("account"), "broken", subject="ada", document=odd, expires_at=until)
        await store.tokens.issue(ACCOUNT, "whole", subject="ada", document=ADA, expires_at=until)
        assert await store.tokens.find(ACCOUNT, "broken") is None
        assert await store.tokens.consume(ACCOUNT, "broken") is None
        found = await store.tokens.find(ACCOUNT, "whole")
        assert found is not None and found.document == ADA
        assert [token.document for token in await store.tokens.list(ACCOUNT)] == [ADA]
        assert await store.tokens.revoke(ACCOUNT, "broken")


JSON = st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5), st.lists, max_leaves=5)


@given(st.dictionaries(st.sampled_from(["$shape", "address", "addresses", "first", "last", "name"]), JSON))
def test_whatever_is_stored_is_a_document_or_broken_and_reads_the_same_after_it_is_written(
    members: dict[str, object],
) -> None:
    try:
        document = ACCOUNT.read(orjson.dumps(members).decode())
    except ShapeInvalid:
        return
    assert ACCOUNT.read(ACCOUNT.text(document)) == document


@given(st.text(max_size=50))
def test_text_that_is_no_object_is_broken(text: str) -> None:
    with pytest.raises(ShapeInvalid):
        ACCOUNT.read(text)
