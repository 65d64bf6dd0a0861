"""The report of `codemode scan`: a table where there is width for one, else some lines for each sighting."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portal.shadow import Certainty, ScanReport, SeenCaller, Sighting, Sign, iso

STYLES = {Certainty.CERTAIN: "bold red", Certainty.LIKELY: "yellow", Certainty.POSSIBLE: "dim"}
ROWS = 50
CALLERS = 3
AGENT = 60
WIDE = 110


def scan_report(report: ScanReport, width: int) -> RenderableType:
    """What was found, in `width` cells."""
    parts: list[RenderableType] = []
    rows = report.sightings[:ROWS]
    if rows:
        parts.append(_table(rows) if width >= WIDE else _blocks(rows))
    if len(rows) < len(report.sightings):
        parts.append(Text(f"... and {len(report.sightings) - len(rows)} more (--json shows all)", style="dim"))
    return Group(*parts, *([Text("")] if parts else []), *_counts(report))


def _table(sightings: Sequence[Sighting]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("where", overflow="fold", ratio=4)
    table.add_column("requests", justify="right", no_wrap=True)
    table.add_column("last", no_wrap=True)
    table.add_column("who", overflow="fold", ratio=4)
    table.add_column("signs", overflow="fold", ratio=3)
    for sighting in sightings:
        table.add_row(
            Text(sighting.certainty.value, style=STYLES[sighting.certainty]),
            _where(sighting),
            f"{sighting.requests:,}",
            _minute(sighting.last),
            Text("\n").join(_callers(sighting)),
            Text(_signs(sighting), style="dim"),
        )
    return table


def _blocks(sightings: Sequence[Sighting]) -> Group:
    lines: list[Text] = []
    for sighting in sightings:
        when = f", last {_minute(sighting.last)}" if sighting.last is not None else ""
        lines.append(
            Text.assemble(
                (sighting.certainty.value, STYLES[sighting.certainty]), "  ", _where(sighting, "  "), overflow="fold"
            )
        )
        lines.append(Text(f"  {_requests(sighting.requests)}{when}"))
        lines += [Text.assemble("  ", who) for who in _callers(sighting)]
        lines.append(Text(f"  {_signs(sighting)}", style="dim"))
    return Group(*lines)


def _where(sighting: Sighting, indent: str = "") -> Text:
    where = Text(sighting.place, style="bold")
    if sighting.server:
        where.append(f"\n{indent}configured here: {sighting.server}", style="yellow")
    elif sighting.vendor:
        where.append(f"\n{indent}{sighting.vendor}", style="dim")
    return where


def _callers(sighting: Sighting) -> list[Text]:
    """A line for each of the first callers, and one for the others."""
    listed = sighting.callers[:CALLERS]
    lines = [_caller(caller) for caller in listed]
    others = sighting.more_callers + sum(caller.requests for caller in sighting.callers[CALLERS:])
    if others:
        lines.append(Text(f"and others, {_requests(others)}", style="dim"))
    return lines


def _caller(caller: SeenCaller) -> Text:
    who = " ".join(part for part in (caller.user, caller.address) if part)
    if not caller.agent:
        return Text(who or "nobody named", style="" if who else "dim")
    agent = caller.agent if len(caller.agent) <= AGENT else f"{caller.agent[: AGENT - 1]}\N{HORIZONTAL ELLIPSIS}"
    return Text.assemble(who, " " if who else "", (agent, "dim"))


def _signs(sighting: Sighting) -> str:
    words = [sign.value for sign in sighting.signs if sign not in (Sign.METHOD, Sign.VERSION)]
    return ", ".join([*sighting.methods, *(f"protocol {version}" for version in sighting.versions), *words])


def _counts(report: ScanReport) -> list[Text]:
    """What was seen, in words, and what could not be."""
    number = dict.fromkeys(Certainty, 0)
    for sighting in report.sightings:
        number[sighting.certainty] += 1
    around = ", ".join(f"{count:,} {certainty.value}" for certainty, count in number.items() if count)
    lines = [Text(f"Around the portals: {around or 'nothing'}.", style="bold")]
    if servers := sorted({sighting.server for sighting in report.sightings if sighting.server}):
        lines.append(Text(f"Configured here, and agents go around the portal: {', '.join(servers)}.", style="yellow"))
    lines.append(Text(f"Through the portals: {_requests(report.through_portals)}."))
    if report.by_portals:
        lines.append(Text(f"By the portals themselves: {_requests(report.by_portals)}."))
    read, unread = sum(file.lines for file in report.files), sum(file.unread for file in report.files)
    lines.append(Text(f"Lines read: {read - unread:,}. Not understood: {unread:,}.", style="yellow" if unread else ""))
    for line in report.unread:
        size = f" ({line.length:,} bytes)" if line.length else ""
        lines.append(
            Text(f"  {line.file}, line {line.number}{size}: {line.shape or 'too long, or no entry'}", style="dim")
        )
    if any(not sighting.host for sighting in report.sightings):
        lines.append(Text("? is the server whose log does not say its name; --site names it.", style="dim"))
    if left := ", ".join(f"{count:,} {certainty.value}" for certainty, count in report.left_out.items() if count):
        lines.append(Text(f"There was no room for more endpoints: {left} requests are counted only.", style="yellow"))
    return lines


def _requests(number: int) -> str:
    return "1 request" if number == 1 else f"{number:,} requests"


def _minute(at: float | None) -> str:
    return "-" if at is None else iso(at)[:16].replace("T", " ")
