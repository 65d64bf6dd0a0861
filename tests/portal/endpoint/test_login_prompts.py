"""A call that needs a login of the person behind it, from clients of both generations and of every ability."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from portal.calls import Call, Gate
from portal.endpoint.login_prompts import ANSWER
from portal.upstream import CallContext
from tests.patience import PATIENCE
from tests.portal.endpoint.people import ECHO, Place, listed, place_in, text_of
from tests.portal.login.guarded import EMAIL
from tests.portal.portals import GENERATIONS, LEGACY

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
BOB = "bob@example.com"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with place_in(tmp_path) as made:
        yield made


async def of_servers(client: Client) -> list[str]:
    """The tools but for the portal's own."""
    return [tool.name for tool in (await client.list_tools()).tools if not tool.name.startswith("portal_")]


class Person:
    """Answers what a client is asked, after having logged in if the answer is "accept"."""

    def __init__(self, place: Place, email: str, action: str = "accept") -> None:
        self.place, self.email, self.action = place, email, action
        self.asked: list[Any] = []

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(params)
        if self.action == "accept":
            await self.place.log_in(self.email)
        return types.ElicitResult.model_validate({"action": self.action})


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_client_is_sent_to_the_page_and_the_call_goes_on_after_the_login(
    tmp_path: Path, mode: str, legacy: bool
) -> None:
    async with place_in(tmp_path, legacy=legacy) as place:
        first = await place.log_in(EMAIL)
        token = await place.agent_of(EMAIL)
        await listed(place, token)
        place.issuing.tokens.pop(first)
        person = Person(place, EMAIL)
        async with place.client(token, mode, elicitation_callback=person) as client:
            result = await client.call_tool("fix_echo", ECHO)
        assert (text_of(result), bool(result.is_error)) == ("hello", False)
        (asked,) = person.asked
        assert asked.url.startswith(f"{place.portal.url}/authorize?elicitationId=") and asked.url in asked.message
        assert "The server 'fix' needs a new login of yours: there is no access token for it" in asked.message


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_tool_and_a_prompt_of_a_server_that_shows_nothing_yet_are_called_after_the_login(
    tmp_path: Path, mode: str, legacy: bool
) -> None:
    async with place_in(tmp_path, legacy=legacy) as place:
        token, person = await place.agent_of(EMAIL), Person(place, EMAIL)
        async with place.client(token, mode, elicitation_callback=person) as client:
            assert await of_servers(client) == []
            assert text_of(await client.call_tool("fix_echo", ECHO)) == "hello"
            assert len(person.asked) == 1
        bob = await place.agent_of(BOB)
        async with place.client(bob, mode) as client:
            with pytest.raises(MCPError, match="Log in here: "):
                await client.get_prompt("fix_greet", {})
        async with place.client(bob, mode, elicitation_callback=Person(place, BOB)) as client:
            assert "hello" in str((await client.get_prompt("fix_greet", {})).messages[0].content)


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_whoever_declines_gets_the_link_and_the_call_does_not_run(place: Place, mode: str) -> None:
    first = await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    place.issuing.tokens.pop(first)
    async with place.client(token, mode, elicitation_callback=Person(place, EMAIL, "decline")) as client:
        result = await client.call_tool("fix_echo", ECHO)
    assert result.is_error and text_of(result).startswith("The person has declined to log in. The server 'fix' needs")
    assert f"{place.portal.url}/authorize?elicitationId=" in text_of(result)
    assert place.host.upstream.seen_headers == []


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_client_that_can_ask_nobody_gets_a_result_with_the_link(place: Place, mode: str) -> None:
    first = await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    place.issuing.tokens.pop(first)
    async with place.client(token, mode) as client:
        result = await client.call_tool("fix_echo", ECHO)
        assert result.is_error and f"Log in here: {place.portal.url}/authorize?elicitationId=" in text_of(result)
        assert text_of(result).endswith("Then make the call again: it did not run.")
        with pytest.raises(MCPError, match="Log in here: "):
            await client.read_resource("test://one")
        await place.log_in(EMAIL)
        assert text_of(await client.call_tool("fix_echo", ECHO)) == "hello"


@pytest.mark.parametrize(
    ("elicitation", "members"),
    [({}, {"mode", "message", "requestedSchema"}), ({"form": {}}, {"mode", "message", "requestedSchema"}),
     ({"url": {}}, {"mode", "message", "url"}), ({"form": {}, "url": {}}, {"mode", "message", "url"})],
)  # fmt: skip
async def test_a_client_of_2026_is_asked_as_it_can_show_it_and_calls_again(
    place: Place, elicitation: dict[str, Any], members: set[str]
) -> None:
    first = await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    place.issuing.tokens.pop(first)
    asked = await place.raw(token, {"elicitation": elicitation})
    assert asked["resultType"] == "input_required" and "requestState" not in asked
    question = asked["inputRequests"][ANSWER]
    assert question["method"] == "elicitation/create" and question["params"].keys() == members
    assert f"{place.portal.url}/authorize?elicitationId=" in question["params"]["message"]
    await place.log_in(EMAIL)
    responses = {ANSWER: {"action": "accept", "content": {}}}
    done = await place.raw(token, {"elicitation": elicitation}, inputResponses=responses)
    assert done["content"][0]["text"] == "hello"


async def test_a_client_that_comes_back_too_early_waits_and_is_asked_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.login_prompts.PATIENCE", 0.1)
    first = await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    place.issuing.tokens.pop(first)
    responses = {ANSWER: {"action": "accept"}}
    again = await place.raw(token, {"elicitation": {"url": {}}}, inputResponses=responses)
    assert again["resultType"] == "input_required" and ANSWER in again["inputRequests"]


class Waiting:
    """An admission that lets a call wait, as one does that asks people."""

    def __init__(self) -> None:
        self.is_asking = False
        self.asked, self.answered = asyncio.Event(), asyncio.Event()

    async def admit(self, call: Call, context: CallContext) -> None:
        if self.is_asking:
            self.asked.set()
            await self.answered.wait()


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_call_whose_person_logs_in_anew_while_it_waits_for_people_runs_with_the_new_login(
    tmp_path: Path, mode: str
) -> None:
    waiting = Waiting()
    async with place_in(tmp_path, gate=Gate(admissions=[waiting])) as place:
        first = await place.log_in(EMAIL)
        token, subject = await place.agent_of(EMAIL), (await place.portal.account(EMAIL)).key
        await listed(place, token)
        slot = place.portal.instance.servers._generations[-1].slots["fix"]
        former, waiting.is_asking = slot.login(subject), True
        async with place.client(token, mode) as client, asyncio.timeout(PATIENCE):
            called = asyncio.create_task(client.call_tool("fix_echo", ECHO))
            await waiting.asked.wait()
            place.issuing.tokens.pop(first)
            second = await place.log_in(EMAIL)
            # What showed the former login is closed by then.
            while slot.login(subject) == former or slot._closing:
                await asyncio.sleep(0)
            waiting.answered.set()
            assert text_of(await called) == "hello"
        assert place.host.upstream.seen_headers[-1]["authorization"] == f"Bearer {second}"


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_of_two_people_each_uses_their_own_login_and_sees_what_is_theirs(place: Place, mode: str) -> None:
    shown = {EMAIL: await place.log_in(EMAIL)}
    tokens = {email: await place.agent_of(email) for email in (EMAIL, BOB)}
    await listed(place, tokens[EMAIL])
    async with place.client(tokens[EMAIL], mode) as ada, place.client(tokens[BOB], mode) as bob:
        assert text_of(await ada.call_tool("fix_echo", ECHO)) == "hello"
        assert await of_servers(bob) == []
        told = await bob.call_tool("fix_echo", ECHO)
        assert told.is_error and "The server 'fix' needs your login: you have not logged in to it" in text_of(told)
        shown[BOB] = await place.log_in(BOB)
        await listed(place, tokens[BOB])
        for client, email in ((bob, BOB), (ada, EMAIL)):
            assert text_of(await client.call_tool("fix_echo", ECHO)) == "hello"
            sent = place.host.upstream.seen_headers[-1]["authorization"]
            assert sent == f"Bearer {shown[email]}"


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_the_first_lists_of_whoever_has_logged_in_have_what_the_server_lists_for_them(
    place: Place, mode: str
) -> None:
    for email in (EMAIL, BOB):
        token = await place.agent_of(email)
        await place.log_in(email)
        async with place.client(token, mode) as client:
            assert "fix_echo" in await of_servers(client)
            assert (await client.list_prompts()).prompts and (await client.list_resources()).resources


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_login_changes_the_lists_of_that_person_at_once(place: Place, mode: str) -> None:
    tokens = {email: await place.agent_of(email) for email in (EMAIL, BOB)}
    heard: dict[str, list[str]] = {EMAIL: [], BOB: []}

    def hearing(email: str) -> Any:
        async def handler(message: Any) -> None:
            heard[email].append(getattr(message, "method", ""))

        return handler

    async with (
        place.client(tokens[EMAIL], mode, message_handler=hearing(EMAIL)) as ada,
        place.client(tokens[BOB], mode, message_handler=hearing(BOB)) as bob,
    ):
        assert await of_servers(ada) == await of_servers(bob) == []
        if mode == LEGACY:
            await place.log_in(EMAIL)
            while "notifications/tools/list_changed" not in heard[EMAIL]:
                await ada.send_ping()
            assert heard[BOB] == []
        else:
            async with ada.listen(tools_list_changed=True) as changes:
                await place.log_in(EMAIL)
                await anext(aiter(changes))
        await listed(place, tokens[EMAIL])
        assert await of_servers(bob) == []
