"""What a run costs the model that wrote it, and what its calls would have cost one by one. Pure but for the counter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from codemode import ToolReturned
from portal.bench.ui.watch import Seen

COUNTED_CHARS = 2_000_000
"""Of one text; the rest is taken to be like it."""


class Counted(Protocol):
    """A number of tokens; `exact` is False for an estimate."""

    @property
    def tokens(self) -> int: ...
    @property
    def exact(self) -> bool: ...


Count = Callable[[str], Counted]


@dataclass(frozen=True, slots=True)
class Cost:
    """In tokens. `program` is what the model writes, `answer` what it reads; `description` is the `code` tool's own.

    As plain calls: `definitions` of every tool in the list, and for the calls of this run the `arguments` the model
    would have written and the `results` it would have read, each counted once.
    """

    exact: bool
    program: int
    answer: int
    description: int
    calls: int
    arguments: int
    results: int
    definitions: int

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a client has read before its first call: the `code` tool, or all the tools."""

    description: int
    definitions: int


def standing_cost(code: Mapping[str, object], tools: Iterable[Mapping[str, object]], count: Count) -> Standing:
    """Clients show a model the name, the description and the input schema of a tool."""
    return Standing(
        description=count_long(_json(_read(code)), count)[0],
        definitions=count_long(_json([_read(tool) for tool in tools]), count)[0],
    )


def run_cost(
    program: str, content: Sequence[Mapping[str, object]], seen: Sequence[Seen], standing: Standing, count: Count
) -> Cost:
    """The cost of one run. `content` are the blocks of its answer."""
    written, exact = count_long(program, count)
    return Cost(
        exact=exact,
        program=written,
        answer=count_long(_texts(content), count)[0],
        description=standing.description,
        calls=len(seen),
        arguments=sum(count_long(_json(one.call.arguments), count)[0] for one in seen),
        results=sum(count_long(_result_text(one), count)[0] for one in seen),
        definitions=standing.definitions,
    )


def count_long(text: str, count: Count) -> tuple[int, bool]:
    """The tokens of a text of any length, and whether that is more than an estimate."""
    head = text[:COUNTED_CHARS]
    found = count(head)
    if len(head) == len(text):
        return found.tokens, found.exact
    return round(found.tokens * len(text) / len(head)), False


def _read(tool: Mapping[str, object]) -> dict[str, object]:
    return {name: tool[name] for name in ("name", "description", "inputSchema") if name in tool}


def _result_text(one: Seen) -> str:
    if not isinstance(one.outcome, ToolReturned):
        return str(getattr(one.outcome, "message", "") or getattr(one.outcome, "reason", ""))
    content = one.outcome.result.get("content")
    text = _texts(content) if isinstance(content, list) else ""
    return text or _json(one.outcome.result.get("structuredContent"))


def _texts(content: Sequence[object]) -> str:
    blocks = (block.get("text") for block in content if isinstance(block, Mapping) and block.get("type") == "text")
    return "\n".join(text for text in blocks if isinstance(text, str))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
