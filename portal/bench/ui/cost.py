"""The cost of a run in tokens, compared with the same calls made directly. Pure, except for the counter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from codemode import ToolReturned
from portal.bench.ui.watch import FinishedCall

COUNTED_CHARS = 2_000_000
"""Characters of one text that are counted. The rest is estimated from them."""


class TokenEstimate(Protocol):
    """A number of tokens; `exact` is False for an estimate."""

    @property
    def tokens(self) -> int: ...
    @property
    def exact(self) -> bool: ...


Count = Callable[[str], TokenEstimate]


@dataclass(frozen=True, slots=True)
class Cost:
    """The tokens of one run. The model writes `program` and reads `answer` and the `description` of the `code` tool.

    With direct calls it would read the `definitions` of all tools, write the `arguments` and read the `results` of this
    run's calls, each counted once. `calls` is the number of calls. `exact` is False for estimates.
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
class ListingCost:
    """The tokens a model reads before its first call: of the `code` tool, or of all tools."""

    description: int
    definitions: int


def listing_cost(code: Mapping[str, object], tools: Iterable[Mapping[str, object]], count: Count) -> ListingCost:
    """The cost of the definitions. Clients show a model the name, the description and the input schema of a tool."""
    return ListingCost(
        description=count_long(_json(_read(code)), count)[0],
        definitions=count_long(_json([_read(tool) for tool in tools]), count)[0],
    )


def run_cost(
    program: str,
    content: Sequence[Mapping[str, object]],
    finished: Sequence[FinishedCall],
    listing_cost: ListingCost,
    count: Count,
) -> Cost:
    """The cost of one run. `content` are the blocks of its answer."""
    written, exact = count_long(program, count)
    return Cost(
        exact=exact,
        program=written,
        answer=count_long(_texts(content), count)[0],
        description=listing_cost.description,
        calls=len(finished),
        arguments=sum(count_long(_json(each.call.arguments), count)[0] for each in finished),
        results=sum(count_long(_result_text(each), count)[0] for each in finished),
        definitions=listing_cost.definitions,
    )


def count_long(text: str, count: Count) -> tuple[int, bool]:
    """The tokens of a text of any length, and whether the number is exact."""
    head = text[:COUNTED_CHARS]
    counted = count(head)
    if len(head) == len(text):
        return counted.tokens, counted.exact
    return round(counted.tokens * len(text) / len(head)), False


def _read(tool: Mapping[str, object]) -> dict[str, object]:
    return {name: tool[name] for name in ("name", "description", "inputSchema") if name in tool}


def _result_text(call: FinishedCall) -> str:
    if not isinstance(call.outcome, ToolReturned):
        return str(getattr(call.outcome, "message", "") or getattr(call.outcome, "reason", ""))
    content = call.outcome.result.get("content")
    text = _texts(content) if isinstance(content, list) else ""
    return text or _json(call.outcome.result.get("structuredContent"))


def _texts(content: Sequence[object]) -> str:
    blocks = (block.get("text") for block in content if isinstance(block, Mapping) and block.get("type") == "text")
    return "\n".join(text for text in blocks if isinstance(text, str))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
