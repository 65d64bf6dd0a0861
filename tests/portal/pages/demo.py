"""One page with every chart, for tests in a browser: ordinary values beside hostile ones."""

from __future__ import annotations

from portal.pages.assets import CHART_SCRIPTS, CONSOLE_POLICY, Assets
from portal.pages.charts import ChartBar, ChartSlot, LatencyPoint, bars, columns, lines, sparkline
from portal.pages.pages import STYLE_PATH, style_sheet
from portal.pages.rules import Design
from portal.pages.timeline import CallOutcome, ProgramTimeline, TimelineCall, listing, waterfall
from tests.portal.pages.site import Site, document, needs_scripts

NOON = 1_796_040_000.0
HOSTILE = "<script>document.title = 'ran'</script>\u202e\"' & {{ 7 * 7 }}" + "x" * 80
SOURCE = (
    """\
const tickets = await tools.jira.search({ query: "status = open" });
const people = await Promise.all(
  tickets.map((ticket) => tools.people.lookup({ name: ticket.owner })),
);
for (const person of people) {
  if (person.away) await tools.mail.send({ to: person.manager, text: `${person.name} is away` });
}
// A line that is much longer than the screen is wide: """
    + "and so on, " * 20
    + f"""
const hidden = "a\u202eb";
{HOSTILE}
return {"{ people }"};
"""
)
CALLS = (
    TimelineCall(1, "jira_search", 4, 312.5, CallOutcome.OK, 1, ("confidential",)),
    *(
        TimelineCall(number, "people_lookup", 318 + number, 90 + 17 * number, CallOutcome.OK, 3, (), "/console/calls/3")
        for number in range(2, 7)
    ),
    TimelineCall(7, "people_lookup", 326, 40, CallOutcome.ERROR, 3),
    TimelineCall(8, "mail_send", 560, 0, CallOutcome.DENIED, 6, ("external", "confidential")),
    TimelineCall(9, HOSTILE, 580, 120, CallOutcome.CANCELLED, 10, (HOSTILE,) * 10),
    TimelineCall(10, "mail_send", 700, None, CallOutcome.RUNNING, 6),
)
RUN = ProgramTimeline(CALLS, total=1240, ended=False)


def body() -> str:
    """The inside of the page."""
    slots = [
        ChartSlot(
            NOON + 300 * index, NOON + 300 * (index + 1), 40 + (index * 37) % 90, (index * 7) % 11 if index % 3 else 0,
            f"/console/calls?from={index}",
        )
        for index in range(48)
    ]  # fmt: skip
    points = [
        LatencyPoint(
            NOON + 300 * index, None if index == 20 else 40 + index % 7, None if index == 20 else 300 + 40 * (index % 5)
        )
        for index in range(48)
    ]
    rows = [ChartBar("jira_search", 1234, "?tool=jira_search"), ChartBar(HOSTILE, 310, "?tool=x"), ChartBar("none", 0)]
    parts = (
        ("Tools", bars(rows, label="Calls by tool")),
        ("Calls", columns(slots, id="calls", label="Calls", zoom="/console/calls?tool=a%26b")),
        ("Latency", lines(points, id="latency", label="Latency", zoom="/console/calls")),
        ("Today", f"<p>Calls {sparkline([3, 9, 4, 12, 7, 8], label='Calls')}</p>"),
        ("Run", waterfall(RUN)),
        ("Program", listing(SOURCE, CALLS)),
    )
    sections = "".join(f"<section><h2>{name}</h2>{drawing}</section>" for name, drawing in parts)
    return f'<main class="wide"><h1>Charts</h1>{sections}</main>'


def site(*, scripts: bool) -> Site:
    """The page at `/`."""
    assets = needs_scripts() if scripts else Assets()
    sheets = [STYLE_PATH, *assets.paths("uplot.min.css"), *assets.paths("charts.css")]
    page = document(assets, body(), scripts=assets.paths(*CHART_SCRIPTS) if scripts else [], sheets=sheets)
    return Site(
        {
            "/": lambda sent: ("text/html; charset=utf-8", page),
            "/console/calls": lambda sent: ("text/html; charset=utf-8", "<!doctype html><title>Calls</title>"),
            STYLE_PATH: lambda sent: ("text/css", style_sheet(Design())),
        },
        policy=CONSOLE_POLICY,
        assets=assets,
    )
