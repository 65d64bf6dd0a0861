"""What a policy says of approvals, as fields of its form and back: groups of people who approve, and the purpose. Pure.

A form that nobody changes makes the groups that are stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from portal.admin import AdminError, ShownPolicy
from portal.console.rule_words import Known
from portal.console.visit import Visit

MAX_GROUPS = 20
MAX_PROMPT = 4096
_SEPARATORS = re.compile(r"[,;\s]+")
_OF_GROUP = re.compile(r"/approval_groups/(\d+)(?:/(\w+))?")
_FIELDS = {"approvals_needed": "needed", "email_addresses": "emails", "email_list_uuid": "list"}


@dataclass(frozen=True, slots=True)
class ApproverFields:
    """The fields of one group of people who approve: how many of them have to, their addresses a line, and a list."""

    number: int
    needed: str = ""
    emails: str = ""
    list: str = ""

    def name(self, field: str) -> str:
        return f"approvers_{self.number}_{field}"


@dataclass(frozen=True, slots=True)
class ApprovalFields:
    """The fields of a policy about approvals. `groups` are those that it has, and one to fill in; `lists` are ids and
    names of lists of addresses."""

    required: bool
    groups: Sequence[ApproverFields]
    justified: bool
    prompt: str
    lists: Sequence[tuple[str, str]]

    @property
    def used(self) -> bool:
        return self.required or self.justified or len(self.groups) > 1


def approval_fields(policy: ShownPolicy | None, known: Known) -> ApprovalFields:
    """The fields of what a policy says; None is a new one."""
    members = {} if policy is None else policy.model_dump(mode="json")
    stored = members.get("approval_groups") or ()
    groups = [_shown(number, one) for number, one in enumerate(stored, 1)]
    if len(groups) < MAX_GROUPS:
        groups.append(ApproverFields(len(groups) + 1))
    lists = [(one.id, one.name) for one in known.lists if one.type == "EMAIL"]
    named = {id for id, _ in lists}
    # One that may not be read stays as it is.
    lists += [(one.list, one.list) for one in groups if one.list and one.list not in named]
    return ApprovalFields(
        bool(members.get("approval_required")),
        groups,
        bool(members.get("purpose_justification_required")),
        str(members.get("purpose_justification_prompt") or ""),
        [("", "no list"), *dict.fromkeys(lists)],
    )


def sent_approvals(visit: Visit) -> Mapping[str, object]:
    """What a form says of approvals, as members of the body of a policy."""
    return {
        "approval_required": visit.ticked("approval_required"),
        "approval_groups": [_group(visit, one) for one in _sent_groups(visit)],
        "purpose_justification_required": visit.ticked("purpose_justification_required"),
        "purpose_justification_prompt": visit.sent("purpose_justification_prompt") or None,
    }


def with_approval_fields(visit: Visit, error: AdminError) -> AdminError:
    """The error of the API with the fields of the form in the place of the members of a group."""
    sent = _sent_groups(visit)
    problems = []
    for problem in error.problems:
        found = _OF_GROUP.match(problem.pointer)
        if found is not None and int(found[1]) < len(sent):
            field = sent[int(found[1])].name(_FIELDS.get(found[2] or "", "needed"))
            problem = replace(problem, pointer=f"/{field}")
        problems.append(problem)
    return AdminError(error.status, problems)


def _sent_groups(visit: Visit) -> list[ApproverFields]:
    """The groups of a form in which something was filled in."""
    blank = (ApproverFields(number) for number in range(1, MAX_GROUPS + 1))
    return [one for one in blank if any(visit.sent(one.name(field)) for field in ("needed", "emails", "list"))]


def _group(visit: Visit, fields: ApproverFields) -> Mapping[str, object]:
    needed = visit.sent(fields.name("needed")) or "1"
    emails = [one for one in _SEPARATORS.split(visit.sent(fields.name("emails"))) if one]
    group: dict[str, object] = {
        "approvals_needed": int(needed) if needed.isascii() and needed.isdigit() and len(needed) < 9 else needed,
        "email_addresses": emails,
    }
    if chosen := visit.sent(fields.name("list")):
        group["email_list_uuid"] = chosen
    return group


def _shown(number: int, group: Mapping[str, object]) -> ApproverFields:
    emails = group.get("email_addresses")
    return ApproverFields(
        number,
        str(group.get("approvals_needed", 1)),
        "\n".join(map(str, emails)) if isinstance(emails, list | tuple) else "",
        str(group.get("email_list_uuid") or ""),
    )
