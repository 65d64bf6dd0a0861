"""The decisions of one snapshot about one caller, with what led to each: the answer of the policy tester. Pure.

Every decision is asked of the `Standing` that decides requests. Nothing is evaluated a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from portal.access.access import Standing
from portal.access.policies import Decision, PolicyOutcome

ToolHints = Mapping[str, Mapping[str, Mapping[str, object]]]
"""Annotations of tools, by server id and raw tool name."""


@dataclass(frozen=True, slots=True)
class ExplainedServer:
    """The decision about a server, the outcome of each of its policies, and those about its tools by raw name."""

    decision: Decision
    considered: tuple[PolicyOutcome, ...]
    tools: Mapping[str, Decision] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """All decisions about one caller. `servers` are by id; `warnings` are those of the policies."""

    decision: Decision
    considered: tuple[PolicyOutcome, ...]
    servers: Mapping[str, ExplainedServer]
    warnings: tuple[str, ...]


def explain(standing: Standing, tools: ToolHints) -> Explanation:
    """The decisions about the portal, each of these servers, and each of these tools."""
    access, identity = standing.access, standing.identity
    return Explanation(
        standing.portal,
        access.explain(identity),
        {
            server: ExplainedServer(
                standing.server(server),
                access.explain(identity, server),
                {tool: standing.tool(server, tool, hints)[0] for tool, hints in tools[server].items()},
            )
            for server in tools
        },
        tuple(access.warnings),
    )
