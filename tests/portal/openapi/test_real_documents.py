"""Documents of real APIs: every operation is a tool or said to be none, and the tools are sound, small and typed."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from time import process_time
from typing import Any

import jsonschema_rs
import pytest

from portal.errors import InputError
from portal.exact import encode
from portal.openapi import Api, parse_document, read_api
from stubs import Server, Tool, assign_names, declarations
from tests import node_tools
from tests.corpus import openapi_documents
from tests.corpus.openapi_documents import DOCUMENTS, LARGE, README, RealDocument, text_of
from tests.stubs.typescript import check

LARGEST_TOOL = 256 * 1024
REFERENCE = re.compile(rb'"\$ref":"([^"]*)"')
BY_MAKER = {document.maker: document for document in DOCUMENTS}
COMPILED = [
    ("Figma", "Directus", "Blockfrost"),
    pytest.param(("Stripe", "OpenAI", "Figma", "Directus", "Adyen"), marks=pytest.mark.deep),
]
of_each = pytest.mark.parametrize(
    "document",
    [pytest.param(one, marks=pytest.mark.deep if one.package in LARGE else ()) for one in DOCUMENTS],
    ids=[one.maker for one in DOCUMENTS],
)
"""Those of the two large packages are `deep`."""


def api_of(document: RealDocument) -> Api:
    return read_api(parse_document(text_of(document)), location="https://api.example.com/openapi.json")


@of_each
def test_every_operation_of_a_real_document_is_a_tool_or_said_to_be_none(document: RealDocument) -> None:
    api = api_of(document)
    gone = [gap for gap in api.gaps if gap.operation]
    assert (len(api.operations) + len(gone), len(gone)) == (document.operations, document.left_out)
    assert len({one.name for one in api.operations}) == len(api.operations)
    for one in api.operations:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", one.name)
        assert one.base_urls
        placed = [p.property for p in one.parameters] + ([one.body.property] if one.body and one.body.property else [])
        placed += list(one.body.fields) if one.body else []
        assert sorted(placed) == sorted(one.input_schema["properties"])  # type: ignore[call-overload]


@of_each
def test_the_schemas_of_a_real_document_are_valid_and_self_contained(document: RealDocument) -> None:
    for one in api_of(document).operations:
        written = [encode(schema) for schema in (one.input_schema, one.output_schema or {})]
        assert sum(map(len, written)) < LARGEST_TOOL, one.name
        for schema, text in zip((one.input_schema, one.output_schema or {}), written, strict=True):
            used = {name.decode() for name in REFERENCE.findall(text)}
            defined: Any = schema.get("$defs", {})
            assert used == {f"#/$defs/{name}" for name in defined}, one.name
    for one in itertools.islice(api_of(document).operations, 0, None, 25):
        assert jsonschema_rs.meta.is_valid(json.loads(encode(one.input_schema))), one.name
        assert jsonschema_rs.meta.is_valid(json.loads(encode(one.output_schema or {}))), one.name


@pytest.mark.parametrize("makers", COMPILED, ids=" ".join)
def test_the_typescript_of_real_documents_compiles_and_is_smaller_than_they_are(makers: tuple[str, ...]) -> None:
    sources: dict[str, str] = {}
    for maker in makers:
        api = api_of(BY_MAKER[maker])
        tools = tuple(
            Tool(one.name, one.title, one.description, one.input_schema, one.output_schema, one.annotations)
            for one in api.operations
        )
        servers = [Server("api", tools=tools)]
        sources[f"{maker}.ts"] = declarations(servers, assign_names(servers)) + "\nexport {};\n"
        assert len(sources[f"{maker}.ts"]) < 0.75 * len(json.dumps(parse_document(text_of(BY_MAKER[maker]))))
    assert check(sources) == []


def test_small_documents_are_the_same_in_json_and_in_yaml() -> None:
    folder = node_tools.needs(openapi_documents.files, README)
    pairs = [(file, folder / file.name.replace("json", "yaml")) for file in sorted(folder.glob("3.*+json+*.json"))]
    # The makers changed one of these two and not the other.
    apart = {"3.1+json+parameters-style.json", "3.1+json+train-travel.json"}
    there = [(one, other) for one, other in pairs if other.exists() and one.name not in apart]
    assert len(there) > 40
    for one, other in there:
        assert read(one) == read(other), one.name


def test_documents_of_2_0_are_refused_with_what_to_do() -> None:
    folder: Path = node_tools.needs(openapi_documents.files, README)
    old = sorted(folder.glob("2.0+*"))
    assert len(old) > 10
    for file in old:
        with pytest.raises(InputError, match="Convert it first"):
            read(file)


def read(file: Path) -> Api:
    return read_api(parse_document(file.read_bytes()))


@pytest.mark.deep
def test_a_large_document_is_read_in_a_few_times_what_its_json_takes() -> None:
    def seconds(work: Any) -> float:
        began = process_time()
        work()
        return process_time() - began

    text = text_of(BY_MAKER["GitHub"])
    parsed = parse_document(text)
    as_json = min(seconds(lambda: json.loads(text)) for _ in range(3))
    assert min(seconds(lambda: read_api(parsed)) for _ in range(3)) < 10 * as_json
