"""Keys of results: whose they are, who is told of them, and what is stored of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import CodeTool
from portal.app.upstreams import open_upstreams
from portal.calls import Call
from portal.config import parse_config
from portal.identity import ANONYMOUS, Identity
from portal.learning.learning import Learning
from portal.learning.shapes import LearnedShapes
from portal.learning.witnesses import ENOUGH, Witnesses
from portal.logs import Discard
from portal.upstream import CallContext
from stubs import Seen, type_of
from tests.portal.access.guarded import ANYBODY, EVERYONE, guarded
from tests.portal.learning.test_learning import NO_PAUSE, learning_portal, offered, tool
from tests.portal.portals import GENERATIONS, Portal, client_of
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
PEOPLE = ["ada", "bob", "eve", "robot", "zoe"]
names = st.sampled_from(["id", "owner", "project-falcon", "project-eagle", "ada@example.com", "x"])
results = st.recursive(
    st.none() | st.integers(0, 9) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
taught = st.lists(st.tuples(st.sampled_from(PEOPLE), results), max_size=8)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def shown(taught: list[tuple[str, Any]]) -> Seen:
    known, witnesses = Seen(), Witnesses()
    for person, result in taught:
        shape = Seen.of(result)
        known |= shape
        witnesses = (witnesses | Witnesses.of(shape, frozenset({person}))).within(known)
    return witnesses.shown(known)


def keys_of(value: Any) -> Iterator[str]:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_of(inner)
    if isinstance(value, dict):
        yield from value


def told_keys(shape: Seen) -> Iterator[str]:
    for part in (shape.items, shape.values):
        if part is not None:
            yield from told_keys(part)
    for name, (part, _) in (shape.fields or {}).items():
        yield name
        yield from told_keys(part)


@given(taught)
def test_a_key_is_told_only_when_enough_people_have_seen_it(taught: list[tuple[str, Any]]) -> None:
    for key in told_keys(shown(taught)):
        assert len({person for person, result in taught if key in keys_of(result)}) >= ENOUGH


@given(taught)
def test_every_result_is_valid_under_what_is_told(taught: list[tuple[str, Any]]) -> None:
    schema = shown(taught).output_schema()
    valid = jsonschema_rs.validator_for(True if schema is None else dict(schema))  # type: ignore[arg-type]
    assert all(valid.is_valid(result) for _, result in taught)


@given(taught, st.randoms(use_true_random=False))
def test_the_order_in_which_people_teach_does_not_matter(taught: list[tuple[str, Any]], random: Any) -> None:
    assert shown(random.sample(taught, len(taught))) == shown(taught)


@given(taught)
def test_what_is_stored_has_no_key_that_is_not_told_and_is_read_back(taught: list[tuple[str, Any]]) -> None:
    shapes = LearnedShapes(people=True)
    for person, result in taught:
        shapes.learn("one", tool(), Seen.of(result), person)
    document: Any = json.loads(json.dumps(shapes.document()))
    again = LearnedShapes(people=True)
    assert again.merge(document)
    assert again.document() == document
    assert again.of("one", [tool()]) == shapes.of("one", [tool()])


def test_a_person_alone_teaches_nothing_however_often() -> None:
    private = {"project-falcon": {"budget": 1}, "id": 1}
    assert type_of(shown([("ada", private)] * 9).output_schema() or True) == "Record<string, unknown>"
    both = [("ada", private), ("bob", {"project-eagle": {"budget": 2}, "id": 2})] * 3
    assert not list(told_keys(shown(both)))
    third = shown([*both, ("eve", {"id": 3})])
    assert type_of(third.output_schema() or True) == "{ id: number; [key: string]: unknown }"


def test_an_object_with_a_key_for_each_person_is_a_map() -> None:
    each = [(person, {f"project-{person}": {"budget": 1, f"of-{person}": 2}}) for person in PEOPLE[:3]]
    expected = "Record<string, { budget: number; [key: string]: unknown }>"
    assert type_of(shown(each).output_schema() or True) == expected
    many = [(person, [{f"of-{person}-{n}": n} for n in range(9)]) for person in PEOPLE]
    assert type_of(shown(many).output_schema() or True) == "Record<string, number>[]"


def test_somebody_who_has_not_taught_yet_is_not_skipped() -> None:
    shapes, described = LearnedShapes(people=True), tool()
    for _ in range(500):
        if shapes.wants("one", described, "ada"):
            shapes.learn("one", described, Seen.of({"a": 1}), "ada")
    for person in ("bob", "eve"):
        assert shapes.wants("one", described, person)
        shapes.learn("one", described, Seen.of({"a": 1}), person)
    assert type_of(shapes.of("one", [described])["list"]) == "{ a: number }"


async def taught_by(portal: Portal, caller: Identity | None, result: Any) -> None:
    await portal.caller.call(Call.tool("one", "echo", {"text": json.dumps(result)}), CallContext(principal=caller))


async def test_what_one_person_sees_is_not_described_stored_or_searched_until_others_see_it(tmp_path: Path) -> None:
    file = tmp_path / "shapes.json"
    async with hosted() as upstream:
        learning = Learning(file, people=True, pauses=NO_PAUSE)
        async with learning_portal(upstream, learning) as portal:
            for caller in (Identity(id="ada"), ANONYMOUS, Identity(ip="192.0.2.1"), Identity(ip="192.0.2.2")):
                for _ in range(3):
                    await taught_by(portal, caller, {"id": 1, "project-falcon": {"budget": 1}})
            assert "falcon" not in repr(offered(portal.servers.snapshot)) and "id" not in str(
                learning.shapes.document()
            )
            await taught_by(portal, Identity(service_token_id="robot"), {"id": 2, "project-eagle": {}})
            assert list(offered(portal.servers.snapshot).output_schema["properties"]) == ["id"]
        assert "project" not in file.read_text("utf-8") and '"id"' in file.read_text("utf-8")
        # Over a restart what was told stays so, and who saw what is not told is forgotten.
        async with learning_portal(upstream, Learning(file, people=True, pauses=NO_PAUSE)) as portal:
            assert list(offered(portal.servers.snapshot).output_schema["properties"]) == ["id"]
            for name in ("bob", "eve"):
                await taught_by(portal, Identity(id=name), {"id": 1, "project-falcon": {}})
            assert "falcon" not in repr(offered(portal.servers.snapshot))


async def test_an_older_file_and_that_of_an_operator_count_as_one_person(tmp_path: Path) -> None:
    file = tmp_path / "shapes.json"
    async with hosted() as upstream:
        async with learning_portal(upstream, Learning(file)) as portal:
            await taught_by(portal, None, {"id": 1, "project-falcon": 2})
            assert "falcon" in repr(offered(portal.servers.snapshot)), "an operator alone is told everything"
        written = json.loads(file.read_text("utf-8"))
        older = {"version": 1, "servers": written["servers"]}
        for document in (written, older):
            file.write_text(json.dumps(document), "utf-8")
            async with learning_portal(upstream, Learning(file)) as portal:
                assert "falcon" in repr(offered(portal.servers.snapshot))
            file.write_text(json.dumps(document), "utf-8")
            async with learning_portal(upstream, Learning(file, people=True, pauses=NO_PAUSE)) as portal:
                assert "falcon" not in repr(offered(portal.servers.snapshot))
                for name in ("ada", "bob"):
                    await taught_by(portal, Identity(id=name), {"id": 1})
                assert list(offered(portal.servers.snapshot).output_schema["properties"]) == ["id"]
            assert "falcon" not in file.read_text("utf-8"), "nor is it kept where people sign in"


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_person_reads_nothing_of_another_persons_results_in_a_program(mode: str, code_tool: CodeTool) -> None:
    document = {
        "portal": {"policies": [{**EVERYONE, "id": "all", "name": "All"}]},
        "servers": [{"id": "one", "policies": [ANYBODY]}],
    }
    learning = Learning(people=True, pauses=NO_PAUSE)
    private = json.dumps({"project-falcon": {"budget-x": 1}})
    looks = """
      const said = [];
      try { codemode.one.ech({}) } catch (error) { said.push(String(error)) }
      try { await codemode.describe("one.ecko") } catch (error) { said.push(String(error)) }
      said.push(await codemode.describe("one.echo"), await codemode.describe("one"));
      said.push(await codemode.search("the project and its budget"), await codemode.tools());
      return said;
    """
    async with hosted() as one, guarded({"one": one}, document, code_tool=code_tool, learning=learning) as portal:
        for _ in range(2):
            async with client_of(portal.code("ada"), mode) as ada:
                call = f"return await codemode.one.echo({{text: {json.dumps(private)}}})"
                answer = await ada.call_tool("code", {"code": call})
                assert answer.structured_content["result"] == json.loads(private)
        for caller in ("ada", "bob"):
            async with client_of(portal.code(caller), mode) as client:
                answer = await client.call_tool("code", {"code": looks})
            assert "codemode" in json.dumps(answer.structured_content) and not answer.is_error
            assert "falcon: " not in str(answer.structured_content) and "budget-x'" not in str(
                answer.structured_content
            )
            assert "Record<string, unknown>" in str(answer.structured_content)
        assert "falcon" not in str(learning.shapes.document())


async def test_people_are_told_apart_where_the_configuration_has_them_sign_in() -> None:
    sections: list[tuple[dict[str, Any], bool]] = [({"identity": {}}, True), ({}, False)]
    for section, people in sections:
        config = parse_config({"mcpServers": {}, "portal": section}, env={})
        async with open_upstreams(config, Discard()) as opened:
            assert opened.learning.shapes.document()["people"] is people
