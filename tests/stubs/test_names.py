"""Every spelling of a tool, and what it means."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stubs import CODEMODE_FUNCTIONS, Names, Server, ServerNames, Tool, ToolKey, assign_names
from stubs.identifiers import identifier
from tests.stubs.test_identifiers import raw_names


def named(**tools: list[str]) -> Names:
    return assign_names(Server(server, tools=tuple(map(Tool, names))) for server, names in tools.items())


def servers(**tools: list[str]) -> list[Server]:
    return [Server(server, tools=tuple(map(Tool, names))) for server, names in tools.items()]


def test_a_tool_is_reached_as_server_dot_tool_in_identifiers() -> None:
    names = assign_names([Server("my-server", tools=(Tool("get-data"),))])
    assert names.server("my-server") == "my_server"
    assert names.tool("my-server", "get-data") == "get_data"
    assert names.path("my-server", "get-data") == "my_server.get_data"
    assert names.paths["my_server.get_data"] == ToolKey("my-server", "get-data")


@pytest.mark.parametrize(
    "spelling",
    [
        "my_server.get_data",
        "codemode.my_server.get_data",
        "my-server.get-data",
        "my_server.get-data",
        "my_server_get_data",
        "my-server_get-data",
        "get-data",
        "codemode.get-data",
    ],
)
def test_every_spelling_of_a_tool_resolves_to_it(spelling: str) -> None:
    names = assign_names([Server("my-server", tools=(Tool("get-data"),))])
    assert names.resolve(spelling) == (ToolKey("my-server", "get-data"),)


def test_the_flat_spelling_sanitises_the_whole() -> None:
    names = named(fix=["delete", "3d"])
    assert (names.tool("fix", "delete"), names.flat("fix", "delete")) == ("delete_", "fix_delete")
    assert (names.tool("fix", "3d"), names.flat("fix", "3d")) == ("_3d", "fix_3d")


def test_raw_names_are_members_of_the_server_unless_they_hide_an_identifier() -> None:
    names = named(fix=["get-x", "delete", "delete_"])
    assert names.tools["fix"]["get-x"] == "get-x"
    assert names.tools["fix"]["delete"] == "delete"
    assert names.tools["fix"]["delete_"] == "delete_"
    assert names.tool("fix", "delete") not in ("delete", "delete_")


@pytest.mark.parametrize("name", sorted(CODEMODE_FUNCTIONS))
def test_no_server_hides_a_function_of_codemode(name: str) -> None:
    names = assign_names([Server(name, tools=(Tool("a"),))])
    assert names.server(name) == f"{name}_"
    assert name not in names.servers and name not in names.shortcuts


@pytest.mark.parametrize("name", ["then", "toJSON", "toString", "__proto__", "constructor"])
def test_what_javascript_reads_by_itself_is_never_a_tool_or_a_server(name: str) -> None:
    names = assign_names([Server("fix", tools=(Tool(name),)), Server(name, tools=(Tool("a"),))])
    assert name not in names.tools["fix"]
    assert name not in names.servers
    assert name not in names.shortcuts
    assert names.path("fix", name) == f"fix.{name}_"


@pytest.mark.parametrize("name", ["search", "tools", "run", "then", "toString", "codemode", "__proto__"])
def test_a_server_is_found_by_its_id_whatever_a_property_of_that_name_is(name: str) -> None:
    names = assign_names([Server(name, tools=(Tool("a"),))])
    assert names.server_id(name) == names.server_id(names.server(name)) == name
    assert names.resolve(f"{name}.a") == names.resolve(f"codemode.{name}.a") == (ToolKey(name, "a"),)
    assert names.server_id("other") is None


def test_a_server_wins_over_a_flat_spelling_of_the_same_name() -> None:
    names = named(fix=["search"], fix_search=["a"])
    assert names.servers["fix_search"] == "fix_search"
    assert "fix_search" not in names.shortcuts
    assert names.flat("fix", "search") is None


def test_a_flat_spelling_of_two_tools_means_neither_and_says_which() -> None:
    names = named(a=["b_c"], a_b=["c"])
    assert "a_b_c" not in names.shortcuts
    assert set(names.ambiguous["a_b_c"]) == {ToolKey("a", "b_c"), ToolKey("a_b", "c")}
    assert set(names.resolve("a_b_c")) == {ToolKey("a", "b_c"), ToolKey("a_b", "c")}


def test_a_bare_raw_name_works_only_where_it_is_unique() -> None:
    names = named(one=["list", "only"], two=["list"])
    assert names.resolve("only") == (ToolKey("one", "only"),)
    assert "list" not in names.shortcuts
    assert len(names.resolve("list")) == 2


def test_a_tool_listed_twice_is_one_tool() -> None:
    names = assign_names([Server("fix", tools=(Tool("a"), Tool("a", description="again")))])
    assert list(names.paths) == ["fix.a"]


def test_two_servers_with_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="two servers have the id 'a'"):
        assign_names([Server("a"), Server("a")])


def test_an_unknown_spelling_means_nothing() -> None:
    names = named(fix=["search"])
    assert names.resolve("fix.find") == names.resolve("nope") == names.resolve("." * 5000) == ()
    with pytest.raises(KeyError):
        names.tool("fix", "find")


catalogues = st.dictionaries(raw_names, st.lists(raw_names, max_size=5), max_size=4)


@given(catalogues)
def test_every_tool_has_a_path_of_its_own_and_no_property_means_two_things(tools: dict[str, list[str]]) -> None:
    names = named(**tools)
    keys = {ToolKey(server, tool) for server, listed in tools.items() for tool in listed}
    assert {names.path(*key) for key in keys} == set(names.paths)
    assert set(names.paths.values()) == keys
    assert not set(names.servers) & set(names.shortcuts)
    assert not (set(names.servers) | set(names.shortcuts)) & (CODEMODE_FUNCTIONS | {"then", "toJSON"})
    for key in keys:
        assert names.resolve(names.path(*key)) == (key,)
        flat = names.flat(*key)
        assert flat is None or names.shortcuts[flat] == key


def test_a_spelling_that_is_another_servers_means_no_tool_of_this_one() -> None:
    names = named(evil=["victim_echo", "victim-ask", "own"], victim=["echo"], git=["hub_echo"])
    assert names.resolve("victim_echo") == (ToolKey("victim", "echo"),)
    assert names.resolve("victim_ask") == (), "the other has no such tool"
    assert names.resolve("own") == (ToolKey("evil", "own"),)
    assert names.resolve("git_hub_echo") == (ToolKey("git", "hub_echo"),)
    parts = [(ServerNames("evil", ["victim_echo"]), None), (ServerNames("git", ["hub_echo"]), None)]
    away = Names(parts, {"victim", "git-hub"})
    assert away.resolve("victim_echo") == away.resolve("git_hub_echo") == ()
    assert away.barred >= {"victim_echo", "git_hub_echo"}
    for key in (ToolKey("evil", "victim_echo"), ToolKey("git", "hub_echo")):
        assert away.resolve(away.path(*key)) == (key,)


@pytest.mark.parametrize(
    ("server", "other"), [("git-hub", "git"), ("git", "git-hub"), ("  ", "."), ("__", "_")], ids=str
)
def test_a_flat_spelling_that_a_hidden_server_may_have_means_no_tool(server: str, other: str) -> None:
    listed = Names([(ServerNames(server, ["hub_x", "x"]), None)], {other})
    spelled = identifier(other, CODEMODE_FUNCTIONS)
    assert not [one for one in listed.shortcuts if one.startswith(f"{spelled}_")]
    assert listed.resolve(listed.path(server, "x")) == (ToolKey(server, "x"),)


@example({"": ["."]}, {"\r"})
@given(catalogues, st.sets(raw_names, max_size=3))
def test_no_shortcut_is_spelled_as_a_tool_of_a_server_that_is_not_there(
    tools: dict[str, list[str]], others: set[str]
) -> None:
    others -= tools.keys()
    names = Names([(ServerNames(id, listed), None) for id, listed in tools.items()], others)
    taken = {identifier(id, CODEMODE_FUNCTIONS) for id in tools}
    spelled = {identifier(id, CODEMODE_FUNCTIONS) for id in others} - taken - {""}
    assert not [one for one in names.shortcuts if any(one.startswith(f"{other}_") for other in spelled)]


@given(catalogues)
def test_names_do_not_depend_on_the_order_of_servers_and_tools(tools: dict[str, list[str]]) -> None:
    backwards = {server: list(reversed(tools[server])) for server in reversed(tools)}
    one, other = assign_names(servers(**tools)), assign_names(servers(**backwards))
    assert (one.servers, one.tools, one.paths, one.shortcuts) == (
        other.servers,
        other.tools,
        other.paths,
        other.shortcuts,
    )
    assert {name: set(keys) for name, keys in one.ambiguous.items()} == {n: set(k) for n, k in other.ambiguous.items()}


def test_the_spellings_of_many_servers_are_found_without_trying_every_server() -> None:
    """Ten times as much for 800 servers. Where every server was tried for every spelling, it was 120 times as much."""
    many = [Server(f"srv-{number}", tools=tuple(Tool(f"tool {n}") for n in range(3))) for number in range(800)]
    naming, spelling = [], []
    for _ in range(3):
        started = time.thread_time()
        names = assign_names(many)
        named_at = time.thread_time()
        assert names.uncertain and len(names.shortcuts) >= 3 * len(many)
        naming.append(named_at - started)
        spelling.append(time.thread_time() - named_at)
    assert min(spelling) < 40 * min(naming), (spelling, naming)
