"""The dashboard that ships: every query asks for numbers that `/metrics` has, and by labels that they have."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from portal.observe import Metrics, Readings
from tests.portal.logs.rows import row

pytestmark = pytest.mark.anyio
OURS = re.compile(r"\bcodemode_\w+")
SELECTED = re.compile(r"(codemode_\w+)\{([^}]*)\}")
FROM_PROMETHEUS = {"instance", "job", "le"}


def dashboard() -> dict[str, Any]:
    found = json.loads(files("portal.observe").joinpath("grafana.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


async def labels_of_everything() -> dict[str, set[str]]:
    """The labels of each series that `/metrics` shows of an instance that has every part."""
    metrics = Metrics(lambda server, tool: True)
    metrics.take(row(findings='[{"profile":"x"}]'))
    metrics.take(row(kind="run", server="", name="code", tokens_saved=1))
    metrics.take(row(kind="sign_in", server="", name=""))
    readings = Readings(
        states={"files": "ready"},
        sessions={"": 1},
        programs={"running": 1},
        workers=1,
        store_ok=True,
        log_ok=True,
        spans={"sent": 1},
        notices={("mail", "told"): 1},
    )
    text, _ = await metrics.render("", readings)
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def queries() -> list[str]:
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    variables = [one["definition"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    assert len(found) > 20 and variables
    return [*found, *variables]


async def test_each_query_names_numbers_that_there_are() -> None:
    there = await labels_of_everything()
    for query in queries():
        assert OURS.findall(query), query
        assert set(OURS.findall(query)) <= set(there), query


async def test_each_query_selects_and_groups_by_labels_that_its_numbers_have() -> None:
    there = await labels_of_everything()
    for query in queries():
        known: set[str] = set()
        for name, selection in SELECTED.findall(query):
            known |= there[name]
            assert set(re.findall(r"(\w+)\s*[=!]", selection)) <= there[name] | FROM_PROMETHEUS, query
        for group in re.findall(r"\bby \(([^)]*)\)", query):
            assert {label.strip() for label in group.split(",")} <= known | FROM_PROMETHEUS, query


async def test_every_number_is_on_the_dashboard() -> None:
    shown = {name for query in queries() for name in OURS.findall(query)}
    there = {re.sub(r"_(?:sum|count)$", "_bucket", name) for name in await labels_of_everything()}
    assert there - shown == set()


async def test_panels_do_not_lie_on_each_other_and_each_has_an_id() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {(place["x"] + across, place["y"] + down) for across in range(place["w"]) for down in range(place["h"])}
        assert not own & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= own
