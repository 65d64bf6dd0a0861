"""Views: who shares one, when a caller gets another one, and what a view owns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from codemode import Catalog, CatalogServer
from portal.endpoint import views as views_module
from portal.endpoint.background import Background
from portal.endpoint.generations import OLDER
from portal.endpoint.modes import Mode
from portal.endpoint.views import Catalogs, Views
from portal.servers import Snapshot
from tests.portal.access.guarded import ADA, BOB, ENGINEERS, EVERYONE, STAFF, Guarded, guarded
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
NO_ECHO: dict[str, Any] = {"id": "no", "decision": "deny", "tools": {"names": ["echo"]}}
POLICIES: dict[str, Any] = {
    "portal": {"policies": [{**EVERYONE, "id": "all", "name": "All"}]},
    "servers": [{"id": "one", "policies": [STAFF]}, {"id": "two", "policies": [ENGINEERS]}],
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def portal() -> AsyncIterator[Guarded]:
    async with hosted() as one, hosted() as two, guarded({"one": one, "two": two}, POLICIES) as portal:
        yield portal


def later(snapshot: Snapshot, **changes: Any) -> Snapshot:
    """The next snapshot, in which the server `one` is another one in some members."""
    servers = {**snapshot.servers, "one": replace(snapshot.servers["one"], **changes)}
    return Snapshot(version=snapshot.version + 1000, servers=servers)


async def test_a_later_snapshot_with_the_same_content_has_the_same_view(portal: Guarded) -> None:
    views = Views(portal.servers, portal.live)
    now = portal.servers.snapshot
    view = views.for_caller(BOB)
    assert views.for_caller(BOB, later(now, since=now.servers["one"].since + 1.0)) is view
    assert views.whole_of(later(now, state="stale")) is views.whole


async def test_a_snapshot_or_policies_with_another_content_have_another_view(portal: Guarded) -> None:
    views = Views(portal.servers, portal.live)
    now, view = portal.servers.snapshot, views.for_caller(BOB)
    one = now.servers["one"]
    shaped = tuple(replace(tool, output_schema={"type": "string"}, output_inferred=True) for tool in one.offer.tools)
    learned = views.for_caller(BOB, later(now, catalog=CatalogServer(replace(one.offer, tools=shaped))))
    assert learned is not view
    assert learned.aggregate is view.aggregate  # What a client lists is the same.
    portal.decide_by({**POLICIES, "servers": [{"id": "two", "policies": [STAFF]}]})
    assert list(views.for_caller(BOB).selection.servers) == ["two"]
    assert list(view.selection.servers) == ["one"]


async def test_a_caller_who_is_given_everything_shares_the_view_of_the_whole(portal: Guarded) -> None:
    views = Views(portal.servers, portal.live)
    assert views.for_caller(ADA) is views.whole
    assert views.for_caller(BOB) is not views.whole


async def test_a_request_has_one_view_even_if_policies_change_while_it_is_answered(portal: Guarded) -> None:
    views = Views(portal.servers, portal.live)
    scope: dict[str, Any] = {"portal.identity": BOB}
    view = views.of(scope)
    portal.decide_by({**POLICIES, "servers": [{"id": "two", "policies": [STAFF]}]})
    assert views.of(scope) is view
    assert views.of({"portal.identity": BOB}) is not view


async def test_only_the_views_used_last_are_kept(portal: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_module, "MAX_VIEWS", 2)
    views = Views(portal.servers, portal.live)
    ada, bob = views.for_caller(ADA), views.for_caller(BOB)
    assert views.for_caller(ADA) is ada  # Used later than BOB's.
    views.whole_of(Snapshot(version=5000))
    assert len(views._views) == 2
    assert views.for_caller(ADA) is ada
    bob.lists[Mode.TOOLS, OLDER, ""] = []
    del bob
    assert views.for_caller(BOB).lists == {}


async def test_kept_answers_stay_within_their_bound_and_those_used_last_stay(
    portal: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_module, "MAX_ANSWER_BYTES", 100)
    views = Views(portal.servers, portal.live)
    ada, bob = views.for_caller(ADA), views.for_caller(BOB)
    views.store_answer(ada, (Mode.TOOLS, b"stamp"), b"x" * 60)
    views.store_answer(bob, (Mode.TOOLS, b"stamp"), b"x" * 60)
    assert (len(ada.answers), len(bob.answers)) == (0, 1)
    views.store_answer(bob, (Mode.CODE, b"stamp"), b"x" * 101)
    assert not bob.answers


async def test_views_share_all_that_is_made_of_a_server(portal: Guarded) -> None:
    async def warm(catalog: Catalog) -> None:
        return None

    views, catalogs = Views(portal.servers, portal.live), Catalogs(Background(), warm)
    bob = await catalogs.of(views.for_caller(BOB))
    before = views.for_caller(BOB)
    portal.decide_by(
        {**POLICIES, "servers": [{"id": "one", "policies": [STAFF], "tool_policies": [{**EVERYONE, **NO_ECHO}]}]}
    )
    other = await catalogs.of(views.for_caller(BOB))
    assert views.for_caller(BOB) is not before
    assert (bob.get("one.echo") is None, other.get("one.echo") is None) == (False, True)
    assert len(other) == len(bob) - 1
    [(server, _)], [(same, _)] = bob.server_tools(), other.server_tools()
    assert server is same is portal.servers.snapshot.servers["one"].offer
    bob.prepare()
    assert other.searchable
