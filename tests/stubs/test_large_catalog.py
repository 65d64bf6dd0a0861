"""All operations of a large real API: they compile."""

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


def test_every_operation_compiles_under_strict_tsc(server: Server) -> None:
    names = assign_names([server])
    assert len(names.paths) == len(server.tools)
    text = declarations([server], names)
    program = (
        f"export const x = codemode.{next(iter(names.paths))}({{ no_such: 1 }});\nexport const y = codemode.api.nope;\n"
    )
    found = typescript.check({"api.d.ts": text, "program.ts": program})
    assert [item.file for item in found] == ["program.ts", "program.ts"], found[:5]


def test_signatures_stay_short(server: Server) -> None:
    names = assign_names([server])
    lengths = [len(signature(server, tool, names)) for tool in server.tools[::10]]
    assert max(lengths) < 500 and sum(lengths) / len(lengths) < 250
