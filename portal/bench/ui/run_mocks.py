"""Mocks in the page: a backend from the mocks a person writes, and mocks from the calls of a live run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from codemode import CallOutcome, Catalog, ToolReturned
from portal.bench.backend import Backend
from portal.bench.mocks import document_mocks
from portal.bench.ui.watch import FinishedCall

RECORDED_CALLS = 200


def mock_backend(document: Mapping[str, object], catalog: Catalog, wall_time: float) -> Backend:
    """The backend for a document of mocks, `{"mocks": {"server.tool": rules}, "now"?, "seed"?}`.

    The tools are those of the catalog, or if it is empty, those that the mocks name. `tools` in the document is
    ignored: a page must not make the bench read files. Raises `InputError`.
    """
    content = {name: value for name, value in document.items() if name != "tools"}
    mocks = document_mocks(content, "the mocks", Path(), catalog.servers or None)
    return mocks.backend(wall_time=wall_time)


def mocks_from_calls(finished: Sequence[FinishedCall]) -> dict[str, object]:
    """Mocks that answer the same calls with the same answers. Equal calls are answered in turn."""
    calls = sorted(finished, key=lambda one: one.call.seq)[:RECORDED_CALLS]
    rules: dict[str, list[dict[str, object]]] = {}
    for place, one in enumerate(calls):
        again = any(
            later.path == one.path and later.call.arguments == one.call.arguments for later in calls[place + 1 :]
        )
        rule = {**({"when": one.call.arguments} if one.call.arguments else {}), **_answer(one.outcome)}
        rules.setdefault(one.path, []).append({**rule, "times": 1} if again else rule)
    for path, several in rules.items():
        # A rule without `when` matches every call, so more specific rules come first.
        rules[path] = sorted(several, key=lambda rule: -_conditions(rule))
    return {"mocks": {path: several[0] if len(several) == 1 else several for path, several in rules.items()}}


def _conditions(rule: Mapping[str, object]) -> int:
    when = rule.get("when")
    return len(when) if isinstance(when, dict) else 0


def _answer(outcome: CallOutcome) -> dict[str, object]:
    if isinstance(outcome, ToolReturned):
        result = outcome.result
        structured = result.get("structuredContent")
        if result.get("isError") is True or not isinstance(structured, dict | list):
            return {"raw": {name: value for name, value in result.items() if name != "_meta"}}
        return {"result": structured}
    if hasattr(outcome, "reason"):
        return {"denied": outcome.reason}
    error = {"message": outcome.message, "code": outcome.code, "data": outcome.data}
    return {"error": {name: value for name, value in error.items() if value is not None}}
