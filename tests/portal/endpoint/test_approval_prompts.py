"""Plain calls that people have to approve: what each kind of client is asked, and what its answer decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from portal.endpoint import approval_prompts
from tests.patience import PATIENCE
from tests.portal.approvals.test_calls import ADA_DECIDES, BOB_DECIDES, BOBS_GROUP, Place, asking, place
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Heard, client_of

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


class Person(Heard):
    """Answers one question after the other with these, and the last of them from then on. A callable acts, and gives
    the answer."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self._answers = list(answers)

    async def elicit(self, context: Any, params: Any) -> Any:
        await self.note("question", params)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return await answer() if callable(answer) else answer


@asynccontextmanager
async def asked_client(at: Place, mode: str, *answers: Any) -> AsyncIterator[tuple[Any, Person]]:
    """A client that shows forms and URLs, and answers so."""
    person = Person(*answers)
    options = {"elicitation_callback": person.elicit, "message_handler": person.message}
    async with client_of(f"{at.url}/mcp?caller=ada", mode, **options) as client:
        yield client, person


async def states(at: Place) -> list[str]:
    return sorted(one.state for one in await at.approvals.listed())


def text(result: Any) -> str:
    return "".join(block.text for block in result.content)


async def failure(client: Any, **arguments: str) -> str:
    with pytest.raises(MCPError) as caught:
        await client.call_tool("up_echo", arguments)
    return str(caught.value)


@both
async def test_a_form_shows_the_whole_call_and_decides_as_it_is_answered(mode: str, tmp_path: Path) -> None:
    approve, remember = accepted(decision="approve"), accepted(decision="approve", remember="15 minutes")
    answers = [
        approve,
        accepted(decision="deny"),
        DECLINED,
        CANCELLED,
        accepted(),
        accepted(decision="maybe"),
        remember,
    ]
    async with place(tmp_path, IN_CLIENT, said=SAFE) as at, asked_client(at, mode, *answers) as (client, person):
        assert text(await client.call_tool("up_echo", {"text": "x\u202e<b>`"})) == "x\u202e<b>`"
        [asked] = person.of("question")
        assert "`echo` of the server `up`" in asked.message and "“Payments”" in asked.message
        assert '"text": "x\\u202e\\u003cb>\\u0060"' in asked.message and "\u202e" not in asked.message
        assert asked.requested_schema["properties"]["remember"]["enum"] == ["no", "15 minutes"]
        for word in ("deny", "decline"):
            assert "The person behind this call has denied" in await failure(client, text=word)
        for word in ("cancel", "nothing", "odd"):
            assert "/approve/apr_" in await failure(client, text=word)
        assert (await states(at), at.calls) == (["denied", "denied", "pending", "pending", "pending", "used"], 1)
        for word in ("a", "b"):
            assert text(await client.call_tool("up_echo", {"text": word})) == word
        assert len(person.of("question")) == len(answers)
        [grant] = await at.approvals.grants()
        assert (grant.until - grant.created_at).total_seconds() == 900


def for_tool(name: str, **more: Any) -> dict[str, Any]:
    """A document whose approval is for this tool."""
    document = asking(**more)
    document["portal"]["tool_policies"][0]["tools"] = {"names": [name]}
    return document


REFUSED: dict[str, dict[str, Any]] = {
    "browser": asking(),
    "group": asking(approval_groups=BOBS_GROUP),
    "purpose": asking(approve_by="client", purpose_justification_required=True),
    # The server says nothing of it, so it may destroy something.
    "destructive": for_tool("structured", approve_by="client"),
    "too large": IN_CLIENT,
}


@both
async def test_no_answer_of_a_client_decides_what_the_policy_does_not_let_it(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval_prompts, "PATIENCE", 0.05)
    answer = accepted(decision="approve", remember="15 minutes")
    async with place(tmp_path, asking(), said=SAFE) as at, asked_client(at, mode, answer) as (client, person):
        for case, document in REFUSED.items():
            at.decide_by(document)
            words = case if case != "too large" else "x" * 5000
            with pytest.raises(MCPError, match="/approve/apr_"):
                await client.call_tool("up_structured" if case == "destructive" else "up_echo", {"text": words})
        asked = person.of("question")
        assert [question.mode for question in asked] == ["url"] * len(REFUSED)
        assert all("/approve/apr_" in question.url and question.url in question.message for question in asked)
        assert "too large to be shown here" in asked[-1].message and len(asked[-1].message) < 1000
        assert (await states(at), at.calls) == (["pending"] * len(REFUSED), 0)


async def test_a_client_hears_of_progress_and_an_answer_after_its_patience_counts_for_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval_prompts, "PATIENCE_WITH_PROGRESS", 0.3)
    monkeypatch.setattr(approval_prompts, "PROGRESS_SECONDS", 0.02)
    late = asyncio.Event()

    async def thinks() -> Any:
        await late.wait()
        return accepted(decision="approve")

    async with place(tmp_path, IN_CLIENT, said=SAFE) as at, asked_client(at, LEGACY, thinks) as (client, person):
        with pytest.raises(MCPError, match="/approve/apr_"):
            await client.call_tool("up_echo", {"text": "x"}, progress_callback=person.progress)
        heard = await person.until("progress")
        assert {message for _, _, message in heard} == {"waiting for the approval of this call"}
        [asked] = await at.asked()
        late.set()
        assert (await at.approvals.changed(asked.id, PATIENCE)).state == "approved"
        assert text(await client.call_tool("up_echo", {"text": "x"})) == "x"
        assert len(person.of("question")) == 1


@both
async def test_a_decision_on_the_page_lets_a_call_go_on_whose_client_was_shown_the_url(
    mode: str, tmp_path: Path
) -> None:
    async with place(tmp_path, asking(approval_groups=BOBS_GROUP), said=SAFE) as at:
        async with asked_client(at, mode, accepted()) as (client, person):
            calling = asyncio.create_task(client.call_tool("up_echo", {"text": "x"}))
            [asked] = await at.asked()
            await person.until("question")
            await at.approvals.decide(asked.id, BOB_DECIDES, True)
            assert text(await calling) == "x"
            if mode == LEGACY:
                [complete] = await person.until("notifications/elicitation/complete")
                assert complete.params.elicitation_id == asked.id
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


@both
async def test_a_question_of_the_server_is_a_round_of_the_approved_call(mode: str, tmp_path: Path) -> None:
    said = {"ask": SAFE["echo"]}
    async with place(tmp_path, for_tool("ask", approve_by="client"), said=said) as at:
        async with asked_client(at, mode, accepted(decision="approve")) as (client, heard):
            assert text(await client.call_tool("up_ask", {"text": "your name?"})) == "accept asked"
        assert [question.message[:11] for question in heard.of("question")] == ["An agent wa", "your name?"]
        [approval] = await at.approvals.listed()
        assert (approval.state, approval.rounds) == ("used", 1 if mode == MODERN else 0)


async def test_a_round_is_made_once_and_only_with_what_was_approved(tmp_path: Path) -> None:
    async with place(tmp_path, for_tool("ask")) as at, asked_client(at, MODERN, accepted()) as (client, _):

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
