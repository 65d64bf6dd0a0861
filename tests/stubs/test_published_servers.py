"""All tools of eleven servers that others published: their declarations compile, hold their values, refuse mistakes."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stubs import Server, assign_names, declarations, signature
from tests.stubs import corpus, typescript
from tests.stubs.schemas import Case, values_for
from tests.stubs.test_truth import mismatches
from tests.upstreams.listed import IDS, published_tools

pytestmark = pytest.mark.timeout(900)  # The first run fetches and starts the servers.


@pytest.fixture(scope="module")
def lists() -> dict[str, list[dict[str, Any]]]:
    return published_tools()


@pytest.fixture(scope="module")
def servers(lists: dict[str, list[dict[str, Any]]]) -> list[Server]:
    return [corpus.as_server({"id": server, "tools": tools}) for server, tools in lists.items()]


def test_there_are_135_tools_of_eleven_servers(servers: list[Server]) -> None:
    assert [server.id for server in servers] == [*IDS]
    assert sum(len(server.tools) for server in servers) == 135


def test_they_compile_together_and_a_wrong_program_does_not(servers: list[Server]) -> None:
    program = [
        'export const time: Promise<unknown> = codemode.time.get_current_time({ timezone: "UTC" });',
        "export const none = codemode.time.get_current_time({});",
        "export const wrong = codemode.filesystem.read_text_file({ path: 1 });",
        'export const odd = codemode.git.git_log({ repo_path: ".", max_counts: 3 });',
        "export const missing = codemode.memory.create_entity({});",
    ]
    text = declarations(servers, assign_names(servers))
    found = typescript.check({"all.d.ts": text, "program.ts": "\n".join(program) + "\n"})
    assert [(item.file, item.line, item.code) for item in found] == [
        ("program.ts", 2, "TS2741"),
        ("program.ts", 3, "TS2322"),
        ("program.ts", 4, "TS2561"),
        ("program.ts", 5, "TS2551"),
    ]


def test_every_single_tool_compiles_alone(servers: list[Server]) -> None:
    names = assign_names(servers)
    alone = {
        f"{number}.d.ts": f"export {{}};\n{declarations([server], names, only=[names.path(server.id, tool.name)])}"
        for number, (server, tool) in enumerate((server, tool) for server in servers for tool in server.tools)
    }
    assert len(alone) == 135
    assert typescript.check(alone) == []


def test_their_signatures_are_typescript_of_bounded_length(servers: list[Server]) -> None:
    names = assign_names(servers)
    for server in servers:
        for tool in server.tools:
            text = signature(server, tool, names)
            typescript.parse_signature(text)
            assert len(text) < 500, text


@settings(
    max_examples=4,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(drawn=st.data())
def test_what_a_tool_takes_and_gives_is_assignable(
    lists: dict[str, list[dict[str, Any]]], drawn: st.DataObject
) -> None:
    schemas = [
        schema
        for tools in lists.values()
        for tool in tools
        for schema in (tool["inputSchema"], tool.get("outputSchema"))
        if schema is not None
    ]
    chosen = drawn.draw(st.lists(st.sampled_from(schemas), min_size=20, max_size=30))
    cases = [
        Case(schema, drawn.draw(st.lists(values_for(schema, schema), min_size=2, max_size=3))) for schema in chosen
    ]
    assert mismatches(cases, exact=False) == []
