"""Everything that decides who may do what at one portal, compiled into one immutable snapshot, and the asking of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from weakref import WeakKeyDictionary

from portal.access.capabilities import Capabilities, prompt_settings, tool_settings
from portal.access.compiling import RuleCompiler
from portal.access.documents import (
    AccessDocument,
    AccessGroup,
    Attached,
    Policy,
    PortalAccess,
    ServerAccess,
    ToolPolicy,
    UnreadablePolicy,
)
from portal.access.errors import PolicyError
from portal.access.policies import DEFAULT_DENY, Considered, Decision, Policies
from portal.access.sources import NO_SOURCES, Sources
from portal.access.subject import Subject
from portal.access.tools import CallBudget, ToolCalled, ToolList, ToolPolicies
from portal.identity import Identity
from portal.objects import PolicyLink, PortalServer, rules

NO_SERVERS = "No allowed servers available, check your Zero Trust Policies"
SWITCHED_OFF = "tool-settings"

_versions = count(1)


@dataclass(frozen=True, slots=True)
class _Server:
    policies: Policies
    tool_policies: ToolPolicies
    tools: Capabilities
    prompts: Capabilities


@dataclass(frozen=True, slots=True)
class ServerView:
    """What of one server somebody is shown. `tool(raw name, annotations)`: None when it is not shown at all."""

    id: str
    standing: Standing
    tools: Capabilities
    prompts: Capabilities

    def shows(self, tool: str, annotations: Mapping[str, object]) -> bool:
        return self.tools.of(tool).enabled and self.standing.lists(self.id, tool, annotations)


class Access:
    """One snapshot. `version` tells it from every other in this process; `warnings` is what to tell who configured it.

    `evaluations` are the external evaluations some policy asks for, as (evaluate_url, keys_url). `document` and
    `sources` are what it was compiled of.
    """

    def __init__(self, document: AccessDocument, sources: Sources = NO_SOURCES) -> None:
        """Raises `PolicyError`: groups contain each other, or an expression is wrong."""
        self.version = next(_versions)
        compiler = RuleCompiler(document.groups, document.lists, sources)
        reusable = {policy.id: policy for policy in document.policies}
        portal_servers = {server.server_id: server for server in document.portal.servers}
        servers = {server.id: server for server in document.servers}
        name = document.portal.name
        self._portal = Policies(
            resolved(document.portal.policies, reusable, "portal"),
            compiler,
            f"the portal {name!r}" if name else "this portal",
        )
        self._portal_tools = ToolPolicies(document.portal.tool_policies, compiler)
        self._servers = {
            identifier: _Server(
                Policies(
                    resolved(server.policies, reusable, f"servers.{identifier}"),
                    compiler,
                    f"the server {identifier!r}",
                ),
                ToolPolicies(server.tool_policies, compiler),
                tool_settings(server, portal_servers.get(identifier, PortalServer(server_id=identifier))),
                prompt_settings(server, portal_servers.get(identifier, PortalServer(server_id=identifier))),
            )
            for identifier, server in servers.items()
        }
        self._enabled: WeakKeyDictionary[ToolList, int] = WeakKeyDictionary()
        for identifier in portal_servers:
            if identifier not in servers:
                compiler.warn(f"server {identifier!r}", "no policy is attached to it; nobody sees it")
        _note_aliases(document, compiler)
        tool_policies = (self._portal_tools, *(server.tool_policies for server in self._servers.values()))
        self.personal = any(policies.personal for policies in tool_policies)
        self.document = document
        self.sources = sources
        self.warnings = compiler.warnings
        self.evaluations = _evaluations(document)

    def enabled(self, tools: ToolList) -> int:
        """The tools that the settings switch on, for whomever, as a number (`ToolList.which`)."""
        enabled = self._enabled.get(tools)
        if enabled is None:
            settings = self._servers[tools.server].tools
            enabled = self._enabled[tools] = tools.which(lambda name, _: settings.of(name).enabled)
        return enabled

    def has_server(self, server: str) -> bool:
        """Whether a server belongs to this portal, for whomever."""
        return server in self._servers

    def standing(self, identity: Identity) -> Standing:
        """All that the policies say of one caller, worked out once and asked for many calls."""
        return Standing(self, identity)

    def portal(self, identity: Identity) -> Decision:
        """May this caller use the portal?"""
        return self._portal.decide(identity)

    def server(self, identity: Identity, server: str) -> Decision:
        """May this caller use this server? Both the portal's policies and the server's must say so."""
        return Standing(self, identity).server(server)

    def tool(
        self,
        identity: Identity,
        server: str,
        tool: str,
        annotations: Mapping[str, object],
        arguments: Mapping[str, object] | None = None,
    ) -> Decision:
        """May this caller call this tool (raw name) so? Without arguments: may it be listed?"""
        return Standing(self, identity).tool(server, tool, annotations, arguments)[0]

    def view(self, identity: Identity) -> Mapping[str, ServerView]:
        """The servers somebody is shown, and how."""
        standing = Standing(self, identity)
        return {server: standing.view(server) for server in self._servers if standing.server(server).allowed}

    def explain(self, identity: Identity, server: str | None = None) -> tuple[Considered, ...]:
        """What each policy of the portal, or of one server, makes of somebody."""
        if server is None:
            return self._portal.explain(identity)
        found = self._servers.get(server)
        return found.policies.explain(identity) if found is not None else ()


class Standing:
    """One caller before one snapshot."""

    def __init__(self, access: Access, identity: Identity) -> None:
        self.access = access
        self.identity = identity
        self._subject = Subject(identity)
        self._decisions: dict[str, Decision] = {}

    @cached_property
    def portal(self) -> Decision:
        return self.access._portal.decide_subject(self._subject)

    def server(self, server: str) -> Decision:
        found = self._decisions.get(server)
        if found is None:
            found = self._decide(server)
            if server in self.access._servers:
                self._decisions[server] = found
        return found

    def tool(
        self,
        server: str,
        tool: str,
        annotations: Mapping[str, object],
        arguments: Mapping[str, object] | None = None,
    ) -> tuple[Decision, tuple[CallBudget, ...]]:
        """The decision about a call, and the budgets it draws on."""
        allowed = self.server(server)
        if not allowed.allowed:
            return allowed, ()
        known = self.access._servers[server]
        if not known.tools.of(tool).enabled:
            return _switched_off("tool", server, tool), ()
        called = ToolCalled(server, tool, annotations, arguments)
        budgets: list[CallBudget] = []
        decision = allowed
        for policies, stands in ((self.access._portal_tools, self._portal_stands), self._server_stands(server)):
            if not policies:
                continue
            told, budget = policies.decide(stands, self.identity, called)
            if told is not None and not told.allowed:
                return told, ()
            decision = told or decision
            if budget is not None:
                budgets.append(budget)
        return decision, tuple(budgets)

    def prompt(self, server: str, prompt: str) -> Decision:
        """May this caller get this prompt (raw name)?"""
        allowed = self.server(server)
        if allowed.allowed and not self.access._servers[server].prompts.of(prompt).enabled:
            return _switched_off("prompt", server, prompt)
        return allowed

    def lists(self, server: str, tool: str, annotations: Mapping[str, object]) -> bool:
        """Whether a call of this tool could be allowed, so that it is worth showing."""
        return self.tool(server, tool, annotations)[0].allowed

    def tools(self, tools: ToolList) -> tuple[bytes | None, bool]:
        """Which tools of an allowed server are shown (`ToolList.as_bytes`), and whether policies leave any out.

        The same as `lists` says of each.
        """
        policies, stands = self._server_stands(tools.server)
        denied = self.access._portal_tools.denied(self._portal_stands, self.identity, tools)
        denied |= policies.denied(stands, self.identity, tools)
        enabled = self.access.enabled(tools)
        return tools.as_bytes(enabled & ~denied), bool(enabled & denied)

    def view(self, server: str) -> ServerView:
        """How an allowed server is shown."""
        known = self.access._servers[server]
        return ServerView(server, self, known.tools, known.prompts)

    @cached_property
    def profile(self) -> tuple[Hashable, ...]:
        """Whoever has the same profile before the same snapshot is shown the same."""
        allowed = tuple(server for server in self.access._servers if self.server(server).allowed)
        stands = tuple(self._server_stands(server)[1] for server in allowed)
        # Where a condition asks who somebody is without asking for arguments, views are not shared.
        who = self.identity if self.access.personal else None
        told = who and (who.key, who.email, who.name, who.groups, who.ip, who.country, who.user_risk)
        return (self.portal.allowed, allowed, self._portal_stands if allowed else (), stands, told)

    @cached_property
    def _portal_stands(self) -> tuple[bool | None, ...]:
        return self.access._portal_tools.standing(self._subject)

    def _server_stands(self, server: str) -> tuple[ToolPolicies, tuple[bool | None, ...]]:
        policies = self.access._servers[server].tool_policies
        return policies, policies.standing(self._subject) if policies else ()

    def _decide(self, server: str) -> Decision:
        if not self.portal.allowed:
            return self.portal
        known = self.access._servers.get(server)
        if known is None:
            return Decision(
                "deny", f"No policy is attached to the server {server[:64]!r}.", DEFAULT_DENY, "Default deny"
            )
        return known.policies.decide_subject(self._subject)


def resolved(attached: Attached, reusable: Mapping[str, Policy], where: str) -> Sequence[Policy]:
    """The policies themselves, with the precedence they have where they are attached.

    Where one of them cannot be read, it is the only one: a `bypass` that goes before it would let people in.

    Raises:
        PolicyError: there is no policy of an id that is attached.
    """
    found: list[Policy] = []
    for one in attached:
        if isinstance(one, Policy):
            found.append(one)
            continue
        identifier = one.id if isinstance(one, PolicyLink) else one
        if identifier not in reusable:
            raise PolicyError(f"there is no policy {identifier[:100]!r}", where=f"{where}.policies")
        precedence = one.precedence if isinstance(one, PolicyLink) else None
        found.append(reusable[identifier].model_copy(update={"precedence": precedence}))
    unreadable = [policy for policy in found if isinstance(policy, UnreadablePolicy)]
    return unreadable[:1] or found


def _evaluations(document: AccessDocument) -> frozenset[tuple[str, str]]:
    places: list[PortalAccess | ServerAccess] = [document.portal, *document.servers]
    ruled: list[AccessGroup | Policy | ToolPolicy] = [*document.groups, *document.policies]
    for place in places:
        ruled += [policy for policy in place.policies if isinstance(policy, Policy)]
        ruled += place.tool_policies
    return frozenset(
        (rule.external_evaluation.evaluate_url, rule.external_evaluation.keys_url)
        for one in ruled
        for rule in (*one.include, *one.require, *one.exclude)
        if isinstance(rule, rules.ExternalEvaluation)
    )


def _note_aliases(document: AccessDocument, compiler: RuleCompiler) -> None:
    """Two capabilities of one server under one alias: the second keeps its own name."""
    places: list[tuple[str, PortalServer | ServerAccess]] = [
        *((place.server_id, place) for place in document.portal.servers),
        *((place.id, place) for place in document.servers),
    ]
    for server, place in places:
        for settings in (place.updated_tools, place.updated_prompts):
            seen: dict[str, str] = {}
            for setting in settings:
                first = setting.name if setting.alias is None else seen.setdefault(setting.alias, setting.name)
                if first != setting.name:
                    problem = f"the alias {setting.alias!r} of {setting.name!r} is already that of {first!r}"
                    compiler.warn(f"server {server!r}", problem)


def _switched_off(kind: str, server: str, name: str) -> Decision:
    reason = f"The {kind} {name[:128]!r} of the server {server!r} is switched off at this portal."
    return Decision("deny", reason, SWITCHED_OFF, "Settings of the capability")
