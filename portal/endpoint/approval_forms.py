"""What a client shows its person of an approval, and what their answer says. Pure.

A form lets them decide, where the policy does and the form shows the whole call. Otherwise the page is shown, and no
answer decides anything: it is for the person, signed in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from portal.approvals import Approval, Remember, decided_in_client
from portal.endpoint.login_prompts import NO_FIELDS
from portal.unseen import json_escapes, written_out

MAX_SHOWN: Final = 4000
"""Characters of arguments in a form. With more of them the form has only the link, and decides nothing."""
ANSWER: Final = "portal/approval/"
"""Before the id of an approval, the key of the portal's question among those of a call."""
MAX_NAME: Final = 128
Shown = Literal["form", "link", "url"]
"""As a form that decides, a form with the link alone, or a URL that the client opens."""
_FIFTEEN_MINUTES, _A_DAY = 900.0, 86_400.0
_REMEMBER: Final[Mapping[str, Remember | None]] = {
    "no": None,
    "15 minutes": Remember(seconds=_FIFTEEN_MINUTES),
    "this run": Remember(seconds=_A_DAY, this_run=True),
}


@dataclass(frozen=True, slots=True)
class FormAnswer:
    """What a person has decided in a form."""

    approves: bool
    remember: Remember | None = None


@dataclass(frozen=True, slots=True)
class ApprovalQuestion:
    """The question about one approval, as the params of an elicitation."""

    approval: str
    shown: Shown
    params: Mapping[str, object]


def shown_arguments(text: str) -> str | None:
    """Canonical arguments as people read them in a client: indented, with what hides written out; None if there are too
    many, or they are nested too deeply. It stays JSON of the same value."""
    if len(text) > MAX_SHOWN:
        return None
    try:
        indented = json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False)
    except RecursionError:
        return None
    # No tag and no end of the block begins in it, whatever the client makes of its messages.
    shown = written_out(indented, json_escapes).replace("<", "\\u003c").replace("`", "\\u0060")
    return shown if len(shown) <= MAX_SHOWN else None


def question_of(
    approval: Approval,
    arguments: str | None,
    url: str,
    *,
    forms: bool,
    urls: bool,
    modern: bool,
    signed_in: bool = True,
) -> ApprovalQuestion | None:
    """The question for a client that shows forms, or URLs; None for one that cannot show this one. `arguments` are
    canonical. Only a client with the login of a person is `signed_in`."""
    decides = forms and signed_in and decided_in_client(approval)
    shown = shown_arguments(arguments) if decides and arguments is not None else None
    if shown is not None:
        words = f"{_asks(approval)} Only this call is approved, with exactly these arguments:\n\n```json\n{shown}\n```"
        params: dict[str, object] = {"message": f"{words}\n\nMore: {url}", "requestedSchema": _schema(approval)}
        return ApprovalQuestion(approval.id, "form", params if modern else {"mode": "form", **params})
    words = _asks(approval)
    if decides:
        words += " Its arguments are too large to be shown here. They are all on the page, and it is decided there."
    elif approval.rule.by == "group":
        words += " Others decide about it. On the page you see how it stands."
    else:
        words += " You decide about it in the browser."
    words = f"{words} The page: {url}"
    if urls:
        # A client of 2025 hears by this id when its person is through.
        params = {"mode": "url", "message": words, "url": url, **({} if modern else {"elicitationId": approval.id})}
        return ApprovalQuestion(approval.id, "url", params)
    if decides:
        return ApprovalQuestion(approval.id, "link", {"message": words, "requestedSchema": dict(NO_FIELDS)})
    return None


def answer_in(approval: Approval, answer: Mapping[str, object]) -> FormAnswer | None:
    """What the answer to a form decides; None if nothing. Whoever declines denies, whoever cancels has not decided."""
    action, content = answer.get("action"), answer.get("content")
    if action == "decline":
        return FormAnswer(False)
    if action != "accept" or not isinstance(content, Mapping):
        return None
    decision, remember = content.get("decision"), content.get("remember")
    if decision == "deny":
        return FormAnswer(False)
    if decision != "approve":
        return None
    allowed = remember if isinstance(remember, str) and remember in _choices(approval) else "no"
    return FormAnswer(True, _REMEMBER[allowed])


def plain_name(text: str) -> str:
    """A name of others in a message: what does not print is visible, and no markup begins in it."""
    short = text[:MAX_NAME]
    kept = "".join(one if one.isprintable() and one not in "`<>[]*" else "\ufffd" for one in short)
    return kept if len(text) == len(short) else f"{kept}…"


def _asks(approval: Approval) -> str:
    tool = approval.tool if approval.method == "tools/call" else approval.method
    policy = plain_name(approval.rule.policy_name or approval.rule.policy)
    call = f"An agent wants to call `{plain_name(tool)}` of the server `{plain_name(approval.server)}`"
    return f"{call}, which by the policy “{policy}” needs an approval."


def _choices(approval: Approval) -> list[str]:
    """For how long the approval may be remembered: only tools are, where what asks lets them be, and for a run only
    where there is one."""
    if approval.method != "tools/call" or not approval.rule.memorable:
        return ["no"]
    return ["no", "15 minutes", *(["this run"] if approval.run else [])]


def _schema(approval: Approval) -> Mapping[str, object]:
    decision = {"type": "string", "title": "Decision", "enum": ["approve", "deny"]}
    remember: dict[str, object] = {
        "type": "string",
        "title": "Remember for further calls of this tool",
        "enum": _choices(approval),
        "default": "no",
    }
    properties = {"decision": decision, **({"remember": remember} if len(_choices(approval)) > 1 else {})}
    return {"type": "object", "properties": properties, "required": ["decision"]}
