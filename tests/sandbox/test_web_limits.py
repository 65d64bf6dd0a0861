"""The web globals under the limits of a run: large input ends in an answer or in the program's own error."""

from __future__ import annotations

import pytest

from sandbox import Completed, Failed, GuestException, MemoryExceeded

from .web_program import logged, outcome, value

TOO_LARGE = """
new URL("http://h/" + "x".repeat(30e6))
const u = new URL("http://h/"); u.search = "\\u00e9".repeat(20e6)
new TextDecoder().decode(new Uint8Array(20e6).fill(255))
new TextEncoder().encode("\\ud800".repeat(20e6))
new URLSearchParams("a=" + "%ff".repeat(8e6))
structuredClone(new Uint8Array(40e6))
btoa("x".repeat(40e6))
""".strip().splitlines()


@pytest.mark.parametrize("source", TOO_LARGE)
def test_what_does_not_fit_is_a_want_of_memory_the_program_can_catch(source: str) -> None:
    found, _ = outcome(source)
    assert isinstance(found, Failed)
    assert isinstance(found.error, MemoryExceeded)
    assert value(f"let name; try {{ {source} }} catch (e) {{ name = e.name }}; name") == "InternalError"


@pytest.mark.parametrize(
    "url",
    [
        '"http://" + "\\ufdfa".repeat(340000)',
        '"http://" + "\\u337f.".repeat(250000)',
        '"http://" + "@".repeat(1000000) + "h"',
        '"http://h/" + "\\u00e9".repeat(500000)',
        '"x".repeat(1048577)',
    ],
)
def test_a_url_that_grows_too_long_is_invalid(url: str) -> None:
    found, _ = outcome(f"new URL({url})")
    assert isinstance(found, Failed)
    assert isinstance(found.error, GuestException)
    assert found.error.name == "TypeError"
    assert value(f"URL.canParse({url})") is False


def test_a_setter_refuses_what_would_make_the_url_too_long() -> None:
    source = """
    const u = new URL("http://h/?a=1");
    u.hash = "x".repeat(1048577); u.host = "\\ufdfa".repeat(300000); u.search = "\\u00e9".repeat(500000); u.href
    """
    assert value(source) == "http://h/?a=1"


def test_a_long_url_is_handled_in_linear_time() -> None:
    source = """
    const dots = new URL("http://h/" + "a/../".repeat(200000)).href;
    const u = new URL("http://h/?" + "x".repeat(900000)); u.hash = "y"; u.port = 8080; u.pathname = "/a b";
    [dots, u.href.length]
    """
    assert value(source) == ["http://h/", len("http://h:8080/a%20b?#y") + 900000]


def test_changing_search_params_does_not_rewrite_the_url_each_time() -> None:
    source = """
    const u = new URL("http://h/"), p = u.searchParams;
    for (let i = 0; i < 20000; i++) p.append("k" + i, "v");
    u.href.length
    """
    assert value(source) == len("http://h/?" + "&".join(f"k{i}=v" for i in range(20000)))


def test_a_program_out_of_memory_still_gets_errors_and_answers() -> None:
    source = """
    const hoard = []; try { for (;;) hoard.push("x".repeat(1000) + hoard.length); } catch {}
    let answers = 0, errors = 0;
    for (let i = 0; i < 300; i++) {
      try { new URL("http://h/" + "y".repeat(i)); structuredClone([i]); new TextEncoder().encode("z"); answers++; }
      catch { errors++; }
    }
    const all = answers + errors; hoard.length = 0; all
    """
    found, _ = outcome(source)
    assert isinstance(found, Completed) or (isinstance(found, Failed) and isinstance(found.error, MemoryExceeded))


def test_a_flood_of_logs_is_cut_and_counted() -> None:
    lines = logged('for (let i = 0; i < 5000; i++) { console.group("g"); console.error("%s", i); } 0')
    assert len(lines) == 1001
    assert "dropped" in lines[-1][1]


def test_a_giant_line_is_cut() -> None:
    ((_, text),) = logged('console.log("y".repeat(2e7)); 0')
    assert len(text) < 70000
