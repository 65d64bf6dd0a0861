"""The page of `codemode scan`: what it says, that nothing of a log is more than text, and what a browser shows."""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Request

from portal.cli.exits import Exit
from portal.cli.show.scan_page import COLUMN, HEIGHT, MAX_BARS, MAX_COLUMNS, columns_of, scan_page
from portal.shadow import LogRequest, Sightings, TimeSlot, Window
from portal.shadow.timeline import Timeline
from tests.portal.axe import RUN, RUN_COLOURS, axe_source
from tests.portal.browser import browser
from tests.portal.cli.test_scan import REQUEST, configuration, found, scan, write
from tests.portal.shadow.logs import SECRET, WRITERS, har, nginx

MARKUP = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% for x in y %}",
    "</style><style>*{display:none}</style>",
    "<!--",
    "]]>&lt;b&gt;&#60;",
    "\u202egpj.exe\u202c",
    "סוכן בעברית",
)
NOW = 1_796_100_000.0
NARROW = {"width": 375, "height": 740}


class Seen(HTMLParser):
    """The elements of a page, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.text += " "
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(*requests: LogRequest) -> str:
    sightings = Sightings()
    for request in requests:
        sightings.add(request)
    return scan_page(sightings.report(), Window(), NOW)


def test_the_page_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    configuration(tmp_path)
    tickets = replace(REQUEST, host="tickets.example.com")
    write(tmp_path, *[nginx(REQUEST)] * 3, nginx(tickets), nginx(replace(REQUEST, host="docs.example.com")), "nonsense")
    done = scan(tmp_path, "access.log", "--page", "report.html", "--since", "2026-11-01")
    assert done.returncode == Exit.PROGRAM_FAILED and "The page is report.html." in done.stderr
    file = tmp_path / "report.html"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = " ".join(Seen(file.read_text(encoding="utf-8")).text.split())
    for words in (
        "about requests from 2026-11-01 00:00",
        "Endpoints, likely 2",
        "Requests, around 4",
        "Requests, through 1",
        "Configured here, and used around the portal: tickets.",
        "1 endpoint that no portal of this configuration has.",
        "The most are 4 in the minute from 2026-11-30 00:53.",
        "alice 192.0.2.7 claude-code/2.1 (cli)",
        "1 line was not understood.",
        "access.log: 6 lines, 1 not understood",
        "aaaaaaaa",
    ):
        assert words in text, words


def test_the_page_of_nothing_says_so_and_what_that_means(tmp_path: Path) -> None:
    write(tmp_path, nginx(replace(REQUEST, host="shop.example.com", path="/", method="GET", agent="curl")))
    done = scan(tmp_path, "access.log", "--page", "report.html", "--json")
    assert done.returncode == Exit.OK and found(done)["found"] is False
    text = Seen((tmp_path / "report.html").read_text()).text
    assert "Nothing in these files looks like MCP" in text and "Requests by host" not in text and "When" not in text


@pytest.mark.parametrize("markup", MARKUP)
def test_nothing_that_a_log_says_is_more_than_text(markup: str) -> None:
    plain, hostile = REQUEST, replace(REQUEST, host=f"mcp.{markup}", path=f"/{markup}/mcp", user=markup, agent=markup)
    before, after = Seen(page_of(plain)), Seen(page_of(hostile))
    assert after.attributes == before.attributes and set(after.elements) == set(before.elements)
    assert after.elements["style"] == 1 and "script" not in after.elements and "img" not in after.elements
    assert after.text.count("\u202e") == 0
    readable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in markup)
    assert readable in after.text


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_makes_a_page_of_the_same_elements(agent: str, user: str) -> None:
    page = Seen(page_of(replace(REQUEST, agent=f"mcp {agent}", user=user)))
    assert page.elements["tr"] == 2 and page.elements["svg"] == 3 and page.elements["style"] == 1
    assert "script" not in page.elements and not any(name.startswith("on") for name in page.attributes)


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_no_secret_of_a_log_is_on_the_page(tmp_path: Path, kind: str) -> None:
    write(tmp_path, WRITERS[kind][0](REQUEST), name="a.log")
    scan(tmp_path, "a.log", "--page", "report.html")
    assert SECRET not in (tmp_path / "report.html").read_text()


def test_the_page_asks_for_nothing_and_its_policy_allows_its_own_style_alone() -> None:
    page = page_of(REQUEST)
    assert re.findall(r"\b(?:src|href|action|url|@import)\b\s*[=(]", page) == []
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src &#39;none&#39;; style-src &#39;sha256-")


@pytest.mark.parametrize(
    ("page", "said"),
    [(".", "is a folder; name a file in it."), ("missing/report.html", "there is no folder missing.")],
)
def test_a_page_that_cannot_be_is_refused_before_anything_is_read(tmp_path: Path, page: str, said: str) -> None:
    write(tmp_path, nginx(REQUEST))
    done = scan(tmp_path, "access.log", "--page", page)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "") and said in done.stderr


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, nginx(REQUEST))
    done = scan(tmp_path, "access.log", "--page", "x" * 300)
    assert done.returncode == Exit.USAGE and "cannot be written: File name too long." in done.stderr


def test_a_flood_of_hosts_clients_and_endpoints_makes_no_large_page() -> None:
    requests = (
        replace(REQUEST, host=f"mcp.h{number}.test", agent=f"mcp-client-{number}", at=REQUEST.at + number * 997.0)
        for number in range(5000)
        if REQUEST.at is not None
    )
    page = page_of(*requests)
    assert len(page) < 1_500_000
    seen = Seen(page)
    assert seen.elements["tr"] == 1001 and "And 4,000 more" in seen.text
    assert "other hosts" in seen.text and "other clients" in seen.text
    assert seen.elements["rect"] <= 2 * 2 * MAX_BARS + MAX_COLUMNS


@given(st.lists(st.integers(0, 253_402_300_000), min_size=1, max_size=300), st.integers(1, 20))
def test_the_slots_of_time_are_few_and_lose_no_request(times: list[int], most: int) -> None:
    timeline = Timeline(most)
    for at in times:
        timeline.count(at + 0.5)
    timeline.count(None)
    slots = timeline.slots
    assert len(slots) <= most and sum(slot.requests for slot in slots) == len(times)
    for slot in slots:
        assert slot.requests == sum(slot.start <= at < slot.start + slot.seconds for at in times)


@given(
    st.dictionaries(st.integers(0, 10**9), st.integers(1, 10**6), min_size=1, max_size=50),
    st.sampled_from([60, 120, 86_400]),
)
def test_the_drawing_over_time_stays_within_its_frame(counts: dict[int, int], seconds: int) -> None:
    slots = [TimeSlot(number * seconds, seconds, counts[number]) for number in sorted(counts)]
    if slots[-1].start + seconds > 253_402_300_000:
        return
    drawn = columns_of(slots)
    assert drawn is not None and 1 <= len(drawn.columns) <= MAX_COLUMNS and drawn.width <= MAX_COLUMNS * COLUMN
    assert all(0 <= one.at <= drawn.width - COLUMN and 2 <= one.height <= HEIGHT for one in drawn.columns)
    assert max(one.height for one in drawn.columns) == HEIGHT


def hostile_page(folder: Path) -> Path:
    hosts = ("mcp.example.com", f"mcp.{'a' * 150}.test", "shop-mcp.example.com")
    requests = [
        replace(
            REQUEST, host=hosts[number % 3], user=MARKUP[number % 9], agent=MARKUP[(number * 2) % 9], at=1.8e9 + number
        )
        for number in range(90)
    ]
    lines = [nginx(request) for request in requests]
    write(
        folder, *lines, nginx(replace(REQUEST, path=None, host="mcp.stripe.com", method="CONNECT")), "<b>nonsense</b>"
    )
    (folder / "a.har").write_text(har(REQUEST))
    scan(folder, "access.log", "a.har", "--page", "report.html")
    return folder / "report.html"


def test_a_browser_shows_it_light_and_dark_wide_and_narrow_as_axe_wants_it(tmp_path: Path) -> None:
    page, axe = hostile_page(tmp_path), axe_source()
    with browser() as opened:
        for width in (1280, 800, 375):
            tab = opened.new_page(viewport={"width": width, "height": 740}, bypass_csp=True)
            tab.goto(page.as_uri())
            tab.add_script_tag(content=axe)
            for scheme, run in (("light", RUN), ("dark", RUN_COLOURS)):
                tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                assert tab.evaluate(run) == [], (width, scheme)
                assert tab.evaluate("document.documentElement.scrollWidth") <= width
                lightness = tab.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (int(lightness.removeprefix("rgb(").partition(",")[0]) < 128) is (scheme == "dark")
            tab.emulate_media(media="print")
            assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            tab.close()


def test_nothing_runs_or_is_loaded_whatever_the_page_says(tmp_path: Path) -> None:
    page = hostile_page(tmp_path)
    # As if something had not been escaped.
    spoilt = tmp_path / "spoilt.html"
    attack = "<script>document.title='ran'</script><img src='https://example.com/x'><style>*{display:none}</style>"
    spoilt.write_text(page.read_text().replace("<h1>", attack + "<h1>", 1))
    with browser() as opened:
        for file in (page, spoilt):
            tab = opened.new_page()
            loaded, blocked = list[str](), list[str | None]()

            def note(request: Request, loaded: list[str] = loaded) -> None:
                loaded.append(request.url)

            def note_failure(request: Request, blocked: list[str | None] = blocked) -> None:
                blocked.append(request.failure)

            tab.on("requestfinished", note)
            tab.on("requestfailed", note_failure)
            tab.goto(file.as_uri())
            assert tab.title() == "MCP traffic around the portals"
            assert tab.locator("h1").is_visible()
            assert loaded == [file.as_uri()]
            assert [why for why in blocked if why != "csp"] == [] and len(blocked) == (file is spoilt)
            tab.close()


def test_the_report_for_programs_has_times_and_clients_too(tmp_path: Path) -> None:
    write(tmp_path, *[nginx(REQUEST)] * 2, nginx(replace(REQUEST, agent="", at=(REQUEST.at or 0) + 3600)))
    report = json.loads(scan(tmp_path, "access.log", "--json").stdout)
    assert [(slot["seconds"], slot["requests"]) for slot in report["times"]] == [(60, 2), (60, 1)]
    assert report["clients"] == [
        {"agent": "claude-code/2.1 (cli)", "requests": 2},
        {"agent": None, "requests": 1},
    ]
