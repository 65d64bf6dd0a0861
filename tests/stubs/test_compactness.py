"""The declarations take less text than the list of tools, and less than the generator this one has to beat."""

import json
import re
from typing import Any

import pytest

from portal.cli.show.token_count import count_tokens
from tests import node_tools
from tests.stubs import corpus, original
from tests.stubs.measured import declared, listed, synthetic
from tests.upstreams.listed import published_tools

Tools = list[dict[str, Any]]


def tokens(text: str) -> int:
    return count_tokens(text).tokens


def declared_by_the_original(tools: Tools) -> str:
    return node_tools.needs(original.declared, tools)


def own_tools(name: str) -> Tools:
    tools: Tools = json.loads((corpus.FOLDER / f"{name}.json").read_text(encoding="utf-8"))["tools"]
    return tools


@pytest.mark.parametrize("name", ["files", "issues", "shapes", "shop"])
def test_declarations_take_fewer_tokens_than_the_list(name: str) -> None:
    assert tokens(declared(own_tools(name))) < 0.75 * tokens(listed(own_tools(name)))


def test_declarations_take_fewer_tokens_than_those_of_the_original() -> None:
    # Not `shapes` and `shop`, which are dense with ranges, patterns and conditions: the original says none of those.
    for name in ("files", "issues"):
        assert tokens(declared(own_tools(name))) < tokens(declared_by_the_original(own_tools(name))), name


def test_described_parameters_are_said_once_where_the_original_says_them_twice() -> None:
    ours = declared(synthetic())
    assert tokens(ours) < 0.9 * tokens(listed(synthetic()))
    assert tokens(ours) < 0.55 * tokens(declared_by_the_original(synthetic()))
    assert all(ours.count(f" {words} 7.") == 1 for words in ("of record", "in view", "from shelf"))


@pytest.mark.timeout(600)  # The first run fetches the servers.
def test_every_published_server_takes_fewer_tokens_than_its_list_and_than_the_original() -> None:
    lists = published_tools()
    for server, tools in lists.items():
        assert tokens(declared(tools)) < 0.95 * tokens(listed(tools)), server
        assert tokens(declared(tools)) < 0.9 * tokens(declared_by_the_original(tools)), server
    together = [sum(tokens(text(tools)) for tools in lists.values()) for text in (declared, listed)]
    assert together[0] < 0.5 * together[1]


def test_a_large_catalog_takes_less_than_its_list_and_half_of_the_original() -> None:
    tools = corpus.large_catalog()
    ours = tokens(declared(tools))
    assert ours < 0.8 * tokens(listed(tools))
    assert ours < 0.5 * tokens(declared_by_the_original(tools))


def sentences(schema: Any, found: dict[str, int]) -> dict[str, int]:
    """How often each longer description is in a schema."""
    if isinstance(schema, dict):
        words = schema.get("description")
        if isinstance(words, str) and len(words) > 30:
            plain = re.sub(r"\s+", " ", words).strip()
            found[plain] = found.get(plain, 0) + 1
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        sentences(part, found)
    return found


@pytest.mark.timeout(600)
def test_no_description_is_said_more_often_than_the_server_says_it() -> None:
    for server, tools in published_tools().items():
        for tool in tools:
            found = sentences([tool["inputSchema"], tool.get("outputSchema")], {})
            text = re.sub(r"\s+", " ", declared([tool]))
            for description, times in found.items():
                assert text.count(f"/** {description} */") <= times, (server, tool["name"], description)
