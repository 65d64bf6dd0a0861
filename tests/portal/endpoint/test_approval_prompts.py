"""Plain calls that people have to approve: what each kind of client is asked, and what its answer decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from portal.endpoint import approval_prompts
from tests.portal.approvals.test_calls import ADA_DECIDES, BOB_DECIDES, BOBS_GROUP, Place, asking, place
from tests.portal.portals import GENERATIONS, MODERN, Heard, client_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
SAFE = {"echo": {"annotations": {"destructiveHint": False}}}
IN_CLIENT = asking(approve_by="client")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def accepted(**content: str) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=dict(content))


DECLINED, CANCELLED = types.ElicitResult(action="decline"), types.ElicitResult(action="cancel")


@asynccontextmanager
async def asked_client(at: Place, mode: str, answer: Any, caller: str = "ada") -> AsyncIterator[tuple[Any, Heard]]:
    """A client that shows forms and URLs, and answers all with this."""
    heard = Heard(answer)
    async with client_of(f"{at.url}/mcp?caller={caller}", mode, elicitation_callback=heard.elicit) as client:
        yield client, heard


async def states(at: Place) -> list[str]:
    return [one.state for one in await at.approvals.listed()]


def text(result: Any) -> str:
    return "".join(block.text for block in result.content)


@both
async def test_a_form_shows_the_whole_call_and_its_approval_lets_the_call_go_on(mode: str, tmp_path: Path) -> None:
    async with place(tmp_path, IN_CLIENT, said=SAFE) as at:
        async with asked_client(at, mode, accepted(decision="approve")) as (client, heard):
            assert text(await client.call_tool("up_echo", {"text": "x\u202e<b>`"})) == "x\u202e<b>`"
        [asked] = heard.of("question")
        assert "`echo` of the server `up`" in asked.message and "“Payments”" in asked.message
        assert '"text": "x\\u202e\\u003cb>\\u0060"' in asked.message and "\u202e" not in asked.message
        properties = asked.requested_schema["properties"]
        assert properties["remember"]["enum"] == ["no", "15 minutes"]
        assert (await states(at), at.calls) == (["used"], 1)


@both
@pytest.mark.parametrize("answer", [accepted(decision="deny"), DECLINED], ids=["deny", "decline"])
async def test_who_denies_or_declines_has_denied_the_call(mode: str, answer: Any, tmp_path: Path) -> None:
    async with place(tmp_path, IN_CLIENT, said=SAFE) as at, asked_client(at, mode, answer) as (client, heard):
        with pytest.raises(MCPError, match="The person behind this call has denied"):
            await client.call_tool("up_echo", {"text": "x"})
        assert (await states(at), at.calls, len(heard.of("question"))) == (["denied"], 0, 1)


@both
@pytest.mark.parametrize("answer", [CANCELLED, accepted(), accepted(decision="maybe")], ids=["cancel", "none", "odd"])
async def test_who_cancels_has_not_decided_and_the_client_gets_the_link(mode: str, answer: Any, tmp_path: Path) -> None:
    async with place(tmp_path, IN_CLIENT, said=SAFE) as at, asked_client(at, mode, answer) as (client, _):
        with pytest.raises(MCPError, match="/approve/apr_"):
            await client.call_tool("up_echo", {"text": "x"})
        assert (await states(at), at.calls) == (["pending"], 0)


@both
async def test_what_is_remembered_needs_no_second_form(mode: str, tmp_path: Path) -> None:
    answer = accepted(decision="approve", remember="15 minutes")
    async with place(tmp_path, IN_CLIENT, said=SAFE) as at, asked_client(at, mode, answer) as (client, heard):
        for word in ("a", "b"):
            assert text(await client.call_tool("up_echo", {"text": word})) == word
        assert len(heard.of("question")) == 1
        [grant] = await at.approvals.grants()
        assert (grant.until - grant.created_at).total_seconds() == 900


REFUSED: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "browser": (asking(), SAFE),
    "group": (asking(approval_groups=BOBS_GROUP), SAFE),
    "destructive": (IN_CLIENT, {}),
    "purpose": (asking(approve_by="client", purpose_justification_required=True), SAFE),
}


@both
@pytest.mark.parametrize("case", REFUSED)
async def test_no_answer_of_a_client_decides_what_the_policy_does_not_let_it(
    mode: str, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval_prompts, "PATIENCE", 0.05)
    document, said = REFUSED[case]
    answer = accepted(decision="approve", remember="15 minutes")
    async with place(tmp_path, document, said=dict(said)) as at, asked_client(at, mode, answer) as (client, heard):
        with pytest.raises(MCPError, match="/approve/apr_"):
            await client.call_tool("up_echo", {"text": "x"})
        [asked] = heard.of("question")
        [pending] = await at.approvals.listed()
        assert (asked.mode, pending.state, at.calls) == ("url", "pending", 0)
        assert asked.url.endswith(f"/approve/{pending.id}") and asked.url in asked.message


@both
async def test_arguments_that_are_too_large_for_a_form_are_decided_on_the_page(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval_prompts, "PATIENCE", 0.05)
    async with place(tmp_path, IN_CLIENT, said=SAFE) as at:
        async with asked_client(at, mode, accepted(decision="approve")) as (client, heard):
            with pytest.raises(MCPError, match="/approve/apr_"):
                await client.call_tool("up_echo", {"text": "x" * 5000})
        [asked] = heard.of("question")
        assert (
            "too large to be shown here" in asked.message and asked.url in asked.message and len(asked.message) < 1000
        )
        assert (await states(at), at.calls) == (["pending"], 0)


@both
async def test_a_decision_on_the_page_lets_a_call_go_on_whose_client_was_shown_the_url(
    mode: str, tmp_path: Path
) -> None:
    async with place(tmp_path, asking(approval_groups=BOBS_GROUP), said=SAFE) as at:
        async with asked_client(at, mode, accepted()) as (client, _):
            calling = asyncio.create_task(client.call_tool("up_echo", {"text": "x"}))
            [asked] = await at.asked()
            await at.approvals.decide(asked.id, BOB_DECIDES, True)
            assert text(await calling) == "x"
        assert await states(at) == ["used"]


@both
async def test_an_approval_that_ends_while_it_is_waited_for_ends_the_wait(mode: str, tmp_path: Path) -> None:
    async with place(tmp_path, asking(), said=SAFE) as at, asked_client(at, mode, accepted()) as (client, _):
        calling = asyncio.create_task(client.call_tool("up_echo", {"text": "x"}))
        await at.asked()
        at.time.passes(days=2)
        await at.approvals.expire_due()
        # What has expired is asked for anew.
        [again] = await at.asked()
        await at.approvals.decide(again.id, ADA_DECIDES, False)
        with pytest.raises(MCPError, match="has denied"):
            await calling
        assert sorted(await states(at)) == ["denied", "expired"]


def asking_of_ask(**more: Any) -> dict[str, Any]:
    """A document whose approval is for a tool that asks its user something."""
    document = asking(**more)
    document["portal"]["tool_policies"][0]["tools"] = {"names": ["ask"]}
    return document


@both
async def test_a_question_of_the_server_is_a_round_of_the_approved_call(mode: str, tmp_path: Path) -> None:
    said = {"ask": SAFE["echo"]}
    async with place(tmp_path, asking_of_ask(approve_by="client"), said=said) as at:
        async with asked_client(at, mode, accepted(decision="approve")) as (client, heard):
            assert text(await client.call_tool("up_ask", {"text": "your name?"})) == "accept asked"
        assert [question.message[:11] for question in heard.of("question")] == ["An agent wa", "your name?"]
        [approval] = await at.approvals.listed()
        assert (approval.state, approval.rounds) == ("used", 1 if mode == MODERN else 0)


async def test_a_round_is_made_once_and_only_with_what_was_approved(tmp_path: Path) -> None:
    async with place(tmp_path, asking_of_ask()) as at, asked_client(at, MODERN, accepted()) as (client, _):

        async def call(words: str = "name?", **again: Any) -> Any:
            return await client.session.call_tool("up_ask", {"text": words}, allow_input_required=True, **again)

        asked = await call()
        [approval] = await at.asked()
        await at.approvals.decide(approval.id, ADA_DECIDES, True)
        first = await call()
        back = {
            "input_responses": dict.fromkeys(first.input_requests, accepted()),
            "request_state": first.request_state,
        }
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await call("another", **back)
        await at.upstream.stop()
        with pytest.raises(MCPError):
            await call(**back)
        await at.upstream.start()
        assert text(await call(**back)) == "accept asked"
        for _ in range(2):
            with pytest.raises(MCPError, match="was made already"):
                await call(**back)
        assert (asked.request_state, (await call()).request_state) == (None, None)
        assert sorted(await states(at)) == ["pending", "used"]
