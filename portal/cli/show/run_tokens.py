"""The cost of a run in tokens: the program a model writes, the answer it reads, and the results it does not read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from codemode import ToolReturned
from portal.bench import ProgramRun
from portal.cli.show.token_count import count_tokens


@dataclass(frozen=True, slots=True)
class RunTokens:
    """Tokens of one run. `results` are those of the tools' results, which stayed in the isolate.

    `exact` is False for estimates.
    """

    program: int
    answer: int
    results: int
    exact: bool

    def as_dict(self) -> dict[str, object]:
        return {"program": self.program, "answer": self.answer, "toolResults": self.results, "exact": self.exact}

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        text = f"tokens: {about}{self.program:,} program, {self.answer:,} answer"
        if self.results:
            text += f"; {self.results:,} of tool results stayed in the isolate"
        return text if self.exact else f"{text} (estimate)"


def run_tokens(source: str, program_run: ProgramRun) -> RunTokens:
    """The tokens of a run of the program `source`."""
    program = count_tokens(source)
    answer = count_tokens("\n".join(_texts(program_run.content)))
    results = sum(
        count_tokens(_text(made.outcome.result)).tokens
        for made in program_run.calls
        if isinstance(made.outcome, ToolReturned)
    )
    return RunTokens(program.tokens, answer.tokens, results, program.exact)


def _text(result: dict[str, object]) -> str:
    """The text of a result that a model reads if it calls the tool directly."""
    blocks = result.get("content")
    texts = _texts(blocks if isinstance(blocks, list) else [])
    if texts or result.get("structuredContent") is None:
        return "\n".join(texts)
    return json.dumps(result["structuredContent"], ensure_ascii=False, separators=(",", ":"))


def _texts(blocks: Iterable[object]) -> list[str]:
    return [str(block.get("text", "")) for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
