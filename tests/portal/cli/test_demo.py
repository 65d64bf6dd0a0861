"""The tour runs from start to end in a plain pipe and shows everything it announces."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from portal.cli.commands import demo
from portal.cli.show.token_count import count_tokens
from tests.clients.serving import Served
from tests.forked import forked
from tests.once import once

pytestmark = pytest.mark.timeout(240)

SECONDS = 180
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> str:
    def taken() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "portal.cli", "demo"],
            cwd=tmp_path_factory.mktemp("elsewhere"),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout

    return once(tmp_path_factory, "tour", taken)


def test_a_pipe_gets_plain_text(tour: str) -> None:
    assert "\x1b" not in tour
    assert "Traceback" not in tour


def test_all_three_servers_are_ready(tour: str) -> None:
    for server, transport in (("shop", "stdio"), ("helpdesk", "http"), ("shipping", "stdio")):
        assert re.search(rf"^{server} +ready +\d+ +{transport}", tour, re.M)


def test_code_mode_costs_a_fraction_of_the_tools(tour: str) -> None:
    sizes = re.findall(r"^(?:without|in) code mode.* (\d+) +(?:about )?([\d,]+) tokens", tour, re.M)
    (tools, all_of_them), (one, code) = [(int(count), int(tokens.replace(",", ""))) for count, tokens in sizes]
    assert (tools, one) == (26, 1)
    assert code * 5 < all_of_them
    assert count_tokens("x").exact or "estimate" in tour


def test_the_readme_has_the_figures_of_the_tour(tour: str) -> None:
    if not count_tokens("x").exact:
        pytest.skip("the README's figures are counted with the tokens extra")

    def rows(text: str, row: str) -> list[tuple[str, ...]]:
        return [numbers for numbers in re.findall(row, text, re.M) if all(numbers)]

    shown = rows(tour, r"^(?:definitions of tools|program; arguments|answer; results|together) +([\d,]+) +([\d,]+)$")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = rows(
        readme, r"^\| \**(?:definitions|arguments|results|together)[^|]*\| \**([\d,]+)\** \| \**([\d,]+)\** \|$"
    )
    assert [(plain, program) for program, plain in shown] == told and len(told) == 4


def test_a_second_portal_shows_a_part_of_the_same_servers(tour: str) -> None:
    assert re.search(r"^ *Support +http://\S+/support/mcp", tour, re.M)
    assert re.search(r"the curated portal +/support/mcp +3 ", tour)


def test_the_programs_search_join_and_run_into_a_limit(tour: str) -> None:
    for name in ("discover.js", "join.js", "limit.js"):
        assert name in tour
    assert len(re.findall(r"^completed in ", tour, re.M)) == 2
    assert "declare const codemode" in tour
    assert "days_late" in tour
    assert "cpu_time" in tour
    assert "2 of 2 calls had completed" in tour


def test_the_same_task_is_priced_as_plain_calls(tour: str) -> None:
    [calls] = re.findall(r"in this program +in (\d+) plain calls", tour)
    rows = dict(re.findall(r"^(definitions of tools|program; arguments|answer; results|together) +(.*)$", tour, re.M))
    numbers = {row: [int(number.replace(",", "")) for number in text.split()] for row, text in rows.items()}
    program, directly = numbers.pop("together")
    assert int(calls) == 36 and len(numbers) == 3
    assert [sum(row[place] for row in numbers.values()) for place in (0, 1)] == [program, directly]
    assert directly > 10 * program
    assert f"{directly / program:.0f} times fewer" in tour


def test_it_says_how_long_it_takes_from_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tour: str
) -> None:
    assert re.search(r"^It takes about \d+ s", tour, re.M)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert demo._expectation(demo._last_tour(), 2.0).startswith("It takes about 14 s, to judge by")
    demo._keep_tour(7.4)
    assert demo._expectation(demo._last_tour(), 2.0).startswith("It takes about 7 s: that long it took here last time")
    for broken in ("", "{}", "[]", '{"seconds": "x"}', '{"seconds": -1}', '{"seconds": null}'):
        (tmp_path / "codemode-portal" / "tour.json").write_text(broken)
        assert demo._last_tour() is None


def test_it_ends_with_how_to_connect(tour: str) -> None:
    end = tour[tour.index("Connect your own client") :]
    for word in ("claude mcp add --transport http", ".cursor/mcp.json", "mcp-remote", "?codemode=search_and_execute"):
        assert word in end


def test_make_serve_leaves_the_portal_running(tmp_path: Path) -> None:
    with forked("demo", "--serve", "--port", "0", folder=tmp_path) as process:
        served = Served(process)
        assert served.url.startswith("http://127.0.0.1:")
        assert set(served.event("servers settled")["states"].values()) == {"ready"}
        assert served.stop() == 0
