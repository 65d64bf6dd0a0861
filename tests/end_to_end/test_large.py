"""Large results, images and awkward numbers on their whole way, and the event loop beside them."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.end_to_end.whole import LEGACY, MODERN, Raw, Whole, run, sdk_client, whole
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.raw import Exchange, raw_upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
MiB = 1024 * 1024
both = pytest.mark.parametrize("version", [MODERN, LEGACY])


@pytest.fixture
def portal(shared: Whole) -> Whole:
    return shared


@both
async def test_a_result_of_nearly_five_mebibytes_reaches_the_program(version: str, portal: Whole) -> None:
    async with Raw(portal.code, version) as raw:
        found = await raw.run(f"return (await codemode.one.big({{text: '{5 * MiB - 1000}'}})).length")
    assert found["result"] == 5 * MiB - 1000


@both
async def test_a_larger_result_is_an_error_the_program_can_catch(version: str, portal: Whole) -> None:
    program = f"""
        const told = [];
        for (const size of [{5 * MiB}, {6 * MiB}, {40 * MiB}])
            try {{ await codemode.one.big({{text: `${{size}}`}}) }} catch (error) {{ told.push(error) }}
        return [told.map(error => error.name), told.map(error => error.message),
                await codemode.one.echo({{text: 'still here'}})]
    """
    async with Raw(portal.code, version) as raw:
        names, messages, after = (await raw.run(program))["result"]
    assert names == ["ToolError"] * 3 and all("bytes" in message for message in messages) and after == "still here"


async def test_sixteen_large_results_at_once(portal: Whole) -> None:
    program = """
        const all = await Promise.all(Array.from({length: 16}, () => codemode.one.big({text: '1000000'})));
        return all.map(text => text.length)
    """
    async with Raw(portal.code) as raw:
        assert (await raw.run(program))["result"] == [1_000_000] * 16


@both
async def test_a_large_answer_is_cut_and_still_json(version: str, portal: Whole) -> None:
    program = "return Array.from({length: 5000}, (_, n) => ({n, text: 'é\\u2028\"'.repeat(20)}))"
    async with sdk_client(portal.code, version) as client:
        answer = await client.call_tool("code", {"code": program})
    assert answer.structured_content is not None
    text: str = answer.content[0].text  # type: ignore[union-attr]
    assert len(text) <= 24_000 and json.loads(text) == answer.structured_content["result"]
    assert answer.structured_content["truncated"]["chars"] > 24_000


@both
async def test_images_of_a_tool_pass_through_emit_unread_and_untouched(version: str) -> None:
    picture = b64encode(bytes(range(256)) * 2000).decode()

    async def draw(exchange: Exchange) -> None:
        image = {"type": "image", "data": picture, "mimeType": "image/png"}
        await exchange.result({"content": [{"type": "text", "text": "a picture"}, image]})

    async with raw_upstream(draw) as upstream, whole({"one": {"url": upstream.url}}) as portal:
        async with sdk_client(portal.code, version) as client:
            program = "const [text, image] = await codemode.one.echo({}); await codemode.emit(image); return text.text"
            answer = await client.call_tool("code", {"code": program})
    assert answer.structured_content is not None and answer.structured_content["result"] == "a picture"
    assert answer.content[-1].model_dump(by_alias=True, exclude_none=True) == {
        "type": "image",
        "data": picture,
        "mimeType": "image/png",
    }


@both
async def test_emitted_blocks_past_their_bound_are_an_error_and_the_others_stay(version: str, portal: Whole) -> None:
    program = """
        const block = {type: "image", mimeType: "image/png", data: "A".repeat(400000)};
        for (let n = 0; ; n++) try { await codemode.emit(block) } catch (error) { return [n, error.message] }
    """
    async with Raw(portal.code, version) as raw:
        answer = await raw.ask("tools/call", {"name": "code", "arguments": {"code": program}})
    count, message = answer["result"]["structuredContent"]["result"]
    assert 20 <= count <= 30 and "10,485,760" in message
    assert [block["type"] for block in answer["result"]["content"]].count("image") == count


NUMBERS: list[tuple[str, Any]] = [
    ('{"id": 12345678901234567890}', '{"id": 12345678901234567890}'),
    ('{"id": 9007199254740991}', {"id": 9007199254740991}),
    ("[1.50, 1e3]", [1.5, 1000]),
    ("NaN", "NaN"),
    ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
    ("[0.1234567890123456789]", "[0.1234567890123456789]"),
    ("\ud800 lone", "\ufffd lone"),
]


async def test_text_becomes_a_value_only_when_nothing_is_lost() -> None:
    async def say(exchange: Exchange) -> None:
        await exchange.text(NUMBERS[exchange.message["params"]["arguments"]["n"]][0])

    async with raw_upstream(say) as upstream, whole({"one": {"url": upstream.url}}) as portal, Raw(portal.code) as raw:
        for number, (_, value) in enumerate(NUMBERS):
            assert (await raw.run(f"return await codemode.one.echo({{n: {number}}})"))["result"] == value


async def test_integers_past_64_bits_in_structured_content_do_not_break_anything() -> None:
    async def say(exchange: Exchange) -> None:
        await exchange.result({"content": [], "structuredContent": {"n": 10**30, "s": "\ud83d", "ok": True}})

    async with raw_upstream(say) as upstream, whole({"one": {"url": upstream.url}}) as portal:
        for version in (MODERN, LEGACY):
            async with Raw(portal.code, version) as raw:
                found = await raw.run("const v = await codemode.one.echo({}); return [v.n > 1e29, v.s, v.ok]")
                assert found["result"] == [True, "\ufffd", True], found


@both
async def test_strings_that_kill_clients_do_not_leave_the_portal(version: str, portal: Whole) -> None:
    program = """
        console.log("\\ud800");
        const made = {["\\udfff"]: "\\ud800x", z: "\\u0000\\u2029"};
        await codemode.emit({type: "text", text: "\\ud800"});
        return made
    """
    async with sdk_client(portal.code, version) as client:
        found = await run(client, program)
        assert found["result"] == {"\ufffd": "\ufffdx", "z": "\u0000\u2029"}
        thrown = await run(client, "throw new Error('\\ud800 bad')")
        assert thrown["error"]["message"] == "\ufffd bad"


async def test_text_of_every_kind_arrives_as_it_was_sent() -> None:
    text = "".join(map(chr, range(32, 0x2100))) + "\U0001f600"
    async with hosted() as upstream:
        async with whole({"one": {"url": upstream.url}}) as portal, Raw(portal.code) as raw:
            found = await raw.run(f"const t = {json.dumps(text)}; return await codemode.one.echo({{text: t}}) === t")
            assert found["result"] is True
