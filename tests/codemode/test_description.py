"""The description of `code` stays within 600 tokens, whatever servers and tools there are."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import Catalog
from codemode import description as module
from codemode.cost import COMMON, most_tokens
from codemode.description import MAX_TOKENS, description
from stubs import Server, Tool
from tests.codemode.bench import CATALOG
from tests.codemode.counting import counted
from tests.deep import examples

pytest.importorskip("splintr")


def many(servers: int, tools: int, about: str = "Reads and writes {n} things for the {n} team") -> Catalog:
    return Catalog.build(
        Server(f"server{n}", None, about.replace("{n}", str(n)), tuple(Tool(f"tool_{t}") for t in range(tools)))
        for n in range(servers)
    )


@pytest.mark.parametrize(("servers", "tools"), [(0, 0), (1, 1), (1, 3_000), (5, 10), (80, 40), (400, 1)])
def test_any_number_of_tools_fits_into_600_tokens(servers: int, tools: int) -> None:
    assert counted(description(many(servers, tools))) <= MAX_TOKENS


@pytest.mark.parametrize(
    "text", ["日本語の説明" * 30, "qxzjvk" * 50, "😀" * 200, "-_-" * 100, "\ud800" * 50, "$&" * 99]
)
def test_hostile_texts_fit_too(text: str) -> None:
    catalog = Catalog.build(
        [Server(f"s{n}", text, text, (Tool("t", text, text),)) for n in range(50)], {f"down {text}": text}
    )
    assert counted(description(catalog)) <= MAX_TOKENS


def test_it_says_how_to_call_find_and_return_and_names_every_global_it_promises() -> None:
    text = description(CATALOG)
    for word in ("await", "codemode.search", "codemode.describe", "codemode.tools", "codemode.emit", "ToolError"):
        assert word in text


def test_servers_are_listed_with_what_they_do_and_how_many_tools_they_have() -> None:
    text = description(many(3, 40))
    assert "- server2 (40 tools): Reads and writes 2 things for the 2 team" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# Acme MCP Server\n\nManages orders and customers. It has more.", "Manages orders and customers."),
        ("Acme\n====\nManages orders.", "Manages orders."),
        ("**Acme Server**\n\nManages orders", "Manages orders"),
        ("Acme MCP server\nManages orders", "Manages orders"),
        ("The Acme MCP server. Manages orders.", "Manages orders."),
        ("Welcome to the acme server!\n\nManages orders", "Manages orders"),
        ("[![build](x.svg)](y)\n<!-- generated -->\n## Tools\n- Manages orders\n- Finds customers", "Manages orders"),
        ("---\nname: acme\n---\n```sh\nnpm i acme\n```\nManages `orders`.", "Manages orders."),
        ("Manages the orders under /Users/anna/orders for the server", "Manages the orders under … for the server"),
        ("Answers GET /v1/orders", "Answers GET /v1/orders"),
        ("Talks to the server", "Talks to the server"),
        ("**Manages** orders - and customers", "Manages orders - and customers"),
        ("Returns at most 10. then pages", "Returns at most 10. then pages"),
        ("- Manages orders - and more", "Manages orders - and more"),
    ],
)
def test_a_server_s_line_says_what_it_is_for_and_names_some_tools(text: str, words: str) -> None:
    tools = tuple(Tool(f"tool-{n}") for n in range(20))
    lines = description(Catalog.build([Server("acme", "Acme", text, tools)])).splitlines()
    assert f"- acme (20 tools): {words} (tool_0, tool_1, tool_2, …)" in lines


@pytest.mark.parametrize("name", [None, "x" * 100])
def test_a_server_without_a_name_of_a_tool_that_fits_has_no_empty_brackets(name: str | None) -> None:
    tools = () if name is None else (Tool(name),)
    lines = description(Catalog.build([Server("acme", "Acme", "Manages orders", tools)])).splitlines()
    assert not any("()" in line for line in lines if line.startswith("- acme"))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "# Acme MCP Server",
        "Acme",
        "/srv/anna/acme",
        "Traceback (most recent call last):\n  File 'x.py'\nKeyError: 1",
    ],
)
def test_a_server_that_says_nothing_of_itself_names_its_tools_alone(text: str | None) -> None:
    tools = tuple(Tool(f"tool-{n}") for n in range(20))
    lines = description(Catalog.build([Server("acme", "Acme", text, tools)])).splitlines()
    assert "- acme (20 tools): tool_0, tool_1, tool_2, …" in lines


def test_the_names_of_tools_go_before_what_the_servers_are_for() -> None:
    text = description(many(14, 40))
    assert "- server13 (40 tools): Reads and writes 13 things for the 13 team" in text and "tool_0" not in text


def test_a_declared_server_has_no_headline_either() -> None:
    server = Server("notes", "Notes", "# Notes MCP Server\n\nKeeps notes in /Users/anna/notes.", (Tool("add"),))
    text = description(Catalog.build([server]))
    assert "/** Keeps notes in … */" in text and "Notes MCP Server" not in text and "anna" not in text


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (
            'the process ended: Traceback (most recent call last):\n  File "/srv/acme/main.py", line 3, in <module>\n'
            "    import acme\nModuleNotFoundError: No module named 'acme'",
            "the process ended: ModuleNotFoundError: No module named 'acme'",
        ),
        (
            "Error: Cannot find module '/usr/lib/acme.js'\n    at Module._load (node:internal/loader:1143:15)\n"
            "    at node:internal/main:23:47",
            "Error: Cannot find module '…'",
        ),
        ("spawn /Users/anna/.local/bin/acme ENOENT", "spawn … ENOENT"),
        ("C:\\Users\\anna\\acme.exe was not found", "… was not found"),
        ("401 from https://api.example.com/v1/mcp", "401 from https://api.example.com/v1/mcp"),
        ("log in at http://127.0.0.1:8787/servers", "log in at http://127.0.0.1:8787/servers"),
    ],
)
def test_the_reason_of_a_server_that_is_down_has_no_traceback_and_no_path_of_the_machine(why: str, words: str) -> None:
    assert f"- acme is not available: {words}" in description(Catalog.build([], {"acme": why})).splitlines()


def test_servers_that_are_down_are_named_with_the_reason() -> None:
    assert "broken is not available: connection refused" in description(CATALOG)
    assert "billing is not available: 401" in description(Catalog.build([], {"billing": "401 from upstream"}))


def test_servers_that_do_not_fit_are_counted() -> None:
    text = description(many(80, 40, "A description that goes on for quite a while about server number {n}"))
    assert "more: codemode.search" in text


def test_a_few_small_tools_are_simply_declared() -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    text = description(Catalog.build([Server("notes", tools=(Tool("add", None, "Add a note", schema),))]))
    assert "declare const codemode" in text and "add(input: { text: string" in " ".join(text.split())
    assert counted(text) <= MAX_TOKENS


def test_the_parts_that_never_change_cost_what_the_budget_says() -> None:
    declaring = "\n".join((module._HEAD, module._ALL_DECLARED, module._EMIT))
    finding = "\n".join((module._HEAD, "Servers:", module._FIND, module._EMIT, module._EXAMPLE))
    # One token more, for the line end before the part that changes.
    assert counted(declaring) + 1 <= module._DECLARING_TOKENS
    assert counted(finding) + 1 <= module._FINDING_TOKENS
    assert module._FINDING_TOKENS <= MAX_TOKENS // 2


def test_tokens_decide_what_is_declared_and_not_the_number_of_tools() -> None:
    tiny = [Tool(f"get_{name}") for name in "abcdefghijklmnopqrstuvwxyz"]
    few = [Tool("get_a", None, "Returns the thing. " * 100)]
    assert "get_o(" in description(Catalog.build([Server("s", tools=tuple(tiny[:15]))]))
    assert "Find tools first" in description(Catalog.build([Server("s", tools=tuple(tiny))]))
    assert "Find tools first" in description(Catalog.build([Server("s", tools=tuple(few))]))


def test_where_all_tools_are_declared_nobody_is_sent_to_search() -> None:
    text = description(Catalog.build([Server("s", tools=(Tool("a"),))], {"billing": "401 from upstream"}))
    assert "codemode.search" not in text and "All tools are declared here" in text
    assert "codemode.emit" in text and "billing is not available: 401" in text


@pytest.mark.parametrize("unavailable", [1, 3, 40])
def test_declarations_leave_room_for_the_number_of_servers_that_cannot_be_used(unavailable: int) -> None:
    down = {f"down{n}": "connection refused by the host" for n in range(unavailable)}
    texts = [
        description(Catalog.build([Server("s", tools=(Tool("a", None, "q" * length),))], down))
        for length in range(0, 600, 10)
    ]
    declaring = [text for text in texts if module._ALL_DECLARED in text]
    assert 0 < len(declaring) < len(texts)
    for text in declaring:
        assert "down0 is not available" in text or f"{unavailable} more" in text
        changing = text.removeprefix(module._HEAD).partition(module._ALL_DECLARED)[0]
        assert most_tokens(changing.strip()) <= module._ROOM_TO_DECLARE


@pytest.mark.parametrize(
    "tool",
    [
        Tool("a"),
        Tool("a", None, None, {"type": "object", "additionalProperties": False}, {"type": "object"}),
        Tool("a", None, None, {"type": "object", "properties": {"b": {}}}, {"type": "null"}),
        Tool("a", None, None, True, True),
    ],
)
def test_no_declaration_is_smaller_than_the_smallest(tool: Tool) -> None:
    """So that a catalog may be told to be too large before its declarations are written."""
    two = Catalog.build([Server("s", tools=(tool, replace(tool, name="b")))])
    one = Catalog.build([Server("s", tools=(tool,))])
    more = most_tokens(module.declared_tools(two)) - most_tokens(module.declared_tools(one))
    assert more >= module._LEAST_DECLARATION


def test_every_word_that_counts_as_one_token_is_one() -> None:
    for word in COMMON:
        assert {counted(one) for one in (word, word.capitalize(), f" {word}", f" {word.capitalize()}")} == {1}, word


PIECES = st.sampled_from([*sorted(COMMON), "qxz", "ABC", "GitHub", "é", "日本", "😀", "123", "'s", "://"])
TEXTS = st.lists(PIECES | st.sampled_from([" ", "  ", "-", "_", ".", "(", ")", "\n"]), max_size=60).map("".join)


LINES = st.lists(
    st.sampled_from(["\n", "\n  ", "\n      ", "\r\n", "\t", "        ", "/**", "*/", "{", "};", "a", "12"])
)


@examples(300)
@given(LINES.map("".join))
def test_the_bound_is_never_below_the_true_count_of_indented_lines(text: str) -> None:
    assert counted(text) <= most_tokens(text)


@examples(300)
@given(TEXTS | st.text(st.characters(exclude_categories=["Cs"])))
def test_the_bound_is_never_below_the_true_count(text: str) -> None:
    assert counted(text) <= most_tokens(text)


def test_the_bound_holds_for_letters_at_random() -> None:
    chance = random.Random(7)
    for alphabet in ("abcdefghijklmnopqrstuvwxyz", "qxzjvkw", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "aZbYcX", "0123456789"):
        for _ in range(300):
            text = "".join(chance.choice(alphabet) for _ in range(chance.randint(1, 60)))
            assert counted(text) <= most_tokens(text), text


@pytest.mark.parametrize(
    "text",
    [
        "# The Acme MCP Server\n",
        "The Acme MCP Server",
        "Traceback (most recent call last):\n  File \"/srv/acme/server.py\", line 1\nKeyError: 'token'",
    ],
)
def test_nowhere_is_a_server_told_by_its_headline_a_traceback_or_a_path(text: str) -> None:
    """Neither in the description of `code`, nor in what a program reads of the server."""
    acme = Server("acme", "The Acme MCP Server", text, (Tool("list_orders"), Tool("get_order")))
    why = 'Traceback (most recent call last):\n  File "/srv/crm.py", line 7\nOSError: no file /srv/.crm'
    catalog = Catalog.build([acme, Server("shop", None, "# Shop\n\nSells things.", (Tool("buy"),))], {"crm": why})
    shown = (
        description(catalog),
        catalog.describe("acme"),
        catalog.describe("shop", full=True),
        catalog.declarations(),
        str(catalog.search("")),
        str(catalog.tools()),
        str(catalog.missing("crm.find")),
        catalog.begin,
    )
    for one in shown:
        assert not any(words in one for words in ("MCP Server", "Traceback", "/srv", "# Shop")), one
    assert "Sells things." in shown[0] and "/** Sells things. */" in shown[2]
    listed = {entry["server"]: entry for entry in catalog.search("")}
    assert (listed["acme"]["description"], listed["shop"]["description"]) == ("list_orders, get_order", "Sells things.")
    assert listed["crm"]["unavailable"] == "OSError: no file …"
