"""Runs that outlive their process over the admin API: shown beside the others, ended, told what became of a call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from portal.admin.api.permissions import LOGS, PORTALS
from portal.state import FinishedRun, RunClaim, RunDocument
from tests.portal.admin.deciders import MCP, Office, office, words
from tests.portal.state.run_parts import LEASE, call_start, parking

pytestmark = pytest.mark.anyio
PEOPLE = ("ada",)


async def park(at: Office, id: str, **more: Any) -> None:
    values: dict[str, Any] = {"subject": at.keys["ada"], "portal": "", **more}
    await at.api.store.runs.park(parking(id, datetime.now(UTC), **values), b"a checkpoint")


async def claimed(at: Office, id: str) -> RunClaim:
    await at.api.store.runs.ready(id)
    claim = await at.api.store.runs.claim("a process", LEASE)
    assert claim is not None and claim.run.id == id
    return claim


async def uncertain(at: Office, id: str) -> None:
    """A run whose process ended while its call 3 was made."""
    await park(at, id)
    claim = await claimed(at, id)
    rows = at.api.store.runs
    await rows.started(id, claim.run.revision, call_start(3, arguments=b'{"n":"planted"}'))
    await rows.release(id, claim.run.revision)
    again = await rows.claim("another process", LEASE)
    assert again is not None
    await rows.hold(id, again.run.revision, "uncertain", RunDocument(calls=3))


async def listed(at: Office, **query: Any) -> list[Any]:
    answer = await at.send("GET", "/runs", "", None, **query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["result"])


async def test_a_parked_run_is_listed_with_what_it_waits_for_and_until_when(tmp_path: Path) -> None:
    async with office(tmp_path, PEOPLE) as at:
        asked = await at.asked(run="exec_1")
        await park(at, "exec_1", reason="approval", waits=1)
        (run,) = await listed(at)
        assert (run["id"], run["live"], run["outcome"], run["state"]) == ("exec_1", False, "parked", "parked")
        assert (run["parked_for"], run["email"], run["calls_made"]) == ("approval", "ada@example.com", 2)
        assert run["waiting"] == [{"tool": "shop.buy", "text": "", "kind": "approval"}]
        until = datetime.fromisoformat(run["expires_at"]) - datetime.now(UTC)
        assert timedelta(hours=23) < until < timedelta(hours=25)
        assert (await at.send("GET", "/runs/exec_1")).json()["result"] == {
            **run,
            "calls": [],
            "more": True,
            "width": 0,
            "bytes_unseen": None,
            "program": None,
            "failure": "",
        }
        info = (await at.send("GET", "/runs")).json()["result_info"]
        assert (info["live"], info["kept"], info["count"]) == (0, 1, 1)
        await at.approvals.withdraw("exec_1")
        assert (await at.approvals.get(asked.id)).state == "withdrawn"


async def test_kept_runs_are_filtered_and_paged(tmp_path: Path) -> None:
    async with office(tmp_path, ("ada", "bob")) as at:
        for number in range(5):
            await park(at, f"exec_{number}", portal="p" if number % 2 else "")
        await park(at, "exec_bob", subject=at.keys["bob"])
        await at.api.store.runs.cancel("exec_4")

        async def ids(**query: Any) -> set[str]:
            return {one["id"] for one in await listed(at, **query)}

        assert await ids() == {"exec_0", "exec_1", "exec_2", "exec_3", "exec_bob"} == await ids(live=True)
        assert await ids(portal_id="p") == {"exec_1", "exec_3"} and await ids(email="BOB@example.com") == {"exec_bob"}
        assert await ids(identity=at.keys["bob"]) == {"exec_bob"} and await ids(live=False) == set()
        assert await ids(state="cancelled") == {"exec_4"} and await ids(state="ready") == set()
        assert await ids(outcome="ok") == set() == await ids(until="2020-01-01T00:00:00Z")
        seen: list[str] = []
        query: dict[str, Any] = {"state": "parked", "limit": 2}
        while True:
            page = (await at.send("GET", "/runs", "", None, **query)).json()
            seen += [one["id"] for one in page["result"]]
            if not page["result_info"]["more"]:
                break
            query["before_run"] = page["result_info"]["before_run"]
        assert len(seen) == 5 == len(set(seen))
        for wrong in (
            {"state": "asleep"},
            {"before_run": "exec_0"},
            {"state": "parked", "before_run": "exec_none"},
            {"state": "parked", "outcome": "ok"},
        ):
            assert (await at.send("GET", "/runs", "", None, **wrong)).status_code == 400, wrong


async def test_a_run_that_is_parked_or_runs_elsewhere_is_ended_with_what_it_asked_for(tmp_path: Path) -> None:
    async with office(tmp_path, PEOPLE) as at:
        asked = await at.asked(run="exec_1")
        await park(at, "exec_1", reason="approval", waits=1)
        await park(at, "exec_2")
        claim = await claimed(at, "exec_2")
        for id in ("exec_1", "exec_2"):
            assert (await at.send("DELETE", f"/runs/{id}")).status_code == 202
            assert ("change", "DELETE", f"{MCP}/runs/{id}", "ok") in at.events.said
            shown = (await at.send("GET", f"/runs/{id}")).json()["result"]
            assert (shown["state"], shown["outcome"]) == ("cancelled", "cancelled")
            assert "an administrator of the portal ended this program" in shown["failure"]
        assert (await at.approvals.get(asked.id)).state == "withdrawn"
        assert not await at.api.store.runs.renew("exec_2", claim.run.revision, LEASE)
        gone = await at.send("DELETE", "/runs/exec_1")
        assert gone.status_code == 404 and "it has ended" in words(gone)


async def test_how_a_kept_run_ended_is_shown(tmp_path: Path) -> None:
    async with office(tmp_path, PEOPLE) as at:
        await park(at, "exec_1")
        claim = await claimed(at, "exec_1")
        keep = datetime.now(UTC) + timedelta(hours=1)
        done = FinishedRun(state="completed", keep_until=keep, document=RunDocument(calls=1), result=b'"a secret"')
        await at.api.store.runs.end("exec_1", claim.run.revision, done)
        answer = await at.send("GET", "/runs/exec_1")
        assert answer.json()["result"]["outcome"] == "ok" and "a secret" not in answer.text
        assert await listed(at) == [] and len(await listed(at, state="completed")) == 1


async def test_what_became_of_a_call_is_said_by_an_administrator_once(tmp_path: Path) -> None:
    async with office(tmp_path, PEOPLE) as at:
        await uncertain(at, "exec_1")
        plain = (await at.send("GET", "/runs/exec_1")).json()["result"]
        (call,) = plain["calls"]
        assert (call["call"], call["tool"], call["outcome"], call["uncertain"]) == (3, "buy", "unknown", True)
        assert (plain["parked_for"], call["arguments"]) == ("uncertain", None)
        shown = (await at.send("GET", "/runs/exec_1", "", None, arguments=True)).json()["result"]
        assert shown["calls"][0]["arguments"] == '{"n":"planted"}'
        assert ("change", "OPEN", f"{MCP}/runs/exec_1", "ok") in at.events.said
        reads = await at.token_with(LOGS.read)
        refused = await at.send("GET", "/runs/exec_1", reads, None, arguments=True)
        assert refused.status_code == 403 and "Logs Write" in words(refused)
        said = {"call": 3, "outcome": "happened", "result": {"order": 7}}
        for who, why in (("", "stands for nobody"), ("ada", "said by an administrator")):
            refused = await at.send("POST", "/runs/exec_1/decide", who, said)
            assert refused.status_code == 403 and why in words(refused)
        done = await at.send("POST", "/runs/exec_1/decide", "root", said)
        assert done.status_code == 200 and done.json()["result"]["state"] == "ready", done.text
        again = await at.api.store.runs.claim("a third process", LEASE)
        assert again is not None and again.calls[0].state == "happened" and again.calls[0].answer == b'{"order":7}'
        conflict = await at.send("POST", "/runs/exec_1/decide", "root", {"call": 3, "outcome": "fail"})
        assert conflict.status_code == 409
        assert ("change", "POST", f"{MCP}/runs/exec_1/decide", "ok") in at.events.said


@pytest.mark.parametrize(("outcome", "state"), [("not_happened", "repeat"), ("fail", "refused")])
async def test_a_call_is_made_now_or_fails(tmp_path: Path, outcome: str, state: str) -> None:
    async with office(tmp_path, PEOPLE) as at:
        await uncertain(at, "exec_1")
        assert (
            await at.send("POST", "/runs/exec_1/decide", "root", {"call": 3, "outcome": outcome})
        ).status_code == 200
        (call,) = await at.api.store.runs.calls("exec_1")
        assert call.state == state


async def test_what_cannot_be_said_of_a_call_is_refused(tmp_path: Path) -> None:
    async with office(tmp_path, PEOPLE) as at:
        await uncertain(at, "exec_1")
        for path, body, status in (
            ("exec_9", {"call": 3, "outcome": "fail"}, 404),
            ("exec_1", {"call": 4, "outcome": "fail"}, 404),
            ("exec_1", {"call": 3, "outcome": "fail", "result": 1}, 400),
            ("exec_1", {"call": 3, "outcome": "perhaps"}, 400),
            ("exec_1", {"outcome": "fail"}, 400),
            ("exec_1", {"call": 3, "outcome": "happened", "result": "x" * 2_200_000}, 413),
        ):
            refused = await at.send("POST", f"/runs/{path}/decide", "root", body)
            assert refused.status_code == status, refused.text[:300]
        (call,) = await at.api.store.runs.calls("exec_1")
        assert call.state == "unknown"


async def test_runs_are_for_those_with_the_permission(tmp_path: Path) -> None:
    async with office(tmp_path, PEOPLE) as at:
        await park(at, "exec_1")
        assert (await at.send("GET", "/runs/exec_1", "root")).status_code == 403
        assert (await at.send("DELETE", "/runs/exec_1", await at.token_with(LOGS.write))).status_code == 403
        assert (await at.send("DELETE", "/runs/exec_1", await at.token_with(PORTALS.write))).status_code == 202
