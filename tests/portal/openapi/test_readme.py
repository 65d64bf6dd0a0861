"""The chapter of OpenAPI documents: its example runs, and its tables say what the code says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import portal.openapi
from portal import yaml_text
from portal.openapi import LARGEST, MOST_OPERATIONS, bodies, document, inputs, parameters, reading, results, schemas
from tests.corpus.openapi_documents import DOCUMENTS

CHAPTER = (Path(portal.openapi.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_chapter_shows() -> None:
    example, shown = re.findall(r"```(?:python)?\n(.*?)```", CHAPTER, re.DOTALL)[:2]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})
    assert printed.getvalue() == shown


def test_the_table_of_real_documents_has_those_that_are_tested() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [\d.]+ MB \| ([\d,]+) \| ([\d,]+) \| (\d+) \|", CHAPTER, re.MULTILINE)
    assert rows == [
        (one.maker, f"{one.operations:,}", f"{one.operations - one.left_out:,}", str(one.left_out)) for one in DOCUMENTS
    ]


def test_the_bounds_of_the_chapter_are_those_of_the_code() -> None:
    table = CHAPTER.partition("| bound |")[2].partition("\n\n")[0]
    figures = [
        f"{LARGEST // 1024**2} MiB",
        f"{yaml_text.MOST_VALUES:,}; {yaml_text.DEEPEST}",
        f"{MOST_OPERATIONS:,}",
        f"{document.MOST_GAPS}",
        f"{parameters.MOST_PARAMETERS}; {bodies.MOST_FIELDS}",
        f"{document.MOST_HOPS}",
        f"{schemas.DEEPEST}",
        f"{inputs.LARGEST_INPUT:,} characters",
        f"{results.LARGEST_OUTPUT:,} each",
        f"{schemas.LARGEST_DEFINITION:,}, about",
        f"{reading.MOST_DESCRIPTION:,}; {schemas.MOST_DESCRIPTION:,} characters",
        f"{schemas.MOST_REPAIRS}",
    ]
    assert [figure for figure in figures if f"| {figure}" not in table] == []
