"""Tests of programs: the members of a file, when a run is as expected, and what an update does not change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from portal.bench.cases import Case, find_cases
from portal.bench.expectations_file import rewrite_yaml, write_expectations
from portal.bench.junit import junit_xml
from portal.bench.session import ProgramRun
from portal.bench.suite import CaseResult, Suite, select_cases
from portal.bench.verdict import updated_expectations, verdict
from portal.errors import InputError
from tests.strategies import json_values

PROGRAM = """const { n } = await codemode.t.get({ id: input.id });
console.log('got', n);
if (n < 0) throw new Error('low');
return { n };
"""
MOCKS = "mocks:\n  t.get: { result: { n: 3 } }\ninput: { id: 7 }\n"


def write(folder: Path, test: str, *, name: str = "p", program: str = PROGRAM, ending: str = ".test.yaml") -> Path:
    (folder / f"{name}.js").write_text(program)
    file = folder / f"{name}{ending}"
    file.write_text(test)
    return file


def results(*places: Path) -> list[CaseResult]:
    async def all_of_them() -> list[CaseResult]:
        async with Suite() as suite:
            return [result async for result in suite.results(find_cases(list(places)))]

    return asyncio.run(all_of_them())


def states(found: Sequence[CaseResult]) -> list[str]:
    return [result.state for result in found]


def test_every_part_of_an_expectation_is_held(tmp_path: Path) -> None:
    write(
        tmp_path,
        MOCKS
        + """
cases:
  right:
    expect: { result: { n: 3 }, calls: [{ tool: t.get, arguments: { id: 7 } }], logs: ["got 3"] }
  shorter: { expect: { calls: [t.get], logs: [{ level: log, text: got 3 }] } }
  counted: { expect: { calls: 1 } }
  loosely: { expect: { result: { n: { $gt: 1 } } } }
  nothing said: {}
  skipped: { skip: not now }
  another result: { expect: { result: { n: 4 } } }
  another argument: { expect: { calls: [{ tool: t.get, arguments: { id: 8 } }] } }
  another log: { expect: { logs: [] } }
  no error: { expect: { error: low } }
  an error: { mocks: { t.get: { result: { n: -1 } } }, expect: { error: { kind: exception, message: low, line: 3 } } }
  in a word: { mocks: { t.get: { result: { n: -1 } } }, expect: { error: low } }
  unexpected: { mocks: { t.get: { result: { n: -1 } } } }
  too long:
    limits: { wallTime: 1 }
    mocks: { t.get: { result: 1, delay: 5000 } }
    expect: { error: { kind: wall_time } }
""",
    )
    found = results(tmp_path)
    good = [*["passed"] * 5, "skipped", *["failed"] * 4, "passed", "passed", "failed", "passed"]
    assert dict(zip([one.case.name for one in found], states(found), strict=True)) == dict(
        zip([one.case.name for one in found], good, strict=True)
    )
    [mismatch] = found[6].mismatches
    assert mismatch.lines == ["  {", '-   "n": 4', '+   "n": 3', "  }"]
    assert [one.about for one in found[12].mismatches] == ["error"]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("expcet: {}", "Did you mean 'expect'?"),
        ("expect: { result: 1, error: x }", "both a result and an error"),
        ("expect: { calls: many }", "list of calls"),
        ("expect: { calls: [{ arguments: {} }] }", "needs the tool"),
        ("expect: { result: { $gtt: 1 } }", "unknown key '$gtt'"),
        ("expect: { error: { knd: x } }", "Did you mean 'kind'?"),
        ("mocks: { t.get: {} }", "needs one of result"),
        ("mocks: none.json", "Cannot read"),
        ("mocks: 7", "must be a path"),
        ("tools: none.json", "Cannot read"),
        ("replay: none", "Cannot read"),
        ("mocks: {}\nreplay: x", "either mocks or replay"),
        ("limits: { cpu: 1 }", "limits cannot be used"),
        ("now: yesterday", "must be a time"),
        ("cases: []", "cases must be an object"),
        ("- 1", "must be an object"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_file_that_is_wrong_is_an_error_of_its_own_and_the_others_run(tmp_path: Path, test: str, said: str) -> None:
    write(tmp_path, test)
    write(tmp_path, MOCKS, name="q")
    wrong, right = results(tmp_path)
    assert (wrong.state, right.state) == ("error", "passed")
    assert wrong.reason is not None and said in wrong.reason


def test_a_test_without_its_program_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "{}").with_name("p.js").unlink()
    [result] = results(tmp_path)
    assert result.reason is not None and "no program beside" in result.reason


def test_tests_are_found_below_a_folder_in_order_and_once(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path, "{}", name=name, ending=".test.json")
    for folder in ("c", ".hidden", "node_modules"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "{}", name="d")
    found = find_cases([tmp_path, tmp_path / "a.test.json"])
    assert [case.file.name for case in found] == ["a.test.json", "b.test.json", "d.test.yaml"]
    with pytest.raises(InputError, match="neither a folder nor"):
        find_cases([tmp_path / "a.js"])


# Choosing


def case(name: str) -> Case:
    return Case(file=Path("f.test.yaml"), title="f.test.yaml", name=name)


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (None, ["one big", "one small", "two"]),
        ("one", ["one big", "one small"]),
        ("ONE and not big", ["one small"]),
        ("two or (one and big)", ["one big", "two"]),
        ("not not two", ["two"]),
        ("f.test", ["one big", "one small", "two"]),
        ("nothing", []),
    ],
)
def test_words_choose_as_in_pytest(words: str | None, chosen: list[str]) -> None:
    assert [one.name for one in select_cases([case("one big"), case("one small"), case("two")], words)] == chosen


@pytest.mark.parametrize("words", ["and", "a b", "(a", "a)", "not", "a or", "(" * 5000])
def test_words_that_cannot_be_read_are_refused_even_without_tests(words: str) -> None:
    with pytest.raises(InputError, match="-k"):
        select_cases([], words)


# Updating

BY_HAND = """# Why this test is here
description: About it   # and this too

input: {id: 7}
expect:
  # what it was
  result: {n: 1}
  calls: 1
mocks:
  t.get: {result: {n: 3}}

cases:
  # the first
  one:
    expect: {result: 1}
    input: {id: 1}
  two:  # the second
    input: {id: 2}
    expect:
      result:
        n: 1
    # of two
  three: {input: {id: 3}}
# the end
"""

VALUES = json_values(
    st.integers(-99, 99), st.text("ab:#-\n'\" {", max_size=8), keys=st.text("abc", min_size=1), size=3, leaves=6
)


@given(st.dictionaries(st.sampled_from(["result", "calls", "logs"]), VALUES), st.sampled_from([None, "one", "two"]))
def test_an_update_changes_one_expectation_and_nothing_else(expect: dict[str, Any], name: str | None) -> None:
    text = rewrite_yaml(BY_HAND, name, expect)
    wanted = yaml.safe_load(BY_HAND)
    (wanted if name is None else wanted["cases"][name])["expect"] = expect
    assert yaml.safe_load(text) == wanted
    kept = [line for line in BY_HAND.splitlines() if "#" in line and "what it was" not in line]
    assert [line for line in kept if line not in text.splitlines()] == []


def test_a_test_without_an_expectation_gets_one(tmp_path: Path) -> None:
    file = write(tmp_path, MOCKS + "# the end\n")
    [result] = results(file)
    assert result.program_run is not None
    write_expectations(result.case, updated_expectations({}, result.program_run))
    assert file.read_text().startswith(MOCKS) and "# the end" in file.read_text()
    assert yaml.safe_load(file.read_text())["expect"] == {
        "result": {"n": 3},
        "calls": [{"tool": "t.get", "arguments": {"id": 7}}],
    }
    assert states(results(file)) == ["passed"]


def ran(**answer: Any) -> ProgramRun:
    whole = {"status": "failed" if "error" in answer else "completed", "calls": [], "logs": [], **answer}
    return ProgramRun(answer=whole, content=(), elapsed_ms=0, real_ms=0)


@given(
    st.fixed_dictionaries({}, optional={"result": VALUES, "calls": st.integers(0, 3), "logs": st.lists(st.text())}),
    st.booleans(),
    VALUES,
)
def test_what_an_update_writes_is_what_the_same_run_meets(expect: dict[str, Any], fails: bool, value: Any) -> None:
    error = {"kind": "exception", "name": "Error", "message": "why", "line": 1}
    run = ran(error=error) if fails else ran(result=value)
    after = updated_expectations(expect, run)
    assert verdict(after, run) == []
    assert fails or verdict(expect, run) or not expect or after == expect


# JUnit


@given(st.text(), st.text())
def test_junit_is_xml_whatever_a_test_is_called_and_says(name: str, reason: str) -> None:
    found = [
        CaseResult(case=case(name), state="error", reason=reason, seconds=0.5),
        CaseResult(case=case(name), state="skipped", reason=reason),
        CaseResult(case=case(name), state="passed"),
    ]
    root = ElementTree.fromstring(junit_xml(found, 1.25).encode())
    suite = root[0]
    assert {key: suite.get(key) for key in ("tests", "errors", "failures", "skipped", "time")} == {
        **{"tests": "3", "errors": "1", "failures": "0", "skipped": "1", "time": "1.250"},
    }
    assert [[part.tag for part in one] for one in suite] == [["error"], ["skipped"], []]


def test_junit_carries_the_difference(tmp_path: Path) -> None:
    write(tmp_path, MOCKS + "expect: { result: 1 }\n")
    found = results(tmp_path)
    root = ElementTree.fromstring(junit_xml(found, 0).encode())
    failure = root.find(".//failure")
    assert failure is not None and failure.get("message") == "not as expected: result"
    assert failure.text is not None and "- 1" in failure.text and '+   "n": 3' in failure.text
