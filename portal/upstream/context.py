"""The context of an upstream call: what it needs to know about the downstream request that causes it. Values only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from codemode import OnWait
from portal.config import ServerConfig
from portal.errors import LoginRequired
from portal.flows import RunLabels
from portal.identity import NOBODY, Identity, OnBehalf
from portal.state import CallEffect
from portal.trace_context import TraceContext

OnProgress: TypeAlias = Callable[[float, float | None, str | None], Awaitable[None]]
OnLog: TypeAlias = Callable[[Mapping[str, object]], Awaitable[None]]
OnPause: TypeAlias = Callable[[], Awaitable[None]]
OnLogin: TypeAlias = Callable[[LoginRequired, OnWait | None], Awaitable[bool]]
OnSend: TypeAlias = Callable[[Mapping[str, object], CallEffect], Awaitable[None]]
GiveBack: TypeAlias = Callable[[], Awaitable[None]]
OnRequest: TypeAlias = Callable[[str, Mapping[str, object]], Awaitable[Mapping[str, object]]]

INTERACTIVE = ("elicitation", "sampling", "roots")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamClient:
    """The downstream client of a session, as it introduced itself.

    `key` is unique to the session. `info` is its Implementation (`name`, `version`), `capabilities` its
    ClientCapabilities, both as raw MCP objects.
    """

    key: str
    info: Mapping[str, object] = field(default_factory=dict)
    capabilities: Mapping[str, object] = field(default_factory=dict)

    @property
    def interactive(self) -> bool:
        """Whether an upstream may ask the client something during a call."""
        return any(name in self.capabilities for name in INTERACTIVE)


@dataclass(frozen=True, slots=True)
class CallSource:
    """Where a call comes from, for the log: the downstream client, the protocol version that it speaks, a name for its
    session (not its id), and its place in a trace, None if it has none. What is not known is empty.

    `client_id` is the OAuth client whose token the request shows: that is known, and no claim of the client."""

    protocol: str = ""
    client: DownstreamClient | None = None
    session: str = ""
    trace: TraceContext | None = None
    client_id: str = ""


@dataclass(slots=True)
class Traffic:
    """The bytes of messages that calls have sent to a server, and received in answer."""

    sent: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True)
class ApprovedRound:
    """A call that its server has answered with a question goes on: what its first round was approved with, and how many
    rounds it has had after that."""

    approval: str
    rounds: int


@dataclass(slots=True)
class CallFacts:
    """What comes out about one call while it is made, for its row.

    `findings` are those of screenings, each without what was found. `labels` are those of what is called.
    `policy` is a rule that let the call go on and is to be seen with it, and `approval` what people have approved it
    with, in which of its `rounds`. `give_back` returns that if the call did not run. `budgets` are the policies whose
    budget for the run it is counted in. `approved` are the revisions of the rules that people let it pass, `shown` the
    digest of what is sent as they saw it, and `judged` the caller with the signals by which it was decided what they
    are asked. `rows` counts the rows of the log that were written with this context. `trace` is what the server is told
    of the trace that the call is of. `server` is its configuration as the call found it, None if there is no such
    server. With `hides_name` the name or URI of its target has in it what was found, and is in no row. `repeat_key` is
    the same each time that this call is made, for a server that does nothing twice; only a call that is written ahead
    has one.
    """

    findings: list[Mapping[str, object]] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    policy: str = ""
    approval: str = ""
    rounds: int = 0
    give_back: GiveBack | None = None
    budgets: tuple[str, ...] = ()
    approved: frozenset[str] = frozenset()
    shown: bytes | None = None
    judged: Identity | None = None
    repeat_key: str = ""
    rows: int = 0
    trace: TraceContext | None = None
    server: ServerConfig | None = None
    hides_name: bool = False

    def clear(self) -> None:
        """Forget an earlier try of the call."""
        self.findings.clear()
        self.labels.clear()
        self.policy = ""
        self.approval = ""
        self.rounds = 0
        self.give_back = None
        self.budgets = ()
        self.approved = frozenset()
        self.shown = None
        self.judged = None
        self.repeat_key = ""
        self.trace = None
        self.server = None
        self.hides_name = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """What an upstream call may use of the downstream request.

    `principal` is the caller, or None in a portal without identity; `identity` is its key. `on_behalf` says whose
    credentials the call shows. `spent` counts the calls of one run by policy, for policies with a budget; `read` is
    what one run has read of what is labelled.

    `protocol` is the downstream protocol version, or "" if no MCP request causes the call. `meta` is the downstream
    `_meta`: its members about the connection are replaced, the others are forwarded. `headers` repeat arguments of a
    tool in `Mcp-Param-*`: the connection makes them, nobody else.

    `on_progress(progress, total, message)` is set only if the downstream asked for progress. `on_log(params)` receives
    `notifications/message` of this call. `on_request(method, params)` answers `elicitation/create`,
    `sampling/createMessage` and `roots/list` of this call, and raises `portal.errors.RpcError` to refuse. `on_pause()`
    is called when a legacy server ends the call's stream and will continue it later (SEP-1699). `on_wait(waiting)` is a
    block in which the call waits for a person, and is set only if the caller can say so to them: a program's call.
    `on_login(required, on_wait)` asks the person for a login, and says whether there is another one now.
    `on_send(params, effect)` is awaited before the request of a tool leaves; what it raises stops the call.

    `approved` is there for a further round of a call that people have approved. `unplanned`: the call is of a program
    that keeps to a plan, and is not in it.

    `source`, and `number` and `line`, those of the call in its program (0 for none), are for the log. `traffic` counts
    what is sent and received. `facts` are of one call, and two calls at a time have two.
    """

    run_id: str = ""
    identity: str = ""
    principal: Identity | None = None
    on_behalf: OnBehalf = NOBODY
    spent: dict[str, int] | None = None
    read: RunLabels | None = field(default=None, compare=False)
    protocol: str = ""
    client: DownstreamClient | None = None
    meta: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    on_progress: OnProgress | None = None
    on_log: OnLog | None = None
    on_request: OnRequest | None = None
    on_pause: OnPause | None = None
    on_wait: OnWait | None = None
    on_login: OnLogin | None = None
    on_send: OnSend | None = None
    approved: ApprovedRound | None = None
    source: CallSource = CallSource()
    number: int = 0
    line: int = 0
    unplanned: bool = False
    traffic: Traffic = field(default_factory=Traffic, compare=False)
    facts: CallFacts = field(default_factory=CallFacts, compare=False)


NO_CONTEXT = CallContext()
