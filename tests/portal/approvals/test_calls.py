"""Calls that need an approval, through a real portal: made by a program or by a client, decided by people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.access import Access, LiveAccess
from portal.app import Parts, serving
from portal.app.portal import Portal
from portal.approvals import Approval, ApprovalRefused, Approvals, Decider, Remember
from portal.calls import Call
from portal.calls.pins import PinAdmission
from portal.errors import DENIED, ApprovalRequired
from portal.identity import Identity
from portal.state import APPROVALS, StateUnavailable, Store
from portal.upstream import CallContext, CallFacts
from tests.house.source import ROOT
from tests.patience import PATIENCE
from tests.portal.access.guarded import ADA, ANYBODY, BOB, ROBOT, CallerInUrl, access, policy
from tests.portal.approvals.people import Time
from tests.portal.portals import MODERN, Kept, KeptEvents, client_of, opened
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ADA_DECIDES, BOB_DECIDES = Decider.of(ADA, "browser"), Decider.of(BOB, "browser")
READ = ("read_resource", "test://one")
BOBS_GROUP = [{"approvals_needed": 1, "email_addresses": ["Bob@Example.com"]}]
EVERYONE: dict[str, Any] = {"everyone": {}}
ECHO = "return await codemode.up.echo({text: 'planted-argument'})"
CAUGHT = f"try {{ {ECHO} }} catch (error) {{ return {{kind: error.kind, message: error.message, data: error.data}} }}"


def asking(**more: Any) -> dict[str, Any]:
    """A document with one server, whose tool `echo` needs an approval."""
    tool = policy("payments", "allow", EVERYONE, tools={"names": ["echo"]}, approval_required=True, **more)
    return {
        "portal": {"policies": [ANYBODY], "tool_policies": [tool]},
        "servers": [{"id": "up", "policies": [ANYBODY]}],
    }


def asking_at(place: str, **more: Any) -> dict[str, Any]:
    """A document whose policy that lets people in, to the portal or the server, asks for an approval."""
    rule = policy("everything", "allow", EVERYONE, approval_required=True, **more)
    portal, server = (rule, ANYBODY) if place == "portal" else (ANYBODY, rule)
    return {"portal": {"policies": [portal]}, "servers": [{"id": "up", "policies": [server]}]}


@dataclass
class Place:
    """A running portal whose calls need approvals."""

    url: str
    live: LiveAccess
    kept: Kept
    events: KeptEvents
    approvals: Approvals
    store: Store
    upstream: Hosted
    time: Time
    portal: Portal

    @asynccontextmanager
    async def client(self, caller: str = "ada", mode: str = "") -> AsyncIterator[Any]:
        async with client_of(f"{self.url}/mcp?caller={caller}{mode}", MODERN) as client:
            yield client

    def decide_by(self, document: Mapping[str, Any]) -> None:
        self.live.replace(access(document))

    async def run(self, program: str, caller: str = "ada") -> dict[str, Any]:
        async with self.client(caller, "&codemode=search_and_execute") as client:
            answer = await client.call_tool("code", {"code": program})
            found: dict[str, Any] = answer.structured_content
            return found

    async def raw(self, params: Mapping[str, object]) -> dict[str, Any]:
        """The answer to a call of `echo` by Ada with exactly these params."""
        about = {"protocolVersion": MODERN, "clientInfo": {"name": "raw", "version": "1"}, "clientCapabilities": {}}
        meta = {f"io.modelcontextprotocol/{name}": value for name, value in about.items()}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**params, "_meta": meta}}
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": MODERN}
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "up_echo"}
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            answer = await client.post(f"{self.url}/mcp?caller=ada", headers=headers, json=body)
            found: dict[str, Any] = answer.json()
            return found

    async def asked(self, count: int = 1) -> list[Approval]:
        """The pending approvals, once there are so many."""
        news = asyncio.Event()
        unsubscribe = self.store.subscribe(lambda kinds: news.set() if APPROVALS in kinds else None)
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    news.clear()
                    found = await self.approvals.listed(states=("pending",))
                    if len(found) >= count:
                        return found
                    await news.wait()
        finally:
            unsubscribe()

    @property
    def calls(self) -> int:
        """How many calls of `echo` have reached the server."""
        return self.upstream.upstream.journal.entries.count("call echo")


@asynccontextmanager
async def place(
    folder: Path,
    document: Mapping[str, Any],
    code_tool: CodeTool | None = None,
    said: dict[str, dict[str, Any]] | None = None,
    at: Hosted | None = None,
    **section: Any,
) -> AsyncIterator[Place]:
    """`said` is what tools say of themselves otherwise than usually, `section` more of the section. `at` is the
    server; by default there is one for it alone."""
    folder.mkdir(exist_ok=True)
    kept, events, live, time = Kept(), KeptEvents(), LiveAccess(access(document)), Time()
    parts = Parts(code=code_tool, records=kept, events=events, access=live, now=time)
    callers = {"ada": ADA, "bob": BOB, "robot": ROBOT}
    async with hosted(Behaviour(said=said or {})) if at is None else nullcontext(at) as upstream:
        section = {"state": new_state(folder), **section}
        config = {"mcpServers": {"up": {"url": upstream.url}}, "portal": section}
        async with opened(config, parts=parts) as instance:
            await instance.servers.settled()
            instance.app.add_middleware(CallerInUrl, callers=callers)
            approvals, store = instance.shared.approvals, instance.shared.store
            assert approvals is not None and store is not None
            async with serving(instance) as url:
                yield Place(url, live, kept, events, approvals, store, upstream, time, instance.portals[""])


async def test_a_program_waits_for_an_approval_and_goes_on_with_it(tmp_path: Path, code_tool: CodeTool) -> None:
    async with place(tmp_path, asking(), code_tool) as at:
        running = asyncio.create_task(at.run(ECHO))
        [asked] = await at.asked()
        assert at.calls == 0 and (asked.server, asked.tool, asked.subject) == ("up", "echo", "ada")
        assert await at.approvals.arguments(asked.id) == '{"text":"planted-argument"}'
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        answer = await running
        assert (answer["status"], answer["result"]) == ("completed", "planted-argument")
        assert answer["executionId"] == asked.run
        assert (await at.approvals.get(asked.id)).state == "used"
        [row] = at.kept.records
        assert (row.policy, row.reason, row.outcome) == ("payments", f"approved with {asked.id}", "ok")


async def test_a_denial_is_caught_by_the_program_with_the_comment(tmp_path: Path, code_tool: CodeTool) -> None:
    async with place(tmp_path, asking(approval_groups=BOBS_GROUP), code_tool) as at:
        running = asyncio.create_task(at.run(CAUGHT))
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, BOB_DECIDES, False, comment="the wrong month")
        error = (await running)["result"]
        assert (error["kind"], error["data"]["policy"]) == ("denied", "payments")
        assert error["message"].startswith("An approver has denied this call of up.echo: the wrong month")
        assert "bob" not in error["message"].lower() and at.calls == 0


async def test_a_program_hears_that_nobody_approved_in_time(tmp_path: Path, code_tool: CodeTool) -> None:
    async with place(tmp_path, asking(), code_tool) as at:
        running = asyncio.create_task(at.run(CAUGHT))
        [asked] = await at.asked()
        at.time.passes(days=1)
        assert await at.approvals.expire_due() == 1
        error = (await running)["result"]
        assert error["kind"] == "denied" and "not approved and made in time" in error["message"]
        assert at.calls == 0


async def test_a_policy_that_has_changed_meanwhile_asks_anew(tmp_path: Path, code_tool: CodeTool) -> None:
    async with place(tmp_path, asking(), code_tool) as at:
        running = asyncio.create_task(at.run(ECHO))
        [first] = await at.asked()
        at.decide_by(asking(approval_groups=BOBS_GROUP))
        await at.approvals.decide(first.id, ADA_DECIDES, True)
        second = next(one for one in await at.asked() if one.id != first.id)
        assert at.calls == 0 and second.rule.by == "group"
        await at.approvals.decide(second.id, BOB_DECIDES, True)
        assert (await running)["result"] == "planted-argument" and at.calls == 1
        assert (await at.approvals.get(first.id)).state == "withdrawn"


class Flickering:
    """Signals by which a caller is in another country each time that they are read."""

    def __init__(self) -> None:
        self.reads = 0

    async def prepare(self, identity: Identity, access: Access) -> None:
        return None

    def current(self, identity: Identity) -> Identity | None:
        self.reads += 1
        return replace(identity, country="CH" if self.reads % 2 else "DE")


async def test_a_caller_whose_signals_flicker_is_never_let_through_by_one_reading_each(tmp_path: Path) -> None:
    swiss = policy("swiss", "allow", {"geo": {"country_code": "CH"}})
    rest = policy("rest", "allow", EVERYONE, approval_required=True)
    document = {"portal": {"policies": [swiss, rest]}, "servers": [{"id": "up", "policies": [ANYBODY]}]}
    async with place(tmp_path, document) as at:
        at.live.signals = signals = Flickering()
        caller = CallContext(principal=ADA)
        made = 0
        for skipped in range(8):
            signals.reads = skipped
            try:
                await at.portal.caller.call(Call.tool("up", "echo", {"text": "x"}), replace(caller, facts=CallFacts()))
                made += 1
            except ApprovalRequired as required:
                assert required.policy == "rest"
        # As a Swiss they call, as anybody else they are asked: never as both.
        assert (made, at.calls, len(await at.approvals.listed())) == (4, 4, 1)


async def test_a_policy_that_denies_meanwhile_wins_over_the_approval(tmp_path: Path, code_tool: CodeTool) -> None:
    async with place(tmp_path, asking(), code_tool) as at:
        running = asyncio.create_task(at.run(CAUGHT))
        [asked] = await at.asked()
        no = policy("no", "deny", EVERYONE, tools={"names": ["echo"]})
        at.decide_by({**asking(), "portal": {"policies": [ANYBODY], "tool_policies": [no]}})
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        error = (await running)["result"]
        assert (error["kind"], at.calls) == ("denied", 0)


async def test_a_run_that_ends_takes_back_what_it_has_asked_for(tmp_path: Path, code_tool: CodeTool) -> None:
    program = "codemode.up.echo({text: 'left'}).catch(() => 0); return await codemode.up.hang({text: 'x'})"
    async with place(tmp_path, asking(), code_tool) as at:
        running = asyncio.create_task(at.run(program))
        [asked] = await at.asked()
        over = asyncio.create_task(at.approvals.changed(asked.id, PATIENCE))
        at.upstream.upstream.release.set()
        assert (await running)["status"] == "completed"
        assert (await over).state == "withdrawn" and at.calls == 0


async def test_an_approval_of_a_call_that_did_not_leave_is_good_for_the_next_try(tmp_path: Path) -> None:
    async with place(tmp_path, asking()) as at, at.client() as client:
        with pytest.raises(MCPError):
            await client.call_tool("up_echo", {"text": "x"})
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        await at.upstream.stop()
        with pytest.raises(MCPError):
            await client.call_tool("up_echo", {"text": "x"})
        assert at.kept.last.outcome == "unavailable" and at.kept.last.reason == "UpstreamUnavailable"
        assert (await at.approvals.get(asked.id)).state == "approved"


async def test_an_approval_is_good_again_when_the_database_was_away_before_its_call_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StateUnavailable("the database is away")

    async with place(tmp_path, asking()) as at:
        call = {"name": "up_echo", "arguments": {"text": "x"}}
        await at.raw(call)
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        with monkeypatch.context() as patched:
            patched.setattr(PinAdmission, "admit", away)
            assert (await at.raw(call))["error"]["code"] != DENIED
        assert (at.calls, (await at.approvals.get(asked.id)).state) == (0, "approved")
        assert (await at.raw(call))["result"]["content"][0]["text"] == "x"


async def test_a_plain_call_says_where_and_the_same_call_uses_the_approval_once(tmp_path: Path) -> None:
    async with place(tmp_path, asking()) as at, at.client() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("up_echo", {"text": "planted-argument"})
        [asked] = await at.asked()
        assert caught.value.code == DENIED and caught.value.data["reason"] == "approval_required"
        assert caught.value.data["url"].endswith(f"/approve/{asked.id}") and "It did not run" in str(caught.value)
        assert "planted" not in str(caught.value)
        with pytest.raises(MCPError):
            await client.call_tool("up_echo", {"text": "planted-argument"})
        assert [one.id for one in await at.asked()] == [asked.id]
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        with pytest.raises(MCPError):
            await client.call_tool("up_echo", {"text": "tampered"})
        assert (await client.call_tool("up_echo", {"text": "planted-argument"})).content[0].text == "planted-argument"
        with pytest.raises(MCPError):
            await client.call_tool("up_echo", {"text": "planted-argument"})
        assert at.calls == 1


async def test_no_argument_of_a_call_approves_it(tmp_path: Path) -> None:
    async with place(tmp_path, asking()) as at, at.client() as client:
        with pytest.raises(MCPError):
            await client.call_tool("up_echo", {"text": "x"})
        [asked] = await at.asked()
        claims = {"approval": asked.id, "approved": True, "decision": "approve", "approvalId": asked.id}
        for arguments, meta in (({"text": "x", **claims}, {}), ({"text": "x"}, claims)):
            with pytest.raises(MCPError) as caught:
                await client.call_tool("up_echo", arguments, meta=meta)
            assert caught.value.data["reason"] == "approval_required"
        assert at.calls == 0 and {one.state for one in await at.approvals.listed()} == {"pending"}


@pytest.mark.parametrize("more", [{"inputResponses": {"sure": {"action": "accept"}}}, {"dryRun": False}])
async def test_what_a_call_carries_besides_its_arguments_goes_with_no_approval(
    tmp_path: Path, more: dict[str, object]
) -> None:
    call = {"name": "up_echo", "arguments": {"text": "x"}}
    async with place(tmp_path, asking()) as at:
        assert (await at.raw(call))["error"]["data"]["reason"] == "approval_required"
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        error = (await at.raw({**call, **more}))["error"]
        assert next(iter(more)) in error["message"] and "It did not run" in error["message"]
        assert at.calls == 0 and (await at.approvals.get(asked.id)).state == "approved"
        assert (await at.raw(call))["result"]["content"][0]["text"] == "x"


async def test_somebody_else_does_not_use_an_approval(tmp_path: Path) -> None:
    async with place(tmp_path, asking()) as at, at.client() as ada, at.client("bob") as bob:
        with pytest.raises(MCPError):
            await ada.call_tool("up_echo", {"text": "x"})
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        with pytest.raises(MCPError):
            await bob.call_tool("up_echo", {"text": "x"})
        assert at.calls == 0


async def test_a_remembered_approval_lets_further_calls_through(tmp_path: Path, code_tool: CodeTool) -> None:
    program = (
        "let said = []; for (const text of ['a', 'b', 'c']) said.push(await codemode.up.echo({text})); return said"
    )
    async with place(tmp_path, asking(), code_tool) as at:
        running = asyncio.create_task(at.run(program))
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, ADA_DECIDES, True, remember=Remember(seconds=600, uses=2, this_run=True))
        assert (await running)["result"] == ["a", "b", "c"]
        [grant] = {row.reason.removeprefix("approved with ") for row in at.kept.records} - {asked.id}
        assert grant.startswith("grant_") and await at.approvals.grants() == []


async def test_calls_at_once_are_asked_for_together_and_decided_together(tmp_path: Path, code_tool: CodeTool) -> None:
    program = "return await Promise.all(['a', 'b', 'c'].map(text => codemode.up.echo({text})))"
    async with place(tmp_path, asking(), code_tool) as at:
        running = asyncio.create_task(at.run(program))
        asked = await at.asked(3)
        decided = await at.approvals.decide_all(asked[0].run, ADA_DECIDES, True)
        assert len(decided) == 3 and (await running)["result"] == ["a", "b", "c"]


@pytest.mark.parametrize("where", ["portal", "server"])
async def test_a_policy_that_lets_people_in_asks_for_each_call_prompt_and_resource(tmp_path: Path, where: str) -> None:
    async with place(tmp_path, asking_at(where)) as at, at.client() as client:
        for method, *named in (("call_tool", "up_echo", {"text": "x"}), ("get_prompt", "up_greet", {}), READ):
            with pytest.raises(MCPError) as caught:
                await getattr(client, method)(*named)
            assert caught.value.data["reason"] == "approval_required", str(caught.value)
        asked = {one.tool: one for one in await at.asked(3)}
        assert set(asked) == {"echo", "prompts/get", "resources/read"}
        await at.approvals.decide(asked["resources/read"].id, ADA_DECIDES, True)
        assert (await client.read_resource("test://one")).contents


async def test_a_service_token_has_nobody_who_could_approve_for_itself(tmp_path: Path) -> None:
    document = asking()
    robots = policy("robots", "non_identity", {"any_valid_service_token": {}})
    document["portal"]["policies"].append(robots)
    document["servers"][0]["policies"] = [ANYBODY, robots]
    async with place(tmp_path, document) as at, at.client("robot") as client:
        with pytest.raises(MCPError, match="there is none behind this caller"):
            await client.call_tool("up_echo", {"text": "x"})
        assert await at.approvals.listed() == []
        grouped = asking(approval_groups=BOBS_GROUP)["portal"]["tool_policies"]
        at.decide_by({**document, "portal": {**document["portal"], "tool_policies": grouped}})
        with pytest.raises(MCPError):
            await client.call_tool("up_echo", {"text": "x"})
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, BOB_DECIDES, True)
        assert (await client.call_tool("up_echo", {"text": "x"})).content[0].text == "x"


async def test_a_call_that_needs_no_approval_reads_nothing(tmp_path: Path) -> None:
    async with place(tmp_path, asking()) as at, at.client() as client:
        await client.call_tool("up_structured", {"text": "x"})
        reads: list[str] = []
        rows = at.store.approvals
        for name in ("of_call", "get", "request", "use", "secret"):
            setattr(rows, name, lambda *_, name=name: reads.append(name))
        for _ in range(3):
            await client.call_tool("up_structured", {"text": "x"})
        assert reads == []


async def test_decisions_are_events_and_nothing_of_the_arguments_is_written(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with place(tmp_path, asking(approval_groups=BOBS_GROUP), code_tool) as at:
        running = asyncio.create_task(at.run(ECHO))
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, BOB_DECIDES, True)
        await running
        written = [row for row in at.events.rows if row.method.startswith("approval/")]
        assert [(row.identity, row.method, row.run, row.outcome) for row in written] == [
            ("bob", "approval/approve", asked.run, "ok")
        ]
        assert "planted" not in str(at.events.rows) + str(at.kept.records)
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert asked.id.encode() in files and b"planted-argument" not in files


def test_no_way_of_clients_and_service_tokens_makes_a_decider() -> None:
    rooms = ("endpoint", "calls", "stdio", "oauth", "runs", "upstream", "servers", "elicitation")
    paths = [path for room in rooms for path in (ROOT / "portal" / room).rglob("*.py")]
    assert len(paths) > 100
    assert [str(path) for path in paths if "Decider" in path.read_text(encoding="utf-8")] == []


async def test_a_person_answers_in_their_client_only_where_the_policy_lets_them(tmp_path: Path) -> None:
    client_answers = asking(approve_by="client")
    reads = {"echo": {"annotations": {"readOnlyHint": True}}}
    async with place(tmp_path, client_answers, said=reads) as at, at.client() as client:
        with pytest.raises(MCPError):
            await client.call_tool("up_echo", {"text": "x"})
        [asked] = await at.asked()
        for stranger in (BOB, ROBOT):
            with pytest.raises(ApprovalRefused):
                await at.approvals.answer(asked.id, stranger, True)
        assert (await at.approvals.answer(asked.id, ADA, True)).state == "approved"
        assert (await client.call_tool("up_echo", {"text": "x"})).content[0].text == "x"
    async with place(tmp_path / "harmful", client_answers) as at, at.client() as client:
        with pytest.raises(MCPError):
            await client.call_tool("up_echo", {"text": "x"})
        [asked] = await at.asked()
        with pytest.raises(ApprovalRefused, match="decided in the browser"):
            await at.approvals.answer(asked.id, ADA, True)


def test_only_a_person_who_signed_in_can_decide() -> None:
    for caller in (
        ROBOT,
        Identity(),
        Identity(id="x", service_token_id="t"),
        Identity(certificate=True, common_name="c"),
    ):
        with pytest.raises(ValueError, match="only a person"):
            Decider.of(caller, "api")
    for subject in ("", ROBOT.key, "certificate:c"):
        with pytest.raises(ValueError, match="only a person"):
            Decider(subject=subject, email="bob@example.com", via="api")
