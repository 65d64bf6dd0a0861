"""A served portal with the gateway: what rules block, redact and note, in both directions, in and outside programs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.config import parse_config
from portal.dlp import Verdict
from portal.errors import DENIED, ConfigError
from portal.servers import Snapshot
from tests.portal.dlp.made_up import SECRETS
from tests.portal.gateway.searching import Searching
from tests.portal.portals import GENERATIONS, MODERN, Heard, Kept, KeptEvents, client_of, portal_over
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.raw import Exchange, raw_upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
CREDENTIALS = 'any(dlp.profiles[*] in {"credentials"})'
OUT, IN = 'mcp.direction == "outgoing"', 'mcp.direction == "incoming"'


def rule(name: str, action: str = "block", traffic: str = CREDENTIALS, **more: Any) -> dict[str, Any]:
    return {"name": name, "action": action, "traffic": traffic, **more}


def on(*rules: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a portal with these rules."""
    return {"secureWebGateway": True, "gateway": {"rules": list(rules)}}


def secret(kind: str = "github", seed: int = 1) -> str:
    return SECRETS[kind](random.Random(seed))


def all_of(kept: Kept) -> str:
    return repr(kept.records) + repr(kept.runs)


def text(result: Any) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_secret_goes_neither_out_nor_in_and_the_error_names_the_rule(searching: Searching, mode: str) -> None:
    out = rule("No secrets out", traffic=f"{CREDENTIALS} and {OUT}", id="r1")
    into = rule("None back", traffic=f'{CREDENTIALS} and {IN} and mcp.tool.name == "structured"', id="r2")
    async with hosted() as host, portal_over({"up": host}, detector=searching, **on(out, into)) as portal:
        token = secret()
        async with client_of(portal.mcp, mode) as client:
            with pytest.raises(MCPError) as denied:
                await client.call_tool("up_echo", {"text": f"it is {token}"})
            assert denied.value.error.code == DENIED
            assert denied.value.error.data == {"policy": "gateway:No secrets out"}
            assert "params.arguments.text" in denied.value.error.message
            assert "was not sent" in denied.value.error.message and token not in denied.value.error.message
            assert "call echo" not in host.upstream.journal.entries
            row = portal.kept.last
            assert (row.outcome, row.policy) == ("denied", "gateway:No secrets out")
            assert text(await client.call_tool("up_echo", {"text": "nothing"})) == "nothing"
    assert token not in all_of(portal.kept)


async def test_a_result_is_kept_back_after_the_call_was_made(searching: Searching) -> None:
    into = rule("None back", traffic=f"{CREDENTIALS} and {IN}", id="r2")
    async with hosted() as host, portal_over({"up": host}, detector=searching, **on(into)) as portal:
        token = secret()
        async with client_of(portal.mcp, MODERN) as client:
            with pytest.raises(MCPError) as denied:
                await client.call_tool("up_structured", {"text": token})
            assert "The call was made." in denied.value.error.message and token not in str(denied.value)
            assert "call structured" in host.upstream.journal.entries
            with pytest.raises(MCPError):
                await client.get_prompt("up_greet", {"who": token})
            with pytest.raises(MCPError):
                await client.read_resource(f"test://{token}")
        found = orjson.loads(portal.kept.records[0].findings)
        assert [(one["rule"], one["action"], one["direction"]) for one in found] == [("r2", "block", "incoming")]
        details = found[0]["findings"]
        assert {one["path"] for one in details} == {"result.content[0].text", "result.structuredContent.text"}
        assert len({one["digest"] for one in details}) == 1
        assert {(one["profile"], one["length"]) for one in details} == {("credentials", len(token))}
    assert token not in all_of(portal.kept).replace(f"test://{token}", "")


async def test_what_names_the_target_of_a_blocked_call_is_in_no_row(searching: Searching) -> None:
    async with hosted() as host, portal_over({"up": host}, detector=searching, **on(rule("None", id="r"))) as portal:
        token = secret()
        async with client_of(portal.mcp, MODERN) as client:
            with pytest.raises(MCPError) as denied:
                await client.read_resource(f"test://{token}")
        assert token not in str(denied.value)
        assert (portal.kept.last.outcome, portal.kept.last.name) == ("denied", "[redacted]")
        assert host.upstream.asked_of == []
    assert token not in all_of(portal.kept)


async def test_a_redacted_value_goes_on_without_what_was_found(searching: Searching) -> None:
    redact = rule("Take out", "redact", id="r1")
    async with hosted() as host, portal_over({"up": host}, detector=searching, **on(redact)) as portal:
        token = secret()
        async with client_of(portal.mcp, MODERN) as client:
            answer = await client.call_tool("up_structured", {"text": f"mail ada@example.com, token {token}."})
        assert answer.structured_content is not None
        assert answer.structured_content["text"].startswith("mail ada@example.com, token [redacted:")
        row = portal.kept.last
        assert (row.outcome, row.policy) == ("ok", "gateway:Take out")
        assert [one["action"] for one in orjson.loads(row.findings)] == ["redact"]
    assert token not in all_of(portal.kept) and token not in answer.model_dump_json()


async def test_a_rule_that_logs_lets_the_call_go_on_and_is_in_its_row(searching: Searching) -> None:
    rules = on(rule("Note", "log", id="n"), rule("Tools", "log", 'mcp.tool.name == "echo"', id="t"))
    async with hosted() as host, portal_over({"up": host}, detector=searching, **rules) as portal:
        token = secret()
        async with client_of(portal.mcp, MODERN) as client:
            assert text(await client.call_tool("up_echo", {"text": token})) == token
        row = portal.kept.last
        assert (row.outcome, row.policy) == ("ok", "gateway:Note")
        found = orjson.loads(row.findings)
        assert [(one["rule"], one["direction"]) for one in found] == [
            ("n", "outgoing"),
            ("t", "outgoing"),
            ("n", "incoming"),
            ("t", "incoming"),
        ]
        # Each direction was searched once, whatever the number of rules.
        assert searching.asked == ["params", "result"]
    assert token not in all_of(portal.kept)


async def test_the_first_rule_that_matches_ends_it_and_without_one_all_passes(searching: Searching) -> None:
    rules = on(
        rule("Later", traffic='mcp.server.id == "up"', precedence=20, block_reason=None),
        rule("Sooner", "allow", 'mcp.tool.name in {"echo" "structured"}', precedence=10),
    )
    rules["gateway"]["rules"][0].pop("block_reason")
    async with hosted() as host, portal_over({"up": host, "free": host}, detector=searching, **rules) as portal:
        async with client_of(portal.mcp, MODERN) as client:
            assert text(await client.call_tool("up_echo", {"text": secret()})) == secret()
            assert text(await client.call_tool("free_fail", {"text": ""})) == "it failed"
            with pytest.raises(MCPError) as denied:
                await client.call_tool("up_fail", {"text": ""})
            assert "'Later': its conditions hold" in denied.value.error.message
            assert host.upstream.journal.entries.count("call fail") == 1
        assert searching.asked == []


async def test_rules_are_about_the_host_of_the_server_and_programs_have_none() -> None:
    traffic = 'not http.request.host in {"127.0.0.1"}'
    other: dict[str, Any] = {"command": "python", "args": ["-m", "tests.portal.upstreams.server", "stdio"]}
    async with hosted() as host, portal_over({"up": host, "own": other}, **on(rule("Ours", traffic=traffic))) as portal:
        async with client_of(portal.mcp, MODERN) as client:
            assert text(await client.call_tool("up_echo", {"text": "x"})) == "x"
            with pytest.raises(MCPError):
                await client.call_tool("own_echo", {"text": "x"})


async def test_the_portal_has_all_its_servers_in_the_gateway_and_a_server_itself_alone() -> None:
    rules = [rule("All", traffic="")]
    async with hosted() as host:
        entries: dict[str, dict[str, Any]] = {
            "in": {"url": host.url, "secureWebGateway": True},
            "out": {"url": host.url},
        }
        for whole, blocked in ((None, {"in"}), (False, {"in"}), (True, {"in", "out"})):
            settings: dict[str, Any] = {
                "gateway": {"rules": rules},
                **({} if whole is None else {"secureWebGateway": whole}),
            }
            async with portal_over(entries, **settings) as portal, client_of(portal.mcp, MODERN) as client:
                for server in ("in", "out"):
                    try:
                        await client.call_tool(f"{server}_echo", {"text": "x"})
                        assert server not in blocked
                    except MCPError:
                        assert server in blocked


async def test_a_program_reads_that_its_call_was_blocked_and_can_go_on(
    searching: Searching, code_tool: CodeTool
) -> None:
    rules = on(rule("No secrets", traffic=f'{CREDENTIALS} and mcp.server.id == "up"', id="r1"))
    async with hosted() as host, portal_over({"up": host}, detector=searching, code_tool=code_tool, **rules) as portal:
        token = secret()
        head, tail = token[:15], token[15:]
        program = f"""
        const parts = ["{head}", "{tail}"];
        try {{ await codemode.up.echo({{text: parts.join("")}}); }}
        catch (error) {{ return [error.name, error.kind, error.message, await codemode.up.echo({{text: "on"}})]; }}
        """
        async with client_of(portal.code, MODERN) as client:
            answer = await client.call_tool("code", {"code": program})
        assert answer.structured_content is not None
        name, kind, message, went_on = answer.structured_content["result"]
        assert (name, kind, went_on) == ("ToolError", "denied", "on") and "'No secrets'" in message
        assert [call["status"] for call in answer.structured_content["calls"]] == ["denied", "ok"]
        assert host.upstream.journal.entries.count("call echo") == 1
        assert token not in answer.model_dump_json()
    assert token not in all_of(portal.kept)


async def test_the_text_of_a_program_is_searched_before_it_runs(searching: Searching, code_tool: CodeTool) -> None:
    rules = on(rule("No secrets", id="r1", rule_settings={"block_reason": "Use the vault."}))
    async with hosted() as host, portal_over({"up": host}, detector=searching, code_tool=code_tool, **rules) as portal:
        token = secret()
        async with client_of(portal.code, MODERN) as client:
            program = f'await codemode.up.echo({{text: "x"}}); return "{token}"'
            answer = await client.call_tool("code", {"code": program})
            fine = await client.call_tool("code", {"code": "return 1"})
        assert answer.structured_content is not None and fine.structured_content is not None
        assert fine.structured_content["result"] == 1
        error = answer.structured_content["error"]
        assert answer.is_error and error["kind"] == "denied" and "Nothing ran." in error["message"]
        assert "Use the vault." in error["message"]
        assert "call echo" not in host.upstream.journal.entries
        assert (portal.kept.runs[0].outcome, portal.kept.runs[0].policy) == ("denied", "gateway:No secrets")
        assert orjson.loads(portal.kept.runs[0].findings)[0]["findings"][0]["path"] == "program"
    assert token not in answer.model_dump_json() + all_of(portal.kept)


async def test_a_program_is_not_searched_for_rules_that_cannot_be_about_it(
    searching: Searching, code_tool: CodeTool
) -> None:
    rules = on(rule("Elsewhere", traffic=f'{CREDENTIALS} and http.request.host == "crm.example.com"'))
    async with hosted() as host, portal_over({"up": host}, detector=searching, code_tool=code_tool, **rules) as portal:
        async with client_of(portal.code, MODERN) as client:
            answer = await client.call_tool("code", {"code": f'return await codemode.up.echo({{text: "{secret()}"}})'})
        assert answer.structured_content is not None and answer.structured_content["result"] == secret()
        assert searching.asked == []


async def test_what_a_server_asks_and_tells_meanwhile_passes_the_gate(searching: Searching) -> None:
    rules = on(rule("None back", traffic=f"{CREDENTIALS} and {IN}", id="r"))
    heard = Heard()
    async with hosted() as host, portal_over({"up": host}, detector=searching, **rules) as portal:
        token = secret()
        options = {"elicitation_callback": heard.elicit, "logging_callback": heard.log}
        async with client_of(portal.mcp, "legacy", **options) as client:
            await client.set_logging_level("debug")
            assert text(await client.call_tool("up_log", {"text": token})) == "logged"
            assert text(await client.call_tool("up_log", {"text": "plain"})) == "logged"
            await heard.until("log")
            try:
                told = text(await client.call_tool("up_ask", {"text": token}))
            except MCPError as error:
                told = str(error)
        assert heard.of("question") == [] and token not in told
        assert len(heard.of("log")) == 1 and "plain" in str(heard.of("log"))
    assert token not in all_of(portal.kept)


async def test_the_words_of_an_error_pass_the_gate(searching: Searching) -> None:
    token = secret()
    rules = on(
        rule("Out of words", "redact", f'{CREDENTIALS} and mcp.tool.name == "echo"', id="a"),
        rule("None back", traffic=f"{CREDENTIALS} and {IN}", id="r"),
    )

    async def fail(exchange: Exchange) -> None:
        await exchange.error(-32050, f"no such thing as {token}")

    async with raw_upstream(fail) as raw:
        raw.tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "other")]
        async with portal_over({"up": {"url": raw.url}}, detector=searching, **rules) as portal:
            async with client_of(portal.mcp, MODERN) as client:
                with pytest.raises(MCPError) as failed:
                    await client.call_tool("up_echo", {})
                with pytest.raises(MCPError) as denied:
                    await client.call_tool("up_other", {})
            assert failed.value.error.code == -32050
            assert failed.value.error.message.startswith("no such thing as [redacted:")
            assert denied.value.error.code == DENIED and "The call was made." in denied.value.error.message
            assert token not in str(denied.value) + all_of(portal.kept)


@pytest.mark.parametrize("action", ["block", "redact"])
async def test_our_own_words_about_a_failed_call_do_not_quote_what_may_not_come_back(
    searching: Searching, action: str
) -> None:
    token = secret("openai")
    bodies = iter([f"it is {token}", f"it is {token}", "word " * 34 + f"is it, {token}", "all fine"])

    async def fail(exchange: Exchange) -> None:
        await exchange.answer(next(bodies).encode(), status=500, kind="text/plain")

    async with raw_upstream(fail) as raw:
        up = {"url": raw.url}
        async with portal_over({"up": up}, detector=searching, **on(rule("None back", action, id="r"))) as portal:
            said, seen = [], []
            async with client_of(portal.mcp, MODERN) as client:
                for _ in range(4):
                    with pytest.raises(MCPError) as failed:
                        await client.call_tool("up_echo", {})
                    seen.append(failed.value.error.code)
                    said.append(failed.value.error.message)
        kept_back = "by the rule 'None back'" if action == "block" else "it is [redacted:"
        assert kept_back in said[0] and kept_back in said[1]
        assert seen == ([DENIED] * 2 if action == "block" else [-32012] * 2) + [-32012] * 2
        # What is cut off in the middle of a secret has no half of it.
        assert "is it," in said[2] and token[:8] not in said[2]
        assert "all fine" in said[3]
        assert [row.policy for row in portal.kept.records] == ["gateway:None back"] * 2 + ["", ""]
        assert token not in all_of(portal.kept)


async def test_what_nothing_is_called_is_in_no_row_where_a_rule_would_find_a_secret(searching: Searching) -> None:
    token, events = secret(), KeptEvents()
    rules = on(rule("None", traffic=f'{CREDENTIALS} and mcp.server.id == "up"', id="r"))
    async with hosted() as host, portal_over({"up": host}, detector=searching, events=events, **rules) as portal:
        async with client_of(portal.mcp, MODERN) as client:
            for name in (token, f"up_{token}", "up_nothing"):
                with pytest.raises(MCPError):
                    await client.call_tool(name, {})
            for uri in (f"mcp-server://{token}/a", f"nobody://a/{token}?b", "nobody://b"):
                with pytest.raises(MCPError):
                    await client.read_resource(uri)
            searching.away = True
            with pytest.raises(MCPError):
                await client.call_tool("up_unsearched", {})
    refused = [row.name for row in events.rows if row.kind == "refusal"]
    hidden = "[redacted]"
    assert refused == [hidden, hidden, "up_nothing", hidden, hidden, "nobody://b", hidden]
    assert token not in repr(events.rows)


@pytest.mark.parametrize("how", ["forbidden", "unauthorized", "no message", "elsewhere"])
async def test_what_a_server_says_in_another_error_than_one_of_the_protocol_passes_the_rules_too(
    searching: Searching, how: str
) -> None:
    token = secret()

    async def fail(exchange: Exchange) -> None:
        if how == "elsewhere":
            await exchange.answer(b"", status=302, also=f"location: http://{token.lower()}.example/{token}")
        elif how == "no message":
            await exchange.answer(f"no, {token}".encode(), kind="text/plain")
        else:
            await exchange.error(-32000, f"not with {token}", status=403 if how == "forbidden" else 401)

    for action in ("redact", "block"):
        rules = on(rule("In", action, traffic=f"{CREDENTIALS} and {IN}", id="r"))
        async with raw_upstream(fail) as raw:
            raw.tools = [{"name": "echo", "inputSchema": {"type": "object"}}]
            async with portal_over({"up": {"url": raw.url}}, detector=searching, **rules) as portal:
                async with client_of(portal.mcp, MODERN) as client:
                    with pytest.raises(MCPError) as failed:
                        await client.call_tool("up_echo", {})
            assert token not in str(failed.value) + repr(failed.value.error) + all_of(portal.kept)
            assert portal.kept.last.policy == "gateway:In"
            assert (failed.value.error.code == DENIED) is (action == "block")


async def test_nothing_passes_where_nobody_can_say_whether_a_rule_matches(searching: Searching) -> None:
    rules = on(
        rule("Elsewhere", traffic=f'{CREDENTIALS} and mcp.server.id == "other"'),
        rule("Here", "log", f'{CREDENTIALS} and mcp.tool.name == "echo"'),
    )
    async with hosted() as host, portal_over({"up": host}, detector=searching, **rules) as portal:
        async with client_of(portal.mcp, MODERN) as client:
            assert text(await client.call_tool("up_echo", {"text": "x"})) == "x"
            searching.away = True
            with pytest.raises(MCPError) as denied:
                await client.call_tool("up_echo", {"text": "x"})
            assert "nothing can be searched" in denied.value.error.message
            # No rule about secrets is about this one.
            assert text(await client.call_tool("up_fail", {"text": ""})) == "it failed"
            assert orjson.loads(portal.kept.records[1].findings)[0]["why"] == "unavailable"


async def test_a_changed_rule_holds_in_a_program_that_runs(searching: Searching, code_tool: CodeTool) -> None:
    async with hosted() as host, portal_over({"up": host}, detector=searching, code_tool=code_tool) as portal:
        program = """
        const before = await codemode.up.echo({text: "x"});
        await codemode.up.journal({text: "go"});
        try { return await codemode.up.echo({text: before}); } catch (error) { return error.message; }
        """
        async with client_of(portal.code, MODERN) as client:

            async def change() -> None:
                await host.upstream.journal.wait("call journal")
                document = {"mcpServers": {"up": {"url": host.url}}, "portal": on(rule("New", traffic=""))}
                assert await portal.instance.apply(parse_config(document, env={})) == ()
                await host.upstream.journal.add("go")

            answer, _ = await asyncio.gather(client.call_tool("code", {"code": program}), change())
        assert answer.structured_content is not None
        # The result of the call that was under way is kept back already.
        assert "'New'" in str(answer.structured_content)
        assert host.upstream.journal.entries.count("call echo") == 1


async def test_rules_are_about_the_host_that_a_program_still_calls_after_its_server_has_moved(
    code_tool: CodeTool,
) -> None:
    """The document may name another host meanwhile: a program goes on with the servers that it began with."""
    rules = on(rule("Not there", traffic='http.request.host == "127.0.0.1" and mcp.tool.name == "echo"'))
    program = """
    await codemode.up.journal({text: "go"});
    try { return await codemode.up.echo({text: "x"}); } catch (error) { return error.message; }
    """
    async with hosted() as host, portal_over({"up": host}, code_tool=code_tool, **rules) as portal:
        async with client_of(portal.code, MODERN) as client:

            async def move() -> None:
                await host.upstream.journal.wait("call journal")
                moved = {"up": {"url": host.url.replace("127.0.0.1", "localhost")}}
                await portal.instance.apply(parse_config({"mcpServers": moved, "portal": rules}, env={}))
                await host.upstream.journal.add("go")

            answer, _ = await asyncio.gather(client.call_tool("code", {"code": program}), move())
        assert answer.structured_content is not None and "'Not there'" in str(answer.structured_content)
        assert "call echo" not in host.upstream.journal.entries


class Swapping(Searching):
    """A detector whose first search ends after the rules have changed, and has what they need by then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.change: Callable[[], Awaitable[object]] | None = None

    async def scanned(self, value: object, root: str = "value", *, as_arguments: bool = False) -> Verdict:
        if self.change is not None:
            change, self.change = self.change, None
            await change()
        verdict = await super().scanned(value, root, as_arguments=as_arguments)
        return Verdict(tuple(one for one in verdict.findings if one.profile in self.needed), complete=verdict.complete)


async def test_a_value_that_was_on_its_way_as_rules_changed_is_judged_by_the_new_ones(folder: Path) -> None:
    searching = Swapping(folder)
    former, later = (rule(name, traffic=f'any(dlp.profiles[*] == "{name}")') for name in ("credentials", "own"))
    async with hosted() as host, portal_over({"up": host}, detector=searching, **on(former)) as portal:
        document = {"mcpServers": {"up": {"url": host.url}}, "portal": on(later)}
        searching.change = lambda: portal.instance.apply(parse_config(document, env={}))
        async with client_of(portal.mcp, MODERN) as client:
            # Either rule is about it.
            with pytest.raises(MCPError, match="'own'"):
                await client.call_tool("up_echo", {"text": f"{secret()} T-12345"})
        assert "call echo" not in host.upstream.journal.entries


async def test_no_new_server_is_served_before_the_rules_that_came_with_it() -> None:
    async with hosted() as host, portal_over({}) as portal:
        instance, seen = portal.instance, []

        def served(old: Snapshot, new: Snapshot) -> None:
            if "up" in new.servers:
                seen.append(
                    (len(instance.shared.gateway.current.rules), instance.own.secure_web_gateway)
                    + (len(instance.shared.quotas.quotas),)
                )

        portal.servers.subscribe(served)
        settings = {**on(rule("All", traffic="")), "quotas": [{"name": "few", "calls": 1, "period": 60, "per": []}]}
        await instance.apply(parse_config({"mcpServers": {"up": {"url": host.url}}, "portal": settings}, env={}))
        assert seen and set(seen) == {(1, True, 1)}


async def test_a_document_with_a_rule_that_cannot_be_used_is_refused(searching: Searching) -> None:
    async with hosted() as host, portal_over({"up": host}, detector=searching, **on(rule("Fine"))) as portal:
        for bad, words in (
            (rule("Bad", traffic='http.request.hots == "a"'), "rules[0].traffic: column 1"),
            (rule("Bad", "scan"), "rules[0].action"),
            ({**rule("Bad"), "schedule": {"mon": "08:00-10:00"}}, "rules[0].schedule"),
        ):
            document = {"mcpServers": {"up": {"url": host.url}}, "portal": on(bad)}
            with pytest.raises(ConfigError) as refused:
                await portal.instance.apply(parse_config(document, env={}))
            assert words in str(refused.value)
        async with client_of(portal.mcp, MODERN) as client:
            with pytest.raises(MCPError):
                await client.call_tool("up_echo", {"text": secret()})
