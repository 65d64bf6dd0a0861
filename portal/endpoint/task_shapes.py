"""Tasks as a client reads them (extension `io.modelcontextprotocol/tasks` of MCP 2026-07-28). Values only, and pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from mcp.shared.exceptions import MCPError
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY

from codemode import Waiting
from portal.endpoint.login_prompts import NO_FIELDS, channel_of
from portal.endpoint.request import ClientRequest, RawResult
from portal.state import StoredRun
from portal.upstream import TASKS
from portal.upstream import declares_tasks as declares

REQUIRED: Final[Mapping[str, object]] = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
POLL: Final = 1000
POLL_FOR_PEOPLE: Final = 5000
"""Milliseconds after which a client is to ask again, and where a person has to do something."""
MAX_WORDS: Final = 1000
TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})

Status: TypeAlias = Literal["working", "input_required", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """A task as it is now. `members` are those of its status: `inputRequests`, `result` or `error`. It may be
    gone after `until`."""

    id: str
    created: datetime
    updated: datetime
    until: datetime
    status: Status = "working"
    words: str = ""
    members: Mapping[str, object] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    def asking(self, asked: Mapping[str, object], words: str) -> TaskState:
        """Of work that has not ended, with its open questions."""
        if not asked:
            return replace(self, words=words)
        return replace(self, status="input_required", words=words, members={"inputRequests": asked})

    def completed(self, result: RawResult, words: str = "") -> TaskState:
        """Of a request that has a result, be it that of a tool which failed."""
        return replace(self, status="completed", words=words, members={"result": {"resultType": "complete", **result}})

    def failed(self, error: Mapping[str, object]) -> TaskState:
        """Of a request that has an error of JSON-RPC."""
        return replace(self, status="failed", words=str(error["message"]), members={"error": error})

    def cancelled(self, words: str) -> TaskState:
        return replace(self, status="cancelled", words=words)

    def as_dict(self) -> RawResult:
        """`DetailedTask`."""
        return {**self._base(), **self.members}

    def as_created(self) -> RawResult:
        """`CreateTaskResult`."""
        return {"resultType": "task", **self._base()}

    def _base(self) -> RawResult:
        poll = POLL_FOR_PEOPLE if self.status == "input_required" else POLL
        return {
            "taskId": self.id,
            "status": self.status,
            **({"statusMessage": self.words[:MAX_WORDS]} if self.words else {}),
            "createdAt": _time(self.created),
            "lastUpdatedAt": _time(max(self.created, self.updated)),
            "ttlMs": max(1, int((self.until - self.created).total_seconds() * 1000)),
            "pollIntervalMs": poll,
        }


def declares_tasks(request: ClientRequest) -> bool:
    """Whether this request declares the extension. Nothing else of its client counts."""
    return request.modern and declares(request.context)


def undeclared(what: str) -> MCPError:
    """The error for a request that needs the extension and does not declare it."""
    message = f"{what} needs the extension {TASKS!r}, which this request does not declare. Nothing ran."
    return MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, message, REQUIRED)


def input_requests(
    run: StoredRun, waits: Sequence[Waiting], request: ClientRequest, answered: frozenset[str]
) -> Mapping[str, object]:
    """What a client is to show its person for a parked run: the page of each wait, as it can show one. Those that it
    has `answered` are not asked again: what the person does is seen at the page, not in the answer."""
    channel = channel_of(request)
    found: dict[str, object] = {}
    for one in waits if channel is not None and run.state == "parked" else ():
        key = _key(run, one)
        if one.url is None or key in answered:
            continue
        text = f"{' '.join(one.text.split())[:MAX_WORDS]}: {one.url}"
        if channel == "url":
            params: dict[str, object] = {"mode": "url", "message": text, "url": one.url}
        else:
            params = {"message": f"{text} (answer when you have)", "requestedSchema": dict(NO_FIELDS)}
        found[key] = {"method": "elicitation/create", "params": params}
    return found


def in_words(waits: Sequence[Waiting]) -> str:
    """What a task waits for, "" if it waits neither for people nor for a clock."""
    return "; ".join(dict.fromkeys(f"{' '.join(one.text.split())}{f' {one.url}' if one.url else ''}" for one in waits))


def _key(run: StoredRun, one: Waiting) -> str:
    """The name of a wait. It means the same wait for as long as there is the task: a page may come back in a later
    parking of the run, then for something else."""
    text = f"{run.id}\n{run.revision}\n{one.tool}\n{one.url}"
    return f"wait-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:24]}"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
