"""Rows of the log for people, one line each, and as documents for programs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from portal.cli.show.call_lines import OUTCOME_STYLE
from portal.cli.show.report import milliseconds
from portal.logs import StoredRow, Verification


def row_line(one: StoredRow) -> Text:
    """When, how it ended, what, how long, who, and why if it did not end well."""
    row = one.row
    is_event = row.kind in ("request", "refusal", "sign_in", "consent", "change")
    what = f"{row.method} {row.name}".rstrip() if is_event else f"{row.server}.{row.name}" if row.server else row.name
    who = row.email or row.identity
    client = f"{row.client} {row.client_version}".strip()
    return Text.assemble(
        (row.time.replace("T", " ").removesuffix("Z"), "dim"),
        " ",
        (f"{row.outcome:<11}", OUTCOME_STYLE.get(row.outcome, "red")),
        f" {row.kind:<8} {what} ",
        (milliseconds(row.ms), "dim"),
        (f"  {who}" if who else "", "cyan"),
        (f"  {client}" if client else "", "dim"),
        (f"  {row.run}{f'#{row.call}' if row.call else ''}" if row.run else "", "dim"),
        (f" line {row.line}" if row.line else "", "dim"),
        (f"  {why}" if (why := ": ".join(filter(None, (row.policy, row.reason)))) else "", "yellow"),
    )


def as_document(one: StoredRow) -> dict[str, object]:
    """A row as JSON: its columns, those that are empty left out."""
    members = {name: value for name, value in one.row._asdict().items() if value not in ("", None)}
    return {"id": one.id, "instance": one.instance, "number": one.number, "time": one.row.time, **members}


def say_report(report: Verification, trusted: Sequence[str], stdout: Console) -> None:
    """Print what a verification found."""
    if report.is_whole:
        stdout.print(Text(f"The log is whole: {report.rows:,} rows in {report.batches:,} batches.", style="green"))
    else:
        stdout.print(Text("The log is not as it was written:", style="bold red"))
        for fault in report.faults:
            stdout.print(Text(f"  {fault}"), soft_wrap=True)
    stdout.print(
        Text(
            f"{report.signed:,} rows are covered by {report.checkpoints:,} signatures, "
            f"{report.unsigned:,} came after the last one."
        ),
        soft_wrap=True,
    )
    for key in trusted:
        stdout.print(Text(f"Trusted key: {key}", style="dim"), soft_wrap=True)
    if report.dropped:
        words = f"{report.dropped:,} rows were dropped before they were written, because there was no room for them."
        stdout.print(Text(words, style="yellow"), soft_wrap=True)
