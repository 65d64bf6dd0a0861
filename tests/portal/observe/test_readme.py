"""The chapter says what there is: its documents can be used, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
import yaml

import portal.observe
from portal.config import TraceSection, parse_config
from portal.observe import names
from tests.portal.observe.test_grafana import labels_of_everything

pytestmark = pytest.mark.anyio
CHAPTER = (Path(portal.observe.__file__).parent / "README.md").read_text(encoding="utf-8")
ENVIRONMENT = {"RECEIVER_TOKEN": "of-the-receiver", "METRICS_TOKEN": "a-token-of-enough-characters"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", CHAPTER, re.DOTALL | re.MULTILINE)


def test_its_documents_are_taken() -> None:
    documents = [one for one in map(orjson.loads, blocks("json")) if "portal" in one]
    assert len(documents) == 2
    traces, metrics = (parse_config(one, env=ENVIRONMENT).portal for one in documents)
    assert traces.traces is not None and traces.traces.endpoint == "http://127.0.0.1:4318/v1/traces"
    assert traces.traces.headers["Authorization"] == "Bearer of-the-receiver"
    assert metrics.metrics is not None and metrics.metrics.token == ENVIRONMENT["METRICS_TOKEN"]


def test_its_scrape_configuration_asks_where_the_numbers_are() -> None:
    (block,) = blocks("yaml")
    (job,) = yaml.safe_load(block)["scrape_configs"]
    assert job["metrics_path"] == "/metrics" and job["authorization"]["credentials_file"]


async def test_its_table_has_every_number_with_its_labels() -> None:
    there = {
        re.sub(r"_(?:bucket|sum|count)$", "", name): labels - {"le"}
        for name, labels in (await labels_of_everything()).items()
    }
    table = CHAPTER.partition("| number | labels |")[2].partition("\n\n")[0]
    told: dict[str, set[str]] = {}
    for line in table.splitlines()[2:]:
        _, numbers, labels, *_ = line.split("|")
        for name in re.findall(r"`(\w+)`", numbers):
            told[name] = set(re.findall(r"`(\w+)`", labels))
    told["codemode_spans_waiting"] = set()
    assert told == there


def test_its_table_has_every_attribute() -> None:
    attributes = {
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and "." in value and not value.startswith("service.")
    }
    assert [name for name in attributes if f"`{name}`" not in CHAPTER] == []


def test_its_table_has_every_setting_of_traces() -> None:
    told = CHAPTER.partition("| key | means |")[2].partition("\n\n")[0]
    assert [field.alias for field in TraceSection.model_fields.values() if f"`{field.alias}`" not in told] == []
