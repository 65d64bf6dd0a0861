"""All operations of a large real API: they compile, and take less text than the list they come from."""

import json
from typing import Any

import pytest

from stubs import Server, assign_names, declarations, signature
from tests.stubs import corpus, typescript


@pytest.fixture(scope="module")
def operations() -> list[dict[str, Any]]:
    return corpus.large_catalog()


@pytest.fixture(scope="module")
def server(operations: list[dict[str, Any]]) -> Server:
    return corpus.as_server({"id": "api", "tools": operations})


def listed(tools: list[dict[str, Any]]) -> int:
    """Characters of the tools as `tools/list` gives them, without hints and other extras."""
    return len(json.dumps(tools, ensure_ascii=False, separators=(",", ":")))


def test_every_operation_compiles_under_strict_tsc(server: Server) -> None:
    names = assign_names([server])
    assert len(names.paths) == len(server.tools)
    text = declarations([server], names)
    program = (
        f"export const x = codemode.{next(iter(names.paths))}({{ no_such: 1 }});\nexport const y = codemode.api.nope;\n"
    )
    found = typescript.check({"api.d.ts": text, "program.ts": program})
    assert [item.file for item in found] == ["program.ts", "program.ts"], found[:5]


def test_declarations_take_less_text_than_the_list(server: Server, operations: list[dict[str, Any]]) -> None:
    text = declarations([server], assign_names([server]))
    assert len(text) < 0.8 * listed(operations)


def test_signatures_stay_short(server: Server) -> None:
    names = assign_names([server])
    lengths = [len(signature(server, tool, names)) for tool in server.tools[::10]]
    assert max(lengths) < 500 and sum(lengths) / len(lengths) < 250


@pytest.mark.parametrize("name", [name for name in corpus.NAMES if name != "odd"])
def test_our_own_servers_take_less_text_than_their_list(name: str) -> None:
    document = json.loads((corpus.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    server = corpus.as_server(document)
    assert len(declarations([server], assign_names([server]))) < 0.85 * listed(document["tools"])
