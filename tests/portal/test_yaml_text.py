"""The reader and writer of YAML: JSON's values and no others, within bounds."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest
import yaml
from hypothesis import example, given

from portal.yaml_text import YamlError, parse_yaml, yaml_text
from tests.strategies import json_values


@given(json_values())
def test_what_another_writer_writes_is_read(value: Any) -> None:
    # Strings are quoted: by YAML 1.1, which that writer knows, `1e3` is one without.
    text = yaml.dump(value, Dumper=_Quoting, allow_unicode=True)
    assert parse_yaml(text) == value == parse_yaml(text, lenient=True)


@given(json_values())
@example(["08", "1e3", "0E0", "+3", ".5", "1.", "~", "yes", "2026-05-01", "12:30", "<<", "=", "a: b", " a", "\x85"])
@example({"08": "08", "<<": 1, "null": None, "1e3": 1e3, "": ""})
def test_what_is_written_is_read_again_by_readers_of_1_1_too(value: Any) -> None:
    text = yaml_text(value, width=60)
    assert parse_yaml(text) == value == yaml.safe_load(text)


def test_a_part_that_is_there_twice_is_written_twice() -> None:
    part = ["a"]
    assert yaml_text({"b": part, "c": part}, width=60) == "b:\n- a\nc:\n- a\n"


class _Quoting(yaml.SafeDumper):
    """Strings in quotes, everything else plain."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
_Quoting.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("[yes, no, on, NO, true, False]", ["yes", "no", "on", "NO", True, False]),
        ("[1, -2, +3, 1.5, 1e3, .5, 1., 017]", [1, -2, 3, 1.5, 1000.0, 0.5, 1.0, 17]),
        ("[1_000, 0x1F, 12:30, 1.2.3, .inf, 1e999]", ["1_000", "0x1F", "12:30", "1.2.3", ".inf", "1e999"]),
        ("2026-05-01", "2026-05-01"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ('!!int "5"', 5),
        ("200: a\nnull: b\ntrue: c\n1.0: d", {"200": "a", "null": "b", "true": "c", "1.0": "d"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("9" * 500, "9" * 500),
    ],
)
def test_a_scalar_is_what_it_is_in_yaml_1_2(text: str, value: Any) -> None:
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, d: 2}\nc: {<<: *x, b: 3}\n", {"a": {"b": 1, "d": 2}, "c": {"b": 3, "d": 2}}),
        (
            "a: &x {b: 1}\ne: &y {b: 2, f: 3}\nc: {<<: [*x, *y]}\n",
            {"a": {"b": 1}, "e": {"b": 2, "f": 3}, "c": {"b": 1, "f": 3}},
        ),
        ("a: &x b\n*x : c\n", {"a": "b", "b": "c"}),
        ("a: 1\na: 2\n", {"a": 2}),
        ('"<<": 1', {"<<": 1}),
    ],
)
def test_documents_of_others_may_have_aliases_and_a_key_twice(text: str, value: Any) -> None:
    assert parse_yaml(text, lenient=True) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [*x]", "an alias to what is not there before it"),
        ("a: *x", "an alias to what is not there before it"),
        ("? [a]\n: 1", "a key that is not text"),
        ("a: &x [1]\n*x : 1", "a key that is not text"),
        ("<<: 5", "merges what is not a mapping"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("!!binary aGk=", "has the tag tag:yaml.org,2002:binary"),
        ("a: [1, 2", r"is not YAML: .*\(line 2, column 1\)"),
        ("%A b\n" * 100 + "---\n1", "more directives"),
        ("[" * 600, "nested too deeply|is not YAML"),
        ("".join(f"{' ' * n}a:\n" for n in range(600)) + " " * 600 + "b", "nested too deeply|is not YAML"),
        ("x0: &x0 [1]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 600)), "nested too deeply"),
        ("\x00", "is not YAML"),
    ],
)
def test_what_json_has_no_value_for_is_refused(text: str, problem: str) -> None:
    with pytest.raises(YamlError, match=problem):
        parse_yaml(text, lenient=True)


EIGHT = ", ".join(["*a{0}"] * 8)
FIVE_THOUSAND = range(5_000)


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [{EIGHT.format(n - 1)}]\n" for n in range(1, 40)),
        "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}}}\n" for n in range(1, 40)),
        f"a: &a {{{', '.join(f'k{n}: 1' for n in FIVE_THOUSAND)}}}\n"
        + "".join(f"m{n}: {{<<: *a}}\n" for n in FIVE_THOUSAND),
    ],
    ids=["lists", "mappings", "merges"],
)
def test_aliases_that_stand_for_more_than_a_document_may_have_are_refused(text: str) -> None:
    with pytest.raises(YamlError, match="has more than 5,000,000 values"):
        parse_yaml(text, lenient=True)


@pytest.mark.parametrize(
    "part",
    [
        "- a: [1, two, {b: c}]\n",
        "- &x 1\n",
        "- 'a b'\n",
        "- |\n  text\n",
        "# words\n",
        "- !!str x\n",
        "- {a: {b: {c: 1}}}\n",
    ],
)
def test_time_grows_with_the_text(part: str) -> None:
    def seconds(times: int) -> float:
        text = part * times
        began = process_time()
        parse_yaml(text, lenient=True)
        return process_time() - began

    seconds(100)
    small = min(seconds(2_000) for _ in range(3))
    assert min(seconds(16_000) for _ in range(3)) < 8 * 4 * small + 0.01
