"""What one person does to a portal costs another nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from portal.http import HttpSettings
from tests.hostile.neighbours import ATTACKS, person, uses
from tests.portal.login.guarded import guarded_portal
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

# Half of the time after which a call that the upstream does not answer gives up its place.
AT_ONCE = 30.0
# The attacker opens more than there are. Both come from one network.
FEW = HttpSettings(sessions=100, sessions_each=50, connections_each=250)


async def test_a_neighbour_is_served_at_once_whatever_one_person_does(tmp_path: Path) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code="workers", http=FEW) as portal,
        person(portal, "mallory@example.com") as attacker,
        person(portal, "ada@example.com") as neighbour,
    ):
        assert await uses(neighbour) == []
        for name, attack in ATTACKS.items():
            upstream.upstream.journal.entries.clear()
            async with attack(attacker, upstream):
                async with asyncio.timeout(AT_ONCE):
                    assert (name, await uses(neighbour)) == (name, [])
        assert await uses(attacker) == []
