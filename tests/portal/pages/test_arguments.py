"""The arguments of a call as somebody reads them who decides about it: all of them, and nothing that hides."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.pages.arguments import MOST_MARKS, arguments_drawing, plan_drawing
from portal.unseen import in_ascii, is_unseen, json_escapes, seen_words, short_words, written_out
from tests.deep import examples

HIDDEN = "\x7f\x80\u202e\u2066\u200b\u200d\ufeff\u00ad\u00a0\u2028\x1b\x07\u3164\U000e0041\u061c\ue000"
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.text(alphabet=HIDDEN + "ab\n\t\"\\<&>'א"),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6),
    max_leaves=30,
)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(markup: str) -> list[tuple[str, dict[str, str | None]]]:
    reader = _Tags()
    reader.feed(markup)
    return reader.tags


def words(markup: str) -> str:
    """What a reader sees of it, without how long a folded part is."""
    return unescape(re.sub(r"<[^>]*>", "", re.sub(r'<span class="size">[^<]*</span>', "", markup)))


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@examples(200)
@given(st.dictionaries(st.text(max_size=12), values, max_size=6))
def test_what_is_shown_is_every_argument_and_nothing_else(arguments: dict[str, object]) -> None:
    drawing = arguments_drawing(canonical(arguments))
    # A line of a text ends after its escape; what remains is JSON, in which only blanks were added.
    shown = words(str(drawing.markup)).replace("\\n\n", "\\n")
    blocks = re.split(r'<(?:div|details) class="argument">', str(drawing.markup))[1:]
    assert len(blocks) == len(arguments)
    members = ",".join(words(block).replace("\\n\n", "\\n") for block in blocks)
    assert json.loads("{" + members + "}", strict=True) == arguments, shown
    assert {tag for tag, _ in tags(drawing.markup)} <= {"div", "details", "summary", "span", "bdi", "mark"}


@examples(200)
@given(st.text(alphabet=st.characters(), max_size=60))
def test_no_character_that_is_not_seen_is_left_in_what_is_shown(text: str) -> None:
    markup = str(arguments_drawing(json.dumps({"a": text, text: [text]})).markup)
    left = [one for one in markup if is_unseen(one) and one not in "\n\ufe0e\ufe0f"]
    assert left == []


@pytest.mark.parametrize("hidden", HIDDEN, ids=lambda one: f"U+{ord(one):04X}")
def test_what_hides_is_written_out_and_marked(hidden: str) -> None:
    drawing = arguments_drawing(canonical({"to": f"a{hidden}b"}))
    escaped = json.dumps(hidden)[1:-1].replace("\x7f", "\\u007f")
    assert f'"a<mark class="unseen-here">{escaped}</mark>b"' in drawing.markup
    assert drawing.hidden == 1 and hidden not in drawing.markup
    assert seen_words(f"a{hidden}b") == f"a\\u{{{ord(hidden):x}}}b"


def test_a_sign_of_emoji_stays_and_a_row_of_selectors_is_written_out() -> None:
    assert seen_words("\u2764\ufe0f") == "\u2764\ufe0f"
    assert seen_words("\u2764\ufe0f\ufe0e") == "\u2764\ufe0f\\u{fe0e}"
    assert seen_words("e" + "\u0301" * 6) == "e" + "\u0301" * 4 + "\\u{301}" * 2
    assert short_words("abc\u202e", 3) == "abc…"


def test_markup_of_an_agent_is_text() -> None:
    evil = '</div></details><script>alert(1)</script><a href="https://evil.example">x</a><img src=x onerror=y> &amp;'
    drawing = arguments_drawing(canonical({evil: evil, "list": [{evil: evil}]}))
    assert {tag for tag, _ in tags(drawing.markup)} <= {"div", "span", "details", "summary"}
    assert evil in words(str(drawing.markup)).replace('\\"', '"')


def test_what_is_long_is_folded_says_how_long_it_is_and_is_there_as_a_whole() -> None:
    drawing = arguments_drawing(canonical({"body": "x" * 1_000_000, "rows": [{"n": n} for n in range(300)], "to": 5}))
    assert drawing.folded == 2
    assert "a text, 1M characters" in drawing.markup and "a list of 300 items" in drawing.markup
    assert "x" * 1_000_000 in drawing.markup and '{"n": 299}' in drawing.markup


def test_numbers_are_shown_as_they_were_written() -> None:
    text = '{"big":123456789012345678901234567890,"exact":1.50,"far":1e400}'
    assert (
        words(str(arguments_drawing(text).markup)) == '"big": 123456789012345678901234567890"exact": 1.50"far": 1e400'
    )


def test_a_text_of_nothing_but_hidden_characters_costs_bounded_markup() -> None:
    drawing = arguments_drawing(canonical({"a": "a\u202e" * 200_000}))
    assert drawing.markup.count("<mark") == MOST_MARKS
    assert drawing.markup.count("\\u202e") == drawing.hidden == 200_000


@pytest.mark.parametrize("text", ["", "{", "[" * 5000 + "]" * 5000, '{"a":' * 700 + "1" + "}" * 700, "nonsense <b>"])
def test_what_cannot_be_laid_out_is_shown_as_it_is(text: str) -> None:
    shown = words(str(arguments_drawing(text).markup))
    assert shown.replace('\\"', '"').replace("\n", "").replace(" ", "") == text.replace(" ", "")


@examples(200)
@given(values)
def test_the_text_in_ascii_is_the_same_json(value: object) -> None:
    plain = in_ascii(canonical(value))
    assert json.loads(plain) == value
    assert all(" " <= one <= "~" for one in plain)


@examples(100)
@given(st.lists(st.text() | st.text(alphabet=HIDDEN + "ab<&>"), max_size=6), st.text())
def test_a_plan_is_shown_line_by_line_and_nothing_else_is_markup(calls: list[str], ends: str) -> None:
    drawing = plan_drawing(canonical({"calls": calls, "ends": ends, "reads": 1}))
    markup = str(drawing.markup)
    assert {tag for tag, _ in tags(markup)} <= {"div", "bdi", "mark", "details", "summary", "span"}
    assert words(markup) == "".join(written_out(line, json_escapes) for line in (*calls, ends))
    assert not any(is_unseen(character) for character in markup if character not in "\n\t\r ")


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", "no JSON", '{"calls": 1, "ends": ""}', '{"calls": [1], "ends": ""}']
)
def test_what_is_no_plan_is_shown_as_arguments(text: str) -> None:
    assert plan_drawing(text) == arguments_drawing(text)
