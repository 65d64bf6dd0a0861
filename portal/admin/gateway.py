"""Rules of the gateway: `gateway/rules`."""

from __future__ import annotations

from collections.abc import Collection as Names
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from portal.admin.api.answers import ListAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Collection
from portal.admin.api.errors import invalid
from portal.admin.api.operations import ApiRequest
from portal.admin.api.permissions import ZERO_TRUST
from portal.dlp import detection_installed
from portal.gateway import HttpRule, HttpRuleRefused, compile_rule, rule_place, unknown_profiles
from portal.objects import GATEWAY_RULE, MAX_PRECEDENCE, RuleDocument
from portal.state import Store, Stored, Transaction

PRECEDENCE_STEP = 1000
"""Between the precedence of the last rule and that of one that is made without."""


class RuleBody(RuleDocument):
    """The body of a rule. An answer of GET may be sent back: other members are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ShownRule(RuleBody):
    id: str
    precedence: int
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: None = None


async def rule_of_profiles(transaction: Transaction, names: Names[str]) -> str | None:
    """The first stored rule that asks for a profile by one of these names, in words; None if there is none."""
    for one in await transaction.list(GATEWAY_RULE):
        try:
            asked = compile_rule(one.id, one.document).profiles
        except HttpRuleRefused:
            # It blocks, whether the profile is there or not.
            continue
        if not asked.isdisjoint(names):
            return f'the rule "{one.document.name}"'
    return None


class GatewayRuleOperations(Collection[RuleBody, RuleDocument]):
    """Of rules of one precedence the strictest comes first, so that two can be exchanged one after the other."""

    kind, path, noun, area = GATEWAY_RULE, "/gateway/rules", "rule", ZERO_TRUST
    body, answer = RuleBody, ShownRule

    def __init__(self, store: Store, settings: AdminSettings) -> None:
        super().__init__(store)
        self._settings = settings

    def document(self, body: RuleBody, before: RuleDocument | None) -> RuleDocument:
        """The document to store. Without a precedence it keeps the one it has.

        Raises:
            AdminError: an expression cannot be read, or asks for a profile that is not there.
        """
        try:
            self._check_profiles(compile_rule("", body))
        except HttpRuleRefused as refused:
            raise invalid(refused.problem, f"/{refused.member}" if refused.member else "") from None
        precedence = body.precedence
        if precedence is None and before is not None:
            precedence = before.precedence
        return body.model_copy(update={"precedence": precedence})

    def show(self, stored: Stored[RuleDocument]) -> BaseModel:
        dates = {"created_at": stored.created_at, "updated_at": stored.modified_at}
        members = {**self.kind.members(stored.document), "precedence": stored.document.precedence or 0}
        return ShownRule.model_validate({**members, "id": stored.id, "version": stored.revision, **dates})

    async def list(self, request: ApiRequest) -> ListAnswer[BaseModel]:
        """The rules in the order in which they are asked."""
        found = await super().list(request)
        rules = [one for one in found.items if isinstance(one, ShownRule)]
        rules.sort(key=lambda rule: rule_place(rule.precedence, rule.action, rule.id))
        return ListAnswer(rules, found.broken)

    async def create(self, request: ApiRequest) -> BaseModel:
        document = self.document(request.read(RuleBody), None)
        if document.precedence is None:
            known = [one.document.precedence or 0 for one in await self._store.list(GATEWAY_RULE)]
            document = document.model_copy(
                update={"precedence": min(max(known, default=0) + PRECEDENCE_STEP, MAX_PRECEDENCE)}
            )
        return self.show(await self.store(request, document))

    def _check_profiles(self, rule: HttpRule) -> None:
        detector = self._settings.detector
        if not rule.profiles:
            return
        if not detection_installed():
            problem = "asks for secrets, and nothing searches for them: pip install 'codemode-portal[dlp]'"
            raise HttpRuleRefused("traffic", problem)
        if detector is not None and unknown_profiles([rule], detector.knows):
            problem = "asks for a profile that is not there: `dlp/profiles` lists those that are"
            raise HttpRuleRefused("traffic", problem)
