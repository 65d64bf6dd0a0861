"""The portal's own tools: its servers for their caller, and turning them on and off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.endpoint.portal_tools import DEFINITIONS
from tests.portal.endpoint.people import ECHO, Place, listed, place_in, text_of
from tests.portal.login.guarded import EMAIL
from tests.portal.portals import GENERATIONS, LEGACY, MODERN
from tests.portal.state.databases import new_state
from tests.portal.state.troubles import locked

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
NAMES = {str(tool["name"]) for tool in DEFINITIONS}
BOB = "bob@example.com"
OFF = {"server_id": "fix", "action": "untoggle"}
ON = {"server_id": "fix", "action": "toggle"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with place_in(tmp_path) as made:
        yield made


async def names(client: Any) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_server_is_turned_off_and_on_for_one_person_and_stays_so(place: Place, mode: str) -> None:
    for email in (EMAIL, BOB):
        await place.log_in(email)
    tokens = {email: await place.agent_of(email) for email in (EMAIL, BOB)}
    for token in tokens.values():
        await listed(place, token)
    async with place.client(tokens[EMAIL], mode) as ada, place.client(tokens[BOB], mode) as bob:
        assert NAMES < await names(ada)
        result = await ada.call_tool("portal_toggle_single_server", OFF)
        assert text_of(result) == "The server 'fix' is off. Its tools are no longer listed."
        assert await names(ada) == NAMES and NAMES < await names(bob)
        assert text_of(await bob.call_tool("fix_echo", ECHO)) == "hello"
        with pytest.raises(Exception, match="'fix' is not available: you have turned it off; codemode.portal.enable"):
            await ada.call_tool("fix_echo", ECHO)
    async with place.client(tokens[EMAIL], mode) as again:
        assert await names(again) == NAMES
        found = (await again.call_tool("portal_list_servers", {})).structured_content
        assert found is not None
        (server,) = found["servers"]
        assert (server["id"], server["enabled"], server["login"], server["tools"]) == ("fix", False, "ready", 0)
        result = await again.call_tool("portal_toggle_single_server", ON)
        assert text_of(result) == "The server 'fix' is on. Its tools are listed."
        assert text_of(await again.call_tool("fix_echo", ECHO)) == "hello"


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_choice_changes_the_lists_of_that_person_at_once(place: Place, mode: str) -> None:
    await place.log_in(EMAIL)
    tokens = [await place.agent_of(EMAIL) for _ in range(2)]
    await listed(place, tokens[0])
    heard: list[str] = []

    async def handler(message: Any) -> None:
        heard.append(getattr(message, "method", ""))

    async with place.client(tokens[0], mode, message_handler=handler) as one, place.client(tokens[1], mode) as other:
        await names(one)
        if mode == LEGACY:
            await other.call_tool("portal_toggle_single_server", OFF)
            while "notifications/tools/list_changed" not in heard:
                await one.send_ping()
        else:
            async with one.listen(tools_list_changed=True) as changes:
                await other.call_tool("portal_toggle_single_server", OFF)
                await anext(aiter(changes))
        assert await names(one) == NAMES


class Person:
    """Does at the page what a test says, and accepts."""

    def __init__(self, at_the_page: Any) -> None:
        self.asked: list[Any] = []
        self._at_the_page = at_the_page

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(params)
        await self._at_the_page()
        return types.ElicitResult(action="accept")


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_turning_on_a_server_that_wants_a_login_asks_for_it(place: Place, mode: str) -> None:
    token = await place.agent_of(EMAIL)
    person = Person(lambda: place.log_in(EMAIL))
    async with place.client(token, mode, elicitation_callback=person) as client:
        result = await client.call_tool("portal_toggle_single_server", ON)
        assert text_of(result) == "The server 'fix' is on. Its tools are listed."
        (asked,) = person.asked
        assert "The server 'fix' needs your login" in asked.message
        await listed(place, token)


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_the_page_is_shown_to_whoever_wants_to_choose_in_the_browser(place: Place, mode: str) -> None:
    token = await place.agent_of(EMAIL)

    async def nothing() -> None:
        return

    person = Person(nothing)
    page = f"{place.portal.url}/servers"
    async with place.client(token, mode, elicitation_callback=person) as client:
        assert page in text_of(await client.call_tool("portal_toggle_servers", {}))
        assert [asked.url for asked in person.asked] == [page]
    async with place.client(token, mode) as client:
        assert page in text_of(await client.call_tool("portal_toggle_servers", {}))


async def test_wrong_arguments_are_answered_in_our_words_and_change_nothing(place: Place) -> None:
    await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    async with place.client(token, LEGACY) as client:
        for name, arguments, said in (
            ("portal_toggle_single_server", {"server_id": "fix"}, "takes {server_id: string, action: "),
            ("portal_toggle_single_server", {**OFF, "more": 1}, "takes {server_id: string, action: "),
            ("portal_toggle_single_server", {**OFF, "action": "burn"}, '"toggle" | "enable" | "untoggle"'),
            ("portal_toggle_single_server", {**OFF, "server_id": 7}, "takes {server_id: string"),
            ("portal_toggle_single_server", {**OFF, "server_id": "none"}, "no server 'none' for you. There are: fix."),
            ("portal_list_servers", {"x": 1}, "portal_list_servers takes no arguments."),
        ):
            result = await client.call_tool(name, arguments)
            assert result.is_error and said in text_of(result), text_of(result)
        assert "fix_echo" in await names(client)


async def test_a_choice_that_may_not_be_made_says_why_and_changes_nothing(
    tmp_path: Path, code_tool: CodeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.elicitation.choices.MOST_AT_ONCE", 2)
    monkeypatch.setattr("portal.elicitation.choices.MOST_PER_MINUTE", 0.001)
    async with place_in(tmp_path, code=code_tool) as place:
        for email in (EMAIL, BOB):
            await place.log_in(email)
        token = await place.agent_of(EMAIL)
        await listed(place, token)
        async with place.client(token, LEGACY) as client:
            for choice in (OFF, ON):
                assert not (await client.call_tool("portal_toggle_single_server", choice)).is_error
            refused = await client.call_tool("portal_toggle_single_server", OFF)
            assert refused.is_error and text_of(refused).startswith(
                "The server 'fix' is as it was: you turn servers on"
            )
            assert text_of(await client.call_tool("fix_echo", ECHO)) == "hello"
        async with place.client(token, LEGACY, code=True) as client:
            program = "return codemode.portal.disable('fix').catch((error) => error.message)"
            answer = (await client.call_tool("code", {"code": program})).structured_content
            assert answer is not None and "too often: nothing was changed, wait a minute" in answer["result"]
        async with place.client(await place.agent_of(BOB), LEGACY) as client:
            assert not (await client.call_tool("portal_toggle_single_server", OFF)).is_error


async def test_one_person_s_streams_leave_room_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.changes.MAX_STREAMS_FOR_EACH", 1)
    async with place_in(tmp_path) as place:
        ada, bob = [await place.agent_of(email) for email in (EMAIL, BOB)]
        async with place.client(ada, MODERN) as client, place.client(bob, MODERN) as other:
            async with client.listen(tools_list_changed=True):
                with pytest.raises(Exception, match="You have 1 streams for changes here"):
                    async with client.listen(tools_list_changed=True):
                        pass
                async with other.listen(tools_list_changed=True):
                    pass


async def test_whoever_has_not_signed_in_turns_nothing_off_for_everybody(tmp_path: Path, code_tool: CodeTool) -> None:
    async with place_in(tmp_path, code=code_tool) as place:
        place.portal.rules.allowed = lambda identity: True
        async with place.client("", LEGACY) as client:
            refused = await client.call_tool("portal_toggle_single_server", OFF)
            assert refused.is_error and text_of(refused).startswith(
                "You have not signed in: the servers are as they are"
            )
        async with place.client("", LEGACY, code=True) as client:
            program = "return codemode.portal.disable('fix').catch((error) => error.message)"
            answer = (await client.call_tool("code", {"code": program})).structured_content
            assert answer is not None and "nobody signs in here" in answer["result"]


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_while_the_store_takes_nothing_servers_are_listed_and_used_and_a_choice_says_that_it_was_not_stored(
    place: Place, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    monkeypatch.setattr("portal.state.database.PATIENCE_SECONDS", 0.5)
    async with place.client(token, mode) as ada:
        with locked(new_state(tmp_path)):
            with pytest.raises(MCPError, match="database does not answer. This was not done. Try again in 5 s") as no:
                await ada.call_tool("portal_toggle_single_server", OFF)
            assert no.value.error.data == {"reason": "store", "ran": "no", "retryAfter": 5}
            assert text_of(await ada.call_tool("fix_echo", ECHO)) == "hello"
            found = (await ada.call_tool("portal_list_servers", {})).structured_content
            assert found is not None and found["servers"][0]["enabled"] is True


async def test_while_the_store_takes_nothing_a_program_reads_its_servers_and_why_a_choice_was_not_stored(
    tmp_path: Path, code_tool: CodeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place_in(tmp_path, code=code_tool) as place:
        await place.log_in(EMAIL)
        token = await place.agent_of(EMAIL)
        await listed(place, token)
        monkeypatch.setattr("portal.state.database.PATIENCE_SECONDS", 0.5)
        program = """
        const refused = await codemode.portal.disable('fix').catch((error) => error.message);
        const [server] = await codemode.portal.servers();
        return [refused, server.enabled, await codemode.fix.echo({text: 'hello'})];
        """
        async with place.client(token, MODERN, code=True) as ada:
            with locked(new_state(tmp_path)):
                result = await ada.call_tool("code", {"code": program})
    assert result.structured_content is not None
    refused, enabled, echoed = result.structured_content["result"]
    assert "database does not answer. This was not done." in refused
    assert (enabled, echoed) == (True, "hello")
