"""An upstream that is itself in code mode is recognised, said, and asked for its own tools where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from portal.cli.show.listing import servers_table
from portal.config.config import parse_config
from portal.config.own_code_mode import advice, asking_for_tools, programs_taken
from portal.endpoint.health import health
from portal.servers.servers import Servers
from tests.clients.serving import Served, serving
from tests.portal.cli.test_commands import SHOP
from tests.strategies import SHORT, json_values


def taking(name: str, *properties: str, description: str = "", required: list[str] | None = None) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {one: {"type": "string"} for one in properties},
        "required": list(properties) if required is None else required,
    }
    return {"name": name, "description": description, "inputSchema": schema}


CODE = taking("code", "code")
EXECUTE = taking("execute", "code", description="Runs JavaScript that may call several tools.")


@pytest.mark.parametrize(
    ("tools", "recognised"),
    [
        ([CODE], ("code",)),
        ([taking("codemode", "code", description="x")], ("codemode",)),
        ([EXECUTE], ("execute",)),
        ([taking("run_code", "script", description="Write code calling the other tools.")], ("run_code",)),
        ([taking("search", "query"), EXECUTE], ("search", "execute")),
        (
            [
                taking("portal_codemode_search", "code"),
                taking("portal_codemode_execute", "code"),
                taking("list_servers"),
            ],
            ("portal_codemode_search", "portal_codemode_execute"),
        ),
        (
            [taking("docs", "query"), taking("searchTools", "query"), taking("executeCode", "code")],
            ("docs", "executeCode"),
        ),
        # Interpreters and ordinary servers are none.
        ([taking("run_python_code", "code", description="Runs Python.")], ()),
        ([taking("execute", "sql")], ()),
        ([taking("code", "zip")], ()),
        ([taking("search", "query"), taking("get_page", "id")], ()),
        ([taking("search", "query"), taking("execute", "code"), *(taking(f"tool_{n}") for n in range(9))], ()),
        ([taking("execute_code", "language", "code")], ()),
        ([], ()),
    ],
)
def test_one_tool_that_takes_programs_or_a_pair_is_code_mode(
    tools: list[dict[str, Any]], recognised: tuple[str, ...]
) -> None:
    assert programs_taken(tools) == recognised


JSON = json_values(
    st.integers(),
    SHORT,
    st.sampled_from(["code", "execute", "properties"]),
    keys=st.sampled_from(["code", "type", "properties", "x"]),
    size=3,
    leaves=8,
)


@given(
    st.lists(st.fixed_dictionaries({"name": st.sampled_from(["code", "a"]), "inputSchema": JSON, "description": JSON}))
)
def test_whatever_an_upstream_lists_is_looked_at_without_a_fault(tools: list[dict[str, Any]]) -> None:
    advice(programs_taken(tools), "http://x.example/mcp", "advise")


def test_an_address_is_asked_for_tools_unless_it_says_something_of_code_mode() -> None:
    assert asking_for_tools("https://x.example/mcp") == "https://x.example/mcp?codemode=off"
    assert asking_for_tools("https://x.example/mcp?a=1#f") == "https://x.example/mcp?a=1&codemode=off#f"
    for url in ("https://x.example/mcp?codemode=false", "https://x.example/mcp?codemode=&b=1"):
        assert asking_for_tools(url) == url


def test_what_is_said_fits_the_server() -> None:
    tools = ("search", "execute")
    assert advice((), "http://x.example", "advise") is None
    assert advice(tools, "http://x.example", "keep") is None
    said = advice(tools, "http://x.example", "advise")
    assert said is not None and "search and execute" in said and '"codeModeUpstream": "off"' in said
    for url, wanted in (("http://x.example", "off"), ("http://x.example?codemode=x", "advise")):
        said = advice(tools, url, wanted)  # type: ignore[arg-type]
        assert said is not None and "although its url" in said
    said = advice(tools, None, "advise")
    assert said is not None and "start it without" in said


@pytest.fixture(scope="module")
def code_mode_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A portal of our own as the upstream: in code mode unless it is asked not to be."""
    document = {"mcpServers": {"shop": SHOP}, "portal": {"codeMode": "default_on"}}
    with serving(document, tmp_path_factory.mktemp("upstream")) as served:
        yield served


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_an_upstream_in_code_mode_is_said_everywhere_and_opts_out_when_asked(code_mode_portal: Served) -> None:
    url = code_mode_portal.url
    entries = {
        "nested": {"url": url},
        "plain": {"url": url, "codeModeUpstream": "off"},
        "kept": {"url": url, "codeModeUpstream": "keep"},
    }
    with capture_logs() as logged:
        async with Servers(parse_config({"mcpServers": entries}, env={}).servers) as servers:
            snapshot = await servers.settled()
    assert {name: len(server.tools) for name, server in snapshot.servers.items()} == {
        "nested": 1,
        "plain": 11,
        "kept": 1,
    }
    said = snapshot.servers["nested"].own_code_mode
    assert said is not None and "it offers code instead of its own tools" in said
    assert snapshot.servers["plain"].own_code_mode is None and snapshot.servers["kept"].own_code_mode is None
    shown = health(snapshot)["servers"]
    assert shown["nested"]["codeMode"] == said and "codeMode" not in shown["plain"]
    warned = [event for event in logged if event["event"] == "a server is in code mode itself"]
    assert [(event["server"], event["advice"], event["log_level"]) for event in warned] == [("nested", said, "warning")]
    assert str(servers_table([snapshot.servers["nested"]]).columns[-1]._cells[0]) == said
