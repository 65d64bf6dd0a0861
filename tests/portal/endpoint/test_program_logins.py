"""A program over three servers, one of which its person has not logged in to: the link, the login, and it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from codemode import CodeTool
from portal.access import Access, read_document
from portal.endpoint.login_prompts import ANSWER
from tests.patience import PATIENCE
from tests.portal.credentials.authority import authority, protected, saved_login
from tests.portal.endpoint.people import Place, listed, place_in
from tests.portal.login.guarded import EMAIL, EVERYONE, guarded_portal
from tests.portal.portals import GENERATIONS, MODERN
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
both = pytest.mark.parametrize("mode", GENERATIONS)
AT_ONCE = {"patience": 0.001, "patienceWithProgress": 0.001}
THREE = """
const one = await codemode.one.echo({text: "a"});
console.log("one is through");
const fix = await codemode.fix.echo({text: "b"});
const two = await codemode.two.echo({text: "c"});
return [one, fix, two];
"""
ALL = """
const texts = await Promise.all(["a", "b", "c"].map((text) => codemode.fix.echo({text})));
return texts.join("");
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def three_in(folder: Path, code_tool: CodeTool, **runs: float) -> AsyncIterator[Place]:
    async with hosted() as one, hosted() as two:
        servers = {"one": one.url, "two": two.url}
        async with place_in(folder, servers=servers, code=code_tool, runs=runs) as place:
            yield place


class Person:
    """Logs in at the page, and accepts; or only answers."""

    def __init__(self, place: Place, action: str = "accept") -> None:
        self.place, self.action = place, action
        self.asked: list[Any] = []

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(params)
        if self.action == "accept":
            await self.place.log_in(EMAIL)
        return types.ElicitResult.model_validate({"action": self.action})


async def run(client: Any, program: str) -> Any:
    return (await client.call_tool("code", {"code": program})).structured_content


async def known(place: Place, *, ended: bool) -> str:
    """An agent's token of a person who sees the server's tools; with `ended`, whose login does not do any more."""
    first = await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    if ended:
        place.issuing.tokens.pop(first)
    return token


@both
async def test_a_client_that_shows_links_is_asked_once_and_the_program_goes_on(
    tmp_path: Path, code_tool: CodeTool, mode: str
) -> None:
    async with three_in(tmp_path, code_tool) as place:
        token, person = await known(place, ended=True), Person(place)
        async with place.client(token, mode, code=True, elicitation_callback=person) as client:
            answer = await run(client, THREE)
            assert (answer["status"], answer["result"]) == ("completed", ["a", "b", "c"])
            place.issuing.tokens.clear()
            assert (await run(client, ALL))["result"] == "abc"
        assert len(person.asked) == 2
        assert all(f"{place.portal.url}/authorize?elicitationId=" in asked.message for asked in person.asked)


async def test_a_call_that_is_made_again_after_a_login_is_one_call_of_its_budget(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    program = """
      const made = [];
      for (const text of ["a", "b"]) made.push(await codemode.fix.echo({text}).catch((error) => error.data.policy));
      return made;
    """
    async with three_in(tmp_path, code_tool) as place:
        token, person = await known(place, ended=True), Person(place)
        once = {"id": "once", "name": "Once", "decision": "allow", "include": [{"everyone": {}}], "calls_per_run": 1}
        servers = [{"id": id, "policies": [EVERYONE]} for id in ("fix", "one", "two")]
        document = {"portal": {"policies": [EVERYONE], "tool_policies": [once]}, "servers": servers}
        place.portal.rules.access.replace(Access(read_document(document)))
        async with place.client(token, MODERN, code=True, elicitation_callback=person) as client:
            assert (await run(client, program))["result"] == ["a", "once"]
        assert len(person.asked) == 1


@both
async def test_a_server_that_shows_nothing_yet_is_waited_for_before_the_program_begins(
    tmp_path: Path, code_tool: CodeTool, mode: str
) -> None:
    async with three_in(tmp_path, code_tool) as place:
        token, person = await place.agent_of(EMAIL), Person(place)
        async with place.client(token, mode, code=True, elicitation_callback=person) as client:
            # What it does not name is not asked for.
            assert (await run(client, "return codemode.one.echo({text: 'x'})"))["result"] == "x"
            assert person.asked == []
            assert (await run(client, THREE))["result"] == ["a", "b", "c"]
        (asked,) = person.asked
        assert "The server 'fix' needs your login: you have not logged in to it" in asked.message


class PersonWithTwo(Person):
    """Logs in at the page to another server too, and accepts when the portal knows it."""

    def __init__(self, place: Place, other: Hosted) -> None:
        super().__init__(place)
        self.other = other

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
        portal, subject = self.place.portal, (await self.place.portal.account(EMAIL)).key
        await saved_login(portal.store, self.place.issuing, self.other, subject, "other")
        slot = portal.instance.servers._generations[-1].slots["other"]
        async with asyncio.timeout(PATIENCE):
            while not slot.login(subject):
                await asyncio.sleep(0.01)
        return await super().__call__(context, params)


@both
async def test_whoever_logs_in_to_two_servers_at_once_is_asked_once(
    tmp_path: Path, code_tool: CodeTool, mode: str
) -> None:
    program = 'return [await codemode.fix.echo({text: "a"}), await codemode.other.echo({text: "b"})];'
    async with (
        authority() as issuing,
        protected(issuing) as (guard, host),
        protected(issuing) as (_, other),
        guarded_portal(tmp_path, upstream=host.url, servers={"other": other.url}, code=code_tool) as portal,
    ):
        place = Place(portal, issuing, guard, host)
        token, person = await place.agent_of(EMAIL), PersonWithTwo(place, other)
        async with place.client(token, mode, code=True, elicitation_callback=person) as client:
            assert (await run(client, program))["result"] == ["a", "b"]
        assert len(person.asked) == 1


@both
@pytest.mark.parametrize("ended", [True, False])
async def test_a_client_that_can_ask_nobody_gets_the_link_and_comes_back_for_the_result(
    tmp_path: Path, code_tool: CodeTool, mode: str, ended: bool
) -> None:
    async with three_in(tmp_path, code_tool, **AT_ONCE) as place:
        token = await known(place, ended=True) if ended else await place.agent_of(EMAIL)
        async with place.client(token, mode, code=True) as client:
            result = await client.call_tool("code", {"code": THREE})
            paused = result.structured_content
            assert paused is not None and not result.is_error and paused["status"] == "paused"
            (waiting,) = paused["waiting"]
            assert waiting["url"].startswith(f"{place.portal.url}/authorize?elicitationId=")
            assert waiting["text"].startswith("The server 'fix' needs ")
            assert [call["tool"] for call in paused["calls"]] == (["one.echo", "fix.echo"] if ended else [])
            text = str(result.content[0].text)  # type: ignore[union-attr]
            assert waiting["url"] in text and paused["executionId"] in text
            fetch = f'return await codemode.runs.result("{paused["executionId"]}")'
            again = await run(client, fetch)
            assert again["status"] == "paused" and again["executionId"] == paused["executionId"]
            await place.log_in(EMAIL)
            async with asyncio.timeout(PATIENCE):
                while (answer := await run(client, fetch))["status"] == "paused":
                    pass
            assert answer["result"] == ["a", "b", "c"]


@both
async def test_whoever_declines_is_not_asked_again_and_the_program_may_go_on_without(
    tmp_path: Path, code_tool: CodeTool, mode: str
) -> None:
    async with three_in(tmp_path, code_tool) as place:
        token, person = await known(place, ended=True), Person(place, "decline")
        program = """
        const errors = [];
        for (const text of ["a", "b"])
          try { await codemode.fix.echo({text}); } catch (error) { errors.push(`${error.name}: ${error.message}`); }
        return [errors, await codemode.two.echo({text: "c"})];
        """
        async with place.client(token, mode, code=True, elicitation_callback=person) as client:
            answer = await run(client, program)
        errors, two = answer["result"]
        assert two == "c" and len(person.asked) == 1
        assert all(error.startswith("ToolError: The server 'fix': there is no access token") for error in errors)
        assert all(error.endswith(f"; log in at {place.portal.url}/servers") for error in errors)
        assert place.host.upstream.seen_headers == []


@both
async def test_a_run_that_waits_for_a_login_can_be_cancelled(tmp_path: Path, code_tool: CodeTool, mode: str) -> None:
    async with three_in(tmp_path, code_tool, **AT_ONCE) as place:
        token = await place.agent_of(EMAIL)
        async with place.client(token, mode, code=True) as client:
            paused = await run(client, THREE)
            assert (await run(client, "return (await codemode.runs.list()).length"))["result"] == 1
            assert (await run(client, f'return codemode.runs.cancel("{paused["executionId"]}")'))["result"] is True
            assert (await run(client, "return codemode.runs.list()"))["result"] == []


async def test_a_client_of_2026_is_answered_between_the_rounds(tmp_path: Path, code_tool: CodeTool) -> None:
    async with three_in(tmp_path, code_tool) as place:
        token = await place.agent_of(EMAIL)
        asked = await place.raw(token, {"elicitation": {"url": {}}}, name="code", arguments={"code": THREE})
        assert asked["resultType"] == "input_required" and ANSWER not in asked["inputRequests"]
        ((name, question),) = asked["inputRequests"].items()
        assert question["params"]["url"].startswith(f"{place.portal.url}/authorize?elicitationId=")
        await place.log_in(EMAIL)
        back = {"inputResponses": {name: {"action": "accept"}}, "requestState": asked["requestState"]}
        done = await place.raw(token, {"elicitation": {"url": {}}}, name="code", arguments={"code": THREE}, **back)
        assert done["structuredContent"]["result"] == ["a", "b", "c"]


SERVERS = (
    "return (await codemode.portal.servers()).map(({id, enabled, connected, login}) => [id, enabled, connected, login])"
)


@both
async def test_a_program_turns_servers_on_and_off_and_the_next_one_sees_it(
    tmp_path: Path, code_tool: CodeTool, mode: str
) -> None:
    async with three_in(tmp_path, code_tool) as place:
        token = await known(place, ended=False)
        async with place.client(token, mode, code=True) as client:
            assert (await run(client, SERVERS))["result"] == [
                ["fix", True, True, "ready"],
                ["one", True, True, ""],
                ["two", True, True, ""],
            ]
            off = "await codemode.portal.disable('one'); return codemode.one.echo({text: 'still here'})"
            assert (await run(client, off))["result"] == "still here"
            gone = await run(client, "return codemode.one.echo({text: 'x'})")
            assert gone["status"] == "failed" and "you have turned it off" in gone["error"]["message"]
            assert (await run(client, "return codemode.portal.enable('one')"))["result"] is True
            assert (await run(client, "return codemode.one.echo({text: 'x'})"))["result"] == "x"


@both
async def test_a_program_connects_a_server_for_the_next_one(tmp_path: Path, code_tool: CodeTool, mode: str) -> None:
    async with three_in(tmp_path, code_tool) as place:
        token, person = await place.agent_of(EMAIL), Person(place)
        async with place.client(token, mode, code=True, elicitation_callback=person) as client:
            connect = "return codemode.portal.connect('fix')"
            assert (await run(client, connect))["result"] is True
            assert (await run(client, connect))["result"] is True and len(person.asked) == 1
            assert (await run(client, "return codemode.fix.echo({text: 'x'})"))["result"] == "x"
        async with place.client(token, mode, code=True) as client:
            wrong = await run(client, "return codemode.portal.connect('none')")
            assert wrong["error"]["message"].startswith(
                "codemode.portal.connect: there is no server 'none' for you. There are: fix, one, two"
            )
            wrong = await run(client, "return codemode.portal.connet('fix')")
            assert "codemode.portal has servers(), enable(id), disable(id) and connect(id)" in wrong["error"]["message"]
            described = await run(client, "return codemode.describe('codemode.portal')")
            assert "connect(id: string): Promise<boolean>" in described["result"]


@both
async def test_whoever_declines_to_connect_is_told_so(tmp_path: Path, code_tool: CodeTool, mode: str) -> None:
    async with three_in(tmp_path, code_tool) as place:
        token, person = await place.agent_of(EMAIL), Person(place, "decline")
        async with place.client(token, mode, code=True, elicitation_callback=person) as client:
            assert (await run(client, "return codemode.portal.connect('fix')"))["result"] is False


@both
async def test_a_server_that_is_taken_away_during_the_wait_is_not_there_for_the_program(
    tmp_path: Path, code_tool: CodeTool, mode: str
) -> None:
    async with three_in(tmp_path, code_tool) as place:

        class TakenAway(Person):
            async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
                known = [{"id": "one", "policies": [EVERYONE]}]
                document = read_document({"portal": {"policies": [EVERYONE]}, "servers": known})
                self.place.portal.rules.access.replace(Access(document))
                return await super().__call__(context, params)

        token, person = await place.agent_of(EMAIL), TakenAway(place)
        program = """
        const found = JSON.stringify(await codemode.search("echo a text"));
        try { return [found, await codemode.fix.echo({text: "x"})]; } catch (error) { return [found, error.message]; }
        """
        async with place.client(token, mode, code=True, elicitation_callback=person) as client:
            answer = await run(client, program)
        assert len(person.asked) == 1
        found, why = answer["result"]
        assert "one.echo" in found and "fix.echo" not in found and "fix" in why
        assert place.host.upstream.journal.entries.count("call echo") == 0
