"""Approvals over the admin API: who sees them, who decides, what is answered to everybody else, and what is written."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from portal.access import ApprovalGroup
from portal.admin import ALL, ApiCaller, ApprovalPageInfo, ShownApproval
from portal.admin.api.permissions import LOGS, PORTALS, permissions_of_role
from portal.approvals import MAX_COMMENT, canonical
from portal.identity import Identity
from portal.login import Administrators, Passwords
from tests.portal.admin.deciders import BOTH, MCP, TEAM, office, words
from tests.portal.approvals.people import rule
from tests.portal.login.guarded import QUICK

pytestmark = pytest.mark.anyio
BIDI = "to alice\u202e\u001b[2K\u200b"


async def test_a_member_of_the_group_approves_with_a_token_that_stands_for_them(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        async with at.api.async_sdk() as sdk:
            mine = sdk.with_options(api_token=at.tokens["bob"])
            path = f"/accounts/{at.api.account}{MCP}/approvals/{asked.id}"
            shown: Any = await mine.get(path, cast_to=object)
            one = shown["result"]
            assert (one["state"], one["missing"], one["arguments"]) == ("pending", 1, None)
            assert one["groups"] == [
                {"needed": 1, "emails": ["ada@example.com", "bob@example.com", "carol@example.com"], "lists": []}
            ]
            body = {"decision": "approve", "comment": "the invoice is right"}
            done: Any = await mine.post(f"{path}/decision", body=body, cast_to=object)
        assert done["result"]["state"] == "approved" and done["result"]["decided_at"]
        (vote,) = done["result"]["votes"]
        assert (vote["email"], vote["via"], vote["decision"]) == ("bob@example.com", "api", "approve")
        assert vote["comment"] == "the invoice is right"
        assert await at.approvals.use(asked.id, asked.digest, "1")
        path = f"{MCP}/approvals/{asked.id}/decision"
        assert ("change", "POST", path, "ok") in at.events.said


async def test_what_was_decided_is_a_row_that_names_the_person_and_the_way(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        await at.decide(asked.id, "bob", "deny")
        (row,) = [row for row in at.events.rows if row.kind == "consent"]
        assert (row.method, row.name, row.identity) == ("approval/deny", "bank.pay", at.keys["bob"])
        assert "via api" in row.reason and "planted" not in str(at.events.rows)


async def test_a_token_that_stands_for_nobody_decides_nothing_whatever_it_may_do(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        for answer in (
            await at.decide(asked.id, ""),
            await at.send("POST", "/approvals/decisions", "", {"decision": "approve", "run": "exec_1"}),
            await at.send("DELETE", "/approval-grants/grant_x"),
            await at.send("POST", "/runs/exec_1/decide", "", {"call": 1, "outcome": "fail"}),
        ):
            assert answer.status_code == 403 and "stands for nobody" in words(answer)
        assert (await at.approvals.get(asked.id)).state == "pending"


async def test_nobody_gets_a_token_that_is_somebody_else_over_the_api(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        tokens = (await at.raw("GET", "/tokens")).json()["result"]
        bob = next(one for one in tokens if one["name"] == "bob")
        assert bob["person"] == at.keys["bob"]
        refused = await at.raw("PUT", f"/tokens/{bob['id']}/value", "", {})
        assert refused.status_code == 403 and "stands for a person" in words(refused)
        same = {"policies": bob["policies"], "person": at.keys["carol"]}
        made = (await at.raw("POST", "/tokens", "", {"name": "me", **same})).json()["result"]
        assert made["value"] and made["person"] == ""
        renamed = (await at.raw("PUT", f"/tokens/{bob['id']}", "", {"name": "changed", **same})).json()["result"]
        assert (renamed["name"], renamed["person"]) == ("changed", at.keys["bob"])
        asked = await at.asked()
        assert (await at.decide(asked.id, made["value"])).status_code == 403
        assert (await at.decide(asked.id, "bob")).status_code == 200


async def test_a_role_that_only_reads_decides_nothing(tmp_path: Path) -> None:
    async with office(tmp_path, roles={"owner": "owner", "reads": "auditor"}) as at:
        asked = await at.asked()
        key = at.keys["reads"]

        async def caller() -> ApiCaller:
            return ApiCaller(key, permissions_of_role("auditor"), name="console", person=key, via="browser")

        actions = at.api.admin.actions().of(caller, "")
        page = await actions.keyed(ShownApproval, ApprovalPageInfo, f"{MCP}/approvals", {})
        # Without the right to stop it, an auditor sees what concerns them: nothing.
        assert page.items == []
        with pytest.raises(Exception, match="no permission"):
            await actions.change(
                "POST", f"{MCP}/approvals/{{approval_id}}/decision", {"decision": "deny"}, approval_id=asked.id
            )
        reading = await at.token_with("MCP Approvals Read")
        assert await at.listed(reading) == [asked.id]
        assert (await at.decide(asked.id, reading)).status_code == 403
        assert (await at.send("GET", "/approvals", await at.token_with(LOGS.write, PORTALS.write))).status_code == 403


async def test_the_requester_alone_approves_nothing_and_may_take_it_back(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked(TEAM)
        first = await at.decide(asked.id, "ada")
        assert first.status_code == 200 and first.json()["result"]["state"] == "pending"
        assert not await at.approvals.use(asked.id, asked.digest, "1")
        assert (await at.decide(asked.id, "bob")).json()["result"]["state"] == "approved"
        other = await at.asked(TEAM, call=2)
        assert (await at.decide(other.id, "ada", "deny")).json()["result"]["state"] == "denied"


async def test_what_a_person_approves_in_the_browser_is_not_approved_over_the_api(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked(rule())
        refused = await at.decide(asked.id, "ada")
        assert refused.status_code == 403 and words(refused) == "this call is approved in the browser"

        async def caller() -> ApiCaller:
            return ApiCaller(at.keys["ada"], ALL, name="console", person=at.keys["ada"], via="browser")

        actions = at.api.admin.actions().of(caller, "")
        path = f"{MCP}/approvals/{{approval_id}}/decision"
        shown = await actions.made(ShownApproval, "POST", path, {"decision": "approve"}, approval_id=asked.id)
        assert shown.state == "approved" and shown.votes[0].via == "browser"


async def test_an_administrator_stops_any_call_and_approves_none_of_a_group_they_are_not_in(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        refused = await at.decide(asked.id, "root")
        assert refused.status_code == 403 and words(refused).startswith("only members")
        assert (await at.decide(asked.id, "root", "deny")).json()["result"]["state"] == "denied"


async def test_an_approval_is_unknown_to_who_has_nothing_to_do_with_it(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked, guessed = await at.asked(), "apr_" + "0" * 32
        for id in (asked.id, guessed, asked.id[:-1], "x" * 200):
            shown = await at.send("GET", f"/approvals/{id}", "eve")
            assert (shown.status_code, words(shown)) == (404, "approval not found"), id
        assert (await at.send("GET", "/approvals/a%00b", "eve")).status_code == 404
        decided = await at.decide(asked.id, "eve")
        assert (decided.status_code, words(decided)) == (404, "approval not found")
        assert (await at.decide(guessed, "bob")).status_code == 404
        assert await at.listed("eve") == [] and await at.listed("bob") == [asked.id] == await at.listed("ada")
        several = await at.send("POST", "/approvals/decisions", "eve", {"decision": "deny", "run": "exec_1"})
        assert several.status_code == 404
        before = await at.send("GET", "/approvals", "eve", before=asked.id)
        assert before.status_code == 400


async def test_a_second_decision_that_differs_is_409_and_the_same_one_again_changes_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        first = (await at.decide(asked.id, "bob")).json()["result"]
        again = await at.decide(asked.id, "bob")
        assert again.status_code == 200 and again.json()["result"] == first
        for who in ("bob", "carol"):
            conflict = await at.decide(asked.id, who, "deny")
            assert conflict.status_code == 409, who
        assert (await at.approvals.get(asked.id)).state == "approved"


async def test_of_many_who_decide_at_once_one_outcome_holds_and_the_others_hear_of_it(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        decisions = [("bob", "approve"), ("carol", "deny")] * 10
        answers = await asyncio.gather(*(at.decide(asked.id, who, decision) for who, decision in decisions))
        state = (await at.approvals.get(asked.id)).state
        said = {decision: "approved" if decision == "approve" else "denied" for _, decision in decisions}
        for (_, decision), answer in zip(decisions, answers, strict=True):
            assert answer.status_code == (200 if said[decision] == state else 409), answer.text
        assert len((await at.approvals.get(asked.id)).votes) == 1


async def test_what_is_over_is_410(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        late, withdrawn = await at.asked(), await at.asked(run="exec_2")
        await at.approvals.withdraw("exec_2")
        gone = await at.decide(withdrawn.id, "bob")
        assert gone.status_code == 410 and "program has ended" in words(gone)
        at.time.ahead += timedelta(days=2)
        over = await at.decide(late.id, "bob")
        assert over.status_code == 410 and "not decided in time" in words(over)
        assert (await at.approvals.get(late.id)).votes == ()


async def test_who_has_left_decides_nothing_any_more(tmp_path: Path) -> None:
    async with office(tmp_path, roles={"root": "owner", "grace": "admin"}) as at:
        asked = await at.asked(BOTH)
        answer = await at.raw("POST", "/access/organizations/revoke_user", "", {"email": "bob@example.com"})
        assert answer.json()["result_info"]["api_tokens"] == 1
        assert (await at.decide(asked.id, "bob")).status_code == 401
        id = at.keys["grace"].partition(":")[2]
        await Administrators(at.api.store, Passwords(QUICK)).remove(id, by="test")
        refused = await at.decide(asked.id, "grace", "deny")
        assert refused.status_code == 403 and "has no access any more" in words(refused)
        assert (await at.send("GET", "/approvals", "grace")).status_code == 403


async def test_who_is_taken_off_the_list_meanwhile_approves_no_call_under_the_new_policy(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        # The call is judged by the policy in force when it is made: this is another revision, without Bob.
        revised = replace(TEAM, revision="2", groups=(ApprovalGroup(1, frozenset({"carol@example.com"})),))
        await at.decide(asked.id, "bob")
        assert not await at.approvals.use(asked.id, asked.digest, "2")
        again = await at.asked(revised)
        assert again.id != asked.id
        assert (await at.decide(again.id, "bob")).status_code == 404


async def test_arguments_are_shown_whole_to_who_may_decide_and_that_is_a_row(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        arguments = {"to": BIDI, "note": "x" * 20_000, "amount": 12345678901234567890}
        asked = await at.asked(arguments=arguments)
        for who in ("bob", ""):
            plain = (await at.send("GET", f"/approvals/{asked.id}", who)).json()["result"]
            assert plain["arguments"] is None and plain["arguments_sha256"] == asked.digest.hex()
        assert not any(row.method == "OPEN" for row in at.events.rows)
        shown = (await at.send("GET", f"/approvals/{asked.id}", "bob", arguments=True)).json()["result"]
        assert shown["arguments"] == canonical(arguments)
        assert ("change", "OPEN", f"{MCP}/approvals/{asked.id}", "ok") in at.events.said
        reading = await at.token_with("MCP Approvals Read")
        refused = await at.send("GET", f"/approvals/{asked.id}", reading, arguments=True)
        assert refused.status_code == 403 and "MCP Approvals Write" in words(refused)
        assert (await at.send("GET", f"/approvals/{asked.id}", "eve", arguments=True)).status_code == 404


async def test_a_comment_that_is_too_long_is_refused_and_decides_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        for comment, status in (("x" * (MAX_COMMENT + 1), 400), ("x" * 2_000_000, 413)):
            refused = await at.decide(asked.id, "bob", comment=comment)
            assert refused.status_code == status and "xxx" not in words(refused)
        assert (await at.approvals.get(asked.id)).state == "pending"
        said = (await at.decide(asked.id, "bob", comment="\x1b[31m" + BIDI)).json()["result"]["votes"][0]["comment"]
        assert said == "\x1b[31m" + BIDI


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"decision": "maybe"}, "/decision"),
        ({"decision": "approve", "remember": {"seconds": 5}}, "/remember/seconds"),
        ({"decision": "approve", "remember": {"seconds": 10**9}}, "/remember/seconds"),
        ({"decision": "approve", "remember": {"seconds": 60, "uses": 0}}, "/remember/uses"),
        ({"decision": "deny", "remember": {"seconds": 60}}, "/remember"),
        ({"decision": "approve", "as": "bob@example.com"}, "/as"),
    ],
)
async def test_a_decision_that_does_not_fit_says_where(tmp_path: Path, body: dict[str, object], where: str) -> None:
    async with office(tmp_path, people=("ada", "bob")) as at:
        asked = await at.asked()
        refused = await at.send("POST", f"/approvals/{asked.id}/decision", "bob", body)
        assert refused.status_code == 400 and refused.json()["errors"][0]["source"]["pointer"] == where
        assert (await at.approvals.get(asked.id)).votes == ()


async def test_all_that_a_run_waits_for_is_decided_at_once_with_one_answer_each(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        first, second = await at.asked(), await at.asked(call=2)
        own = await at.asked(rule(), call=3)
        elsewhere = await at.asked(run="exec_2")
        done = await at.send("POST", "/approvals/decisions", "bob", {"decision": "approve", "run": "exec_1"})
        results = {one["id"]: one for one in done.json()["result"]}
        assert {id: one["status"] for id, one in results.items()} == {first.id: 200, second.id: 200}
        assert results[first.id]["approval"]["state"] == "approved"
        assert (await at.approvals.get(own.id)).state == "pending" == (await at.approvals.get(elsewhere.id)).state
        mixed = {"decision": "deny", "ids": [first.id, own.id, elsewhere.id, "apr_none", elsewhere.id]}
        found = (await at.send("POST", "/approvals/decisions", "bob", mixed)).json()["result"]
        assert [(one["id"], one["status"]) for one in found] == [
            (first.id, 409),
            (own.id, 404),
            (elsewhere.id, 200),
            ("apr_none", 404),
        ]
        assert all(one["error"] for one in found if one["status"] != 200)


@pytest.mark.parametrize("which", [{}, {"run": "exec_1", "ids": ["x"]}, {"ids": []}, {"ids": ["x"] * 101}])
async def test_decisions_about_nothing_in_particular_are_refused(tmp_path: Path, which: dict[str, object]) -> None:
    async with office(tmp_path, people=("ada", "bob")) as at:
        await at.asked()
        refused = await at.send("POST", "/approvals/decisions", "bob", {"decision": "deny", **which})
        assert refused.status_code == 400


async def test_approvals_are_filtered_and_paged(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        made = [await at.asked(call=number, portal="p" if number % 2 else "") for number in range(1, 8)]
        ids = [one.id for one in made]
        assert sorted(await at.listed()) == sorted(ids)
        seen: list[str] = []
        query: dict[str, Any] = {"limit": 3}
        while True:
            page = (await at.send("GET", "/approvals", "bob", **query)).json()
            seen += [one["id"] for one in page["result"]]
            if not page["result_info"]["more"]:
                break
            query["before"] = page["result_info"]["before"]
        assert sorted(seen) == sorted(ids) and len(seen) == 7
        await at.decide(ids[0], "bob")
        assert await at.listed(state="approved") == [ids[0]]
        assert set(await at.listed(portal_id="_")) == set(ids[1::2]) and set(await at.listed(portal_id="p")) == {
            *ids[::2]
        }
        assert (
            set(await at.listed(email="ADA@example.com")) == set(ids) == set(await at.listed(identity=at.keys["ada"]))
        )
        assert await at.listed(tool="other") == [] == await at.listed(server_id="none") == await at.listed(run="exec_9")
        now = datetime.now(UTC)
        assert await at.listed(until=(now - timedelta(hours=1)).isoformat()) == []
        assert await at.listed(since=(now + timedelta(hours=1)).isoformat()) == []
        assert len(await at.listed(since=(now - timedelta(hours=1)).isoformat(), tool="pay")) == 7
        assert (await at.send("GET", "/approvals", "", person="x")).status_code == 400
        assert (await at.send("GET", "/approvals", "", before="apr_none")).status_code == 400


async def test_pages_go_on_through_approvals_of_one_moment(tmp_path: Path) -> None:
    async with office(tmp_path, people=("ada",)) as at:
        still = datetime.now(UTC)
        at.approvals._clock = lambda: still
        ids = [(await at.asked(call=number)).id for number in range(1, 10)]
        seen: list[str] = []
        before: dict[str, str] = {}
        while page := await at.listed(limit=2, **before):
            seen += page
            before = {"before": page[-1]}
        assert sorted(seen) == sorted(ids) and len(seen) == 9


async def test_a_remembered_approval_is_listed_and_revoked_by_those_whom_it_concerns(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        remember = {"seconds": 3600, "uses": 5}
        assert (await at.decide(asked.id, "bob", remember=remember)).status_code == 200
        (grant,) = (await at.send("GET", "/approval-grants")).json()["result"]
        assert (grant["identity"], grant["tool"], grant["uses_left"]) == (at.keys["ada"], "pay", 5)
        assert (await at.send("GET", "/approval-grants", "ada")).json()["result"] == [grant]
        for query in ("", f"?identity={at.keys['ada']}"):
            assert (await at.send("GET", f"/approval-grants{query}", "eve")).json()["result"] == []
        path = f"/approval-grants/{grant['id']}"
        assert (await at.send("DELETE", path, "eve")).status_code == 404
        assert (await at.send("DELETE", path)).status_code == 403
        assert (await at.send("DELETE", path, "ada")).json()["result"]["id"] == grant["id"]
        assert (await at.send("DELETE", path, "ada")).status_code == 404
        assert (await at.send("GET", "/approval-grants")).json()["result"] == []


async def test_an_identity_of_a_service_stands_for_nobody(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        asked = await at.asked()
        service = Identity(service_token_id="robot", email="bob@example.com")
        made = await at.api.admin.tokens.create_for("robot", service.key, "test")
        assert (await at.decide(asked.id, made.value)).status_code == 403


def test_the_operations_are_in_the_openapi_document(shared: Any) -> None:
    paths = shared.http.get(f"{shared.base_url}/openapi.json").json()["paths"]
    base = f"/accounts/{{account_id}}{MCP}"
    for path, methods in {
        "/approvals": {"get"},
        "/approvals/{approval_id}": {"get"},
        "/approvals/{approval_id}/decision": {"post"},
        "/approvals/decisions": {"post"},
        "/approval-grants": {"get"},
        "/approval-grants/{grant_id}": {"delete"},
        "/runs/{run_id}/decide": {"post"},
    }.items():
        assert methods <= set(paths[base + path]), path
