"""The report of a run shows everything that happened: on a terminal, in a pipe, and without Unicode."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from portal.cli.show.console import PortalConsole, printable
from portal.cli.show.report import CALL_ROWS, fitted, milliseconds, program_frame, result_view, run_report
from portal.cli.show.token_count import TokenCount, count_tokens
from portal.cli.show.waterfall import Span, bar, spans_of, total_ms

CALLS = [
    {"seq": 1, "tool": "shop.list_orders", "status": "ok", "ms": 10, "at": 0},
    {"seq": 2, "tool": "helpdesk.get_ticket", "status": "error", "ms": 5, "at": 10},
]


def printed(view: Any, *, width: int = 100, terminal: bool = False) -> str:
    console = PortalConsole(file=io.StringIO(), width=width, force_terminal=terminal)
    console.print(view(console) if callable(view) else view)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def report(answer: dict[str, Any], **options: Any) -> str:
    return printed(lambda console: run_report({"logs": [], "calls": [], **answer}, 15.0, console), **options)


def test_a_completed_run_shows_calls_logs_result_and_time() -> None:
    text = report(
        {"status": "completed", "result": {"a": [1]}, "calls": CALLS, "logs": [{"level": "warn", "text": "careful"}]}
    )
    for part in ("2 calls in 15 ms", "shop.list_orders", "helpdesk.get_ticket", "careful", '"a"', "completed in 15 ms"):
        assert part in text


def test_a_failed_run_shows_whose_fault_where_and_what_had_happened() -> None:
    error = {
        "kind": "exception",
        "name": "TypeError",
        "message": "x is undefined",
        "line": 3,
        "column": 7,
        "snippet": "3 | x.y",
    }
    text = report({"status": "failed", "error": error, "calls": CALLS})
    for part in ("exception at line 3, column 7", "TypeError: x is undefined", "3 | x.y", "1 of 2 calls had completed"):
        assert part in text


def test_an_undefined_result_is_said_to_be_one() -> None:
    assert "undefined" in report({"status": "completed"})


def test_rows_of_plain_fields_become_a_table() -> None:
    text = printed(result_view([{"name": "Ada", "spent": 12.5}, {"name": "Bo", "spent": None}]))
    assert "{" not in text
    assert text.split("\n")[0].split() == ["name", "spent"]


def test_nested_or_uneven_rows_stay_json() -> None:
    for value in ([{"a": 1}, {"b": 2}], [{"a": [1]}, {"a": [2]}], [{"a": 1}], {"a": 1}, [1, 2]):
        assert printed(result_view(value)).strip()[0] in "[{"


def test_text_from_a_program_is_never_read_as_markup() -> None:
    text = report(
        {"status": "completed", "result": "[red]x[/red] [/]", "logs": [{"level": "log", "text": "[link=a]y[/link]"}]}
    )
    assert "[red]x[/red] [/]" in text and "[link=a]y[/link]" in text


def test_escape_sequences_from_a_program_do_not_reach_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2Jx"
    rows = [{"a": hostile}, {"a": "b"}]
    calls = [{"seq": 1, "tool": f"s.{hostile}", "status": "ok", "ms": 1}]
    error = {"kind": "exception", "name": hostile, "message": hostile, "snippet": hostile}
    for answer in (
        {"status": "completed", "result": hostile, "logs": [{"level": "log", "text": hostile}], "calls": calls},
        {"status": "completed", "result": rows},
        {"status": "completed", "result": {hostile: hostile}},
        {"status": "failed", "error": error},
    ):
        text = report(answer, terminal=True)
        assert "\x1b]" not in text and "\x1b[2J" not in text and "\x07" not in text
    assert "\x1b]" not in printed(program_frame(hostile, hostile), terminal=True)


def test_many_calls_are_cut_with_a_count() -> None:
    calls = [{"seq": n, "tool": "a.b", "status": "ok", "ms": 1} for n in range(100)]
    text = report({"status": "completed", "result": 1, "calls": calls})
    assert f"... and {100 - CALL_ROWS + 1} more" in text


def test_the_program_is_shown_with_line_numbers() -> None:
    text = printed(program_frame("const a = 1;\nreturn a;\n", "x.js"))
    assert "x.js" in text and "1 const a = 1;" in text and "2 return a;" in text


def test_a_bar_starts_where_its_call_started() -> None:
    assert bar(Span(1, "t", "ok", ms=5, at=5), 10, 10, ascii_only=True) == "     ====="
    assert bar(Span(1, "t", "ok", ms=10), 10, 4) == "████"


@given(st.text())
def test_what_is_printable_holds_no_control_but_tab_and_newline(text: str) -> None:
    kept = printable(text)
    assert len(kept) == len(text)
    assert not [mark for mark in kept if not mark.isprintable() and ord(mark) < 0xA0 and mark not in "\t\n"]


milliseconds_of = st.floats(0, 1e6)


@given(st.lists(st.tuples(milliseconds_of, st.none() | milliseconds_of), min_size=1), st.integers(1, 80), st.booleans())
def test_every_bar_fits_its_width_and_shows_at_least_one_mark(
    times: list[tuple[float, float | None]], width: int, ascii_only: bool
) -> None:
    spans = [Span(n, "t", "ok", ms, at) for n, (ms, at) in enumerate(times)]
    total = total_ms(spans)
    for span in spans:
        drawn = bar(span, total, width, ascii_only=ascii_only)
        assert len(drawn) <= width
        assert drawn.strip() or total == 0


def test_spans_come_from_the_answer_with_or_without_start_times() -> None:
    assert spans_of(CALLS)[1] == Span(2, "helpdesk.get_ticket", "error", 5.0, 10)
    assert spans_of([{"seq": 1, "tool": "a.b", "status": "pending"}]) == [Span(1, "a.b", "pending", 0.0, None)]


def test_durations_read_well() -> None:
    assert [milliseconds(ms) for ms in (0.04, 9.9, 9.96, 999.4, 1000, 61234)] == [
        "0.0 ms",
        "9.9 ms",
        "10 ms",
        "999 ms",
        "1.00 s",
        "61.23 s",
    ]


def test_an_estimate_of_tokens_says_it_is_one() -> None:
    assert str(TokenCount(1234, exact=True)) == "1,234 tokens"
    assert "estimate" in str(TokenCount(1234, exact=False))
    assert count_tokens("hello world").tokens in {2, 3}


def at_cell(line: str, cell: int) -> str:
    """The character that begins at a cell of a line."""
    at = 0
    for character in line:
        if at >= cell:
            return character if at == cell else ""
        at += cell_len(character)
    return ""


@given(
    st.text(st.sampled_from("abc .()漢é…"), min_size=1, max_size=150),
    st.integers(0, 149),
    st.integers(20, 90),
    st.data(),
)
def test_a_caret_points_at_the_same_place_however_narrow_the_terminal(
    code: str, index: int, width: int, data: st.DataObject
) -> None:
    index = min(index, len(code) - 1)
    number = f"{data.draw(st.integers(1, 9999))} | "
    pointed = cell_len(number + code[:index])
    lines = fitted([number + code, " " * pointed + "^"], width)
    assert all(cell_len(line) <= width for line in lines)
    shown, caret = lines
    assert caret.strip().strip("…").strip() == "^" and shown.startswith(number)
    assert at_cell(shown, cell_len(caret.split("^")[0])) in (code[index], "…")


def test_an_error_in_a_narrow_terminal_is_not_wrapped() -> None:
    code = "const total = " + "value.a + " * 20 + "value.missing.deeper + 1;"
    column = code.index("missing")
    error = {"kind": "exception", "name": "TypeError", "message": "no", "snippet": f"2 | {code}\n{' ' * (column + 4)}^"}
    text = report({"status": "failed", "error": error}, width=50)
    line = next(line for line in text.split("\n") if "2 | " in line)
    caret = next(line for line in text.split("\n") if line.strip() == "^")
    assert line[caret.index("^") :].startswith("missing")
    assert all(len(line.rstrip()) <= 50 for line in text.split("\n"))
