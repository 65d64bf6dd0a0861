"""The one reader of files: the same value from JSON, TOML and YAML, and the same refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from portal.config import load_document, read_document, read_text
from portal.errors import ConfigError, InputError
from portal.yaml_text import yaml_text

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
LEAF = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
VALUE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUE)
@example("08")
@example("1e3")
def test_a_value_is_the_same_from_json_and_from_yaml(tmp_path: Path, value: object) -> None:
    as_json, as_yaml = tmp_path / "a.json", tmp_path / "a.yaml"
    as_json.write_text(json.dumps(value), encoding="utf-8")
    as_yaml.write_text(yaml_text(value, width=80), encoding="utf-8")
    assert read_document(as_json) == value == read_document(as_yaml)


def test_a_document_may_be_toml_and_a_date_in_yaml_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[portal]\nname = "Acme"\n')
    (tmp_path / "a.yml").write_text("since: 2026-05-01\n")
    assert read_document(tmp_path / "a.toml") == load_document(tmp_path / "a.toml") == {"portal": {"name": "Acme"}}
    assert read_document(tmp_path / "a.yml") == {"since": "2026-05-01"}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", b'{"a": {"b": 1, "b": 2}}', "b is written twice"),
        ("a.yaml", b"a:\n  b: 1\n  b: 2\n", "b is written twice"),
        ("a.yaml", b"a: &x [1]\nb: *x\n", "aliases are not allowed here"),
        ("a.toml", b"a = 1\na = 2\n", "is not TOML"),
        ("a.json", b"[" * 100_000, "is nested too deeply"),
        ("a.json", b"1" * 5000, "is not JSON"),
        ("a.json", b"\xff", "is not UTF-8 text"),
        ("a.json", b" " * 101, "is larger than 100 bytes"),
        ("a.json", None, "Cannot read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_its_name(
    tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    largest = 100 if content is not None and content.isspace() else 1_000_000
    with pytest.raises(InputError, match=problem) as refused:
        read_document(file, largest=largest)
    assert name in str(refused.value)


def test_a_configuration_says_the_key_and_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"portal": {"name": 1, "name": 2}}')
    with pytest.raises(ConfigError) as refused:
        load_document(file)
    assert refused.value.key == "name" and "Keep one of them." in str(refused.value)
    file.write_text("[1]")
    with pytest.raises(ConfigError, match="found a list"):
        load_document(file)
    assert read_text(file) == "[1]"
