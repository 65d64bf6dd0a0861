"""The access decisions of one portal: an immutable snapshot of all its policies and settings, and how it is queried."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from weakref import WeakKeyDictionary

from portal.access.approval_rules import ApprovalRule, combined
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
from portal.access.policies import DEFAULT_DENY, Decision, Policies, PolicyOutcome
from portal.access.sources import NO_SOURCES, Sources
from portal.access.subject import Subject
from portal.access.tools import (
    CallBudget,
    Capabilities,
    ToolList,
    ToolPolicies,
    ToolTarget,
    prompt_settings,
    tool_settings,
)
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
    """One server as it is listed for a caller. `tools` and `prompts` are the settings of its capabilities."""

    id: str
    standing: Standing
    tools: Capabilities
    prompts: Capabilities

    def shows(self, tool: str, annotations: Mapping[str, object]) -> bool:
        """Whether the caller's list has this tool (raw name)."""
        return self.tools.of(tool).enabled and self.standing.lists(self.id, tool, annotations)


class Access:
    """One snapshot. Its `version` is unique in this process. `warnings` are for the operator who wrote the policies.

    `asks`: some policy asks for approvals. `evaluations` are the external evaluations that policies refer to, as
    (evaluate_url, keys_url). The snapshot was compiled from `document` and `sources`.
    """

    def __init__(self, document: AccessDocument, sources: Sources = NO_SOURCES) -> None:
        """Raises `PolicyError` if groups contain each other or an expression is not valid."""
        self.version = next(_versions)
        compiler = RuleCompiler(document.groups, document.lists, sources)
        reusable = {policy.id: policy for policy in document.policies}
        portal_servers = {server.server_id: server for server in document.portal.servers}
        servers = {server.id: server for server in document.servers}
        name = document.portal.name
        self._portal = Policies(
            resolve(document.portal.policies, reusable, "portal"),
            compiler,
            f"the portal {name!r}" if name else "this portal",
        )
        self._portal_tools = ToolPolicies(document.portal.tool_policies, compiler)
        self._servers = {
            identifier: _Server(
                Policies(
                    resolve(server.policies, reusable, f"servers.{identifier}"),
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
        _warn_of_duplicate_aliases(document, compiler)
        tool_policies = (self._portal_tools, *(server.tool_policies for server in self._servers.values()))
        self.personal = any(policies.personal for policies in tool_policies)
        self.asks = (
            self._portal.asks
            or any(policies.asks for policies in tool_policies)
            or any(server.policies.asks for server in self._servers.values())
        )
        self.document = document
        self.sources = sources
        self.warnings = compiler.warnings
        self.evaluations = _evaluations(document)

    def enabled(self, tools: ToolList) -> int:
        """The tools that the settings enable for every caller, as a number (`ToolList.which`)."""
        enabled = self._enabled.get(tools)
        if enabled is None:
            settings = self._servers[tools.server].tools
            enabled = self._enabled[tools] = tools.which(lambda name, _: settings.of(name).enabled)
        return enabled

    def has_server(self, server: str) -> bool:
        """Whether the portal has this server, for any caller."""
        return server in self._servers

    def standing(self, identity: Identity) -> Standing:
        """The decisions about one caller, worked out once and used for many calls."""
        return Standing(self, identity)

    def portal(self, identity: Identity) -> Decision:
        """The decision whether this caller may use the portal."""
        return self._portal.decide(identity)

    def server(self, identity: Identity, server: str) -> Decision:
        """The decision whether this caller may use this server. The portal's policies and its own must allow it."""
        return Standing(self, identity).server(server)

    def tool(
        self,
        identity: Identity,
        server: str,
        tool: str,
        annotations: Mapping[str, object],
        arguments: Mapping[str, object] | None = None,
    ) -> Decision:
        """The decision about a call of this tool (raw name); without arguments, about listing it."""
        return Standing(self, identity).tool(server, tool, annotations, arguments)[0]

    def view(self, identity: Identity) -> Mapping[str, ServerView]:
        """The servers that are listed for this caller, by id."""
        standing = Standing(self, identity)
        return {server: standing.view(server) for server in self._servers if standing.server(server).allowed}

    def explain(self, identity: Identity, server: str | None = None) -> tuple[PolicyOutcome, ...]:
        """The outcome of each policy of the portal, or of one server, for this identity."""
        if server is None:
            return self._portal.explain(identity)
        compiled = self._servers.get(server)
        return compiled.policies.explain(identity) if compiled is not None else ()


class Standing:
    """The decisions of one snapshot about one caller."""

    def __init__(self, access: Access, identity: Identity) -> None:
        self.access = access
        self.identity = identity
        self._subject = Subject(identity)
        self._decisions: dict[str, Decision] = {}

    @cached_property
    def portal(self) -> Decision:
        return self.access._portal.decide_subject(self._subject)

    def server(self, server: str) -> Decision:
        decision = self._decisions.get(server)
        if decision is None:
            decision = self._decide(server)
            if server in self.access._servers:
                self._decisions[server] = decision
        return decision

    def tool(
        self,
        server: str,
        tool: str,
        annotations: Mapping[str, object],
        arguments: Mapping[str, object] | None = None,
    ) -> tuple[Decision, tuple[CallBudget, ...]]:
        """The decision about a call, and the budgets it draws on."""
        server_decision = self.server(server)
        if not server_decision.allowed:
            return server_decision, ()
        settings = self.access._servers[server]
        if not settings.tools.of(tool).enabled:
            return _disabled("tool", server, tool), ()
        target = ToolTarget(server, tool, annotations, arguments)
        budgets: list[CallBudget] = []
        decision = server_decision
        for policies, matches in ((self.access._portal_tools, self._portal_matches), self._server_matches(server)):
            if not policies:
                continue
            outcome, budget = policies.decide(matches, self.identity, target)
            if outcome is not None and not outcome.allowed:
                return outcome, ()
            decision = outcome or decision
            if budget is not None:
                budgets.append(budget)
        return decision, tuple(budgets)

    def approval(
        self,
        server: str,
        tool: str | None,
        annotations: Mapping[str, object],
        arguments: Mapping[str, object] | None = None,
    ) -> ApprovalRule | None:
        """What a call needs that is allowed, by all policies that let it through; None if nothing, or if it is not
        allowed. Without `tool` it is a request for something else of the server, such as a prompt."""
        if not self.access.asks:
            return None
        entered = self.server(server)
        if not entered.allowed:
            return None
        found = [rule for rule in (self.portal.approval, entered.approval) if rule is not None]
        if tool is not None:
            target = ToolTarget(server, tool, annotations, arguments)
            for policies, matches in (
                (self.access._portal_tools, self._portal_matches),
                self._server_matches(server),
            ):
                if policies.asks:
                    found += policies.approvals(matches, self.identity, target)
            if found and not self.tool(server, tool, annotations, arguments)[0].allowed:
                return None
        return combined(found)

    def prompt(self, server: str, prompt: str) -> Decision:
        """The decision whether this caller may get this prompt (raw name)."""
        decision = self.server(server)
        if decision.allowed and not self.access._servers[server].prompts.of(prompt).enabled:
            return _disabled("prompt", server, prompt)
        return decision

    def lists(self, server: str, tool: str, annotations: Mapping[str, object]) -> bool:
        """Whether some call of this tool could be allowed, so that it is listed."""
        return self.tool(server, tool, annotations)[0].allowed

    def tools(self, tools: ToolList) -> tuple[bytes | None, bool]:
        """The tools of an allowed server that are listed (`ToolList.as_bytes`), and whether policies hide any.

        Agrees with `lists` for every tool.
        """
        policies, matches = self._server_matches(tools.server)
        denied = self.access._portal_tools.denied(self._portal_matches, self.identity, tools)
        denied |= policies.denied(matches, self.identity, tools)
        enabled = self.access.enabled(tools)
        return tools.as_bytes(enabled & ~denied), bool(enabled & denied)

    def view(self, server: str) -> ServerView:
        """An allowed server as it is listed."""
        compiled = self.access._servers[server]
        return ServerView(server, self, compiled.tools, compiled.prompts)

    @cached_property
    def profile(self) -> tuple[Hashable, ...]:
        """A key: callers with the same profile in the same snapshot have the same lists."""
        allowed = tuple(server for server in self.access._servers if self.server(server).allowed)
        matches = tuple(self._server_matches(server)[1] for server in allowed)
        # A condition on the identity but not on arguments decides what is listed: such views are not shared.
        identity = self.identity if self.access.personal else None
        personal_facts = identity and (
            identity.key,
            identity.email,
            identity.name,
            identity.groups,
            identity.ip,
            identity.country,
            identity.user_risk,
        )
        return (self.portal.allowed, allowed, self._portal_matches if allowed else (), matches, personal_facts)

    @cached_property
    def _portal_matches(self) -> tuple[bool | None, ...]:
        return self.access._portal_tools.standing(self._subject)

    def _server_matches(self, server: str) -> tuple[ToolPolicies, tuple[bool | None, ...]]:
        policies = self.access._servers[server].tool_policies
        return policies, policies.standing(self._subject) if policies else ()

    def _decide(self, server: str) -> Decision:
        if not self.portal.allowed:
            return self.portal
        compiled = self.access._servers.get(server)
        if compiled is None:
            return Decision(
                "deny", f"No policy is attached to the server {server[:64]!r}.", DEFAULT_DENY, "Default deny"
            )
        return compiled.policies.decide_subject(self._subject)


def resolve(attached: Attached, reusable: Mapping[str, Policy], where: str) -> Sequence[Policy]:
    """The attached policies, each with the precedence of its attachment.

    If one of them cannot be read, it is the only one returned: a `bypass` in front of it would let people in.

    Raises:
        PolicyError: an attached id has no policy.
    """
    policies: list[Policy] = []
    for attachment in attached:
        if isinstance(attachment, Policy):
            policies.append(attachment)
            continue
        identifier = attachment.id if isinstance(attachment, PolicyLink) else attachment
        if identifier not in reusable:
            raise PolicyError(f"there is no policy {identifier[:100]!r}", where=f"{where}.policies")
        precedence = attachment.precedence if isinstance(attachment, PolicyLink) else None
        policies.append(reusable[identifier].model_copy(update={"precedence": precedence}))
    unreadable = [policy for policy in policies if isinstance(policy, UnreadablePolicy)]
    return unreadable[:1] or policies


def _evaluations(document: AccessDocument) -> frozenset[tuple[str, str]]:
    places: list[PortalAccess | ServerAccess] = [document.portal, *document.servers]
    holders: list[AccessGroup | Policy | ToolPolicy] = [*document.groups, *document.policies]
    for place in places:
        holders += [policy for policy in place.policies if isinstance(policy, Policy)]
        holders += place.tool_policies
    return frozenset(
        (rule.external_evaluation.evaluate_url, rule.external_evaluation.keys_url)
        for holder in holders
        for rule in (*holder.include, *holder.require, *holder.exclude)
        if isinstance(rule, rules.ExternalEvaluation)
    )


def _warn_of_duplicate_aliases(document: AccessDocument, compiler: RuleCompiler) -> None:
    """Warn of two capabilities of a server with the same alias: the second keeps its own name."""
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


def _disabled(kind: str, server: str, name: str) -> Decision:
    reason = f"The {kind} {name[:128]!r} of the server {server!r} is switched off at this portal."
    return Decision("deny", reason, SWITCHED_OFF, "Settings of the capability")
