"""A catalog of 2,747 tools: building it, searching it, and what it adds to starting a program."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from benchmarks import corpus
from benchmarks.cases import Case, Measurement, Reading
from benchmarks.subjects.sandbox_engine import NOW, SEED
from sandbox import Completed, Engine


def cases() -> Mapping[str, Case | Reading]:
    return {
        "search": Case(search, rounds=500),
        "hit_at_1": Reading(lambda once: hits(1)),
        "hit_at_5": Reading(lambda once: hits(5)),
        "preload_2747": Case(preloaded, rounds=100),
        "build": Case(build, rounds=3),
        "declarations": Case(declarations, rounds=3),
    }


def search() -> Callable[[], object]:
    catalog = corpus.catalog()
    catalog.prepare()
    asked = itertools.cycle([intent for intent, _ in corpus.intents()])
    return lambda: catalog.search(next(asked), limit=5)


def hits(places: int) -> Measurement:
    catalog = corpus.catalog()
    intents = corpus.intents()
    found = 0
    for intent, wanted in intents:
        paths = [entry["path"].split(".", 1)[1] for entry in catalog.search(intent, limit=places)]
        found += bool(wanted.intersection(paths))
    share = found / len(intents)
    return Measurement(share, share, "", f"{len(intents)} intents over {len(catalog):,} tools")


def preloaded() -> Callable[[], object]:
    """A fresh isolate whose `codemode` knows all tools, running a program that finds one of them."""
    engine = Engine()
    image = engine.image(corpus.catalog().preload)

    def operation() -> object:
        with engine.isolate(image) as isolate:
            outcome = isolate.start("return typeof codemode.cloudflare.dns_records_create", NOW, SEED)
        if not isinstance(outcome, Completed) or outcome.value != "function":
            raise RuntimeError(f"the preloaded catalog lacks a tool: {outcome}")
        return outcome

    return operation


def build() -> Callable[[], object]:
    def operation() -> object:
        catalog = corpus.catalog()
        catalog.prepare()
        return catalog

    return operation


def declarations() -> Callable[[], object]:
    return lambda: corpus.catalog().describe(corpus.SERVER)
