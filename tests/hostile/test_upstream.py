"""The hostile upstream can be connected to over every transport, and answers as it should where it is asked to."""

from __future__ import annotations

import pytest

from portal.calls import Call
from tests.hostile.upstream import hostile_upstream
from tests.portal.portals import portal_over

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_a_hostile_server_is_connected_to_as_any_other(transport: str) -> None:
    async with hostile_upstream(transport) as entry, portal_over({"h": entry}) as portal:
        result = await portal.caller.call(Call.tool("h", "fine", {}))
    assert result["content"] == [{"type": "text", "text": "fine"}]
