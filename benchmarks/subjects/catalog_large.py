"""A catalog of 2,747 tools: building it, searching it, and what it adds to starting a program."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial

import orjson

from benchmarks import corpus
from benchmarks.cases import Case, Measurement, Reading, Unavailable
from benchmarks.subjects.sandbox_engine import NOW, SEED
from codemode import Catalog
from codemode.description import description
from sandbox import Completed, Engine
from tests.corpus.intents import LARGE, REAL_SERVERS, Quality, intents, quality


def cases() -> Mapping[str, Case | Reading]:
    return {
        "search": Case(lambda: search([intent.words for intent in intents(LARGE, "tuned")]), rounds=500),
        "search_300": Case(lambda: search(corpus.tasks_of_300()), rounds=500),
        **found_rows("large", corpus.catalog, LARGE),
        **found_rows("real", corpus.real_servers, REAL_SERVERS),
        "three_steps": Reading(lambda once: three_steps()),
        "preload_2747": Case(preloaded, rounds=100),
        "build": Case(build, rounds=3),
        "declarations": Case(declarations, rounds=3),
    }


def search(queries: Sequence[str]) -> Callable[[], object]:
    catalog = corpus.catalog()
    catalog.prepare()
    asked = itertools.cycle(queries)
    return lambda: catalog.search(next(asked), limit=5)


def found_rows(name: str, catalog: Callable[[], Catalog], file: str) -> dict[str, Reading]:
    """Hits in the first place and within five, and the mean of 1/place; what was held out is in the note."""
    measures = [field.name for field in fields(Quality)]
    return {f"{name}_{measure}": Reading(partial(found, catalog, file, measure)) for measure in measures}


def found(catalog: Callable[[], Catalog], file: str, measure: str, once: bool) -> Measurement:
    tools, tuned, held_out = catalog(), intents(file, "tuned"), intents(file, "held_out")
    share = getattr(quality(tools, tuned), measure)
    other = getattr(quality(tools, held_out), measure)
    note = f"{len(tuned)} intents over {len(tools):,} tools; {len(held_out)} held out: {other:.2f}"
    return Measurement(share, share, "", note, {"held_out": other})


def three_steps() -> Measurement:
    """Tokens of the description, a search and a describe of its first two tools: the most that an intent takes."""
    tokens = counter()
    catalog = corpus.catalog()
    costs = []
    for intent in (*intents(LARGE, "tuned"), *intents(LARGE, "held_out")):
        results = catalog.search(intent.words)
        shown = catalog.describe([result["path"] for result in results[:2]])
        costs.append(sum(map(tokens, (description(catalog), orjson.dumps(results).decode(), shown))))
    note = f"median {statistics.median(costs):,.0f}, of {len(costs)} tasks over {len(catalog):,} tools"
    return Measurement(min(costs), max(costs), "tokens", note)


def counter() -> Callable[[str], int]:
    try:
        from splintr import Tokenizer  # noqa: PLC0415 - an extra of the developer's
    except ImportError as error:
        raise Unavailable("splintr-rs counts the tokens: install the extra `tokens`") from error
    tokenizer = Tokenizer.from_pretrained("o200k_base")
    return lambda text: len(tokenizer.encode(text))


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
    return lambda: corpus.catalog().describe(corpus.SERVER, full=True)
