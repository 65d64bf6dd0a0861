"""After reading what is confidential nothing external is called: through a real portal, in programs and outside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult, PromptReference

from codemode import CodeTool
from portal.config import parse_config
from tests.portal.flows.reading import LABELS, RULE, Clock, guarded
from tests.portal.portals import GENERATIONS, MODERN, client_of
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
READ = "const found = await codemode.crm.echo({text: 'the salary'});"
SEND = "await codemode.mail.echo({text: 'to everybody'});"


async def run(client: Any, program: str) -> Any:
    return (await client.call_tool("code", {"code": program})).structured_content


async def refused(client: Any, tool: str = "mail_echo") -> str:
    """The reason for which a call is denied."""
    with pytest.raises(MCPError) as denied:
        await client.call_tool(tool, {"text": "x"})
    assert denied.value.error.code == -32014
    return denied.value.error.message


def was_denied(answer: Any) -> bool:
    """Whether the last call of a program was denied by the rule, and the program ended with that."""
    return bool(answer["calls"][-1]["status"] == "denied" and "'no-leaks'" in answer["error"]["message"])


@both
async def test_after_reading_confidential_a_plain_call_of_something_external_is_denied_and_not_sent(mode: str) -> None:
    async with guarded() as portal, client_of(portal.mcp, mode) as client:
        await client.call_tool("mail_echo", {"text": "before"})
        await client.call_tool("crm_echo", {"text": "the salary"})
        reason = await refused(client)
        assert reason == (
            "The data-flow rule 'no-leaks' does not allow a call of mail.echo, which is labelled external: you have "
            "read something labelled confidential (by crm.echo). Nothing was sent. It holds until 14:00 UTC. Go on "
            "without it, or ask the portal's administrator, who can change the rule or end this earlier."
        )
        assert portal.sent() == ["call echo"]
        # What is not external goes on.
        await client.call_tool("crm_echo", {"text": "more"})
        rows = [(row.server, row.outcome, row.policy, row.labels) for row in portal.kept.records]
        assert rows == [
            ("mail", "ok", "", "external"),
            ("crm", "ok", "", "confidential"),
            ("mail", "denied", "data-flow:no-leaks", "external"),
            ("crm", "ok", "", "confidential"),
        ]


@both
async def test_a_program_that_has_read_confidential_sends_nothing_and_is_told_the_rule(
    mode: str, code_tool: CodeTool
) -> None:
    async with guarded(code_tool) as portal, client_of(portal.code, mode) as client:
        answer = await run(client, READ + SEND)
        assert answer["status"] == "failed"
        assert "no-leaks" in answer["error"]["message"] and "by crm.echo" in answer["error"]["message"]
        assert [call["status"] for call in answer["calls"]] == ["ok", "denied"]
        assert portal.sent() == []


async def test_a_program_may_catch_the_denial_and_go_on_without(code_tool: CodeTool) -> None:
    async with guarded(code_tool) as portal, client_of(portal.code, MODERN) as client:
        answer = await run(client, f"{READ} try {{ {SEND} }} catch (error) {{ return [found, error.name] }}")
        assert answer["result"] == ["the salary", "ToolError"]


async def test_sending_first_and_reading_then_is_allowed(code_tool: CodeTool) -> None:
    async with guarded(code_tool) as portal, client_of(portal.code, MODERN) as client:
        assert (await run(client, SEND + READ + "return found"))["result"] == "the salary"
        assert portal.sent() == ["call echo"]


@pytest.mark.parametrize("first", ["program", "call"])
@pytest.mark.parametrize("second", ["program", "call"])
async def test_what_one_request_has_read_holds_for_the_next_whichever_way_it_comes(
    code_tool: CodeTool, first: str, second: str
) -> None:
    async with guarded(code_tool) as portal:
        async with client_of(portal.code, MODERN) as programs, client_of(portal.mcp, MODERN) as tools:
            if first == "program":
                assert (await run(programs, READ + "return found"))["status"] == "completed"
            else:
                await tools.call_tool("crm_echo", {"text": "the salary"})
        # Another session, and a client that calls itself otherwise.
        async with client_of(portal.code, MODERN) as programs, client_of(portal.mcp, "legacy") as tools:
            if second == "program":
                assert was_denied(await run(programs, SEND))
            else:
                await refused(tools)
        assert portal.sent() == []


async def test_calls_that_go_out_before_a_result_has_come_could_not_have_it(code_tool: CodeTool) -> None:
    async with guarded(code_tool) as portal, client_of(portal.code, MODERN) as client:
        both_at_once = asyncio.create_task(
            run(client, "return Promise.all([codemode.crm.hang({text: ''}), codemode.mail.hang({text: ''})])")
        )
        await portal.mail.upstream.journal.wait("call hang")
        await portal.crm.upstream.journal.wait("call hang")
        # It was read: nothing new goes out, and what is out may end.
        portal.crm.upstream.release.set()
        async with client_of(portal.mcp, MODERN) as other:
            while True:
                try:
                    await other.call_tool("mail_echo", {"text": "x"})
                except MCPError:
                    break
        portal.mail.upstream.release.set()
        assert (await both_at_once)["result"] == ["released", "released"]
        assert was_denied(await run(client, SEND))


async def test_two_programs_at_once_are_one_person(code_tool: CodeTool) -> None:
    async with (
        guarded(code_tool) as portal,
        client_of(portal.code, MODERN) as one,
        client_of(portal.code, MODERN) as other,
    ):
        waiting = asyncio.create_task(run(one, "await codemode.crm.hang({text: ''}); return 'read'"))
        await portal.crm.upstream.journal.wait("call hang")
        # The read that is under way has handed over nothing yet.
        assert (await run(other, SEND + "return 'sent'"))["result"] == "sent"
        portal.crm.upstream.release.set()
        assert (await waiting)["result"] == "read"
        assert was_denied(await run(other, SEND))


@pytest.mark.parametrize(("tool", "text"), [("fail", ""), ("nothing", ""), ("structured", "x")])
async def test_an_error_of_the_server_counts_as_read_as_a_result_does(tool: str, text: str) -> None:
    behaviour = Behaviour(more=[{"name": "nothing", "inputSchema": {"type": "object"}}])
    async with hosted(behaviour) as crm, hosted() as mail, guarded(upstreams=(crm, mail)) as portal:
        async with client_of(portal.mcp, MODERN) as client:
            try:
                await client.call_tool(f"crm_{tool}", {"text": text})
            except MCPError as error:
                assert error.error.code == -32602
            await refused(client)


async def test_a_call_that_did_not_run_or_was_denied_has_read_nothing() -> None:
    labels: Any = {"crm": {"labels": ["confidential"], "timeout": 0.2}, "mail": {"labels": ["external"]}}
    async with guarded(labels=labels) as portal, client_of(portal.mcp, MODERN) as client:
        with pytest.raises(MCPError):
            await client.call_tool("crm_hang", {"text": ""})
        await portal.crm.stop()
        with pytest.raises(MCPError):
            await client.call_tool("crm_echo", {"text": "x"})
        await client.call_tool("mail_echo", {"text": "x"})
        assert portal.sent() == ["call echo"]
        await portal.crm.start()


async def test_prompts_resources_and_completions_of_a_server_have_its_labels() -> None:
    async with guarded() as portal:
        for read in ("prompt", "resource", "completion"):
            portal.clock.pass_by(hours=9)
            async with client_of(portal.mcp, MODERN) as client:
                await client.call_tool("mail_echo", {"text": "x"})
                if read == "prompt":
                    await client.get_prompt("crm_greet", {"who": "you"})
                elif read == "resource":
                    await client.read_resource("mcp-server://crm/test%3A%2F%2Fone")
                else:
                    await client.complete(PromptReference(name="crm_greet"), {"name": "who", "value": "a"})
                assert "labelled confidential" in await refused(client)
                # And what is sent there is judged alike.
                for denied in (
                    client.get_prompt("mail_greet", {"who": "you"}),
                    client.read_resource("mcp-server://mail/test%3A%2F%2Fone"),
                ):
                    with pytest.raises(MCPError) as error:
                        await denied
                    assert "a request to mail" in error.value.error.message


async def test_the_window_ends_and_each_read_begins_it_again() -> None:
    async with guarded() as portal, client_of(portal.mcp, MODERN) as client:
        await client.call_tool("crm_echo", {"text": "x"})
        portal.clock.pass_by(hours=7)
        await client.call_tool("crm_echo", {"text": "x"})
        portal.clock.pass_by(hours=7, minutes=59)
        await refused(client)
        portal.clock.pass_by(minutes=2)
        await client.call_tool("mail_echo", {"text": "x"})


async def test_in_a_program_it_holds_after_the_window_because_its_memory_has_what_it_read(code_tool: CodeTool) -> None:
    labels: Any = {**LABELS, "crm": {"labels": ["confidential"], "toolLabels": {"hang": []}}}
    async with guarded(code_tool, labels=labels) as portal, client_of(portal.code, MODERN) as client:
        program = f"{READ} await codemode.crm.hang({{text: ''}}); {SEND}"
        running = asyncio.create_task(run(client, program))
        await portal.crm.upstream.journal.wait("call hang")
        portal.clock.pass_by(hours=9)
        async with client_of(portal.mcp, MODERN) as other:
            await other.call_tool("mail_echo", {"text": "the window has ended"})
        portal.crm.upstream.release.set()
        answer = await running
        assert was_denied(answer) and "this program has read" in answer["error"]["message"]
        assert portal.sent() == ["call echo"]


async def test_a_rule_that_comes_during_a_run_knows_what_it_has_read_and_one_that_goes_holds_no_more(
    code_tool: CodeTool,
) -> None:
    async with guarded(code_tool, dataFlow={}) as portal, client_of(portal.code, MODERN) as client:
        program = f"{READ} await codemode.mail.hang({{text: ''}}); {SEND} return 'sent'"
        running = asyncio.create_task(run(client, program))
        await portal.mail.upstream.journal.wait("call hang")
        await portal.apply(dataFlow={"rules": [RULE]})
        portal.mail.upstream.release.set()
        assert was_denied(await running)
        await portal.apply(dataFlow={"rules": []})
        assert (await run(client, SEND + "return 'sent'"))["result"] == "sent"


async def test_labels_of_tools_change_or_replace_those_of_their_server() -> None:
    labels: Any = {
        "crm": {"labels": ["confidential"], "toolLabels": {"echo": ["-confidential"], "structured": []}},
        "mail": {"labels": ["internal"], "toolLabels": {"echo": ["+external"], "structured": ["external"]}},
    }
    async with guarded(labels=labels) as portal, client_of(portal.mcp, MODERN) as client:
        await client.call_tool("crm_echo", {"text": "x"})
        await client.call_tool("crm_structured", {"text": "x"})
        await client.call_tool("mail_echo", {"text": "x"})
        await client.call_tool("crm_progress", {"text": "x"})
        await refused(client, "mail_echo")
        await refused(client, "mail_structured")
        await client.call_tool("mail_progress", {"text": "x"})
        assert portal.kept.last.labels == "internal"


async def test_a_server_with_both_labels_is_called_once() -> None:
    labels = {"crm": {"labels": ["confidential", "external"]}}
    async with guarded(labels=labels) as portal, client_of(portal.mcp, MODERN) as client:
        await client.call_tool("crm_echo", {"text": "x"})
        assert "by crm.echo" in await refused(client, "crm_echo")


async def test_a_tool_or_server_that_a_rule_exempts_is_called_all_the_same() -> None:
    for exempt, allowed in (("mail.echo", True), ("mail.other", False), ("mail", True), ("crm", False)):
        rule = {**RULE, "exempt": [exempt]}
        async with guarded(dataFlow={"rules": [rule]}) as portal, client_of(portal.mcp, MODERN) as client:
            await client.call_tool("crm_echo", {"text": "x"})
            if allowed:
                await client.call_tool("mail_echo", {"text": "x"})
            else:
                await refused(client)


async def test_after_a_restart_it_holds_as_before(tmp_path: Path) -> None:
    clock = Clock()
    async with hosted() as crm, hosted() as mail:
        settings: Any = {"state": new_state(tmp_path), "clock": clock, "upstreams": (crm, mail)}
        async with guarded(**settings) as portal, client_of(portal.mcp, MODERN) as client:
            await client.call_tool("crm_echo", {"text": "x"})
            clock.pass_by(minutes=4)
            await client.call_tool("crm_echo", {"text": "x"})
        clock.pass_by(hours=7, minutes=59)
        async with guarded(**settings) as portal, client_of(portal.mcp, MODERN) as client:
            assert "by crm.echo" in await refused(client)
            clock.pass_by(minutes=6)
            await client.call_tool("mail_echo", {"text": "x"})


async def test_what_was_read_at_one_portal_holds_at_another_which_is_not_told_where() -> None:
    async with guarded() as portal:
        document = {"portals": {"other": {"servers": ["mail"]}}}
        entries = {
            "crm": {"url": portal.crm.url, "labels": ["confidential"]},
            "mail": {"url": portal.mail.url, "labels": ["external"]},
        }
        config = parse_config({"mcpServers": entries, **document, "portal": {"dataFlow": {"rules": [RULE]}}}, env={})
        await portal.instance.apply(config)
        async with client_of(portal.mcp, MODERN) as client, client_of(f"{portal.url}/other/mcp", MODERN) as other:
            await client.call_tool("crm_echo", {"text": "x"})
            reason = await refused(other)
            assert "labelled confidential. Nothing" in reason and "crm" not in reason


@both
async def test_questions_logs_and_progress_count_as_read_before_the_result(mode: str) -> None:
    for tool in ("log", "progress"):
        async with hosted(Behaviour(legacy=mode == "legacy")) as crm, hosted() as mail:
            async with guarded(upstreams=(crm, mail)) as portal, client_of(portal.mcp, mode) as client:
                await client.call_tool(f"crm_{tool}", {"text": "x"}, progress_callback=_nothing)
                await refused(client)


async def _nothing(progress: float, total: float | None, message: str | None) -> None:
    return None


@both
async def test_an_answer_to_a_question_goes_nowhere_where_a_call_may_not_go(mode: str) -> None:
    """Whoever is asked by the external server reads what is confidential before the answer."""

    async def answered(context: Any, params: Any) -> ElicitResult:
        if params.message == "and now":
            async with client_of(portal.mcp, MODERN) as other:
                await other.call_tool("crm_echo", {"text": "the salary"})
        return ElicitResult(action="accept", content={})

    legacy = Behaviour(legacy=True)
    async with hosted() as crm, hosted(legacy) as mail, guarded(upstreams=(crm, mail)) as portal:
        # A server of 2025 asks in the middle of its call.
        async with client_of(portal.mcp, "legacy", elicitation_callback=answered) as client:
            before = await client.call_tool("mail_ask", {"text": "what"})
            assert before.content[0].text == "accept legacy"  # type: ignore[union-attr]
            after = await client.call_tool("mail_ask", {"text": "and now"})
            assert after.content[0].text == "refused -32014"  # type: ignore[union-attr]
    row = next(row for row in portal.kept.records[::-1] if row.server == "mail")
    assert (row.outcome, row.policy) == ("ok", "data-flow:no-leaks")


async def test_an_answer_that_a_server_waits_for_with_its_result_is_refused_with_the_rule() -> None:
    """A server of 2026 ends its call with questions, and is called again with the answers."""

    async def answered(context: Any, params: Any) -> ElicitResult:
        async with client_of(portal.mcp, MODERN) as other:
            await other.call_tool("crm_echo", {"text": "the salary"})
        return ElicitResult(action="accept", content={})

    async with guarded() as portal:
        for mode in GENERATIONS:
            portal.clock.pass_by(hours=9)
            async with client_of(portal.mcp, mode, elicitation_callback=answered) as client:
                with pytest.raises(MCPError, match="'no-leaks' does not allow"):
                    await client.call_tool("mail_ask", {"text": "what"})


async def test_a_question_of_a_confidential_server_is_read_when_it_is_asked() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answered(context: Any, params: Any) -> ElicitResult:
        asked.set()
        await go_on.wait()
        return ElicitResult(action="accept", content={})

    async with hosted(Behaviour(legacy=True)) as crm, hosted() as mail, guarded(upstreams=(crm, mail)) as portal:
        async with (
            client_of(portal.mcp, "legacy", elicitation_callback=answered) as client,
            client_of(portal.mcp, MODERN) as other,
        ):
            asking = asyncio.create_task(client.call_tool("crm_ask", {"text": "is the salary 5?"}))
            await asked.wait()
            await refused(other)
            go_on.set()
            await asking


async def test_labels_change_without_a_new_connection() -> None:
    async with guarded(labels={}) as portal, client_of(portal.mcp, MODERN) as client:
        before = portal.instance.servers.snapshot.servers["crm"]
        await client.call_tool("crm_echo", {"text": "x"})
        await client.call_tool("mail_echo", {"text": "x"})
        await portal.apply(LABELS)
        assert portal.instance.servers.snapshot.servers["crm"].since == before.since
        # What was read before had no label.
        await client.call_tool("mail_echo", {"text": "x"})
        await client.call_tool("crm_echo", {"text": "x"})
        await refused(client)


async def test_subscribing_to_something_external_is_a_call_too() -> None:
    async with guarded() as portal, client_of(portal.mcp, "legacy") as client:
        await client.call_tool("crm_echo", {"text": "x"})
        with pytest.raises(MCPError, match="no-leaks"):
            await client.subscribe_resource("mcp-server://mail/test%3A%2F%2Fthe-salary")
        assert portal.mail.upstream.asked_of == []


@pytest.mark.parametrize("mode", ["search_and_execute", "off"])
async def test_other_ways_to_show_tools_do_not_get_around_it(code_tool: CodeTool, mode: str) -> None:
    url = "?optimize_context=search_and_execute" if mode != "off" else "?optimize_context=minimize_tools"
    async with guarded(code_tool) as portal, client_of(portal.mcp + url, MODERN) as client:
        if mode == "off":
            await client.call_tool("crm_echo", {"text": "x"})
            await refused(client)
        else:
            await client.call_tool("execute", {"code": READ})
            result = await client.call_tool("execute", {"code": SEND})
            assert "no-leaks" in str(result.structured_content)
        assert portal.sent() == []
