"""A change of a text as a person reads it."""

from __future__ import annotations

import difflib

from hypothesis import given
from hypothesis import strategies as st

from portal.config import difference, visible


def test_a_diff_has_the_name_of_the_file_and_the_lines_that_change() -> None:
    assert difference("a\nb\nc\n", "a\nB\nc\n", "codemode.json", context=1) == (
        "--- codemode.json\n+++ codemode.json\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"
    )


def test_a_new_file_comes_from_nowhere() -> None:
    assert difference("", "a\n", "new.json", was_there=False) == "--- /dev/null\n+++ new.json\n@@ -0,0 +1 @@\n+a\n"


def test_equal_texts_have_no_diff() -> None:
    assert difference("a\r\n", "a\r\n", "f") == ""


def test_a_last_line_without_an_end_is_marked() -> None:
    assert difference("a", "b\n", "f").splitlines()[-3:] == ["-a", "\\ No newline at end of file", "+b"]


def test_line_ends_show_only_where_they_change() -> None:
    assert "\\r" not in difference("a\r\nb\r\n", "a\r\nc\r\n", "f")
    assert "-a\\r\n+a\n" in difference("a\r\n", "a\n", "f")


def test_characters_without_a_picture_are_escapes() -> None:
    shown = difference("", "\x1b[2Ja\u202eb\u2028\x00\n", "f\x1b\n", was_there=False)
    assert shown.splitlines()[1:] == ["+++ f\\u001b\\n", "@@ -0,0 +1 @@", "+\\u001b[2Ja\\u202eb\\u2028\\u0000"]


@given(st.text(), st.text())
def test_no_diff_writes_anything_but_pictures_tabs_and_its_own_line_ends(before: str, after: str) -> None:
    shown = difference(before, after, before)
    assert visible(shown.replace("\n", "")) == shown.replace("\n", "")


LINES = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=12).map(
    lambda lines: "".join(f"{one}\n" for one in lines)
)


@given(LINES, LINES, st.integers(0, 3))
def test_a_diff_is_that_of_the_whole_texts(before: str, after: str, context: int) -> None:
    whole = difflib.unified_diff(before.splitlines(True), after.splitlines(True), "f", "f", n=context)
    found = difference(before, after, "f", context=context)
    assert bool(found) is (before != after)
    patched = before.splitlines(True)
    assert applied(patched, found) == applied(patched, "".join(whole)) == after.splitlines(True)


def applied(lines: list[str], diff: str) -> list[str]:
    """The lines after a diff, which is taken at its word about where they are."""
    result: list[str] = []
    at = 0
    for line in diff.splitlines(keepends=True)[2:]:
        if line.startswith("@@"):
            start, _, count = line.split()[1][1:].partition(",")
            first = int(start) - (count != "0")
            result += lines[at:first]
            at = first
        elif line.startswith("+"):
            result.append(line[1:])
        else:
            assert lines[at] == line[1:]
            at += 1
            result += [line[1:]] if line.startswith(" ") else []
    return result + lines[at:]
