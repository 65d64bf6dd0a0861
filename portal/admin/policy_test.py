"""The policy tester: `access/policies/test`. Ours: what somebody would see of a portal, and why not the rest."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, BaseModel, Field, model_validator

from portal.admin.api.errors import invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import POLICIES
from portal.errors import PortalError

PATH = "/access/policies/test"
OWN = "_"
"""The id by which a question names the portal of the operator's document."""

Text = Annotated[str, Field(max_length=320)]


def _address(value: str) -> str:
    try:
        if value:
            ip_address(value)
    except ValueError:
        raise ValueError("must be an IP address") from None
    return value


class StatedGroup(BaseModel):
    """A group as an identity provider names it."""

    id: Text = ""
    name: Text = ""
    email: Text = ""


class TesterQuestion(BaseModel):
    """Somebody, and what they ask for. `portal_id` is "_" for the portal of the operator's document.

    A group that is a text has that text as id, as name and, with an @ in it, as e-mail address. `idp` and
    `login_method` are ids of identity providers. Without `server_id` all servers are answered, without `tool` all its
    tools. `arguments` are those of a call of `tool`. `query` is the query string of the endpoint's URL.
    """

    portal_id: Annotated[str, Field(max_length=64)] = OWN
    email: Text = ""
    groups: Annotated[tuple[Text | StatedGroup, ...], Field(max_length=1000)] | None = None
    idp: Text = ""
    login_method: Text = ""
    country: Annotated[str, Field(max_length=2)] = ""
    ip: Annotated[str, Field(max_length=64), AfterValidator(_address)] = ""
    service_token_id: Text = ""
    server_id: Annotated[str, Field(max_length=64)] | None = None
    tool: Annotated[str, Field(max_length=256)] | None = None
    arguments: Annotated[dict[str, object], Field(max_length=1000)] | None = None
    query: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _is_one_caller(self) -> TesterQuestion:
        if self.service_token_id and (self.email or self.groups or self.idp or self.login_method):
            raise ValueError("names a service token and a person: a caller is one of them")
        if self.tool is not None and self.server_id is None:
            raise ValueError("names a tool and no server_id")
        if self.arguments is not None and self.tool is None:
            raise ValueError("has arguments and no tool")
        return self


class TesterDecision(BaseModel):
    """`policy` is the id of the policy that decided, `default-deny` where none did."""

    decision: Literal["allow", "deny"]
    reason: str
    policy: str | None = None
    policy_name: str = ""


class TestedRule(BaseModel):
    """One rule of a policy in words. `problem` is why nobody can know whether it matches."""

    part: Literal["include", "require", "exclude"]
    selector: str
    rule: str
    outcome: Literal["matches", "does not match", "cannot be known"]
    problem: str = ""


class TestedPolicy(BaseModel):
    """One policy, in the order of evaluation."""

    id: str
    name: str
    decision: str
    outcome: Literal["matches", "does not match", "cannot be known"]
    why: str
    rules: tuple[TestedRule, ...] = ()


class TestedTool(TesterDecision):
    """A tool by its own name. `shown` is whether the caller has it, under the name `listed_as`; in code mode programs
    have it. `hidden_by` says what hides it, and `reason` why, in words."""

    name: str
    listed_as: str = ""
    shown: bool
    callable: bool
    hidden_by: Literal["policy", "setting", "approval", "person", "login", "name"] | None = None
    alias: str | None = None


class LaterGuard(BaseModel):
    """A rule that is asked at the call, about what is sent or was read before: it may still block. `tools` names the
    tools that it is about, empty for all."""

    guard: Literal["data_flow", "gateway", "quota"]
    id: str
    name: str
    words: str
    tools: tuple[str, ...] = ()


class TestedServer(TesterDecision):
    """`available` is whether it shows anything to the caller, and `unavailable` why not. `tools_left_out` counts tools
    for which there was no room: ask for the server alone."""

    id: str
    name: str
    available: bool
    unavailable: str = ""
    considered: tuple[TestedPolicy, ...]
    tools: tuple[TestedTool, ...]
    tools_left_out: int = 0
    may_also_block: tuple[LaterGuard, ...] = ()


class TestedFact(BaseModel):
    """Something that the policies know of the caller. `source`: `stated` in the question, `stored` at the last sign-in,
    `known` from a source of the portal, `assumed`, or `unknown`."""

    fact: str
    value: object = None
    source: Literal["stated", "stored", "known", "assumed", "unknown"]
    words: str = ""


class TesterAnswer(TesterDecision):
    """The decision about the portal, and what the caller sees of it. `listed` are the names that `tools/list` has;
    `refusal` is the error that the caller gets instead of a list."""

    portal_id: str
    portal_name: str
    mode: str
    listed: tuple[str, ...]
    refusal: str = ""
    considered: tuple[TestedPolicy, ...]
    servers: tuple[TestedServer, ...]
    facts: tuple[TestedFact, ...]
    warnings: tuple[str, ...] = ()


class QuestionUnfit(PortalError):
    """A question that cannot be answered. `pointer` is the JSON pointer to the member at fault."""

    def __init__(self, words: str, pointer: str) -> None:
        super().__init__(words)
        self.words = words
        self.pointer = pointer


class PolicyTester(Protocol):
    """Answers from what decides now in a running instance."""

    async def test(self, question: TesterQuestion) -> TesterAnswer | None:
        """What the policies say of somebody; None if there is no such portal.

        Raises:
            QuestionUnfit: the question cannot be answered.
        """


class PolicyTestOperations:
    """Without a `tester` no portal runs in this process, and there is none to ask about."""

    def __init__(self, tester: PolicyTester | None) -> None:
        self._tester = tester

    def operations(self) -> list[Operation]:
        words = "Test what somebody would see of a portal, and why"
        return [Operation("POST", PATH, words, self._test, TesterAnswer, POLICIES, TesterQuestion, reading=True)]

    async def _test(self, request: ApiRequest) -> TesterAnswer:
        try:
            answer = await self._tester.test(request.read(TesterQuestion)) if self._tester is not None else None
        except QuestionUnfit as error:
            raise invalid(error.words, error.pointer) from None
        if answer is None:
            raise not_found("portal")
        return answer
