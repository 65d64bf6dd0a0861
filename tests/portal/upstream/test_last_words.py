"""The line that matters of what a program wrote before it ended."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.upstream.transports.duplex import TooLarge
from portal.upstream.transports.last_words import WORDS, LastWords, telling
from portal.upstream.transports.wire import redact_cut

MISSING = """node:internal/modules/cjs/loader:1210
  throw err;
  ^

Error: Cannot find module 'left-pad'
Require stack:
- /srv/a/very/long/path/to/the/server/of/somebody/with/many/folders/in/it/node_modules/server/dist/index.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15)
    at Object.<anonymous> (/srv/index.js:1:11) {
  code: 'MODULE_NOT_FOUND',
  requireStack: [
    '/srv/a/very/long/path/to/the/server/of/somebody/with/many/folders/in/it/node_modules/server/dist/index.js'
  ]
}

Node.js v20.20.2"""
THROWN = """/srv/index.js:1
function f(){ throw new TypeError("no key"); }
              ^

TypeError: API key is not configured: set TICKETS_KEY
    at f (/srv/index.js:1:21)

Node.js v20.20.2"""
NPM = """npm warn exec The following package was not found and will be installed: nothing-here
npm error code E404
npm error 404 Not Found - GET https://packages.example/nothing-here - Not found
npm error 404
npm error 404  'nothing-here@*' is not in this registry.
npm error 404
npm error 404 Note that you can also install from a
npm error 404 tarball, folder, http url, or git folder.
npm error A complete log of this run can be found in: /tmp/.npm/_logs/2026-11-30T20_20_02_697Z-debug-0.log"""


@pytest.mark.parametrize("word", ["+-", "a.", "Error", "| ", "^ ", "npm notice", 'File "x", line ', "/a:1"])
def test_lines_made_to_be_slow_are_read_at_once(word: str) -> None:
    began = time.process_time()
    telling([(word * 2000)[:1999] + "!"] * 200)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (MISSING, "Error: Cannot find module 'left-pad'"),
        (THROWN, "TypeError: API key is not configured: set TICKETS_KEY"),
        (
            NPM,
            "npm error code E404 | npm error 404 Not Found - GET https://packages.example/nothing-here - Not found"
            " | npm error 404 'nothing-here@*' is not in this registry.",
        ),
        ("usage: server KEY\nno key given", "usage: server KEY | no key given"),
        ("\x1b[31mError: no key\x1b[0m", "Error: no key"),
    ],
    ids=["a missing module", "an exception of Node", "a package that is not there", "usage", "colours"],
)
def test_the_line_that_matters_is_what_is_left(written: str, words: str) -> None:
    last = LastWords()
    for line in written.splitlines():
        last.add(line.encode())
    assert str(last) == words


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        (
            "class Gone(Exception): pass\ntry: {}['key']\nexcept KeyError as e: raise Gone('no database') from e",
            "KeyError: 'key' | Gone: no database",
        ),
        ("def f(n): return f(n + 1)\nf(0)", "RecursionError: maximum recursion depth exceeded"),
        (
            "import asyncio\nasync def bad(): raise ValueError('no token')\n"
            "async def main():\n  async with asyncio.TaskGroup() as t: t.create_task(bad())\nasyncio.run(main())",
            "ValueError: no token",
        ),
    ],
    ids=["missing module", "chained", "recursion", "group"],
)
def test_the_exception_of_a_python_program_is_what_is_left(program: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(program)
    done = subprocess.run([sys.executable, "server.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = telling(done.stderr.splitlines())
    assert said.endswith(words) or words in said, said
    assert "File" not in said and "Traceback" not in said


def test_an_error_that_much_follows_is_not_pushed_out() -> None:
    lines = ["starting", "Error: the port is taken", *(f"cleaning up {number} of many things" for number in range(50))]
    assert telling(lines).startswith("Error: the port is taken | cleaning up 0")


@given(st.lists(st.text(max_size=60), max_size=20))
def test_the_words_are_one_line_of_bounded_length_whatever_was_written(lines: list[str]) -> None:
    words = telling(lines)
    assert len(words) <= WORDS and "\n" not in words


SECRET = "hunter2-hunter2-hunter2"


@given(
    before=st.text(alphabet="xyh2 ", max_size=40),
    after=st.text(alphabet="xyh2 ", max_size=40),
    start=st.integers(0, 70),
    length=st.integers(1, 60),
)
def test_a_piece_of_a_text_has_no_part_of_a_secret_at_its_ends(
    before: str, after: str, start: int, length: int
) -> None:
    text = before + SECRET + after
    piece = text[start : start + length]
    kept = redact_cut(piece, [SECRET], at_start=True, at_end=True)
    for size in range(6, len(SECRET)):
        for part in range(len(SECRET) - size + 1):
            assert SECRET[part : part + size] not in kept


def test_a_secret_at_the_cut_of_a_long_line_is_not_shown() -> None:
    words = LastWords()
    words.begin([SECRET])
    words.add(TooLarge(b"", b"r2-hunter2 was refused"))
    assert str(words) == "was refused"
