"""JSON with comments and a comma after the last member: the same value, the same places, and no more than that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.config import load_document, read_document
from portal.config.jsonc import as_json
from portal.errors import ConfigError
from tests.strategies import json_values

BLANKS = st.sampled_from(["", " ", "\n", "// a, b]\n", "/* c */", "/**/", '/* [{,\n"*/', "\t// //\n"])


@st.composite
def decorated(draw: st.DrawFn) -> tuple[Any, str]:
    """A value, and a text of it with comments and last commas."""

    def write(value: Any) -> str:
        before, after = draw(BLANKS), draw(BLANKS)
        last = draw(st.sampled_from(["", ","])) + draw(BLANKS)
        if isinstance(value, list):
            text = "[" + ",".join(map(write, value)) + (last if value else draw(BLANKS)) + "]"
        elif isinstance(value, dict):
            members = (f"{draw(BLANKS)}{json.dumps(name)}{draw(BLANKS)}:{write(one)}" for name, one in value.items())
            text = "{" + ",".join(members) + (last if value else draw(BLANKS)) + "}"
        else:
            text = json.dumps(value)
        return before + text + after

    value = draw(json_values(st.integers(), st.text('/*,"\\]}a', max_size=6), st.booleans(), keys=st.text(max_size=3)))
    return value, write(value)


@given(decorated())
def test_comments_and_last_commas_change_no_value(given: tuple[Any, str]) -> None:
    value, text = given
    assert json.loads(as_json(text)) == value


@given(json_values(st.integers(), st.text(), keys=st.text()))
def test_plain_json_stays_as_it_is(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    assert as_json(text) == text


@given(st.text('/*",[]{} \n\\a'))
def test_no_character_moves_whatever_the_text(text: str) -> None:
    changed = as_json(text)
    assert len(changed) == len(text)
    assert all(now in (" ", before) for now, before in zip(changed, text, strict=True))


@pytest.mark.parametrize("text", ["[,]", "{,}", '{"a": 1,,}', "[1 2]", "[1] /* no end", "[1, /* no end ]", "{'a': 1}"])
def test_anything_else_is_still_a_mistake(text: str) -> None:
    with pytest.raises(ValueError):
        json.loads(as_json(text))


def test_a_mistake_after_a_comment_keeps_its_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{\n  // servers\n  "servers": {,}\n}')
    with pytest.raises(ConfigError, match="line 3, column 15"):
        load_document(file)


def test_every_reader_of_json_takes_comments(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": [1, 2,], /* b */}')
    assert load_document(file) == read_document(file) == {"a": [1, 2]}


def test_a_key_that_is_written_twice_is_refused_between_comments_too(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": 1, // one\n "a": 2, }')
    with pytest.raises(ConfigError, match="written twice"):
        load_document(file)
