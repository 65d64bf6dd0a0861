"""Tasks that end, and catalogs of any number of real tools for each.

A task is what a person says (`tests/corpus/intents_*.json`), with the tools that answer it. Its catalog has one of
these and others drawn by chance with a fixed seed, by turns of servers that run and of a large API.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from benchmarks.arguments import required_arguments
from benchmarks.cases import Unavailable
from codemode import Catalog, CatalogServer
from stubs import Server
from tests.corpus import cloudflare
from tests.corpus.intents import LARGE, REAL_SERVERS, Part, intents
from tests.corpus.real_servers import as_tool, demo_servers
from tests.node_tools import NodeToolUnavailable
from tests.upstreams.listed import read_published_tools
from tests.upstreams.packages import PythonToolUnavailable

_PARTS: dict[str, tuple[Part, ...]] = {REAL_SERVERS: ("tuned", "held_out"), LARGE: ("tuned", "held_out", "fresh")}


@dataclass(frozen=True, slots=True)
class Task:
    """What a person says, and the tools that answer it, each as server and name. Its catalogs have the first one."""

    words: str
    right: tuple[tuple[str, str], ...]


class Company:
    """Servers that run and a large API: catalogs drawn of both, and the tasks that their tools complete."""

    def __init__(self, running: Sequence[Server], large: Server) -> None:
        self._servers = {server.id: CatalogServer(server) for server in (*running, large)}
        self._running = [(server.id, tool.name) for server in running for tool in server.tools]
        self._large = [(large.id, tool.name) for tool in large.tools]
        self._large_id = large.id
        self.tasks = tuple(self._tasks())

    def drawn(self, task: Task, count: int) -> Catalog:
        """A catalog of `count` tools, or of all if these are fewer. A larger one has the tools of a smaller one too."""
        chance = random.Random(task.words)
        both = (chance.sample(tools, len(tools)) for tools in (self._running, self._large))
        others = (key for key in chain.from_iterable(zip_longest(*both)) if key and key != task.right[0])
        chosen: dict[str, list[str]] = {}
        for _, (server, tool) in zip(range(count), chain(task.right[:1], others), strict=False):
            chosen.setdefault(server, []).append(tool)
        return Catalog.of(
            [(server, server.visible(chosen[name])) for name, server in self._servers.items() if name in chosen]
        )

    def some(self, count: int) -> list[Task]:
        """So many tasks, drawn by chance: as many of the servers that run as of the large API."""
        chance = random.Random(count)
        large = [task for task in self.tasks if task.right[0][0] == self._large_id]
        running = [task for task in self.tasks if task.right[0][0] != self._large_id]
        return [*chance.sample(running, count - count // 2), *chance.sample(large, count // 2)]

    def _tasks(self) -> Iterator[Task]:
        known = {*self._running, *self._large}
        for file, parts in _PARTS.items():
            for intent in chain.from_iterable(intents(file, part) for part in parts):
                named = (name if "." in name else f"{self._large_id}.{name}" for name in intent.wanted)
                keys = sorted((server, tool) for server, _, tool in (name.partition(".") for name in named))
                right = tuple(key for key in keys if key in known)
                if right and self._can_be_called(*right[0]):
                    yield Task(intent.words, right)

    def _can_be_called(self, server: str, tool: str) -> bool:
        """Whether its schema accepts the arguments that can be made of it: not where it wants a certain pattern."""
        found = next(one for one in self._servers[server].tools if one.name == tool)
        check = self._servers[server].argument_check(found)
        return not check.mismatches(required_arguments(found.input_schema))


def company() -> Company:
    """Eleven published servers, three of the demo, and 2,747 operations. Raises Unavailable without the published."""
    try:
        published = read_published_tools()
    except (NodeToolUnavailable, PythonToolUnavailable) as error:
        raise Unavailable(str(error)) from error
    running = [Server(name, tools=tuple(map(as_tool, tools))) for name, tools in published.items()]
    return Company([*running, *asyncio.run(demo_servers())], cloudflare.server())
