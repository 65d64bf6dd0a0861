"""What gateway and data flow must block, they block: each direction, inside and outside programs, each kind of message.

One table each: every way in which something goes out or comes in, by rules that block and by rules that redact.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from portal.errors import DENIED
from tests.end_to_end.leaking import (
    ANSWERS,
    ARGUMENTS,
    REQUESTS,
    RESULTS,
    WAYS,
    Sought,
    Teller,
    at_server,
    calling,
    invented,
    leaks,
)
from tests.end_to_end.whole import Raw, Whole, answer_in, whole
from tests.portal.upstreams.raw import Raw as RawUpstream
from tests.portal.upstreams.raw import raw_upstream

pytestmark = pytest.mark.anyio
CREDENTIALS = 'any(dlp.profiles[*] in {"credentials"})'
DOES = {"blocks": "block", "redacts": "redact"}
RULES = [
    {"name": does, "action": does, "traffic": f'{CREDENTIALS} and mcp.server.id == "{server}"'}
    for server, does in DOES.items()
]
PLACES = ("outside", "inside")
SECRETS = invented(29)
TOLD = ("log entry", "progress")
# In our own words, which quote the server. What is cut off in the middle of a secret quotes nothing of it.
QUOTED = ("status", "page", "no JSON")
CUT_OFF = "cut off"
both = pytest.mark.parametrize("server", list(DOES))


@dataclass
class Guarded:
    portal: Whole
    upstream: RawUpstream
    teller: Teller
    turn: count[int]

    def next(self) -> tuple[int, Sought]:
        """The next secret, and its number."""
        number = next(self.turn) % len(SECRETS)
        return number, SECRETS[number]

    async def call(self, server: str, tool: str, arguments: Mapping[str, Any], place: str) -> tuple[Any, bytes]:
        """The answer of a call and its bytes. Of one in a program, which catches errors, what the program returns."""
        if place == "inside":
            program = calling(server, tool, arguments, caught=True)
            return await self.run(program)
        return await self.ask("tools/call", {"name": f"{server}_{tool}", "arguments": arguments})

    async def run(self, program: str) -> tuple[Any, bytes]:
        return await self.ask("tools/call", {"name": "code", "arguments": {"code": program}}, self.portal.code)

    async def ask(self, method: str, params: Mapping[str, Any], url: str = "") -> tuple[Any, bytes]:
        async with Raw(url or self.portal.mcp) as raw:
            meta = {"progressToken": "p", "io.modelcontextprotocol/logLevel": "debug"}
            answer = await raw.post(method, {**params, "_meta": meta})
        return answer_in(answer), answer.content


@pytest.fixture(scope="module")
async def guarded() -> AsyncIterator[Guarded]:
    teller = Teller(SECRETS)
    async with raw_upstream(teller) as upstream:
        teller.prepare(upstream)
        entries = {server: {"url": upstream.url} for server in DOES}
        async with whole(entries, secureWebGateway=True, gateway={"rules": RULES}) as portal:
            yield Guarded(portal, upstream, teller, count())


def denied(answer: Any, place: str) -> bool:
    """Whether a call was denied, and by which rule is said."""
    if place == "outside":
        return bool(answer.get("error", {}).get("code") == DENIED and "'block'" in answer["error"]["message"])
    result = answer["result"]["structuredContent"]["result"]
    return bool(isinstance(result, list) and result[-1] == "denied" and "'block'" in result[1])


def worked(answer: Any, place: str) -> bool:
    if place == "outside":
        return "result" in answer
    result = answer["result"]["structuredContent"].get("result")
    return not (isinstance(result, list) and result[:1] == ["ToolError"])


def seen(upstream: RawUpstream, since: int, one: Sought) -> list[tuple[str, str]]:
    """Where the server has the secret, in what came to it since then."""
    return leaks({str(at): json.dumps(call.message).encode() for at, call in enumerate(upstream.calls[since:])}, [one])


@both
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", list(ARGUMENTS))
async def test_arguments_with_a_secret_do_not_go_out(guarded: Guarded, server: str, place: str, kind: str) -> None:
    _, one = guarded.next()
    before = len(guarded.upstream.calls)
    answer, text = await guarded.call(server, "take", ARGUMENTS[kind](one), place)
    assert seen(guarded.upstream, before, one) == [] and leaks({"answer": text}, [one]) == []
    if server == "blocks":
        assert denied(answer, place), answer
        assert len(guarded.upstream.calls) == before
    else:
        assert worked(answer, place), answer
        assert len(guarded.upstream.calls) == before + 1 and "[redacted" in str(guarded.upstream.calls[-1].message)


@both
@pytest.mark.parametrize("kind", list(REQUESTS))
async def test_other_requests_with_a_secret_do_not_go_out(guarded: Guarded, server: str, kind: str) -> None:
    _, one = guarded.next()
    before = len(guarded.upstream.calls)
    answer, text = await guarded.ask(*REQUESTS[kind](server, one))
    assert seen(guarded.upstream, before, one) == [] and leaks({"answer": text}, [one]) == []
    # The URI of a resource says which one: it is not changed.
    stopped = server == "blocks" or kind == "resource"
    assert (answer.get("error", {}).get("code") == DENIED) is stopped, answer
    assert len(guarded.upstream.calls) == before + (0 if stopped else 1)


@pytest.mark.parametrize("text", ["const t = '{}'; return 1", "// {}\nreturn 1", "return `${{1}} {}`"])
async def test_a_program_with_a_secret_in_its_text_does_not_run(text: str) -> None:
    rules = [{"name": "block", "action": "block", "traffic": CREDENTIALS}]
    async with whole({}, secureWebGateway=True, gateway={"rules": rules}) as portal, Raw(portal.code) as raw:
        assert (await raw.run(text.format("nothing")))["status"] == "completed"
        for one in SECRETS:
            found = await raw.run(text.format(one.text))
            assert (found["status"], found["error"]["kind"]) == ("failed", "denied"), found
            assert leaks({"answer": json.dumps(found).encode()}, [one]) == []


@both
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", [*RESULTS, *WAYS])
async def test_what_a_tool_says_with_a_secret_does_not_come_in(
    guarded: Guarded, server: str, place: str, how: str
) -> None:
    number, one = guarded.next()
    before = len(guarded.upstream.calls)
    answer, text = await guarded.call(server, "tell", {"how": how, "which": number}, place)
    assert len(guarded.upstream.calls) == before + 1
    assert leaks({"answer": text}, [one]) == []
    if how in TOLD:
        assert worked(answer, place), answer
    elif server == "blocks" and how != CUT_OFF:
        assert denied(answer, place), answer
    elif how in RESULTS and "error" not in how:
        assert worked(answer, place), answer
    elif how in QUOTED:
        assert "[redacted" in text.decode()


@both
@pytest.mark.parametrize("kind", list(ANSWERS))
async def test_what_comes_to_other_requests_with_a_secret_does_not_come_in(
    guarded: Guarded, server: str, kind: str
) -> None:
    guarded.teller.next, one = guarded.next()
    before = len(guarded.upstream.calls)
    method, params = ANSWERS[kind]
    answer, text = await guarded.ask(method, at_server(server, params))
    assert len(guarded.upstream.calls) == before + 1
    assert leaks({"answer": text}, [one]) == []
    assert (answer.get("error", {}).get("code") == DENIED) is (server == "blocks"), answer


# What is read, and where: a tool that answers so, or another request.
READS = [
    *((how, place) for how in ("text", "error of the tool", "message of an error", "log entry") for place in PLACES),
    *((kind, "outside") for kind in ANSWERS),
]
SENDS = ("tool", "tool in a program", *REQUESTS)


@pytest.fixture(scope="module")
async def labelled() -> AsyncIterator[Guarded]:
    """For each read a server with a label of its own, and one that is external to it."""
    teller = Teller(SECRETS)
    async with raw_upstream(teller) as upstream:
        teller.prepare(upstream)
        entries: dict[str, dict[str, Any]] = {}
        rules = []
        for at in range(len(READS)):
            entries[f"crm{at}"] = {"url": upstream.url, "labels": [f"confidential{at}"]}
            entries[f"mail{at}"] = {"url": upstream.url, "labels": [f"external{at}"]}
            rules.append({"name": f"flow{at}", "when": [f"confidential{at}"], "target": [f"external{at}"]})
        async with whole(entries, dataFlow={"rules": rules}) as portal:
            yield Guarded(portal, upstream, teller, count())


async def goes_out(guarded: Guarded, server: str, kind: str) -> bool:
    """Whether a call of this kind comes to the server. If not, it was denied."""
    before = len(guarded.upstream.calls)
    nothing = Sought("nothing", "nothing")
    if kind in REQUESTS:
        answer, _ = await guarded.ask(*REQUESTS[kind](server, nothing))
    else:
        place = "inside" if kind == "tool in a program" else "outside"
        answer, _ = await guarded.call(server, "take", {"text": "nothing"}, place)
    came = len(guarded.upstream.calls) > before
    assert came or "The data-flow rule" in json.dumps(answer), answer
    return came


@pytest.mark.parametrize("at", range(len(READS)), ids=[f"{how}, {place}" for how, place in READS])
async def test_after_reading_nothing_goes_out_in_any_way(labelled: Guarded, at: int) -> None:
    (how, place), crm, mail = READS[at], f"crm{at}", f"mail{at}"
    assert [await goes_out(labelled, mail, kind) for kind in SENDS] == [True] * len(SENDS)
    if how in ANSWERS:
        method, params = ANSWERS[how]
        await labelled.ask(method, at_server(crm, params))
    else:
        await labelled.call(crm, "tell", {"how": how, "which": 0}, place)
    assert [await goes_out(labelled, mail, kind) for kind in SENDS] == [False] * len(SENDS)


@pytest.mark.parametrize("how", ["text", "error of the tool", "message of an error", "log entry"])
async def test_after_reading_in_a_program_it_sends_nothing_however_it_was_told(labelled: Guarded, how: str) -> None:
    before = len(labelled.upstream.calls)
    program = f"""
        try {{ await codemode.crm0.tell({{how: {how!r}, which: 0}}) }} catch (e) {{}}
        await codemode.mail0.take({{}});
    """
    answer, text = await labelled.ask(
        "tools/call", {"name": "code", "arguments": {"code": program}}, labelled.portal.code
    )
    assert answer["result"]["structuredContent"]["error"]["kind"] in ("denied", "exception")
    assert b"flow0" in text and len(labelled.upstream.calls) == before + 1
