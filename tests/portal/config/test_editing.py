"""One member of a document changes, and every other byte stays."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from portal.config import parse_document, with_member, without_member
from portal.errors import ConfigError
from tests.deep import examples
from tests.strategies import json_values

NAMES = st.sampled_from(["a", "b-1", "c d", "ü", 'q"', "x.y", "", "//", "#"])
NEW = "new"
ENTRY = {"command": "uvx", "args": ["mcp", "-v"], "env": {"A": "b"}}
VALUES = json_values(st.integers(-9, 9), st.text("a/*,#\"'\\]}\n\x7fü", max_size=6), keys=NAMES, size=3, leaves=5)
BLANKS = st.sampled_from(["", " ", "\n", "\n\t", "// a, b]\n", "/* c */", "/**/", '/* [{,\n"*/', "\n    // own\n  "])


@st.composite
def json_texts(draw: st.DrawFn) -> str:
    """A document with a section of servers, blanks and comments wherever they may be."""

    def write(value: Any) -> str:
        if not isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=False)
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        parts = (
            [f"{json.dumps(name, ensure_ascii=False)}{draw(BLANKS)}:{draw(BLANKS)}{write(one)}{draw(BLANKS)}"
             for name, one in value.items()]
            if isinstance(value, dict)
            else [f"{write(one)}{draw(BLANKS)}" for one in value]
        )  # fmt: skip
        last = draw(st.sampled_from(["", "," + draw(BLANKS)])) if parts else ""
        inside = draw(BLANKS) + ("," + draw(BLANKS)).join(parts) + last
        # An object with nothing but blanks is written `{}` again.
        return opening + (inside if inside.strip() else "") + closing

    document = draw(st.dictionaries(NAMES, VALUES, max_size=2)) | {"servers": draw(st.dictionaries(NAMES, VALUES))}
    text = draw(BLANKS) + write(document) + draw(BLANKS)
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return draw(st.sampled_from(["", "\ufeff"])) + text


@st.composite
def toml_texts(draw: st.DrawFn) -> str:
    """A document with servers in every way that TOML has of writing tables, also several in one document."""
    comments = st.sampled_from(["", "", "# note\n", "\n", "\n# about it\n", "  # [no.table]\n"])
    behind = st.sampled_from(["", " # why", "\t"])
    values = st.sampled_from(['"x"', "'y#'", '[1, # one\n "2",\n]', '"""a\n[b]\n""""', "{ k = 'v', l.m = 1 }", "1.0"])
    keys = st.sampled_from(["command", "'a b'", "env.K", "env . L", '"x.y"'])

    def lines(prefix: str = "") -> str:
        chosen = draw(st.lists(keys, unique=True, min_size=1, max_size=3))
        return "".join(f"{draw(comments)}{prefix}{key} = {draw(values)}{draw(behind)}\n" for key in chosen)

    parts = ["title = 'x'\n"] if draw(st.booleans()) else []
    if draw(st.booleans()):
        parts.append(lines("s.dotted."))
    elif draw(st.integers(0, 3)) == 0:
        inline = draw(st.sampled_from(["{}", "{ a = { command = 'x' }, b.command = 'y' }", "{a={}}"]))
        return draw(comments) + f"s = {inline}{draw(behind)}\n" + draw(comments) + "[tui]\nq=1\n"
    elif draw(st.booleans()):
        parts.append(f"[s]\n{draw(st.sampled_from(['', 'in . here = { command = 1 } # c', 'd.command = 1']))}\n")
    tables = draw(st.lists(st.sampled_from(["s.one", "s.'two 2'", " s . three ", "tui", "s.one.sub"]), unique=True))
    parts += [f"[{name}]{draw(behind)}\n{draw(comments)}{lines() if draw(st.booleans()) else ''}" for name in tables]
    if draw(st.booleans()):
        parts.insert(len(parts) - draw(st.integers(0, len(tables))), f"[[fruit]]\n{lines()}[fruit.s.one]\n{lines()}")
    text = "".join(f"{draw(comments)}{part}" for part in parts)
    text = text if draw(st.booleans()) else text.removesuffix("\n")
    return (draw(st.sampled_from(["", "\ufeff"])) + text).replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def read(text: str, suffix: str) -> dict[str, Any]:
    return parse_document(text.removeprefix("\ufeff"), suffix, file="f")


def is_within(part: str, whole: str) -> bool:
    """Whether all characters of `part` are in `whole`, in their order."""
    rest = iter(whole)
    return all(character in rest for character in part)


@given(json_texts(), VALUES)
@example('{"servers": {\n  "a": 1 // c\n}}', ENTRY)
@example('{"servers": {"a": 1 /* c */}}', ENTRY)
@example('{\n"servers": {\n  "a": 1,\n  // last\n},}', ENTRY)
@examples(600)
def test_a_new_member_of_json_is_there_and_taken_out_again_leaves_the_same_bytes(text: str, value: Any) -> None:
    changed = with_member(text, ".json", ["servers", NEW], value)
    before = read(text, ".json")
    assert read(changed, ".json") == {**before, "servers": {**before["servers"], NEW: value}}
    assert is_within(text, changed)
    assert without_member(changed, ".json", ["servers", NEW]) == text
    assert with_member(changed, ".json", ["servers", NEW], value) == changed


@given(json_texts(), st.data())
@examples(400)
def test_a_member_of_json_is_taken_out_alone(text: str, data: st.DataObject) -> None:
    before = read(text, ".json")
    assume(before["servers"])
    name = data.draw(st.sampled_from(list(before["servers"])))
    changed = without_member(text, ".json", ["servers", name])
    rest = {key: value for key, value in before["servers"].items() if key != name}
    assert read(changed, ".json") == {**before, "servers": rest}
    assert is_within(changed, text)
    assert without_member(changed, ".json", ["servers", name]) == changed


@given(json_texts(), st.data(), VALUES)
@examples(400)
def test_a_member_of_json_gets_another_value_in_its_place(text: str, data: st.DataObject, value: Any) -> None:
    before = read(text, ".json")
    assume(before["servers"])
    name = data.draw(st.sampled_from(list(before["servers"])))
    changed = with_member(text, ".json", ["servers", name], value)
    assert list(read(changed, ".json")["servers"].items()) == [
        (key, value if key == name else one) for key, one in before["servers"].items()
    ]
    removed = without_member(text, ".json", ["servers", name])
    assert is_within(removed.replace(",", ""), changed)
    assert with_member(changed, ".json", ["servers", name], value) == changed


def as_toml_has_it(value: Any) -> Any:
    """The value without null, which TOML does not have."""
    if isinstance(value, dict):
        return {name: as_toml_has_it(one) for name, one in value.items() if one is not None}
    return [as_toml_has_it(one) for one in value if one is not None] if isinstance(value, list) else value


@given(toml_texts(), VALUES.filter(lambda value: value is not None).map(as_toml_has_it))
@example("s.a.b = 1\nz = 1\n[tui]\nq = 1\n", ENTRY)
@example("[s.a]\nb = 1\n# of a\n\n[tui]\n", ENTRY)
@example("[s.a]\nb = 1\n# of tui\n[tui]\n", ENTRY)
@example("[s.a]\r\nb = 1\r\n# of a\r\n\r\n[tui]\r\n", ENTRY)
@examples(800)
def test_a_new_member_of_toml_is_there_and_taken_out_again_leaves_the_same_bytes(text: str, value: Any) -> None:
    before = tomllib.loads(text.removeprefix("\ufeff"))
    changed = with_member(text, ".toml", ["s", NEW], value)
    assert read(changed, ".toml") == {**before, "s": {**before.get("s", {}), NEW: value}}
    assert is_within(text, changed)
    if before.get("s") and isinstance(value, dict):
        # Another value may need a header for its table.
        assert without_member(changed, ".toml", ["s", NEW]) == text
    assert with_member(changed, ".toml", ["s", NEW], value) == changed


@given(toml_texts(), st.data())
@examples(400)
def test_a_member_of_toml_is_taken_out_alone(text: str, data: st.DataObject) -> None:
    before = tomllib.loads(text.removeprefix("\ufeff"))
    assume(before.get("s"))
    name = data.draw(st.sampled_from(list(before["s"])))
    changed = without_member(text, ".toml", ["s", name])
    after = read(changed, ".toml")
    assert after.get("s", {}) == {key: value for key, value in before["s"].items() if key != name}
    assert {**after, "s": None} == {**before, "s": None}
    assert is_within(changed, text)


@given(toml_texts(), st.data(), st.sampled_from([ENTRY, {}, 1, "x"]))
@examples(400)
def test_a_member_of_toml_gets_another_value(text: str, data: st.DataObject, value: Any) -> None:
    before = tomllib.loads(text.removeprefix("\ufeff"))
    assume(before.get("s"))
    name = data.draw(st.sampled_from(list(before["s"])))
    changed = with_member(text, ".toml", ["s", name], value)
    assert read(changed, ".toml") == {**before, "s": {**before["s"], name: value}}
    if isinstance(before["s"][name], dict):
        one = with_member(text, ".toml", ["s", name, "enabled"], False)
        assert read(one, ".toml") == {**before, "s": {**before["s"], name: {**before["s"][name], "enabled": False}}}
        assert is_within(text, one)


CODEX = """\
# mine
model = "o3" # fast

[mcp_servers.docs]
command = "docs" # local
# args = ["--old"]

[mcp_servers.docs.env]
KEY = "v"

# How it looks
[tui]
theme = "dark"
"""
VS_CODE = """\
{
\t// Servers of this folder
\t"servers": {
\t\t"docs": { "type": "stdio", "command": "docs" }, // local
\t\t/* "old": {}, */
\t},
\t"inputs": [],
}
"""


def test_a_new_server_of_a_codex_document_stands_behind_the_others_and_the_rest_is_as_it_was() -> None:
    changed = with_member(CODEX, ".toml", ["mcp_servers", NEW], ENTRY)
    new = '\n[mcp_servers.new]\ncommand = "uvx"\nargs = ["mcp", "-v"]\nenv = { A = "b" }\n'
    assert changed == CODEX.replace('KEY = "v"\n', f'KEY = "v"\n{new}')


def test_a_server_of_a_codex_document_is_taken_out_with_its_tables_and_its_own_comments() -> None:
    changed = without_member(CODEX, ".toml", ["mcp_servers", "docs"])
    assert changed == '# mine\nmodel = "o3" # fast\n\n# How it looks\n[tui]\ntheme = "dark"\n'


def test_a_new_server_of_a_vs_code_document_has_its_indentation_and_its_last_comma() -> None:
    changed = with_member(VS_CODE, ".json", ["servers", NEW], {"command": "uvx", "args": ["mcp"]})
    new = '\n\t\t"new": {\n\t\t\t"command": "uvx",\n\t\t\t"args": ["mcp"]\n\t\t},'
    assert changed == VS_CODE.replace("// local", f"// local{new}")


def test_one_word_of_a_server_changes_alone() -> None:
    changed = with_member(VS_CODE, ".json", ["servers", "docs", "enabled"], False)
    assert changed == VS_CODE.replace('"docs" }', '"docs", "enabled": false }')
    assert with_member(changed, ".json", ["servers", "docs", "enabled"], True) == changed.replace("false", "true")


@pytest.mark.parametrize("text", ["", "\n", "// nothing yet\n", "{}", "{}\n", "\ufeff", "/* a */ {}"])
def test_a_document_without_anything_gets_its_first_server(text: str) -> None:
    changed = with_member(text, ".json", ["mcpServers", NEW], ENTRY)
    assert read(changed, ".json") == {"mcpServers": {NEW: ENTRY}}
    assert is_within(text.strip(), changed)
    assert '\n  "mcpServers": {\n    "new": {\n' in changed


@pytest.mark.parametrize("text", ["", "\r\n", "# nothing yet", "# nothing yet\n", "\ufeff"])
def test_a_toml_document_without_anything_gets_its_first_server(text: str) -> None:
    changed = with_member(text, ".toml", ["mcp_servers", NEW], ENTRY)
    assert read(changed, ".toml") == {"mcp_servers": {NEW: ENTRY}}
    assert changed.startswith(text.strip())


def test_what_is_no_document_is_refused_in_plain_words() -> None:
    for text, suffix, path, why in (
        ("{'a': 1}", ".json", ["a"], "f: is not JSON: "),
        ("[]", ".json", ["a"], "f: must be an object, found a list."),
        ('{"a": 1, "a": 2}', ".json", ["b"], "f: a: is written twice. Keep one of them."),
        ('{"a": {"b": [1]}}', ".json", ["a", "b", "c"], "f: a.b: must be an object, found a list."),
        ("a = 1", ".toml", ["a", "b"], "f: a: must be a table, found a number."),
        ("a = ", ".toml", ["b"], "f: is not TOML: "),
        ("[[a]]\nb = 1", ".toml", ["a", "b"], "f: a: must be a table, found a list."),
        ("a: 1", ".yaml", ["b"], "f: is YAML, and the configuration is JSON or TOML. Name another file."),
        ("[" * 100_000, ".json", ["b"], "f: is nested too deeply."),
        ("a = " + "[" * 100_000, ".toml", ["b"], "f: is nested too deeply."),
    ):
        with pytest.raises(ConfigError) as refused:
            with_member(text, suffix, path, 1, file="f")
        assert str(refused.value).startswith(why)
        with pytest.raises(ConfigError) as refused:
            without_member(text, suffix, path, file="f")
        assert str(refused.value).startswith(why)


@pytest.mark.parametrize(
    ("suffix", "value", "why"),
    [
        (".toml", None, "TOML has no null"),
        (".toml", {"a": [None]}, "TOML has no null"),
        (".json", float("nan"), "Out of range"),
        (".json", "\ud800", "no text"),
        (".toml", "\ud800", "no text"),
        (".json", object(), "not JSON serializable"),
    ],
)
def test_a_value_that_the_format_does_not_have_is_refused(suffix: str, value: object, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        with_member("", suffix, ["a", "b"], value)


def test_a_value_nested_too_deeply_is_refused() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    for suffix in (".json", ".toml"):
        with pytest.raises(ConfigError, match="nested too deeply"):
            with_member("", suffix, ["a"], value)


@given(st.text('{}[]":,=/#*\n\\ ab1', max_size=30), st.sampled_from([".json", ".toml"]))
@examples(400)
def test_any_text_is_changed_rightly_or_refused(text: str, suffix: str) -> None:
    try:
        changed = with_member(text, suffix, ["a", "b"], 1)
    except ConfigError:
        return
    assert read(changed, suffix)["a"]["b"] == 1
