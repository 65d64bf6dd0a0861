"""The report of a run for a person: the program, its calls as a waterfall, its logs, and its result or error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from portal.cli.show.waterfall import Span, bar, mappings_in, spans_of, total_ms

THEME = "ansi_dark"
RESULT_LINES = 60
CALL_ROWS = 20
LOG_ROWS = 50
TABLE_ROWS = 20

STATUS_STYLE = {"ok": "green", "error": "red", "denied": "yellow", "cancelled": "yellow", "pending": "yellow"}
LEVEL_STYLE = {"error": "red", "warn": "yellow", "info": "blue", "debug": "dim"}


def program_frame(source: str, title: str, *, first_line: int = 1, highlight: set[int] | None = None) -> RenderableType:
    """The program with line numbers in a titled frame."""
    code = Syntax(
        source.rstrip("\n"),
        "typescript",
        theme=THEME,
        line_numbers=True,
        start_line=first_line,
        highlight_lines=highlight,
        word_wrap=True,
        background_color="default",
    )
    return Panel(code, title=Text(title, style="bold"), title_align="left", border_style="dim", padding=(0, 1))


def run_report(answer: Mapping[str, object], elapsed_ms: float, console: Console) -> RenderableType:
    """The report of a finished run, without its source. `answer` is the `structuredContent` of the `code` tool."""
    parts: list[RenderableType] = []
    spans = spans_of(answer.get("calls"))
    if spans:
        parts.append(_section(_calls_title(spans), _calls_table(spans, console)))
    if logs := mappings_in(answer.get("logs")):
        parts.append(_section("logs", _logs(logs)))
    error = answer.get("error")
    if isinstance(error, Mapping):
        parts.append(_section("error", _error(error)))
    elif "result" in answer:
        parts.append(_section("result", result_view(answer["result"])))
    else:
        parts.append(_section("result", Text("undefined", style="dim")))
    parts.append(_verdict(answer, elapsed_ms, len(spans)))
    return Group(*parts)


def result_view(value: object) -> RenderableType:
    """A view of a JSON value: rows of plain fields become a table, text stays text, anything else is indented JSON."""
    if isinstance(value, str):
        return Text(_head(value, RESULT_LINES))
    columns = _columns(value)
    if columns and isinstance(value, list):
        return _rows_table(value, columns)
    return Syntax(
        _head(json.dumps(value, indent=2, ensure_ascii=False), RESULT_LINES),
        "json",
        theme=THEME,
        word_wrap=True,
        background_color="default",
    )


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Rule(Text(title, style="bold"), align="left", style="dim"), Padding(body, (0, 0, 1, 1)))


def _calls_title(spans: Sequence[Span]) -> str:
    total = total_ms(spans)
    word = "call" if len(spans) == 1 else "calls"
    return f"{len(spans)} {word} in {milliseconds(total)}"


def _calls_table(spans: Sequence[Span], console: Console) -> RenderableType:
    ascii_only = not (console.encoding or "").lower().startswith("utf")
    total = total_ms(spans)
    shown = spans if len(spans) <= CALL_ROWS else spans[: CALL_ROWS - 1]
    names = max(len(span.tool) for span in shown)
    width = max(10, min(40, console.width - names - 24))
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(justify="right", style="dim")
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, min_width=width)
    for span in shown:
        style = STATUS_STYLE.get(span.status, "")
        bars = Text(bar(span, total, width, ascii_only=ascii_only), style=style)
        table.add_row(str(span.seq), span.tool, Text(span.status, style=style), milliseconds(span.ms), bars)
    if len(shown) < len(spans):
        table.add_row("", Text(f"... and {len(spans) - len(shown)} more", style="dim"), "", "", "")
    return table


def _logs(logs: Sequence[Mapping[str, object]]) -> RenderableType:
    lines = Text()
    for log in logs[:LOG_ROWS]:
        level = str(log["level"])
        lines.append(f"{level:>5} ", style=LEVEL_STYLE.get(level, "dim"))
        lines.append(f"{log['text']}\n")
    if len(logs) > LOG_ROWS:
        lines.append(f"... and {len(logs) - LOG_ROWS} more lines\n", style="dim")
    lines.rstrip()
    return lines


def _error(error: Mapping[str, object]) -> RenderableType:
    where = ""
    if error.get("line") is not None:
        where = f" at line {error['line']}"
        if error.get("column") is not None:
            where += f", column {error['column']}"
    head = Text.assemble(
        (str(error.get("kind") or "error"), "bold red"),
        (where, "dim"),
        ("\n" + ": ".join(str(part) for part in (error.get("name"), error.get("message")) if part), ""),
    )
    snippet = error.get("snippet")
    if not isinstance(snippet, str) or not snippet.strip():
        return head
    return Group(head, Padding(SourceLines(snippet.rstrip()), (1, 0, 0, 2)))


class SourceLines:
    """Lines of source with a line below that points at a column, cut on both sides so that no line wraps: on a wrapped
    line the caret would point at something else."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for line in fitted(self._text.split("\n"), options.max_width):
            yield Text(line, style="dim", no_wrap=True, overflow="crop")


def fitted(lines: Sequence[str], width: int) -> list[str]:
    """The lines in `width` cells, cut around the caret of the last line if they are too long. All keep what is before
    `| `, such as the number of a line, and move by the same number of cells."""
    gutter = max((line.find("| ") + 2 for line in lines[:-1] if "| " in line), default=0)
    room = width - gutter
    if room < 8 or all(cell_len(line) <= width for line in lines):
        return list(lines)
    caret = max(0, cell_len(lines[-1].split("^")[0]) - gutter)
    start = max(0, caret - room * 2 // 3)
    return [line[:gutter] + _window(line[gutter:], start, room) for line in lines]


def _window(text: str, start: int, room: int) -> str:
    """The cells of a text from `start` on, with a dot-dot-dot where something is missing."""
    shown, at = "", 0
    before = False
    for character in text:
        cells = cell_len(character)
        if at < start:
            before = before or not character.isspace()
        elif at + cells <= start + room:
            shown += character
        else:
            return _marked(shown, before=before, after=True)
        at += cells
    return _marked(shown, before=before, after=False)


def _marked(shown: str, *, before: bool, after: bool) -> str:
    if before and shown:
        shown = "…" + " " * (cell_len(shown[0]) - 1) + shown[1:]
    if after and shown:
        shown = shown[:-1] + "…" + " " * (cell_len(shown[-1]) - 1)
    return shown


def _verdict(answer: Mapping[str, object], elapsed_ms: float, calls: int) -> RenderableType:
    status = str(answer.get("status"))
    style = {"completed": "bold green", "failed": "bold red"}.get(status, "bold yellow")
    line = Text.assemble((status, style), f" in {milliseconds(elapsed_ms)}")
    truncated = answer.get("truncated")
    if isinstance(truncated, Mapping):
        line.append(f", result cut to {truncated.get('chars', '?')} characters", style="yellow")
    finished = sum(call.get("status") == "ok" for call in mappings_in(answer.get("calls")))
    if status == "failed" and calls:
        line.append(f"; {finished} of {calls} calls had completed before that")
    return line


def _columns(value: object) -> list[str]:
    """The column names if `value` is a list of rows with plain fields that fit a table, else []."""
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(row, dict) for row in value):
        return []
    columns = list(value[0])
    plain = all(
        list(row) == columns
        and all(not isinstance(field, dict | list) and len(str(field)) <= 40 for field in row.values())
        for row in value
    )
    return columns if plain and 1 <= len(columns) <= 8 else []


def _rows_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in columns:
        numbers = all(isinstance(row[column], int | float) or row[column] is None for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows[:TABLE_ROWS]:
        table.add_row(*(_cell(row[column]) for column in columns))
    if len(rows) > TABLE_ROWS:
        table.caption = f"... and {len(rows) - TABLE_ROWS} more rows"
        table.caption_justify = "left"
    return table


def _cell(value: object) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(json.dumps(value) if isinstance(value, bool) else str(value))


def _head(text: str, lines: int) -> str:
    rows = text.split("\n")
    if len(rows) <= lines:
        return text
    return "\n".join([*rows[:lines], f"... and {len(rows) - lines} more lines (--json shows all)"])


def milliseconds(ms: float) -> str:
    """A duration for people, such as 0.4 ms, 12 ms, 1.25 s."""
    if ms < 9.95:
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 999.5 else f"{ms / 1000:.2f} s"
