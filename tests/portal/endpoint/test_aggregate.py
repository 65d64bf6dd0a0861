"""One list out of many servers: names, order, owners of URIs, and the way back from everything that is listed."""

import re
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.endpoint.aggregate import MAX_NAME, Aggregate, acceptable, exposed_name, owned_uri, split_owned_uri


@dataclass(frozen=True)
class Listed:
    id: str
    prefix: bool = True
    tools: tuple[dict[str, Any], ...] = ()
    prompts: tuple[dict[str, Any], ...] = ()
    resources: tuple[dict[str, Any], ...] = ()
    resource_templates: tuple[dict[str, Any], ...] = ()


def named(*names: str) -> tuple[dict[str, Any], ...]:
    return tuple({"name": name, "inputSchema": {"type": "object"}} for name in names)


def resources(*uris: str) -> tuple[dict[str, Any], ...]:
    return tuple({"uri": uri, "name": uri} for uri in uris)


def templates(*uris: str) -> tuple[dict[str, Any], ...]:
    return tuple({"uriTemplate": uri, "name": uri} for uri in uris)


def test_tools_are_listed_under_their_server_in_the_order_of_the_configuration() -> None:
    aggregate = Aggregate.build([Listed("b", tools=named("z", "a_b")), Listed("a", tools=named("z"))])
    assert [tool["name"] for tool in aggregate.tool_list] == ["b_z", "b_a_b", "a_z"]
    assert (aggregate.tools["b_a_b"].server, aggregate.tools["b_a_b"].name) == ("b", "a_b")


def test_everything_else_of_a_tool_is_kept_as_the_server_sent_it() -> None:
    tool = {"name": "t", "inputSchema": {"x-any": 1}, "_meta": {"k": "v"}, "icons": [{"src": "data:"}], "unknown": None}
    aggregate = Aggregate.build([Listed("s", tools=(tool,))])
    assert aggregate.tool_list == ({**tool, "name": "s_t"},)


def test_a_server_without_prefix_keeps_its_names_unless_they_are_taken() -> None:
    aggregate = Aggregate.build([Listed("a", False, named("x")), Listed("b", False, named("x", "y"))])
    assert list(aggregate.tools) == ["x", "b_x", "y"]
    assert aggregate.tool_list[0] == named("x")[0]


def test_two_names_that_would_be_the_same_stay_apart() -> None:
    aggregate = Aggregate.build([Listed("raw", False, named("s_t")), Listed("s", tools=named("t"))])
    assert len(aggregate.tools) == 2
    assert {(target.server, target.name) for target in aggregate.tools.values()} == {("raw", "s_t"), ("s", "t")}


def test_a_long_name_is_cut_to_what_clients_take_and_still_leads_to_its_tool() -> None:
    long = ["x" * 300 + end for end in "ab"]
    aggregate = Aggregate.build([Listed("s", tools=named(*long))])
    assert all(len(name) == MAX_NAME for name in aggregate.tools)
    assert [target.name for target in aggregate.tools.values()] == long


@given(
    st.lists(
        st.tuples(
            st.text("ab-", min_size=1, max_size=3), st.booleans(), st.lists(st.text("ab_-", max_size=5), max_size=5)
        ),
        max_size=4,
        unique_by=lambda server: server[0],
    )
)
def test_every_tool_has_exactly_one_name_and_every_name_one_tool(servers: list[tuple[str, bool, list[str]]]) -> None:
    listed = [Listed(id, prefix, named(*dict.fromkeys(tools))) for id, prefix, tools in servers]
    aggregate = Aggregate.build(listed)
    assert [tool["name"] for tool in aggregate.tool_list] == list(aggregate.tools)
    found = [(target.server, target.name) for target in aggregate.tools.values()]
    assert found == [(server.id, tool["name"]) for server in listed for tool in server.tools]
    assert Aggregate.build(listed).tool_list == aggregate.tool_list


ACCEPTED = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ODD_NAMES = [
    "read file",
    "read.file",
    "read/file",
    "läs fil",
    "读取",
    "a" * 70,
    "read_file!",
    "read  file",
    "\n",
    "é",
    "-",
]


def test_a_name_that_clients_do_not_take_is_listed_as_one_they_take() -> None:
    aggregate = Aggregate.build([Listed("s", tools=named(*ODD_NAMES, "read_file"), prompts=named(*ODD_NAMES))])
    assert all(map(ACCEPTED.fullmatch, [*aggregate.tools, *aggregate.prompts]))
    assert [target.name for target in aggregate.tools.values()] == [*ODD_NAMES, "read_file"]
    assert [target.name for target in aggregate.prompts.values()] == ODD_NAMES
    listed = dict(zip(ODD_NAMES, aggregate.tools, strict=False))
    assert listed["read file"].startswith("s_read_file_") and listed["läs fil"].startswith("s_las_fil_")
    assert listed["-"] == "s_-" and "s_read_file" in aggregate.tools


@pytest.mark.parametrize("name", ODD_NAMES[:-1])
def test_a_real_name_leads_to_its_tool_where_only_one_has_it(name: str) -> None:
    one, other = Listed("s", tools=named(name), prompts=named(name)), Listed("o", tools=named(name, "plain"))
    alone = Aggregate.build([one])
    for called in (name, f"s_{name}", *alone.tools):
        assert alone.tool(called) == alone.prompt(called) == next(iter(alone.tools.values()))
    both = Aggregate.build([one, other])
    assert both.tool(name) is None
    assert [target and target.server for target in (both.tool(f"s_{name}"), both.tool(f"o_{name}"))] == ["s", "o"]
    assert both.tool("plain") is None, "what clients can take has one name"
    assert both.tool_name("o_plain") == "o_plain"


def test_a_real_name_comes_after_a_listed_one() -> None:
    raw = Listed("raw", False, named("s_read file", "plain"))
    aggregate = Aggregate.build([Listed("s", tools=named("read file")), raw])
    assert aggregate.tool("s_read file") is None, "two tools have it"
    assert len(set(aggregate.tools)) == 3


NAMES = st.lists(
    st.text("ab _-./é", min_size=1, max_size=80) | st.text(min_size=1, max_size=80), unique=True, max_size=8
)


@given(NAMES, st.randoms(use_true_random=False), st.booleans())
def test_the_name_of_a_tool_depends_on_no_other_tool(names: list[str], random: Random, prefix: bool) -> None:
    aggregate = Aggregate.build([Listed("s", prefix, named(*names))])
    listed = {target.name: name for name, target in aggregate.tools.items()}
    assert len(listed) == len(names)
    assert all(map(ACCEPTED.fullmatch, listed.values()))
    others = random.sample(names, random.randint(0, len(names)))
    part = Aggregate.build([Listed("s", prefix, named(*others))])
    assert {target.name: name for name, target in part.tools.items()} == {name: listed[name] for name in others}


@given(st.text(max_size=400))
def test_a_shortened_name_is_short_and_stable(name: str) -> None:
    assert len(acceptable(name)) <= MAX_NAME
    assert acceptable(acceptable(name)) == acceptable(name)
    assert exposed_name("s", name, prefix=True, taken=()) == exposed_name("s", name, prefix=True, taken=())


def test_a_uri_leads_to_the_server_that_lists_it() -> None:
    aggregate = Aggregate.build([Listed("a", resources=resources("x://1")), Listed("b", resources=resources("x://2"))])
    assert [aggregate.resource(uri).server for uri in ("x://1", "x://2")] == ["a", "b"]  # type: ignore[union-attr]


def test_a_uri_that_two_servers_list_is_spelt_with_its_owner_the_second_time() -> None:
    aggregate = Aggregate.build([Listed("a", resources=resources("x://1")), Listed("b", resources=resources("x://1"))])
    first, second = (resource["uri"] for resource in aggregate.resource_list)
    assert (first, second) == ("x://1", owned_uri("b", "x://1"))
    target = aggregate.resource(second)
    assert target is not None and (target.server, target.name) == ("b", "x://1")
    assert aggregate.listed_uri("b", "x://1") == second and aggregate.listed_uri("a", "x://1") == "x://1"


def test_the_tool_of_an_app_names_its_view_as_it_is_listed() -> None:
    app = {"name": "show", "inputSchema": {"type": "object"}, "_meta": {"ui": {"resourceUri": "ui://app/1", "x": 1}}}
    flat = {"name": "flat", "inputSchema": {"type": "object"}, "_meta": {"ui/resourceUri": "ui://app/1", "y": 2}}
    other = {"name": "other", "inputSchema": {"type": "object"}, "_meta": {"ui": {"resourceUri": "ui://app/2"}}}
    servers = [Listed(id, tools=(app, flat, other), resources=resources("ui://app/1")) for id in ("a", "b")]
    aggregate = Aggregate.build(servers)
    first, second = (resource["uri"] for resource in aggregate.resource_list)
    # Clients know a view by its scheme.
    assert first == "ui://app/1" and second.startswith("ui://")
    target = aggregate.resource(second)
    assert target is not None and (target.server, target.name) == ("b", "ui://app/1")
    metas = {tool["name"]: tool["_meta"] for tool in aggregate.tools_for("2026")}
    assert metas["a_show"] == app["_meta"] and metas["a_flat"] == flat["_meta"]
    assert metas["b_show"] == {"ui": {"resourceUri": second, "x": 1}}
    assert metas["b_flat"] == {"ui/resourceUri": second, "y": 2}
    assert metas["b_other"] == other["_meta"]


def test_a_uri_of_a_template_leads_to_the_servers_template() -> None:
    aggregate = Aggregate.build(
        [
            Listed("a", resource_templates=templates("db://{table}/rows/{id}")),
            Listed("b", resource_templates=templates("db://{table}/schema", "broken://{")),
        ]
    )
    for uri, server in (("db://t/rows/1", "a"), ("db://t/schema", "b")):
        target = aggregate.resource(uri)
        assert target is not None and (target.server, target.name) == (server, uri)
    assert aggregate.resource("db://t/other") is None
    assert [template["uriTemplate"] for template in aggregate.template_list][-1] == "broken://{"


def test_an_unlisted_uri_is_the_matter_of_the_one_server_with_its_scheme() -> None:
    aggregate = Aggregate.build(
        [Listed("files", resources=resources("file:///a")), Listed("c", resources=resources("c://1"))]
    )
    target = aggregate.resource("FILE:///secret")
    assert target is not None and target.server == "files"
    assert aggregate.resource("https://elsewhere") is None


def test_an_unlisted_uri_is_not_tried_on_several_servers() -> None:
    aggregate = Aggregate.build(
        [Listed("a", resources=resources("file:///a")), Listed("b", resources=resources("file:///b"))]
    )
    assert aggregate.resource("file:///secret") is None


@pytest.mark.parametrize("uri", ["mcp-server://", "mcp-server://a", "mcp-server:///x", "mcp-server://nobody/x%3A"])
def test_an_owner_that_does_not_exist_owns_nothing(uri: str) -> None:
    assert Aggregate.build([Listed("a", resources=resources("x://1"))]).resource(uri) is None


def test_a_uri_of_any_length_is_answered() -> None:
    aggregate = Aggregate.build([Listed("a", resource_templates=templates("x://{a}-{b}-{c}-{d}"))])
    assert aggregate.resource("x://" + "-" * 1_000_000) is None
    aggregate.resource("x://" + "-" * 8000)


@given(st.text("ab-", min_size=1, max_size=5), st.text(min_size=1, max_size=40))
def test_an_owned_uri_can_be_taken_apart_again(server: str, raw: str) -> None:
    raw = raw.encode("utf-8", "replace").decode()
    for uri in (raw, f"ui://{raw}"):
        assert split_owned_uri(owned_uri(server, uri)) == (server, uri)


def test_completion_finds_the_server_of_a_template() -> None:
    aggregate = Aggregate.build([Listed("a", resource_templates=templates("x://{y}"))])
    target = aggregate.template("x://{y}")
    assert target is not None and target.server == "a"
    assert aggregate.template("x://{z}") is None
