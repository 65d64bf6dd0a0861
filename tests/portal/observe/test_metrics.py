"""The numbers: what is counted, which labels there are, and how many of them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from portal.observe import Metrics, Readings, names
from portal.observe import metrics as metrics_module
from portal.observe.readiness import InstanceCondition, readiness
from tests.portal.logs.rows import row

pytestmark = pytest.mark.anyio


def knows(server: str, tool: str) -> bool:
    return server.startswith("s") and (not tool or tool.startswith("t"))


async def shown(metrics: Metrics, readings: Readings | None = None) -> dict[tuple[str, frozenset[str]], float]:
    text, _ = await metrics.render("", readings or Readings())
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_servers_and_tools_that_nobody_has_are_counted_together() -> None:
    metrics = Metrics(knows)
    for server, name in (("s1", "t1"), ("s1", "made-up"), ("nobody", "t1"), ("nobody", "made-up")):
        metrics.take(row(server=server, name=name))
    found = await shown(metrics)
    assert found["codemode_calls_total", frozenset({"", "s1", "tool", "ok"})] == 2
    assert found["codemode_calls_total", frozenset({"", "other", "tool", "ok"})] == 2
    tools = {labels: value for (name, labels), value in found.items() if name == "codemode_tool_calls_total"}
    assert tools == {
        frozenset({"s1", "t1", "ok"}): 1,
        frozenset({"s1", "other", "ok"}): 1,
        frozenset({"other", "ok"}): 2,
    }


async def test_labels_are_bounded_however_many_portals_servers_and_tools_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics_module, "MOST_PLACES", 20)
    monkeypatch.setattr(metrics_module, "MOST_TOOLS", 30)
    metrics = Metrics(knows)
    for number in range(500):
        metrics.take(row(portal=f"p{number}", server=f"s{number % 40}", name=f"t{number}"))
        metrics.take(row(portal=f"p{number}", server=f"s{number % 40}", name=f"t{number}"))
        metrics.take(row(portal=f"q{number}", kind="run", server="", name="code", tokens_saved=1))
    found = await shown(metrics)
    calls = {labels: value for (name, labels), value in found.items() if name == "codemode_calls_total"}
    assert sum(calls.values()) == 1000 and len(calls) <= 21
    tools = {labels: value for (name, labels), value in found.items() if name == "codemode_tool_calls_total"}
    assert sum(tools.values()) == 1000 and len(tools) <= 30 + 21
    assert sum(value for (name, _), value in found.items() if name == "codemode_runs_total") == 500
    assert len(found) < 1000


async def test_a_made_up_name_takes_no_room() -> None:
    metrics = Metrics(knows)
    for number in range(1000):
        metrics.take(row(server="s1", name=f"made-up-{number}"))
        metrics.take(row(server=f"nobody-{number}", name="t1"))
        metrics.take(row(server="s1", kind="resource", name=f"uri://{number}"))
    assert len(metrics._known) == 1 and not metrics._tool_names


async def test_a_name_that_cannot_be_written_or_is_long_breaks_no_scrape() -> None:
    metrics = Metrics(lambda server, tool: True)
    for name in ("half \ud800", "x" * 200, 'quotes" and \\ and\nlines'):
        metrics.take(row(server="s", name=name))
    found = await shown(metrics)
    assert found["codemode_tool_calls_total", frozenset({"s", "other", "ok"})] == 2
    assert found["codemode_tool_calls_total", frozenset({"s", 'quotes" and \\ and\nlines', "ok"})] == 1


async def test_events_that_are_no_calls_are_counted_by_kind() -> None:
    metrics = Metrics(knows)
    metrics.take(row(kind="sign_in", server="", name=""))
    metrics.take(row(kind="refusal", server="s1", outcome="denied"))
    found = await shown(metrics)
    assert found["codemode_events_total", frozenset({"sign_in", "ok"})] == 1
    assert found["codemode_events_total", frozenset({"refusal", "denied"})] == 1
    assert not any(name == "codemode_calls_total" for name, _ in found)


async def test_of_many_servers_all_are_counted_and_the_first_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MOST_SHOWN", 2)
    states = {"s1": "ready", "s2": "error", "s3": "ready", "s4": "stale"}
    found = await shown(Metrics(knows), Readings(states=states))
    assert found["codemode_upstreams", frozenset({"ready"})] == 2
    assert {labels: value for (name, labels), value in found.items() if name == names.UPSTREAM_READY} == {
        frozenset({"s1"}): 1,
        frozenset({"s2"}): 0,
    }


async def test_two_instances_in_one_process_count_apart() -> None:
    one, two = Metrics(knows), Metrics(knows)
    one.take(row(server="s1", name="t1"))
    assert ("codemode_calls_total", frozenset({"", "s1", "tool", "ok"})) in await shown(one)
    assert ("codemode_calls_total", frozenset({"", "s1", "tool", "ok"})) not in await shown(two)


@pytest.mark.parametrize(
    ("condition", "ready", "parts"),
    [
        (InstanceCondition(), True, {"servers": "ok"}),
        (
            InstanceCondition(store="ok", log_trouble="", workers=2),
            True,
            dict.fromkeys(("store", "log", "servers", "isolates"), "ok"),
        ),
        (InstanceCondition(store="read only"), True, {"store": "ok", "servers": "ok"}),
        (InstanceCondition(store="unavailable"), False, {"store": "unavailable", "servers": "ok"}),
        (InstanceCondition(log_trouble="the disk is full"), True, {"log": "degraded", "servers": "ok"}),
        (
            InstanceCondition(log_trouble="the disk is full", log_blocks=True),
            False,
            {"log": "trouble", "servers": "ok"},
        ),
        (InstanceCondition(log_trouble="", log_blocks=True), True, {"log": "ok", "servers": "ok"}),
        (InstanceCondition(unknown_servers=("one",)), False, {"servers": "waiting"}),
        (InstanceCondition(workers=0), False, {"servers": "ok", "isolates": "none"}),
    ],
)
def test_an_instance_is_ready_when_each_part_can_serve(
    condition: InstanceCondition, ready: bool, parts: dict[str, str]
) -> None:
    found = readiness(condition)
    assert (found.ready, found.parts) == (ready, parts)
