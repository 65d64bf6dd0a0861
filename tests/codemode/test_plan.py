"""Plans: what a program would do is found without doing it, and what is found holds for the real run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from codemode import Adherence, Catalog, CodeTool, ProgramPlan, RunHandle, ToolCall, Waiting
from codemode import planning as planning_module
from codemode.plan import shown_form
from sandbox import Engine, InProcessExecutor, Limits
from stubs import Server, Tool
from tests.codemode.bench import Recorder

Engines = Callable[[Limits], Engine]
pytestmark = pytest.mark.anyio

READS = {"readOnlyHint": True}
ISSUE = {
    "type": "object",
    "properties": {
        "number": {"type": "integer"},
        "title": {"type": "string"},
        "open": {"type": "boolean"},
        "price": {"type": "number"},
        "url": {"type": "string", "format": "uri"},
        "owner": {"type": ["string", "null"]},
        "milestone": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
        "labels": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["number", "title", "open", "price", "url", "owner", "labels"],
}
CREATE = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "state": {"type": "string", "pattern": "^[a-z]*$"}},
    "required": ["title"],
}
SHOP = Server(
    "shop",
    None,
    "A shop",
    (
        Tool("list", None, "Lists.", annotations=READS),
        Tool("look", None, "Looks.", output_schema=ISSUE, annotations=READS),
        Tool("create", None, "Creates.", CREATE, ISSUE),
        Tool("note", None, "Notes."),
    ),
)
CATALOG = Catalog.build([SHOP])


@dataclass
class Planner:
    tool: CodeTool
    caller: Recorder

    async def plan(self, code: str) -> ProgramPlan:
        return await self.tool.plan({"code": code}, CATALOG, self.caller)


@asynccontextmanager
async def planning(engines: Engines, limits: Limits | None = None, **handlers: Any) -> AsyncIterator[Planner]:
    async with InProcessExecutor(engines(limits or Limits())) as executor:
        yield Planner(CodeTool(executor), Recorder(handlers))


async def plan_of(engines: Engines, code: str, **handlers: Any) -> ProgramPlan:
    """The plan of one program. Only tools that read have been called for it."""
    async with planning(engines, **handlers) as planner:
        plan = await planner.plan(code)
        assert set(planner.caller.names) <= {"shop.list", "shop.look"}
        return plan


def shown(plan: ProgramPlan) -> list[str]:
    return [f"{entry.name} {shown_form(entry.arguments)}" for entry in plan.entries]


async def test_reads_are_made_once_and_effects_are_listed(engines: Engines) -> None:
    async with planning(engines, list=lambda call: {"items": ["one", "two"]}) as planner:
        plan = await planner.plan(
            "const {items} = await codemode.shop.list({});\n"
            "for (const title of items) await codemode.shop.create({title});\n"
            "return items.length"
        )
        assert planner.caller.names == ["shop.list"]
    assert shown(plan) == ['shop.create {"title": "one"}', 'shop.create {"title": "two"}']
    assert plan.whole and plan.exact_up_to == 3 and plan.reads == 1
    assert [entry.line for entry in plan.entries] == [2, 2] and [entry.position for entry in plan.entries] == [2, 3]
    assert "2 calls would have an effect; 1 read was made" in plan.as_text()


async def test_parts_of_answers_are_holes_with_names(engines: Engines) -> None:
    plan = await plan_of(
        engines,
        """
        const a = await codemode.shop.create({title: "x"});
        await codemode.shop.note({
          number: a.number, text: `See #${a.number}: ${a.title} at ${a.url}`, owner: a.owner, price: a.price,
          milestone: a.milestone, labels: a.labels, all: a, double: a.number * 2, loud: a.title.toUpperCase(),
          first: a.labels.map(one => one + "!"), fixed: {deep: [1, true, null]},
        });
        """,
    )
    assert plan.whole and len(plan.entries) == 2
    arguments: Any = plan.entries[1].arguments
    assert arguments["number"] == {"⟨hole⟩": "1.number", "types": ["integer"]}
    assert shown_form(arguments["text"]) == '"See #⟨1.number⟩: ⟨1.title⟩ at ⟨1.url⟩"'
    assert arguments["owner"] == {"⟨hole⟩": "1.owner", "types": ["null", "string"]}
    assert arguments["price"]["types"] == ["number"]
    assert arguments["milestone"] == {"⟨hole⟩": "1.milestone", "types": ["object"], "optional": True}
    assert arguments["labels"]["types"] == ["array"] and arguments["all"]["⟨hole⟩"] == "1"
    assert arguments["double"] == {"⟨computed⟩": ["integer"]} and arguments["loud"] == {"⟨computed⟩": ["string"]}
    assert arguments["first"] == {"⟨computed⟩": ["array"]} and arguments["fixed"] == {"deep": [1, True, None]}


async def test_a_tool_without_output_schema_answers_one_text(engines: Engines) -> None:
    plan = await plan_of(engines, "const a = await codemode.shop.note({}); await codemode.shop.note({a, b: `<${a}>`})")
    assert shown(plan)[1] == 'shop.note {"a": ⟨1⟩, "b": "<⟨1⟩>"}'


@pytest.mark.parametrize(
    "decides",
    [
        "if (a.open) await codemode.shop.note({})",
        "for (const label of a.labels) await codemode.shop.note({label})",
        "if (a.number > 1000) await codemode.shop.note({})",
        "if (a.title === 'x') ; else if (a.title.startsWith('a')) await codemode.shop.note({})",
        "await codemode.shop[a.open ? 'note' : 'list']({})",
        "await codemode.shop.note(a.open ? {yes: 1} : {no: 1})",
        "await codemode.shop.note({m: a.milestone.id})",
        "if (a.owner === null) throw new Error('nobody')",
    ],
)
async def test_a_program_that_decides_by_an_answer_ends_its_plan_there(engines: Engines, decides: str) -> None:
    plan = await plan_of(engines, f"const a = await codemode.shop.create({{title: 'x'}}); {decides}; return 1")
    assert not plan.whole and plan.exact_up_to in (1, 2) and plan.entries[0].tool == "create"
    assert "decides by the answer of call 1 (shop.create)" in plan.as_text(), plan.as_text()
    assert f"exact up to call {plan.exact_up_to}; then the program decides" in plan.as_text()


async def test_parallel_calls_are_planned_in_the_order_in_which_the_program_makes_them(engines: Engines) -> None:
    plan = await plan_of(
        engines,
        """
        const made = await Promise.all(["a", "b", "c"].map(async title => {
          const seen = await codemode.shop.look({title});
          const one = await codemode.shop.create({title: seen.title});
          return codemode.shop.note({number: one.number, title});
        }));
        """,
        look=lambda call: {"title": call.arguments["title"] * 2},
    )
    assert plan.whole and plan.reads == 3
    assert shown(plan)[:3] == [f'shop.create {{"title": "{one}"}}' for one in ("aa", "bb", "cc")]
    assert shown(plan)[3:] == [
        f'shop.note {{"number": ⟨{at}.number⟩, "title": "{one}"}}' for at, one in ((4, "a"), (5, "b"), (6, "c"))
    ]


async def test_what_was_made_up_is_not_asked_for(engines: Engines) -> None:
    async with planning(engines) as planner:
        plan = await planner.plan(
            "const a = await codemode.shop.create({title: 'x'}); const b = await codemode.shop.look({id: a.number});"
            "const c = await codemode.shop.list({});"
            "await codemode.shop.note({b: b.title, c})"
        )
        assert planner.caller.names == ["shop.list"]
    assert plan.whole and [entry.effect for entry in plan.entries] == ["effect", "read", "effect"]
    assert shown(plan)[1:] == ['shop.look {"id": ⟨1.number⟩}', 'shop.note {"b": ⟨2.title⟩, "c": {}}']


async def test_time_and_chance_are_the_same_in_all_runs_and_timers_take_no_time(engines: Engines) -> None:
    plan = await plan_of(
        engines,
        "await codemode.shop.note({at: Date.now(), by: Math.random()});"
        "await new Promise(resolve => setTimeout(resolve, 20e3)); await codemode.shop.note({at: Date.now()})",
    )
    assert plan.whole and all("⟨" not in line for line in shown(plan))


async def test_a_person_may_take_their_time_over_a_read(engines: Engines) -> None:
    async def look(call: ToolCall) -> dict[str, Any]:
        assert call.on_wait is not None
        async with call.on_wait(Waiting("Log in to shop")):
            await asyncio.sleep(0.8)
        return {"title": "seen"}

    handle = RunHandle()
    async with planning(engines, Limits(wall_time=0.5), look=look) as planner:
        code = "await codemode.shop.note({}); return codemode.shop.create(await codemode.shop.look({}))"
        plan = await planner.tool.plan({"code": code}, CATALOG, planner.caller, handle=handle)
    assert plan.whole and shown(plan)[1] == 'shop.create {"title": "seen"}'
    assert handle.checks_arguments and handle.runs is None and handle.servers is None


async def test_a_read_that_fails_fails_the_same_for_all_runs_and_a_fault_is_no_plan_of_ours(engines: Engines) -> None:
    def look(call: ToolCall) -> Any:
        raise RuntimeError("planted-secret")

    code = "await codemode.shop.note({}); try { await codemode.shop.look({}) } catch (e) { await codemode.shop.note({"
    code += "e: `${e}`}) }"
    plan = await plan_of(engines, code, look=look)
    assert plan.whole and "failed inside the portal" in shown(plan)[1] and "planted" not in plan.as_text()


async def test_a_plan_that_is_given_up_leaves_nothing_behind(engines: Engines) -> None:
    engine = engines(Limits())
    before, reading = engine.live_isolates, asyncio.Event()

    async def look(call: ToolCall) -> None:
        reading.set()
        await asyncio.Event().wait()

    async with planning(engines, look=look) as planner:
        planned = asyncio.create_task(planner.plan("await codemode.shop.note({}); await codemode.shop.look({})"))
        await reading.wait()
        planned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await planned
        assert planner.caller.cancelled == 1
    assert engine.live_isolates == before


async def test_arguments_are_checked_except_for_what_is_not_known(engines: Engines) -> None:
    wrong = await plan_of(engines, "await codemode.shop.create({state: 'open'})")
    assert wrong.failure is not None and "Expected: codemode.shop.create" in str(wrong.failure["message"])
    assert wrong.entries == ()
    unknown = await plan_of(
        engines,
        "const a = await codemode.shop.create({title: 'x'}); await codemode.shop.create({title: 'y', state: a.title})",
    )
    assert unknown.whole and len(unknown.entries) == 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("return (", "SyntaxError"),
        ("throw new Error('no')", "no"),
    ],
)
async def test_a_program_that_fails_has_no_plan_beyond_that(engines: Engines, code: str, words: str) -> None:
    plan = await plan_of(engines, code)
    assert plan.failure is not None and words in str(plan.failure) and not plan.whole and plan.entries == ()


@pytest.mark.parametrize("used", ["portal.disable('shop')", "runs.result('exec_1')"])
async def test_what_is_not_there_while_a_plan_is_made_ends_it(engines: Engines, used: str) -> None:
    plan = await plan_of(engines, f"await codemode.shop.note({{}}); try {{ await codemode.{used} }} catch {{}}")
    assert not plan.whole and shown(plan) == ["shop.note {}"] and "while a plan is made" in plan.as_text()


async def test_a_program_that_knows_made_up_answers_hands_on_nothing_else_than_it_was_planned_to(
    engines: Engines,
) -> None:
    code = (
        "const a = await codemode.shop.create({title: 'x'}); const real = a.number < 100;"
        "await codemode.shop.note({to: real ? 9 : a.number});"
        "await codemode.shop.note({to: `to ${real ? 'evil' : a.title}`});"
        "await codemode.shop.note({to: a.title, of: `#${a.number}: ${a.title}`, labels: a.labels})"
    )
    plan, taken = await plan_of(engines, code), list[bool]()
    adherence = Adherence(plan)

    def handler(call: ToolCall) -> Any:
        nonlocal adherence
        taken.append(adherence.takes(call.seq, call.server, call.tool, call.arguments))
        answer = {"number": 7, "title": "any (text)", "labels": ["a", "b", "c"]} if call.tool == "create" else {}
        assert adherence.awaits(call.seq, call.server, call.tool) is (call.tool == "create")
        adherence.answered(call.seq, call.server, call.tool, {"structuredContent": answer})
        adherence = Adherence.from_dict(adherence.as_dict())
        return answer

    async with planning(engines, create=handler, note=handler) as planner:
        await planner.tool.run({"code": code}, CATALOG, planner.caller)
    assert taken == [True, False, False, False]
    expected = adherence.plan.effects[1:]
    assert [one.position for one in expected] == [2, 3, 4]
    adherence.used = {1: 1, 8: 2, 9: 3}
    assert adherence.takes(10, "shop", "note", {"to": "any (text)", "of": "#7: any (text)", "labels": ["a", "b", "c"]})


async def test_calls_that_are_no_objects_do_not_hold_the_plan_up(engines: Engines) -> None:
    plan = await plan_of(
        engines,
        "const a = await codemode.shop.create({title: 'x'});"
        "try { await codemode.shop.note(a.open ? {} : 7) } catch {}; await codemode.shop.note({then: 1})",
    )
    assert not plan.whole and plan.exact_up_to == 1


@pytest.mark.parametrize("depth", [60, 120, 250, 300, 900, 5_000])
async def test_arguments_of_any_depth_have_a_plan_or_are_refused(engines: Engines, depth: int) -> None:
    nest = f"let d = {{}}, e = {{}}; for (let i = 0; i < {depth}; i++) {{ d = {{d}}; e = {{e}} }};"
    plan = await plan_of(
        engines, f"{nest} const a = await codemode.shop.note({{d}}); return codemode.shop.note({{a, e}})"
    )
    text = orjson.dumps(plan.to_approve())
    if plan.entries:
        assert len(plan.digest) == 64 and text.count(b"{") > depth
        adherence = Adherence.from_dict(Adherence(plan).as_dict())
        assert not adherence.takes(1, "shop", "note", {"d": 1})
    else:
        assert plan.failure is not None and "deep" in str(plan.failure["message"])


async def test_plans_are_bounded(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning_module, "MAX_ENTRIES", 20)
    monkeypatch.setattr(planning_module, "MAX_READS", 10)
    async with planning(engines) as planner:
        many = await planner.plan("for (;;) await codemode.shop.note({})")
        assert not many.whole and len(many.entries) == 20 and "more than a plan has room for" in many.as_text()
        reads = await planner.plan("for (;;) await codemode.shop.list({})")
        assert len(planner.caller.calls) == 10 and "reads more than 10 times" in reads.ends_because
        large = await planner.plan("for (;;) await codemode.shop.note({text: 'x'.repeat(1e5)})")
        assert len(large.entries) == 2 and len(large.as_text()) < 10_000


async def test_a_plan_is_whole_bytes_and_its_digest_is_of_what_is_approved(engines: Engines) -> None:
    code = (
        "const a = await codemode.shop.create({title: '⟨1.number⟩\\u202e'});"
        "await codemode.shop.note({'⟨hole⟩': a.number})"
    )
    plan, again = await plan_of(engines, code), await plan_of(engines, code)
    assert ProgramPlan.from_dict(plan.as_dict()) == plan and plan.digest == again.digest
    other = await plan_of(engines, code.replace("create({title: '", "create({title: 'a"))
    assert other.digest != plan.digest
    # A program writes nothing that reads as a hole, and nothing that is not seen.
    assert (
        '"\\u27e81.number\\u27e9\\u202e"' in plan.as_text() and '{"\\u27e8hole\\u27e9": ⟨1.number⟩}' in plan.as_text()
    )


async def test_the_real_run_keeps_to_its_plan(engines: Engines) -> None:
    code = (
        "const a = await codemode.shop.create({title: 'x'});"
        "await codemode.shop.note({text: `#${a.number} ${a.title}`}); await codemode.shop.list({})"
    )
    plan, taken = await plan_of(engines, code), list[bool]()

    def answers(answer: Any) -> Callable[[ToolCall], Any]:
        def handler(call: ToolCall) -> Any:
            taken.append(adherence.takes(call.seq, call.server, call.tool, call.arguments))
            adherence.answered(call.seq, call.server, call.tool, {"structuredContent": answer})
            return answer

        return handler

    adherence = Adherence(plan)
    handlers: dict[str, Any] = {"create": answers({"number": 7, "title": "any (text)"}), "note": answers({})}
    async with planning(engines, **handlers) as planner:
        await planner.tool.run({"code": code}, CATALOG, planner.caller)
        assert taken == [True, True]
        assert adherence.takes(2, "shop", "note", {"text": "#7 any (text)"})
        assert not adherence.takes(2, "shop", "note", {"text": "#8"})
        assert not adherence.takes(4, "shop", "note", {"text": "#8 once more"})
