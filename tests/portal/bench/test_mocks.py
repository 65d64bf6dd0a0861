"""Mocks: the rule that answers, its answer and its delay, and the messages about mistakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.bench.blocking import BlockingBench, Codemode, ProgramFailed
from portal.bench.mock_rules import Turns, agrees, matches, parse_rules, same
from portal.bench.mocks import Mocks, open_mocks
from portal.errors import InputError
from tests.strategies import SHORT, json_values

VALUES = json_values(st.integers(-(2**53), 2**53), SHORT, keys=st.text("abc", max_size=2), size=3, leaves=8)
ORDERS = {
    "servers": [
        {
            "id": "shop",
            "tools": [
                {
                    "name": "get-order",
                    "inputSchema": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
                    "outputSchema": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
                }
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def bench() -> Iterator[BlockingBench]:
    with BlockingBench() as made:
        yield made


@pytest.fixture
def codemode(bench: BlockingBench, tmp_path: Path) -> Codemode:
    return Codemode(bench, tmp_path)


def answers(rules: Any, *arguments: dict[str, Any]) -> list[Any]:
    """The values that a tool with these rules returns for these calls; None if no rule answers."""
    turns = Turns(parse_rules(rules, "mocks"))
    replies = [turns.reply(one) for one in arguments]
    return [None if reply is None else getattr(reply.outcome, "result", reply.outcome) for reply in replies]


# Rules


@given(VALUES)
def test_a_value_matches_and_agrees_with_itself(value: Any) -> None:
    assert same(value, value) and matches(value, value) and agrees(value, value)


@given(VALUES, VALUES)
def test_values_agree_exactly_when_they_are_the_same_json(first: Any, second: Any) -> None:
    equal = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert agrees(first, second) is equal


@given(st.dictionaries(st.text("abc", max_size=2), VALUES), st.dictionaries(st.text("xyz", max_size=2), VALUES))
def test_members_that_a_pattern_does_not_name_do_not_matter(pattern: dict[str, Any], others: dict[str, Any]) -> None:
    assert matches(pattern, {**others, **pattern})


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ({"$any": True}, [0, "", None, []], []),
        ({"$type": "integer"}, [1], [1.5, True, "1"]),
        ({"$type": "null"}, [None], [0, False]),
        ({"$in": [1, "a"]}, [1, "a"], [True, "b"]),
        ({"$not": {"$in": [1]}}, [2, "a"], [1]),
        ({"$regex": "^O[0-9]+$"}, ["O12"], ["x", 12]),
        ({"$gt": 1, "$lte": 3}, [2, 3], [1, 4, "2", True]),
        ({"$lt": 3}, [2], [3, float("nan")]),
        ({"$lte": 3}, [2, 3], [4, float("nan")]),
        ({"$gte": "2026-01"}, ["2026-02-01"], ["2025-12-31", 3]),
        ({"$exact": {"a": 1}}, [{"a": 1}], [{"a": 1, "b": 2}]),
        ({"a": {"$absent": True}}, [{}, {"b": 1}], [{"a": None}]),
        ([1, {"$any": True}], [[1, 2]], [[1], [1, 2, 3], [2, 2]]),
    ],
)
def test_an_operator_lets_pass_what_it_says(pattern: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not matches(pattern, value)] == []
    assert [value for value in bad if matches(pattern, value)] == []


def test_the_first_rule_that_matches_and_is_not_used_up_answers() -> None:
    rules = [
        {"when": {"id": 1}, "result": {"n": "one"}, "times": 1},
        {"when": {"id": 1}, "results": [{"n": "again"}, {"n": "last"}]},
        {"when": {"id": 2}, "error": "no two"},
    ]
    given = [{"id": 1}, {"id": 2}, {"id": 1}, {"id": 1, "x": 0}, {"id": 1}, {}]
    found = answers(rules, *given)
    assert [one and one.get("structuredContent") for one in found] == [
        {"n": "one"},
        None,
        {"n": "again"},
        {"n": "last"},
        None,
        None,
    ]
    assert found[1]["isError"] is True and found[4] is None


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, "needs one of result, results"),
        ({"result": 1, "error": "x"}, "not 2 of them"),
        ({"reslut": 1}, "Did you mean 'result'?"),
        ({"result": 1, "when": {"id": {"$gtt": 1}}}, "Did you mean '$gt'?"),
        ({"result": 1, "when": {"id": {"$regex": "("}}}, "no regular expression"),
        ({"result": 1, "when": {"id": {"$type": "int"}}}, "one of string"),
        ({"results": []}, "list of results"),
        ({"results": [1], "times": 2}, "given once each"),
        ({"result": 1, "delay": -1}, "milliseconds"),
        ({"result": 1, "times": 0}, "whole number"),
        ({"error": {"message": "x", "code": "7"}}, "code is a whole number"),
        ([{"result": 1}, 7], "mocks[1] must be an object, not a number"),
    ],
)
def test_a_mistake_in_a_rule_is_named_before_anything_runs(rules: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        parse_rules(rules, "mocks")
    assert said in str(error.value)


@given(VALUES)
def test_whatever_stands_for_rules_is_read_or_refused(value: Any) -> None:
    try:
        parse_rules(value, "mocks")
    except InputError as error:
        assert "mocks" in str(error)


# Runs


def test_every_kind_of_answer_reaches_the_program(codemode: Codemode) -> None:
    mocks = {
        "t.object": {"result": {"a": 1}},
        "t.text": {"result": "plain"},
        "t.nothing": {"result": None},
        "t.failing": {"error": "out of order"},
        "t.protocol": {"error": {"message": "bad", "code": -32000, "data": {"x": 1}}},
        "t.denied": {"denied": "not for you"},
        "t.raw": {"raw": {"content": [{"type": "text", "text": "[1]"}]}},
        "t.function": lambda arguments: arguments["list"],
    }
    program = """
    const settled = await Promise.allSettled([
      codemode.t.object(), codemode.t.text(), codemode.t.nothing(), codemode.t.failing(), codemode.t.protocol(),
      codemode.t.denied(), codemode.t.raw(), codemode.t.function({ list: [1, 2] }),
    ]);
    const told = ({ message, code, data }) => [message, code, data].filter((x) => x != null);
    settled.map(({ value, reason }) => reason ? told(reason) : value)
    """
    result = codemode.run(program, mocks=mocks)
    assert result.value == [
        *({"a": 1}, "plain", None, ["out of order"], ["bad", -32000, {"x": 1}], ["not for you"], [1], [1, 2]),
    ]
    assert [call.status for call in result.calls] == ["ok", "ok", "ok", "error", "error", "denied", "ok", "ok"]


def test_time_is_virtual_and_a_timer_can_win_against_a_call(codemode: Codemode) -> None:
    program = """
    const began = Date.now();
    const hour = new Promise((resolve) => setTimeout(() => resolve("timer"), 3_000));
    const first = await Promise.race([codemode.t.slow(), hour]);
    const both = await Promise.all([codemode.t.slow(), codemode.t.quick()]);
    return [first, both, Date.now() - began];
    """
    mocks = {"t.slow": {"result": "slow", "delay": 20_000}, "t.quick": {"result": "quick", "delay": 500}}
    result = codemode.run(program, mocks=mocks)
    assert result.value == ["timer", ["slow", "quick"], 23_000]
    times = {(call["seq"], call["at"], call["ms"]) for call in result.program_run.answer["calls"]}
    assert times == {(1, 0.0, 20_000.0), (2, 3_000.0, 20_000.0), (3, 3_000.0, 500.0)}


def test_a_call_still_under_way_at_the_end_is_cancelled(codemode: Codemode) -> None:
    result = codemode.run("codemode.t.slow(); return 1", mocks={"t.slow": {"result": 1, "delay": 10}})
    assert result.value == 1
    assert [call["status"] for call in result.program_run.answer["calls"]] == ["cancelled"]


def test_a_run_that_takes_too_long_of_its_own_time_ends_as_a_real_one(codemode: Codemode) -> None:
    result = codemode.run("await codemode.t.slow()", mocks={"t.slow": {"result": 1, "delay": 3_600_000}})
    assert result.error is not None and result.error["kind"] == "wall_time"


def test_more_calls_than_may_be_in_flight_take_turns(codemode: Codemode) -> None:
    program = "(await Promise.all(Array.from({ length: 40 }, (_, n) => codemode.t.slow({ n })))).length"
    result = codemode.run(program, mocks={"t.slow": {"result": 1, "delay": 100}})
    assert result.value == 40
    assert result.program_run.elapsed_ms == 300.0  # sixteen at a time


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), min_size=1, max_size=12))
def test_equal_runs_take_equal_turns(bench: BlockingBench, calls: list[tuple[str, int]]) -> None:
    mocks = {f"t.{name}": [{"result": name, "delay": delay}] for name, delay in dict(calls).items()}
    program = f"""
    const seen = [];
    const names = {json.dumps([name for name, _ in calls])};
    await Promise.all(names.map((name) => codemode.t[name]().then((value) => seen.push(value))));
    return [seen, Math.random(), Date.now()]
    """
    runs = [Codemode(bench, Path()).run(program, mocks=mocks).value for _ in range(2)]
    assert runs[0] == runs[1]


def test_time_and_chance_are_the_same_in_every_run_unless_asked_otherwise(codemode: Codemode) -> None:
    program = "[new Date().toISOString(), Math.random()]"
    first, again = codemode.run(program).value, codemode.run(program).value
    other = codemode.run(program, now="2030-05-01T00:00:00Z", seed="x").value
    assert first == again and first[0] == "2026-01-01T00:00:00.000Z"
    assert other[0] == "2030-05-01T00:00:00.000Z" and other[1] != first[1]


def test_what_no_mock_answers_says_so(codemode: Codemode) -> None:
    mocks = {"t.get": {"when": {"id": 1}, "result": 1}}
    result = codemode.run("await codemode.t.get({ id: 2 })", mocks=mocks)
    assert result.error is not None and 'answers call 1: {"id": 2}' in result.error["message"]
    with pytest.raises(ProgramFailed, match="line 1"):
        _ = result.value


def test_saved_tools_give_mocks_the_real_schemas(codemode: Codemode) -> None:
    mocks = {"shop.get-order": {"result": {"number": 7}}}
    result = codemode.run("await codemode.shop.get_order({ id: 'x' })", mocks=mocks, tools=ORDERS)
    assert result.error is not None and "id" in result.error["message"] and result.calls == []
    right = codemode.run("await codemode.shop.get_order({ id: 7 })", mocks=mocks, tools=ORDERS)
    assert right.value == {"number": 7}
    [note] = right.program_run.notes
    assert "shop.get_order answers what its output schema does not allow" in note


def test_a_mock_of_a_tool_that_does_not_exist_is_refused(codemode: Codemode) -> None:
    with pytest.raises(InputError, match="no such tool"):
        codemode.run("1", mocks={"shop.get_ordr": {"result": 1}}, tools=ORDERS)


# Python and JavaScript


def test_functions_in_a_python_file_answer_and_forget_between_runs(codemode: Codemode, tmp_path: Path) -> None:
    (tmp_path / "mocks.py").write_text(
        "count = 0\n"
        "def t__next(arguments):\n    global count\n    count += 1\n    return {'count': count}\n"
        "async def t__wait(arguments):\n    return arguments\n"
        "def t__broken(arguments):\n    return arguments['missing']\n"
        "def helper():\n    raise AssertionError\n"
        "MOCKS = {'t.fixed': {'result': 'rule'}}\n"
    )
    program = """
    await codemode.t.next();
    const error = await codemode.t.broken().catch((e) => e.message);
    return [await codemode.t.next(), await codemode.t.wait({ a: 1 }), await codemode.t.fixed(), error]
    """
    for _ in range(2):
        assert codemode.run(program, mocks="mocks.py").value == [
            {"count": 2},
            {"a": 1},
            "rule",
            "mocks.py, line 9: KeyError: 'missing'",
        ]


def test_mocks_in_javascript_run_in_an_isolate_and_their_timers_are_virtual(codemode: Codemode, tmp_path: Path) -> None:
    (tmp_path / "mocks.js").write_text(
        "let count = 0;\n"
        "export default {\n"
        "  't.next': async () => { await new Promise((r) => setTimeout(r, 60_000)); return { count: ++count }; },\n"
        "  't.reach': () => [typeof process, typeof require, typeof codemode],\n"
        "  't.throwing': () => { throw Object.assign(new Error('no'), { code: 7, data: [1] }); },\n"
        "  't.odd': () => () => 1,\n"
        "  't.fixed': { a: 1 },\n"
        "};\n"
    )
    program = """
    const failed = await codemode.t.throwing().catch((e) => [e.message, e.code, e.data]);
    const odd = await codemode.t.odd().catch((e) => e.message);
    await codemode.t.next();
    return [await codemode.t.next(), await codemode.t.reach(), await codemode.t.fixed(), failed, odd]
    """
    result = codemode.run(program, mocks="mocks.js", limits=None)
    assert result.error is not None and result.error["kind"] == "wall_time"  # two minutes of its own time
    quicker = program.replace("await codemode.t.next();\n", "")
    for _ in range(2):
        value = codemode.run(quicker.replace("return [await codemode.t.next()", "return [1"), mocks="mocks.js").value
        assert value[:4] == [1, ["undefined", "undefined", "undefined"], {"a": 1}, ["no", 7, [1]]]
        assert "no data" in value[4]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.json", "{", "is not JSON"),
        ("m.json", '{"mock": {}}', "Did you mean 'mocks'?"),
        ("m.json", '{"mocks": {"t": {"result": 1}}}', "named server.tool"),
        ("m.yaml", "mocks: [", "is not YAML"),
        ("m.yaml", "mocks: &a {t.b: {result: 1}}\nseed: *a", "aliases"),
        ("m.py", "def (", "line 1 is not Python"),
        ("m.py", "x = 1", "has no mocks"),
        ("m.py", "raise ValueError('why')", "line 1: ValueError: why"),
        ("m.js", "1", "export default"),
        ("m.js", "export default {", "m.js"),
        ("m.js", "const a = null;\nexport default a;", "must be an object"),
        ("m.toml", "", "none of these"),
    ],
)
def test_a_file_of_mocks_that_cannot_be_used_says_why(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)

    async def opened() -> Mocks:
        async with AsyncExitStack() as stack:
            return await open_mocks(stack, tmp_path / name)

    with pytest.raises(InputError) as error:
        asyncio.run(opened())
    assert said in str(error.value)
