"""What a caller would see of a portal, and why not the rest: the answer of the policy tester about servers and tools.

The view is the one that `tools/list` and programs get, made from the same decisions. Nothing is asked of a server, and
nothing is waited for: a server that is still connecting is one that shows nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from portal.access import NO_SERVERS, Decision, ExplainedServer, Explanation, Standing, ToolHints, explain
from portal.endpoint.aggregate import Target
from portal.endpoint.modes import Mode
from portal.endpoint.selection import Curated, select
from portal.endpoint.views import ListedContent, View
from portal.servers import ServerSnapshot, Snapshot

HiddenBy = Literal["policy", "setting", "approval", "person", "login", "name"]
"""What hides a tool: a policy of the portal, the server or the tool; its setting; a pin; the person, who has turned the
server off; a missing login; another tool that has its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSight:
    """A tool by its raw `name`. `listed_as` is its name for clients, "" where it is hidden, and `reason` then says why.

    `shown` is whether the caller has it: in the list, or in code mode in programs. `callable` is whether the policies
    let a call pass. `decision` is theirs, and `hints` are the annotations that they judge by.
    """

    name: str
    listed_as: str = ""
    shown: bool
    callable: bool
    hidden_by: HiddenBy | None = None
    reason: str
    decision: Decision
    hints: Mapping[str, object]
    alias: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSight:
    """`available` is whether the server shows anything to this caller, and `reason` why not."""

    id: str
    name: str
    available: bool
    reason: str
    tools: tuple[ToolSight, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """`listed` are the names that `tools/list` has in this `mode`. `refusal` is the error that the caller gets instead
    of any list, "" for none. `explanation` has the decisions."""

    mode: Mode
    listed: tuple[str, ...] = ()
    refusal: str = ""
    explanation: Explanation
    servers: tuple[ServerSight, ...]


def hints_of(snapshot: Snapshot, standing: Standing) -> ToolHints:
    """The annotations of all tools of the servers that a portal has, those that wait for approval too. A server that
    does not run has none."""
    running = {id: server for id, server in snapshot.servers.items() if standing.access.has_server(id)}
    hints: dict[str, Mapping[str, Mapping[str, object]]] = {
        id: {**{name: {} for name in _waiting(server)}, **{str(tool["name"]): _hints(tool) for tool in server.tools}}
        for id, server in running.items()
    }
    return {**hints, **{one.id: {} for one in standing.access.document.servers if one.id not in running}}


def sight_of(
    mode: Mode,
    snapshot: Snapshot,
    standing: Standing,
    view: View | str,
    listed: tuple[str, ...],
    off: frozenset[str],
) -> Sight:
    """What a caller sees. `view` is theirs, or the error that they get instead of one."""
    hints = hints_of(snapshot, standing)
    explanation = explain(standing, hints)
    names = {} if isinstance(view, str) else _listed_names(view.aggregate.tools)
    servers: list[ServerSight] = []
    for id, explained in explanation.servers.items():
        server = snapshot.servers.get(id)
        absent = _why_absent(server, id in off)
        tools = () if server is None else _tools_in_sight(server, standing, explained, hints[id], names, id in off)
        servers.append(
            ServerSight(
                id=id,
                name=server.name if server is not None else id,
                available=explained.decision.allowed and not absent,
                reason=absent if explained.decision.allowed else explained.decision.reason,
                tools=tuple(tools),
            )
        )
    refusal = view if isinstance(view, str) else ""
    return Sight(mode=mode, listed=listed, refusal=refusal, explanation=explanation, servers=tuple(servers))


def sight_in(snapshot: Snapshot, standing: Standing) -> Sight:
    """What a caller would see of these servers without code mode, where no endpoint serves them."""
    view: View | str
    listed: tuple[str, ...] = ()
    if not standing.portal.allowed:
        view = standing.portal.reason
    else:
        selection = select(snapshot, standing, Curated())
        view = View(selection, ListedContent(selection)) if selection.servers else NO_SERVERS
        listed = tuple(view.aggregate.tools) if isinstance(view, View) else ()
    return sight_of(Mode.TOOLS, snapshot, standing, view, listed, frozenset())


def _tools_in_sight(
    server: ServerSnapshot,
    standing: Standing,
    explained: ExplainedServer,
    hints: Mapping[str, Mapping[str, object]],
    names: Mapping[tuple[str, str], str],
    is_off: bool,
) -> Iterator[ToolSight]:
    settings = standing.view(server.id).tools
    waiting = _waiting(server)
    for name, decision in explained.tools.items():
        listed_as = names.get((server.id, name), "")
        setting, reason = settings.of(name), decision.reason
        hidden_by: HiddenBy | None = None
        if not decision.allowed:
            hidden_by = "policy" if setting.enabled or not explained.decision.allowed else "setting"
        elif is_off:
            hidden_by, reason = "person", "This person has turned the server off."
        elif name in waiting:
            hidden_by, reason = "approval", waiting[name]
        elif not listed_as:
            hidden_by, reason = _not_listed(server)
        yield ToolSight(
            name=name,
            listed_as=listed_as,
            shown=bool(listed_as),
            callable=bool(listed_as) and decision.allowed,
            hidden_by=hidden_by,
            reason=reason,
            decision=decision,
            hints=hints.get(name, {}),
            alias=setting.alias,
        )


def _not_listed(server: ServerSnapshot) -> tuple[HiddenBy, str]:
    if server.wants_login:
        return "login", "The server shows nothing before this person has logged in to it."
    return "name", "Another tool has its name, and comes before it."


def _why_absent(server: ServerSnapshot | None, is_off: bool) -> str:
    if server is None:
        return "The server does not run: it is disabled, or cannot be configured."
    if is_off:
        return "This person has turned the server off."
    if server.wants_login:
        return "The server shows nothing before this person has logged in to it."
    return "" if server.listed else f"The server is not available: {server.absence.rstrip('.')}."


def _listed_names(tools: Mapping[str, Target]) -> Mapping[tuple[str, str], str]:
    return {(target.server, target.name): name for name, target in tools.items()}


def _waiting(server: ServerSnapshot) -> Mapping[str, str]:
    return {item.name: item.notice for item in server.pending if item.kind == "tool"}


def _hints(tool: Mapping[str, object]) -> Mapping[str, object]:
    annotations = tool.get("annotations")
    return annotations if isinstance(annotations, Mapping) else {}
