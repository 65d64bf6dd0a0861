"""Quotas of a running portal: calls of clients and of programs, of several people, over changes and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.config import parse_config
from portal.errors import ConfigError
from portal.quotas import CountedCall
from portal.state import plain
from tests.portal.access.guarded import policy
from tests.portal.portals import GENERATIONS, client_of, portal_over
from tests.portal.quotas.limited import PASS, Hands, Limited, limited
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
TWO = {"name": "Two", "calls": 2, "period": 60, "per": ["person"]}
MANY = """
    const settled = await Promise.allSettled(Array.from({length: 50}, (_, n) => codemode.one.echo({text: `${n}`})));
    const failed = settled.filter(({status}) => status === "rejected").map(({reason}) => reason);
    return {ok: settled.length - failed.length, kinds: [...new Set(failed.map(({name, message, data, tool}) =>
        JSON.stringify({name, message, data, tool})))]};
"""


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted() as upstream:
        yield upstream


async def outcomes(portal: Limited, count: int, caller: str = "ada", tool: str = "one_echo") -> list[str]:
    """How as many calls end: `ok`, or the policy that refused them."""
    async with client_of(portal.mcp(caller), "2026-07-28") as client:
        return [await outcome(client, tool) for _ in range(count)]


async def outcome(client: Client, tool: str = "one_echo") -> str:
    try:
        await client.call_tool(tool, {"text": "x"})
    except MCPError as error:
        data = error.error.data
        assert error.error.code == -32014 and data["reason"] == "quota" and data["retryAfter"] >= 1
        return str(data["policy"])
    return "ok"


@both
async def test_a_client_is_told_which_quota_is_used_up_and_when_to_try_again(mode: str, upstream: Hosted) -> None:
    async with limited({"one": upstream}, [TWO]) as portal, client_of(portal.mcp(), mode) as client:
        for _ in range(2):
            await client.call_tool("one_echo", {"text": "x"})
        with pytest.raises(MCPError) as caught:
            await client.call_tool("one_echo", {"text": "x"})
        assert caught.value.error.code == -32014
        assert caught.value.error.data == {"policy": "quota:Two", "reason": "quota", "retryAfter": 65}
        words = "The quota 'Two' allows 2 calls for each person in 1 minute, and that is used up. The call did not run."
        assert caught.value.error.message == f"{words} Try again in 65 s."
        row = portal.kept.last
        assert (row.outcome, row.policy, row.error_code) == ("denied", "quota:Two", -32014)
        assert row.reason.endswith("Try again in 65 s.")
        portal.clock.at += 65
        assert await outcome(client) == "ok"


async def test_fifty_calls_at_once_in_a_program_are_as_many_as_the_quota_allows(
    upstream: Hosted, code_tool: CodeTool
) -> None:
    seven = {**TWO, "name": "Seven", "calls": 7}
    async with limited({"one": upstream}, [seven], code_tool=code_tool) as portal:
        async with client_of(portal.code(), "legacy") as client:
            answer: Any = (await client.call_tool("code", {"code": MANY})).structured_content
        result = answer["result"]
        assert result["ok"] == 7 and len(result["kinds"]) == 1
        assert '"data":{"policy":"quota:Seven","reason":"quota","retryAfter":65}' in result["kinds"][0]
        assert '"name":"ToolError"' in result["kinds"][0] and "Try again in 65 s." in result["kinds"][0]
        statuses = [call["status"] for call in answer["calls"]]
        assert sorted(statuses) == ["denied"] * 43 + ["ok"] * 7
        # Calls of a program and of a client count in the same count.
        assert await outcomes(portal, 1) == ["quota:Seven"]
        assert await outcomes(portal, 1, "bob") == ["ok"]


async def test_a_program_that_does_not_catch_it_fails_with_these_words(upstream: Hosted, code_tool: CodeTool) -> None:
    async with limited({"one": upstream}, [{**TWO, "calls": 1}], code_tool=code_tool) as portal:
        async with client_of(portal.code(), "2026-07-28") as client:
            program = "await codemode.one.echo({text: 'a'}); return await codemode.one.echo({text: 'b'})"
            answer: Any = (await client.call_tool("code", {"code": program})).structured_content
    assert answer["status"] == "failed" and "The quota 'Two' allows 1 call" in answer["error"]["message"]


async def test_fifty_requests_at_once_of_two_people_do_not_touch_each_others_counts(upstream: Hosted) -> None:
    async with limited({"one": upstream}, [{**TWO, "calls": 5}]) as portal:
        async with client_of(portal.mcp(), "2026-07-28") as ada, client_of(portal.mcp("bob"), "2026-07-28") as bob:
            found = await asyncio.gather(*(outcome(client) for client in (ada, bob) * 25))
        assert [found[start::2].count("ok") for start in (0, 1)] == [5, 5]
        assert await outcomes(portal, 6, "stranger") == ["ok"] * 5 + ["quota:Two"]


async def test_a_denied_call_uses_up_nothing(upstream: Hosted) -> None:
    off = policy("off", "deny", {"email": {"email": "eve@elsewhere.example"}}, tools={"names": ["echo"]})
    document = {
        "portal": {"policies": [PASS], "tool_policies": [off]},
        "servers": [{"id": "one", "policies": [PASS]}],
    }
    everybody = {**TWO, "calls": 1, "per": []}
    async with limited({"one": upstream}, [everybody], policies=document) as portal:
        async with client_of(portal.mcp("eve"), "2026-07-28") as client:
            for _ in range(3):
                with pytest.raises(MCPError, match="Off"):
                    await client.call_tool("one_echo", {"text": "x"})
        assert await outcomes(portal, 2) == ["ok", "quota:Two"]


async def test_prompts_and_resources_count_for_a_server_and_not_for_its_tools(upstream: Hosted) -> None:
    quotas = [{**TWO, "name": "Server", "calls": 3, "per": ["server"]}, {**TWO, "name": "Tool", "per": ["tool"]}]
    async with limited({"one": upstream}, quotas) as portal:
        async with client_of(portal.mcp(), "legacy") as client:
            await client.set_logging_level("debug")
            await client.get_prompt("one_greet", {"who": "you"})
            await client.read_resource("test://one")
            assert await outcome(client) == "ok"
            assert await outcome(client) == "quota:Server"
            with pytest.raises(MCPError, match="Server"):
                await client.get_prompt("one_greet", {"who": "you"})
            portal.clock.at += 65
            assert [await outcome(client) for _ in range(3)] == ["ok", "ok", "quota:Tool"]
            assert await outcome(client, "one_structured") == "ok"


async def test_changed_quotas_are_taken_up_and_the_others_keep_their_counts(upstream: Hosted) -> None:
    async with limited({"one": upstream}, [TWO]) as portal:
        assert await outcomes(portal, 2) == ["ok", "ok"]
        await portal.limit([{**TWO, "name": "More", "calls": 9, "per": []}, TWO])
        assert await outcomes(portal, 1) == ["quota:Two"]
        await portal.limit([{**TWO, "calls": 3}])
        assert await outcomes(portal, 2) == ["ok", "quota:Two"]
        await portal.limit([])
        assert await outcomes(portal, 3) == ["ok"] * 3


async def test_a_portal_where_nobody_signs_in_has_quotas_too(upstream: Hosted) -> None:
    async with portal_over({"one": upstream}, quotas=[{**TWO, "servers": ["one"], "portals": [""]}]) as portal:
        async with client_of(portal.mcp, "2026-07-28") as client:
            assert [await outcome(client) for _ in range(3)] == ["ok", "ok", "quota:Two"]


async def test_the_counts_of_long_quotas_are_there_after_a_restart(tmp_path: Path, upstream: Hosted) -> None:
    day = {**TWO, "name": "Day", "period": 86_400}
    state, clock = new_state(tmp_path), Hands()
    for expected in (["ok"], ["ok", "quota:Day"], ["quota:Day"]):
        async with limited({"one": upstream}, [day, {**TWO, "calls": 9}], state=state, clock=clock) as portal:
            assert await outcomes(portal, len(expected)) == expected
            store = portal.instance.shared.require_store()
        clock.at += 60
    async with limited({"one": upstream}, [], state=state, clock=clock) as portal:
        assert await outcomes(portal, 1) == ["ok"]
    async with limited({"one": upstream}, [day], state=state, clock=clock) as portal:
        # Nothing is left of a quota that was taken away, in the audit trail neither.
        store = portal.instance.shared.require_store()
        assert await store.list(plain("quota_counts")) == [] and await store.audit() == []
        assert await outcomes(portal, 1) == ["ok"]


async def test_counts_that_cannot_be_read_keep_nothing_from_starting(tmp_path: Path, upstream: Hosted) -> None:
    day = {**TWO, "name": "Day", "calls": 1, "period": 86_400}
    state = new_state(tmp_path)
    async with limited({"one": upstream}, [day], state=state) as portal:
        assert await outcomes(portal, 1) == ["ok"]
    for spoilt in ({"counts": "[[1]]"}, {"counts": "nonsense"}, {"counts": 7}, {"counts": '[[["a"],false,[1.5,2]]]'}):
        async with limited({"one": upstream}, [day], state=state) as portal:
            assert await outcomes(portal, 2) in (["ok", "quota:Day"], ["quota:Day"] * 2)
            store = portal.instance.shared.require_store()
            for kept in await store.list(plain("quota_counts")):
                await store.replace(plain("quota_counts"), kept.id, spoilt, by="test")


async def test_of_two_processes_on_a_database_the_last_one_that_wrote_is_what_is_kept(
    tmp_path: Path, upstream: Hosted
) -> None:
    day = {**TWO, "name": "Day", "calls": 3, "period": 86_400}
    state = new_state(tmp_path)
    async with limited({"one": upstream}, [day], state=state) as first:
        async with limited({"one": upstream}, [day], state=state) as second:
            assert await outcomes(first, 1) == ["ok"] and await outcomes(second, 3) == ["ok"] * 3
    async with limited({"one": upstream}, [day], state=state) as third:
        assert await outcomes(third, 3) == ["ok", "ok", "quota:Day"]


async def test_a_name_with_half_a_character_is_kept_like_any_other(tmp_path: Path, upstream: Hosted) -> None:
    day = {**TWO, "calls": 1, "period": 86_400, "per": ["person", "tool"]}
    state, call = new_state(tmp_path), CountedCall("ada \ud800", False, "", "one", "half \udc00")
    for refused in (False, True):
        async with limited({"one": upstream}, [day], state=state) as portal:
            assert (portal.instance.shared.quotas.take(call) is not None) is refused


@pytest.mark.parametrize(
    ("quotas", "said"),
    [
        (
            [{**TWO, "period": 3601}],
            r"portal.quotas\[0\].period: is over an hour and needs a database.* Set `portal.state`",
        ),
        ([TWO, TWO], r"portal.quotas\[1\].name: is the name of another quota"),
        ([{**TWO, "calls": 0}], r"portal.quotas\[0\].calls: must"),
        ([{**TWO, "period": 0.5}], r"portal.quotas\[0\].period: must"),
        ([{**TWO, "period": 86_400 * 32}], r"portal.quotas\[0\].period: must"),
        ([{**TWO, "per": ["people"]}], r"portal.quotas\[0\].per\[0\]: must"),
        ([{**TWO, "whom": "x"}], r"portal.quotas\[0\].whom"),
        ([{"name": "x", "calls": 1, "period": 1}], r"portal.quotas\[0\].per"),
        ([{**TWO, "name": "a\nb"}], r"portal.quotas\[0\].name"),
        ([{**TWO, "name": f"{n}"} for n in range(101)], r"portal.quotas: must"),
        ("many", r"portal.quotas: must"),
    ],
)
def test_a_quota_that_makes_no_sense_is_refused_by_its_key(quotas: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config({"mcpServers": {}, "portal": {"quotas": quotas}}, env={})
