"""The bench behind its page: access, the list of servers, and the events of a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from portal.bench.ui import InitialContent
from portal.bench.ui.access import new_token, page_url, refusal_for
from portal.bench.ui.run_request import parse_run
from portal.http import Refusal
from sandbox import Limits
from tests.patience import PATIENCE
from tests.portal.bench.benches import TOKEN, Benched, bench_over
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
HIDDEN = {"name": "<img src=x>", "description": "</script>", "inputSchema": {"type": "object"}}


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted(Behaviour(more=[HIDDEN])) as upstream:
        yield upstream


@pytest.fixture
async def bench(upstream: Hosted) -> AsyncIterator[Benched]:
    async with bench_over({"one": upstream}, initial=InitialContent(title="test.json", program="return 1")) as bench:
        yield bench


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


# Who may use it


STRANGERS: tuple[tuple[dict[str, str], int, str], ...] = (
    ({}, 401, "token"),
    ({"Authorization": "Bearer wrong"}, 401, "token"),
    ({"Authorization": TOKEN}, 401, "token"),
    ({"Authorization": f"Basic {TOKEN}"}, 401, "token"),
    ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://localhost:1"}, 403, "origin"),
    ({"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"}, 403, "origin"),
    ({"Authorization": f"Bearer {TOKEN}", "Origin": "null"}, 403, "origin"),
    ({"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "cross-site"}, 403, "origin"),
    ({"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "same-site"}, 403, "origin"),
    ({"Authorization": f"Bearer {TOKEN}", "Host": "rebound.example"}, 421, "host"),
)


async def test_nothing_is_told_or_run_without_the_key_and_to_no_other_page(bench: Benched, upstream: Hosted) -> None:
    for path in ("state", "declarations", "search?q=a", "run"):
        for headers, status, reason in STRANGERS:
            async with httpx2.AsyncClient(base_url=bench.url) as stranger:
                answer = await stranger.request(
                    "POST" if path == "run" else "GET",
                    f"/api/{path}",
                    headers={"Content-Type": "application/json", **headers},
                    content=b'{"code": "codemode.one.echo({text: 1})"}' if path == "run" else None,
                )
            assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (status, reason), (path, headers)
    assert "call echo" not in upstream.upstream.journal.entries


async def test_no_site_may_read_an_answer_or_ask_whether_it_may(bench: Benched) -> None:
    asked = {"Origin": "http://localhost:1", "Access-Control-Request-Method": "POST"}
    preflight = await bench.client.options("/api/run", headers=asked)
    assert preflight.status_code >= 400
    assert not [name for name in preflight.headers if name.startswith("access-control-")]


async def test_the_page_itself_needs_no_key_and_allows_no_foreign_or_inline_script(bench: Benched) -> None:
    async with httpx2.AsyncClient(base_url=bench.url) as stranger:
        page = await stranger.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "style-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "blob:" not in policy
    assert page.headers["referrer-policy"] == "no-referrer" and page.headers["x-content-type-options"] == "nosniff"
    assert TOKEN not in page.text and "<script>" not in page.text and "onclick" not in page.text


def test_a_key_is_new_each_time_and_stays_in_the_part_of_the_url_that_is_never_sent() -> None:
    first, second = new_token(), new_token()
    assert first != second and len(first) >= 43
    assert page_url("http://127.0.0.1:1", first) == f"http://127.0.0.1:1/#{first}"


@given(st.text(max_size=60).map(lambda text: text.encode("latin-1", "replace")), st.booleans())
def test_only_the_very_key_opens(given_key: bytes, spaced: bool) -> None:
    value = b"Bearer " + (b" " if spaced else b"") + given_key
    headers = Headers(raw=[(b"host", b"localhost"), (b"authorization", value)])
    assert (refusal_for(headers, TOKEN) is None) == (given_key.strip() == TOKEN.encode())


# Files


async def test_only_files_of_the_page_are_served(bench: Benched) -> None:
    wanted = ("app.py", "..%2fapp.py", "%2e%2e/app.py", "editor/0.57.0/loader.js", "page/index.html", "monaco.json")
    for path in wanted:
        assert (await bench.client.get(f"/{path}")).status_code == 404, path


async def test_an_unchanged_file_is_not_sent_again(bench: Benched) -> None:
    first = await bench.client.get("/main.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    again = await bench.client.get("/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_every_file_the_page_names_is_there(bench: Benched) -> None:
    folder = Path(__file__).parents[4] / "portal" / "bench" / "ui" / "page"
    for file in folder.iterdir():
        assert (await bench.client.get(f"/{file.name}")).content == file.read_bytes()


# What there is


async def test_the_state_lists_servers_tools_and_programs_to_begin_with(bench: Benched) -> None:
    state = await bench.get("state")
    assert (state["title"], state["program"]) == ("test.json", "return 1")
    [server] = state["servers"]
    assert (server["id"], server["state"], server["reason"]) == ("one", "ready", None)
    echo = next(tool for tool in server["tools"] if tool["name"] == "echo")
    assert echo["path"] == "one.echo" and "text: string" in echo["signature"]
    assert state["editor"] == {"path": None, "reason": "There is no editor in this test."}
    assert "codemode.search" in state["examples"][0]["code"]


async def test_a_dead_server_is_listed_with_its_reason_and_the_bench_works_without_it(upstream: Hosted) -> None:
    async with bench_over({"one": upstream, "gone": {"command": "no-such-program-anywhere"}}) as bench:
        state = await bench.get("state")
        gone = state["servers"][1]
        assert gone["state"] == "error" and "no-such-program-anywhere" in gone["reason"]
        [done] = of(await bench.run("return (await codemode.one.echo({text: 'a'}))"), "done")
        assert done["answer"]["status"] == "completed"


async def test_every_example_runs(upstream: Hosted) -> None:
    async with bench_over({"one": upstream}) as bench:
        for example in (await bench.get("state"))["examples"]:
            [done] = of(await bench.run(example["code"]), "done")
            assert done["answer"]["status"] == "completed", (example, done["answer"])
    async with bench_over({}) as bench:
        [example] = (await bench.get("state"))["examples"]
        [done] = of(await bench.run(example["code"]), "done")
        assert done["answer"]["result"] == "1"


async def test_declarations_are_those_of_the_catalog_and_of_the_isolate(bench: Benched) -> None:
    types = await bench.get("declarations")
    assert "echo(input: { text: string })" in types["codemode"] and "search(query: string" in types["codemode"]
    assert "declare function structuredClone" in types["isolate"]


async def test_the_filter_finds_what_a_program_would_find(bench: Benched) -> None:
    found = await bench.get("search?q=echo")
    [done] = of(await bench.run("return await codemode.search('echo', {limit: 30})"), "done")
    assert found == done["answer"]["result"] and found[0]["path"] == "one.echo"


async def test_a_changed_server_makes_another_catalog(bench: Benched, upstream: Hosted) -> None:
    before = (await bench.get("state"))["catalog"]
    changed = asyncio.Event()
    bench.servers.subscribe(lambda old, new: changed.set() if new.servers["one"].tool("fresh") else None)
    await upstream.upstream.change("fresh")
    async with asyncio.timeout(PATIENCE):
        await changed.wait()
    assert (await bench.get("state"))["catalog"] != before
    assert "fresh" in (await bench.get("declarations"))["codemode"]


# Runs


async def test_a_run_tells_each_call_as_it_goes_and_the_answer_at_the_end(bench: Benched) -> None:
    program = "const a = await codemode.one.echo({text: 'a'}); console.log(a); return [a, 2n]"
    events = await bench.run(program)
    assert [event["type"] for event in events] == ["started", "call", "settled", "done"]
    started, call, settled, done = events
    assert started["catalog"] == (await bench.get("state"))["catalog"]
    assert (call["seq"], call["tool"], orjson.loads(call["arguments"])) == (1, "one.echo", {"text": "a"})
    assert (settled["seq"], settled["status"]) == (1, "ok") and '"' in settled["result"]
    answer = done["answer"]
    assert answer["status"] == "completed" and answer["logs"] and answer["calls"][0]["tool"] == "one.echo"
    assert done["text"].startswith("[") and done["elapsed"] > 0
    assert bench.kept.records[-1].run == answer["executionId"] == started["id"]


async def test_tokens_are_those_of_the_program_its_answer_and_the_same_calls_made_one_by_one(bench: Benched) -> None:
    program = "const all = []; for (let i = 0; i < 4; i++) all.push(await codemode.one.big({text: '2000'})); return 1"
    [done] = of(await bench.run(program), "done")
    cost = done["cost"]
    assert cost["calls"] == 4 and cost["results"] > 10 * (cost["program"] + cost["answer"])
    assert 0 < cost["description"] <= 900 and cost["definitions"] > 100 and cost["arguments"] > 0


async def test_a_failing_program_says_where(bench: Benched) -> None:
    [done] = of(await bench.run("const a = 1;\nreturn a.b.c;"), "done")
    assert (done["answer"]["error"]["line"], done["answer"]["error"]["kind"]) == (2, "exception")


async def test_a_call_that_fails_is_seen_with_its_reason(bench: Benched) -> None:
    events = await bench.run("try { await codemode.one.fail({text: ''}) } catch (e) { return e.message }")
    [settled] = of(events, "settled")
    assert settled["status"] == "error" and "it failed" in settled["result"]


async def test_images_a_program_emits_arrive_beside_the_text(bench: Benched) -> None:
    block = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    [done] = of(await bench.run(f"await codemode.emit({orjson.dumps(block).decode()}); return 1"), "done")
    assert done["emitted"] == [block] and done["text"] == "1"


async def test_what_is_shown_of_a_call_is_bounded_and_the_program_gets_all(bench: Benched) -> None:
    program = "return (await codemode.one.echo({text: 'x'.repeat(300000)})).length"
    events = await bench.run(program)
    assert of(events, "done")[0]["answer"]["result"] >= 300_000
    assert len(of(events, "call")[0]["arguments"]) < 21_000 and "more characters" in of(events, "settled")[0]["result"]


async def test_a_page_that_leaves_stops_its_program_and_the_call_under_way(bench: Benched, upstream: Hosted) -> None:
    journal = upstream.upstream.journal
    async with bench.client.stream("POST", "/api/run", json={"code": "await codemode.one.hang({text: ''})"}) as answer:
        async for line in answer.aiter_lines():
            if orjson.loads(line)["type"] == "call":
                break
        await journal.wait("call hang")
    async with asyncio.timeout(PATIENCE):
        await journal.wait("cancelled hang")


async def test_a_loop_without_end_meets_its_limit_and_the_page_goes_on() -> None:
    async with bench_over({}, limits=Limits(cpu_time=0.2)) as bench:
        endless, state = await asyncio.gather(bench.run("while (true) {}"), bench.get("state"))
        assert of(endless, "done")[0]["answer"]["error"]["kind"] == "cpu_time" and state["tools"] == 0


async def test_more_programs_than_may_run_at_a_time_are_refused(bench: Benched, upstream: Hosted) -> None:
    request = {"code": "await codemode.one.hang({text: ''})"}
    runs = [asyncio.create_task(bench.client.post("/api/run", json=request)) for _ in range(4)]
    await upstream.upstream.journal.wait("call hang", 4)
    refused = await bench.client.post("/api/run", json=request)
    assert refused.status_code == 429 and "cancel one" in refused.json()["error"]["message"]
    upstream.upstream.release.set()
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)


# Mocks


async def test_a_mocked_run_reaches_no_server(bench: Benched, upstream: Hosted) -> None:
    mocks = {"mocks": {"one.echo": [{"when": {"text": "a"}, "result": {"n": 1}}, {"error": "no"}]}}
    program = """
        const first = await codemode.one.echo({text: "a"});
        const second = await codemode.one.echo({text: "b"}).catch((error) => error.message);
        return {first, second};
    """
    [done] = of(await bench.run(program, mode="mock", mocks=mocks), "done")
    assert done["answer"]["result"] == {"first": {"n": 1}, "second": "no"}
    assert "call echo" not in upstream.upstream.journal.entries and not bench.kept.records


async def test_a_live_run_written_down_as_mocks_repeats_itself(bench: Benched, upstream: Hosted) -> None:
    program = """
        const said = [];
        for (const text of ["a", "b", "a"]) said.push(await codemode.one.echo({text}));
        said.push(await codemode.one.structured({text: "s"}));
        said.push(await codemode.one.fail({text: "f"}).catch((error) => error.message));
        return said;
    """
    [live] = of(await bench.run(program), "done")
    calls = upstream.upstream.journal.entries.count("call echo")
    [again] = of(await bench.run(program, mode="mock", mocks=live["mocks"]), "done")
    assert again["answer"]["result"] == live["answer"]["result"] and again["answer"]["status"] == "completed"
    assert upstream.upstream.journal.entries.count("call echo") == calls


async def test_mocks_that_cannot_be_used_are_refused_with_the_reason_and_nothing_runs(bench: Benched) -> None:
    for mocks, said in (
        ({}, "mocks"),
        ({"mocks": {"one.nothing": {"result": 1}}}, "no such tool"),
        ({"mocks": {"one.echo": {"reslut": 1}}}, "reslut"),
        ({"mocks": {"one.echo": {"result": 1}}, "other": 1}, "other"),
    ):
        [refused] = await bench.run("return 1", mode="mock", mocks=mocks)
        assert refused["type"] == "refused" and said in refused["message"]


async def test_a_page_cannot_have_a_file_of_tools_read(bench: Benched) -> None:
    mocks = {"mocks": {"one.echo": {"result": 1}}, "tools": "/etc/passwd"}
    [done] = of(await bench.run("return await codemode.one.echo({text: ''})", mode="mock", mocks=mocks), "done")
    assert done["answer"]["result"] == 1


# Hostile requests


NO_RUNS = (
    (b"", 400),
    (b"not json", 400),
    (b"[]", 400),
    (b"{}", 400),
    (b'{"code": 1}', 400),
    (b'{"code": "1", "mode": "other"}', 400),
    (b'{"code": "1", "mode": "mock"}', 400),
    (b'{"code": "1", "mode": "mock", "mocks": []}', 400),
    (b'{"code": "1", "mocks": {}}', 400),
    (b'{"code": "1", "more": 1}', 400),
    (b'{"code": "' + b"x" * (2 * 1024 * 1024) + b'"}', 413),
    (b'{"mocks": ' + b"[" * 200 + b"]" * 200 + b"}", 400),
)


async def test_what_is_no_run_is_refused_in_words(bench: Benched) -> None:
    for body, status in NO_RUNS:
        answer = await bench.client.post("/api/run", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status and answer.json()["error"]["message"], body[:40]


async def test_a_form_of_another_site_is_no_run(bench: Benched) -> None:
    headers = {"Content-Type": "text/plain"}
    answer = await bench.client.post("/api/run", content=b'{"code": "1"}', headers=headers)
    assert answer.status_code == 415


async def test_a_program_past_its_bound_is_an_answer(bench: Benched) -> None:
    [done] = of(await bench.run("x" * 300_000), "done")
    assert done["answer"]["error"]["kind"] == "size"


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda v: orjson.dumps({"code": v})))
def test_reading_a_request_raises_nothing_but_a_refusal(body: bytes) -> None:
    try:
        parse_run(body)
    except Refusal as refusal:
        assert refusal.status == 400
