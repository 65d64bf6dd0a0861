"""What policies ask for: of which calls, of whom, and that the strictest of several holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.access import ApprovalRule, Policy, PolicyError, Standing, portal_policies, read_objects
from portal.app.access import application_decision
from portal.objects import APP, LIST, POLICY, AppDocument, ListDocument, PolicyDocument
from portal.state import KeyRing, Store
from tests.portal.access.guarded import ADA, ANYBODY, BOB, STAFF, access, policy
from tests.portal.state.databases import new_state

EVERYONE: dict[str, Any] = {"everyone": {}}
TEAM = [{"approvals_needed": 2, "email_addresses": ["Bob@Example.com", "carol@example.com"]}]
OTHERS = [{"approvals_needed": 1, "email_addresses": ["dan@example.com"]}]
ASKS = {"approval_required": True}


def asked(document: dict[str, Any], arguments: dict[str, Any] | None = None, tool: str = "pay") -> ApprovalRule | None:
    return Standing(access(document), ADA).approval("bank", tool, {}, arguments or {})


def bank(*tool_policies: dict[str, Any], portal: dict[str, Any] = ANYBODY, server: dict[str, Any] = ANYBODY) -> Any:
    return {
        "portal": {"policies": [portal], "tool_policies": list(tool_policies)},
        "servers": [{"id": "bank", "policies": [server]}],
    }


def test_a_policy_that_lets_somebody_in_asks_for_each_of_their_calls() -> None:
    strict = policy("strict", "allow", EVERYONE, **ASKS)
    for document in (bank(portal=strict), bank(server=strict)):
        rule = asked(document)
        assert rule is not None and (rule.policy, rule.by, rule.groups, rule.seconds) == ("strict", "person", (), 86400)
        assert Standing(access(document), ADA).approval("bank", None, {}) == rule


def test_who_is_let_in_by_another_policy_is_not_asked() -> None:
    bobs = policy("bobs", "allow", {"email": {"email": BOB.email}}, **ASKS)
    document = bank()
    document["portal"]["policies"] = [bobs, STAFF]
    assert asked(document) is None
    assert Standing(access(document), BOB).approval("bank", "pay", {}, {}) is not None


def test_a_call_that_is_denied_is_nobody_s_to_approve() -> None:
    no = policy("no", "deny", EVERYONE, tools={"names": ["pay"]})
    assert asked(bank(no, portal=policy("strict", "allow", EVERYONE, **ASKS))) is None


def test_tool_policies_ask_by_name_annotations_and_arguments() -> None:
    condition = {"names": ["pay*"], "expression": "arguments.amount > 100"}
    large = policy("large", "allow", EVERYONE, tools=condition, **ASKS)
    document = bank(large)
    assert asked(document, {"amount": 50}) is None
    assert asked(document, {"amount": 500}, tool="list") is None
    assert asked(document, {"amount": 500}) is not None
    hinted = bank(policy("hinted", "allow", EVERYONE, tools={"annotations": {"destructiveHint": True}}, **ASKS))
    standing = Standing(access(hinted), ADA)
    assert standing.approval("bank", "pay", {}, {}) is not None
    assert standing.approval("bank", "pay", {"readOnlyHint": True}, {}) is None


def test_what_cannot_be_known_asks_for_an_approval() -> None:
    large = policy("large", "allow", EVERYONE, tools={"expression": "arguments.amount > 100"}, **ASKS)
    assert asked(bank(large), {}) is not None
    risky = policy("risky", "allow", {"user_risk_score": {"user_risk_score": ["high"]}}, **ASKS)
    assert asked(bank(risky)) is not None
    # What comes after it decides all the same.
    no = policy("no", "deny", EVERYONE)
    assert asked(bank(large, no), {}) is None and not access(bank(large, no)).tool(ADA, "bank", "pay", {}, {}).allowed


def test_the_first_tool_policy_that_matches_decides_what_is_asked() -> None:
    small = policy("small", "allow", EVERYONE, tools={"expression": "arguments.amount <= 100"})
    rest = policy("rest", "allow", EVERYONE, **ASKS)
    assert asked(bank(small, rest), {"amount": 1}) is None
    assert asked(bank(small, rest), {"amount": 500}) is not None


def test_of_several_policies_the_strictest_holds_in_everything() -> None:
    portal = policy("mine", "allow", EVERYONE, **ASKS)
    server = policy("team", "allow", EVERYONE, **ASKS, approval_groups=TEAM)
    quick = policy("quick", "allow", EVERYONE, **ASKS, approval_groups=OTHERS, approval_seconds=600)
    why = {"purpose_justification_required": True, "purpose_justification_prompt": "Which invoice?"}
    server |= why
    rule = asked(bank(quick, portal=portal, server=server))
    assert rule is not None
    assert (rule.policy, rule.by, rule.also_person, rule.seconds) == ("mine+team+quick", "group", True, 600)
    assert [(group.needed, sorted(group.emails)) for group in rule.groups] == [
        (2, ["bob@example.com", "carol@example.com"]),
        (1, ["dan@example.com"]),
    ]
    assert rule.justified and rule.prompt == "Which invoice?"


def test_a_revision_is_another_after_each_change_of_the_policy_and_of_its_lists() -> None:
    def revision(addresses: list[str], **more: Any) -> str:
        group = {"approvals_needed": 1, "email_addresses": [], "email_list_uuid": "list"}
        document = bank(policy("p", "allow", EVERYONE, **ASKS, approval_groups=[group], **more))
        items = [{"value": address} for address in addresses]
        document["lists"] = [{"id": "list", "type": "EMAIL", "items": items}]
        rule = asked(document)
        assert rule is not None and rule.groups[0].emails == {address.lower() for address in addresses}
        return rule.revision

    first = revision(["Bob@example.com"])
    assert first == revision(["Bob@example.com"])
    others = {revision(["Bob@example.com", "eve@example.com"]), revision(["Bob@example.com"], approval_seconds=300)}
    others.add(revision(["Bob@example.com"], tools={"names": ["pay"]}))
    assert len(others | {first}) == 4


@pytest.mark.anyio
async def test_a_revision_does_not_come_back_with_the_text_of_a_stored_policy_or_list(tmp_path: Path) -> None:
    async with Store.open(new_state(tmp_path), KeyRing.open(tmp_path / "state.key")) as store:
        group = {"approvals_needed": 1, "email_list_uuid": "team"}
        members = {"name": "P", "decision": "allow", "include": [EVERYONE], **ASKS, "approval_groups": [group]}
        first = PolicyDocument.model_validate(members)
        other = PolicyDocument.model_validate({**members, "approval_groups": []})
        bobs = ListDocument.model_validate({"type": "EMAIL", "items": [{"value": "bob@example.com"}]})
        eves = ListDocument.model_validate({"type": "EMAIL", "items": [{"value": "eve@example.com"}]})
        app = {"type": "mcp_portal", "domain": "p.example.com", "policies": [{"id": "p"}]}

        async def revision() -> str:
            objects = await read_objects(store)
            portal = {"policies": portal_policies(objects, "p.example.com")}
            servers = [{"id": "bank", "policies": [ANYBODY]}]
            lists, policies = objects.reusable_lists, objects.reusable_policies
            rule = asked({"portal": portal, "servers": servers, "lists": lists, "policies": policies})
            assert rule is not None
            return rule.revision

        await store.create(POLICY, "p", first, by="test")
        await store.create(LIST, "team", bobs, by="test")
        await store.create(APP, "app", AppDocument.model_validate(app), by="test")
        seen = [await revision(), await revision()]
        assert seen[0] == seen[1]
        for one in (other, first):
            await store.replace(POLICY, "p", one, by="test")
        seen.append(await revision())
        for list_version in (eves, bobs):
            await store.replace(LIST, "team", list_version, by="test")
        seen.append(await revision())
        await store.delete(POLICY, "p", by="test")
        await store.create(POLICY, "p", first, by="test")
        seen.append(await revision())
        assert len(set(seen)) == len(seen) - 1


def test_an_author_is_warned_of_what_nobody_can_approve_or_nobody_asks() -> None:
    lonely = policy("lonely", "allow", EVERYONE, **ASKS, approval_groups=[{"approvals_needed": 2}])
    missing = [{"approvals_needed": 1, "email_list_uuid": "no"}]
    listed = policy("listed", "allow", EVERYONE, **ASKS, approval_groups=missing)
    denies = policy("denies", "deny", EVERYONE, **ASKS)
    document = bank(lonely, listed)
    document["portal"]["policies"].append(denies)
    said = "\n".join(access(document).warnings)
    assert "2 of a group have to approve that has 0 people" in said
    assert "no list of addresses 'no'" in said and "asks nobody for an approval" in said


def test_a_group_of_nobody_in_particular_does_not_approve_by_itself() -> None:
    rule = asked(bank(policy("p", "allow", EVERYONE, **ASKS, approval_groups=[{"approvals_needed": 0}])))
    assert rule is not None and rule.groups[0].needed == 1 and rule.groups[0].emails == frozenset()


def test_who_has_no_address_is_in_no_group() -> None:
    groups = [{"approvals_needed": 1, "email_addresses": [" ", "bob@example.com"]}]
    rule = asked(bank(policy("p", "allow", EVERYONE, **ASKS, approval_groups=groups)))
    assert rule is not None and rule.groups[0].emails == {"bob@example.com"}


def test_a_purpose_alone_is_said_by_the_person_in_the_browser() -> None:
    rule = asked(bank(portal=policy("why", "allow", EVERYONE, purpose_justification_required=True)))
    assert rule is not None and (rule.by, rule.justified, rule.groups) == ("person", True, ())


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"decision": "deny", **ASKS}, "belong to a policy that allows"),
        ({"approval_groups": TEAM}, "need approval_required"),
        ({**ASKS, "approve_by": "group"}, "approve_by group needs approval_groups"),
        ({**ASKS, "approve_by": "person", "approval_groups": TEAM}, "approve_by group needs approval_groups"),
        ({**ASKS, "approval_seconds": 299}, "approval_seconds"),
        ({**ASKS, "approval_seconds": 31 * 86400}, "approval_seconds"),
        ({**ASKS, "approve_by": "self"}, "approve_by"),
        ({**ASKS, "approval_groups": [{"email_addresses": ["a@b.c"]}]}, "approvals_needed"),
    ],
)
def test_a_tool_policy_that_contradicts_itself_is_refused(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        access(bank({**policy("p", "allow", EVERYONE), **more}))


def test_approvals_in_the_client_are_waited_for_a_quarter_of_an_hour() -> None:
    rule = asked(bank(policy("p", "allow", EVERYONE, **ASKS, approve_by="client")))
    assert rule is not None and (rule.by, rule.seconds) == ("client", 900)


def test_groups_that_were_stored_in_another_form_have_nobody_who_approves() -> None:
    document = PolicyDocument.model_validate(
        {"decision": "allow", "include": [EVERYONE], **ASKS, "approval_groups": [{"n": 1}]}
    )
    stored = bank()
    stored["portal"]["policies"] = [Policy.of("stored", document)]
    rule = asked(stored)
    assert rule is not None and rule.by == "group" and rule.groups[0].emails == frozenset()


def test_nobody_signs_in_to_an_application_under_a_policy_that_asks_for_approvals() -> None:
    strict = application_decision(access(bank(portal=policy("strict", "allow", EVERYONE, **ASKS))), ADA)
    assert (strict.allowed, strict.policy) == (False, "strict") and "none can be given" in strict.reason
    assert application_decision(access(bank()), ADA).allowed


def test_who_reads_a_decision_reads_that_calls_need_an_approval() -> None:
    strict = access(bank(portal=policy("strict", "allow", EVERYONE, **ASKS)))
    assert strict.portal(ADA).reason == "Policy 'Strict' allows ada@example.com. " + (
        "Each call under it needs the approval of the person whose call it is."
    )


def test_without_a_policy_that_asks_nothing_is_worked_out() -> None:
    quiet = access(bank())
    assert not quiet.asks
    standing = Standing(quiet, ADA)
    assert standing.approval("bank", "pay", {}, {}) is None and standing._decisions == {}


def test_the_reason_of_an_allow_says_who_approves_which_calls() -> None:
    condition = {"names": ["pay"], "expression": "arguments.amount > 100"}
    why = {"purpose_justification_required": True}
    large = policy("large", "allow", EVERYONE, tools=condition, **ASKS, approval_groups=TEAM + OTHERS, **why)
    reason = access(bank(large)).tool(ADA, "bank", "pay", {}, {"amount": 500}).reason
    assert reason.endswith(
        "Each call of it with arguments for which `arguments.amount > 100` needs the approval of 2 of bob@example.com, "
        "carol@example.com and of 1 of dan@example.com. The person whose call it is says what for."
    )
