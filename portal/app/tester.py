"""The policy tester over a running instance: the facts about a caller, and the answer in the admin API's form.

Decisions and lists are those of the portal's access and endpoint. Nobody is asked: no server, and no external
evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypedDict

from portal.access import ApprovalRule, Decision, ExplainedServer, PolicyOutcome, Standing, who_approves
from portal.admin import (
    LaterGuard,
    QuestionUnfit,
    TestedFact,
    TestedPolicy,
    TestedRule,
    TestedServer,
    TestedTool,
    TesterAnswer,
    TesterQuestion,
)
from portal.app.definitions import OWN
from portal.app.portal import Portal
from portal.app.shared import Shared
from portal.endpoint import ModeRefused, ServerSight, ToolSight
from portal.gateway import HttpRule
from portal.identity import Group, Identity
from portal.oauth import SERVICE_TOKEN, KnownPerson, ServiceTokenDocument, identity_of_token, known_person
from portal.quotas import CountedCall
from portal.state import Stored

MAX_TOOLS = 2000
"""Tools in one answer."""
Source = Literal["stated", "stored", "known", "assumed", "unknown"]
Outcome = Literal["matches", "does not match", "cannot be known"]
_OUTCOMES: Mapping[bool | None, Outcome] = {True: "matches", False: "does not match", None: "cannot be known"}


@dataclass(frozen=True, slots=True)
class _Caller:
    """The caller of a question, and where each fact about them is from."""

    identity: Identity
    person: KnownPerson | None
    token_serves: bool = True


class InstanceTester:
    """Implements `portal.admin.PolicyTester` over the portals of an instance, which come and go."""

    def __init__(self, shared: Shared, portals: Mapping[str, Portal]) -> None:
        self._shared = shared
        self._portals = portals

    async def test(self, question: TesterQuestion) -> TesterAnswer | None:
        """As `PolicyTester` says."""
        id = OWN if question.portal_id == "_" else question.portal_id
        portal = self._portals.get(id)
        if portal is None or portal.access is None:
            return None
        caller = await self._caller(question, portal)
        # A fact of the question stands; what the portal's own sources know is added to it.
        identity = portal.access.signals.current(caller.identity) or caller.identity
        standing = portal.access.current.standing(identity)
        if question.server_id is not None and not standing.access.has_server(question.server_id):
            raise QuestionUnfit("this portal has no server of this id", "/server_id")
        try:
            sight = await portal.endpoint.sight(standing, question.query.encode())
        except ModeRefused as error:
            raise QuestionUnfit(str(error), "/query") from None
        wanted = [one for one in sight.servers if question.server_id in (None, one.id)]
        explained = sight.explanation
        if question.tool is not None and not any(tool.name == question.tool for tool in wanted[0].tools):
            raise QuestionUnfit("this server lists no tool of this name", "/tool")
        return TesterAnswer(
            portal_id=question.portal_id,
            portal_name=portal.definition.name,
            **_decision(explained.decision),
            mode=sight.mode,
            listed=sight.listed,
            refusal=sight.refusal,
            considered=_policies(explained.considered),
            servers=tuple(self._servers(wanted, explained.servers, question, portal, standing)),
            facts=tuple(_facts(question, caller, identity)),
            warnings=explained.warnings,
        )

    async def _caller(self, question: TesterQuestion, portal: Portal) -> _Caller:
        store = self._shared.require_store()
        assert portal.access is not None
        if question.service_token_id:
            stored = await store.find(SERVICE_TOKEN, question.service_token_id)
            serves = isinstance(stored, Stored) and not _has_ended(stored.document, self._shared.parts.now())
            token = Identity(service_token_id=question.service_token_id)
            if isinstance(stored, Stored):
                token = identity_of_token(stored)
            return _Caller(replace(token, ip=question.ip, country=question.country.upper()), None, serves)
        person = await known_person(store, question.email, question.idp) if question.email else None
        known = person.identity if person is not None else Identity(id=question.email, email=question.email)
        stated: dict[str, object] = {"ip": question.ip, "country": question.country.upper()}
        if question.groups is not None:
            stated["groups"] = tuple(map(_group, question.groups))
        if question.idp and not known.idp_id:
            types = portal.access.current.sources.identity_providers
            stated |= {"idp_id": question.idp, "idp_type": types.get(question.idp, "")}
            stated |= {"login_method": question.idp}
        if question.login_method:
            stated["login_method"] = question.login_method
        return _Caller(replace(known, **stated), person)  # type: ignore[arg-type]

    def _servers(
        self,
        seen: Iterable[ServerSight],
        explained: Mapping[str, ExplainedServer],
        question: TesterQuestion,
        portal: Portal,
        standing: Standing,
    ) -> Iterator[TestedServer]:
        room = MAX_TOOLS
        for server in seen:
            decided = explained[server.id]
            tools = [tool for tool in server.tools if question.tool in (None, tool.name)]
            chosen, room = tools[:room], max(0, room - len(tools))
            yield TestedServer(
                **_decision(decided.decision),
                id=server.id,
                name=server.name,
                available=server.available,
                unavailable="" if server.available else server.reason,
                considered=_policies(decided.considered),
                tools=tuple(self._tool(tool, server, question, standing) for tool in chosen),
                tools_left_out=len(tools) - len(chosen),
                may_also_block=tuple(self._later(server, [tool.name for tool in chosen], portal)),
            )

    def _tool(self, tool: ToolSight, server: ServerSight, question: TesterQuestion, standing: Standing) -> TestedTool:
        decision, may_call = tool.decision, tool.callable
        reason = tool.reason
        if question.arguments is not None and tool.shown:
            decision = standing.tool(server.id, tool.name, tool.hints, question.arguments)[0]
            may_call, reason = decision.allowed, decision.reason
        return TestedTool(
            **_decision(decision, reason),
            name=tool.name,
            listed_as=tool.listed_as,
            shown=tool.shown,
            callable=may_call,
            hidden_by=tool.hidden_by,
            alias=tool.alias,
        )

    def _later(self, server: ServerSight, tools: list[str], portal: Portal) -> Iterator[LaterGuard]:
        """The rules that may block a call of these tools when it is made, in the order in which they are asked."""
        for quota in self._shared.quotas.quotas:
            calls = [CountedCall("", False, portal.definition.id, server.id, tool) for tool in tools]
            about = [call.tool for call in calls if quota.concerns(call)]
            if about:
                words = f"The quota allows {quota.calls:,} calls in {quota.period} seconds."
                yield _guard("quota", quota.id, quota.name, words, about, tools)
        flows = self._shared.flows.settings
        for rule in flows.rules:
            about = [tool for tool in tools if rule.is_about(flows.labels_of(server.id, tool), server.id, tool)]
            if about:
                when = "anything labelled" if rule.whatever else f"what is labelled {', '.join(sorted(rule.when))}"
                what = "may not call" if rule.asks is None else "needs an approval for each call of"
                words = f"After reading {when} this person {what} what the rule is about."
                if isinstance(rule.asks, ApprovalRule):
                    words += f" It is {who_approves(rule.asks)}."
                yield _guard("data_flow", rule.name, rule.name, words, about, tools)
        running = self._shared.servers.snapshot.servers.get(server.id)
        if portal.secure_web_gateway or (running is not None and running.config.secure_web_gateway):
            for http_rule in self._shared.gateway.current.rules:
                if http_rule.action in ("block", "redact", "approve"):
                    yield _guard("gateway", http_rule.id, http_rule.name, _in_words(http_rule), [], tools)


def _in_words(rule: HttpRule) -> str:
    """What a rule of the gateway does with a call."""
    if rule.unreadable:
        return "The rule cannot be read, and blocks what it could be about."
    if rule.asks is not None:
        return f"A call with what it matches needs {who_approves(rule.asks)}."
    what = "blocks" if rule.action == "block" else "redacts"
    return f"The rule {what} what it matches in a call and its result."


def _guard(
    guard: Literal["data_flow", "gateway", "quota"], id: str, name: str, words: str, about: list[str], tools: list[str]
) -> LaterGuard:
    return LaterGuard(guard=guard, id=id, name=name, words=words, tools=() if about == tools else tuple(about))


def _has_ended(document: ServiceTokenDocument, now: datetime) -> bool:
    return document.expires_at is not None and document.expires_at <= now


def _group(stated: object) -> Group:
    if isinstance(stated, str):
        return Group(id=stated, name=stated, email=stated if "@" in stated else "")
    return Group(id=getattr(stated, "id", ""), name=getattr(stated, "name", ""), email=getattr(stated, "email", ""))


class _Members(TypedDict):
    decision: Literal["allow", "deny"]
    reason: str
    policy: str | None
    policy_name: str


def _decision(decision: Decision, reason: str | None = None) -> _Members:
    """The members of a `TesterDecision`, with another reason if there is one."""
    return {
        "decision": decision.effect,
        "reason": decision.reason if reason is None else reason,
        "policy": decision.policy,
        "policy_name": decision.policy_name,
    }


def _policies(outcomes: Iterable[PolicyOutcome]) -> tuple[TestedPolicy, ...]:
    return tuple(
        TestedPolicy(
            id=one.policy,
            name=one.name,
            decision=one.decision,
            outcome=_OUTCOMES[one.outcome],
            why=one.why,
            rules=tuple(
                TestedRule(
                    part=rule.part,
                    selector=rule.selector,
                    rule=rule.rule,
                    outcome=_OUTCOMES[rule.outcome],
                    problem=rule.problem,
                )
                for rule in one.rules
            ),
        )
        for one in outcomes
    )


def _facts(question: TesterQuestion, caller: _Caller, identity: Identity) -> Iterator[TestedFact]:
    """Each fact that policies may ask for, where it is from, and what is not known."""
    if question.service_token_id:
        words = "" if caller.token_serves else "No service token of this id serves now: nobody can come in with it."
        yield TestedFact(fact="service_token", value=question.service_token_id, source="stated", words=words)
    else:
        yield from _facts_of_person(question, caller.person, identity)
    yield _fact("ip", identity.ip, bool(question.ip), "Rules about addresses cannot be known.")
    yield _fact("country", identity.country, bool(question.country), "Rules about countries cannot be known.")
    posture, risk = dict(identity.device_posture), identity.user_risk
    yield _fact("device_posture", posture, False, "No fresh assessment of a device is known.")
    yield _fact("user_risk", risk, False, "No fresh risk score is known.")
    answers = dict.fromkeys(identity.evaluations, "answered")
    yield _fact("external_evaluation", answers, False, "A test asks no external evaluation; no fresh answer is known.")
    yield TestedFact(fact="certificate", value=False, source="assumed", words="Without a client certificate.")
    yield TestedFact(fact="linked_apps", value=[], source="assumed", words="Without the token of an application.")


def _facts_of_person(question: TesterQuestion, person: KnownPerson | None, identity: Identity) -> Iterator[TestedFact]:
    if not question.email:
        yield TestedFact(fact="email", source="unknown", words="Nobody: a caller without a login.")
    else:
        yield TestedFact(fact="email", value=question.email, source="stated")
    if person is None:
        words = "Nobody with this address is known here: a new person is assumed, who has logged in to no server."
        yield TestedFact(fact="id", value=identity.id, source="assumed", words=words if question.email else "")
    else:
        at = "a local account" if person.at is None else f"the sign-in of {person.at.isoformat(timespec='seconds')}"
        others = f"; {person.others} more have this address" if person.others else ""
        yield TestedFact(fact="id", value=identity.id, source="stored", words=f"From {at}{others}.")
    stored = person is not None
    groups = [group.name or group.id or group.email for group in identity.groups]
    yield _fact(
        "groups", groups, question.groups is not None, "No group is known: rules about groups do not match.", stored
    )
    yield _fact("idp", identity.idp_id, bool(question.idp), "Rules about an identity provider do not match.", stored)
    stated = bool(question.login_method or (question.idp and identity.login_method == question.idp))
    yield _fact("login_method", identity.login_method, stated, "Rules about ways to log in do not match.", stored)
    methods = list(identity.auth_methods)
    yield _fact("auth_methods", methods, False, "Rules about methods of a login do not match.", stored)
    yield _fact("claims", sorted(identity.claims), False, "No claim is known: rules about claims do not match.", stored)


def _fact(name: str, value: object, stated: bool, unknown: str, stored: bool = False) -> TestedFact:
    source: Source = "stated" if stated else "unknown" if not value else "stored" if stored else "known"
    return TestedFact(fact=name, value=value or None, source=source, words=unknown if source == "unknown" else "")
