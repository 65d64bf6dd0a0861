"""Tokens of a completed task with `code`, whose description shows how to find tools: one program finds, one works.

The figures that decide when the description of `code` declares tools are here too (`codemode/description.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from statistics import median

from benchmarks.agent import Agent, Transcript, agent
from benchmarks.cases import Measurement, Reading
from benchmarks.subjects.catalog_large import counter
from benchmarks.tasks import Company, Task, company
from codemode import Catalog
from codemode.description import declared_tools, has_room_for

SIZES = (10, 30, 100, 200)
TASKS, TASKS_ONCE = 60, 4
DECLARED_SIZES = (2, 3, 4, 5)  # about as many as make the break-even
MOST_TOOLS = 107  # tried; with more the row fails
Way = Callable[[Agent, Task, Catalog], Awaitable[Transcript]]


def cases() -> Mapping[str, Reading]:
    return {
        **task_cases(Agent.searched),
        "even_listed": Reading(lambda once: asyncio.run(even_with_listed(company(), once))),
        "even_declared": Reading(lambda once: asyncio.run(even_with_declared(company(), once))),
        "room_to_declare": Reading(lambda once: room_to_declare(company(), once)),
    }


def task_cases(way: Way) -> dict[str, Reading]:
    """The cases of a way to complete tasks, for each number of tools and both ways to count."""
    return {
        f"task_{counted}_{size}": Reading(partial(completed, way, size, counted))
        for size in SIZES
        for counted in ("once", "read")
    }


def completed(way: Way, size: int, counted: str, once: bool) -> Measurement:
    """The tokens of the median task over so many tools. `counted` is a property of `Transcript`."""
    found = asyncio.run(transcripts(way, company(), size, once))
    tokens = [getattr(transcript, counted) for transcript in found]
    turns = [len(transcript.turns) for transcript in found]
    again = sum(count > min(turns) for count in turns)
    note = f"{min(turns)} turns, {again} of {len(turns)} tasks searched again" if min(turns) > 1 else ""
    return Measurement(min(tokens), median(tokens), "tokens", note)


async def transcripts(way: Way, drawn_from: Company, size: int, once: bool) -> list[Transcript]:
    async with agent(counter()) as one:
        tasks = drawn_from.some(TASKS_ONCE if once else TASKS)
        return [await way(one, task, drawn_from.drawn(task, size)) for task in tasks]


async def even_with_listed(drawn_from: Company, once: bool) -> Measurement:
    """The fewest tools over which the median task costs no more than with all tools listed, in both ways to count."""
    by_once, by_read = 0, 0
    for size in range(1, MOST_TOOLS + 1):
        listed = await transcripts(Agent.listed, drawn_from, size, once)
        searched = await transcripts(Agent.searched, drawn_from, size, once)
        if not by_once and median(one.once for one in searched) <= median(one.once for one in listed):
            by_once = size
        if not by_read and median(one.read for one in searched) <= median(one.read for one in listed):
            by_read = size
        if by_once and by_read:
            pairs = list(zip(listed, searched, strict=True))
            tokens_once = median(one.before - (one.once - other.once) for one, other in pairs)
            # The list is read twice: before the call, and before the last words.
            tokens_read = median(one.before - (one.read - other.read) / 2 for one, other in pairs)
            note = (
                f"{by_read} by tokens read over all turns (a list of about {tokens_read:.0f} tokens), "
                f"{by_once} with each text counted once (of about {tokens_once:.0f})"
            )
            return Measurement(min(by_once, by_read), max(by_once, by_read), "tools", note)
    raise RuntimeError(f"{MOST_TOOLS} tools cost less when they are listed")


async def even_with_declared(drawn_from: Company, once: bool) -> Measurement:
    """How many tokens of declarations cost the median task as much as finding its tool does, in both ways to count."""
    tokens = counter()
    by_once, by_read = [], []
    async with agent(tokens) as one:
        for task in drawn_from.some(TASKS_ONCE if once else TASKS):
            for size in DECLARED_SIZES:
                catalog = drawn_from.drawn(task, size)
                length = tokens(declared_tools(catalog))
                declared, searched = await one.declared(task, catalog), await one.searched(task, catalog)
                by_once.append(length - (declared.once - searched.once))
                # The declarations are read twice: before the program, and before the last words.
                by_read.append(length - (declared.read - searched.read) / 2)
    least = min(median(by_once), median(by_read))
    note = f"{median(by_read):.0f} by tokens read over all turns, {median(by_once):.0f} with each text counted once"
    return Measurement(least, least, "tokens", note)


def room_to_declare(drawn_from: Company, once: bool) -> Measurement:
    """The tokens of the longest declarations for which the description has room, of the tools of each task."""
    tokens = counter()
    found = [longest_declared(drawn_from, task) for task in drawn_from.some(TASKS_ONCE if once else TASKS)]
    lengths = [tokens(text) for text in found if text]
    note = f"at most {max(lengths)}; {len(found) - len(lengths)} of {len(found)} tools alone are too long"
    return Measurement(min(lengths), median(lengths), "tokens", note)


def longest_declared(drawn_from: Company, task: Task) -> str:
    """The declarations of as many tools, drawn for a task, as the description has room for."""
    longest, size = "", 1
    while has_room_for(text := declared_tools(drawn_from.drawn(task, size))):
        longest, size = text, size + 1
    return longest
