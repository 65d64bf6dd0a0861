"""Ours, frozen: a program that waits for one call becomes bytes, and a program again; alone, in process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.cases import Case, Measurement, Reading
from benchmarks.programs import WAITED, WAITING
from benchmarks.subjects.checks import catalog
from benchmarks.subjects.sandbox_engine import NOW, SEED
from codemode import common_preload
from sandbox import Completed, Engine, Image, Isolate, Settlement, Suspended

CALL = {"": "host.call", "catalog": "codemode.s1.list_1"}
ROUNDS = {"small": 300, "large": 20}


def cases() -> Mapping[str, Case | Reading]:
    found: dict[str, Case | Reading] = {}
    for size in WAITING:
        found[f"{size}_bytes"] = Reading(partial(frozen_bytes, size, ""))
        found[f"{size}_take"] = Case(partial(take, size, ""), rounds=ROUNDS[size])
        found[f"{size}_restore"] = Case(partial(restore, size, ""), rounds=ROUNDS[size])
    found["catalog_take"] = Case(partial(take, "small", "catalog"), rounds=ROUNDS["small"])
    found["catalog_bytes"] = Reading(partial(frozen_bytes, "small", "catalog"))
    found["catalog_restore"] = Case(partial(restore, "small", "catalog"), rounds=ROUNDS["small"])
    return found


def engine_for(over: str) -> Engine:
    """The engine as a portal has it, when the program is over a catalog."""
    return Engine(common=common_preload() if over else "")


def waiting(engine: Engine, size: str, over: str) -> Isolate:
    """The suspended program, without an image or over a catalog of 50 tools."""
    image: Image | None = engine.image(catalog().preload) if over else None
    isolate = engine.isolate(image)
    outcome = isolate.start(WAITING[size].replace("host.call", CALL[over]), NOW, SEED)
    if not isinstance(outcome, Suspended):
        raise RuntimeError(f"the benchmark's program did not suspend: {outcome}")
    return isolate


def take(size: str, over: str) -> Callable[[], object]:
    isolate = waiting(engine_for(over), size, over)
    return lambda: isolate.freeze()


def restore(size: str, over: str) -> Callable[[], object]:
    engine = engine_for(over)
    frozen = waiting(engine, size, over).freeze()
    with engine.thaw(frozen) as isolate:
        outcome = isolate.resume([Settlement.value(1, 7)], NOW)
    if not isinstance(outcome, Completed) or outcome.value != WAITED[size]:
        raise RuntimeError(f"the thawed program did not go on: {outcome}")
    return lambda: engine.thaw(frozen).close()


def frozen_bytes(size: str, over: str, once: bool) -> Measurement:
    length = float(len(waiting(engine_for(over), size, over).freeze()))
    return Measurement(length, length, "B")
