"""`codemode approvals` and `codemode runs` over a real database: who decides, what is shown, how one waits."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from rich.console import Console

from portal.admin import ShownRun, ShownWait
from portal.approvals import canonical
from portal.cli.show.approval_page import runs_table
from portal.cli.show.unseen import json_lines, seen
from portal.logs import CallLog, LogPlace, LogSettings
from portal.state import Store
from tests.portal.approvals.people import group, rule
from tests.portal.cli.command import as_forked, in_process
from tests.portal.cli.kept import ADA, BIDI, BOB, ROOT, approval, asked, in_store, parked, state_in, with_people

HIDDEN = "\u202e\u2066\u200b\ufeff\u00ad\x1b\x07\x9b\u2028\U000e0041\u3164\ufe01\xa0"


def make_log(folder: Path) -> None:
    """The log of a portal that has run here."""

    async def made() -> None:
        async with CallLog.open(LogPlace(url=f"sqlite:///{folder}/logs.db", folder=folder), LogSettings) as log:
            await log.stored()

    asyncio.run(made())


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEMODE_STATE", state_in(tmp_path))
    with_people(tmp_path)


def codemode(folder: Path, *words: str, columns: int = 200) -> CompletedProcess[str]:
    return in_process(folder, *words, columns=columns)


def test_a_call_that_waits_is_listed_shown_and_approved_by_a_member_of_the_group(tmp_path: Path) -> None:
    assert codemode(tmp_path, "approvals", "list").stdout == "No call waits for an approval.\n"
    one = asked(tmp_path)
    listed = codemode(tmp_path, "approvals", "list")
    assert one.id in listed.stdout and "bank.pay" in listed.stdout and ADA in listed.stdout
    done = codemode(tmp_path, "approvals", "approve", one.id, "--as", BOB.upper(), "--comment", "it is right")
    assert (done.returncode, done.stdout) == (0, f"{one.id}: approved: bank.pay\n")
    after = approval(tmp_path, one.id)
    (vote,) = after.votes
    assert (after.state, vote.subject, vote.via, vote.comment) == ("approved", "okta:bob", "cli", "it is right")
    assert codemode(tmp_path, "approvals", "list").stdout == "No call waits for an approval.\n"
    (shown,) = json.loads(codemode(tmp_path, "approvals", "list", "any", "--json").stdout)
    assert (shown["id"], shown["state"], shown["arguments"]) == (one.id, "approved", None)


def test_the_command_line_of_the_machine_is_nobody_who_may_approve(tmp_path: Path) -> None:
    one, own = asked(tmp_path), asked(tmp_path, rule(), call=2)
    for address, words in (
        (ADA, "approval not found"),
        (ROOT, "only members of the groups that the policy names approve this call"),
    ):
        refused = codemode(tmp_path, "approvals", "approve", one.id, "--as", address)
        assert refused.returncode == 1 and (words in refused.stdout or address == ADA), refused.stdout
    browser = codemode(tmp_path, "approvals", "approve", own.id, "--as", ADA)
    assert browser.returncode == 1 and "approved in the browser" in browser.stdout
    for address in ("bbo@example.com", "", "okta:bob"):
        unknown = codemode(tmp_path, "approvals", "approve", one.id, "--as", address)
        assert unknown.returncode == 2 and "has an account or has signed in" in unknown.stderr
    assert (
        "Did you mean bob@example.com" in codemode(tmp_path, "approvals", "deny", "x", "--as", "bbo@example.com").stderr
    )
    assert {approval(tmp_path, one.id).state, approval(tmp_path, own.id).state} == {"pending"}
    missing = codemode(tmp_path, "approvals", "approve", one.id)
    assert missing.returncode == 2 and "--as" in missing.stderr


def test_a_denial_holds_and_one_of_another_process_too(tmp_path: Path) -> None:
    one = asked(tmp_path, rule(group(1, "bob", "root")))
    denied = as_forked(tmp_path, "approvals", "deny", one.id, "--as", ROOT, "--state", state_in(tmp_path))
    assert denied.returncode == 0, denied.stderr
    late = codemode(tmp_path, "approvals", "approve", one.id, "--as", BOB, "--json")
    (found,) = json.loads(late.stdout)["decisions"]
    assert (late.returncode, found["status"], found["error"]) == (1, 409, "it is denied already")


def test_all_that_a_run_waits_for_is_decided_at_once(tmp_path: Path) -> None:
    ids = [asked(tmp_path, call=number).id for number in (1, 2, 3)]
    other = asked(tmp_path, run="exec_2")
    words = ("--all", "exec_1", "--as", BOB, "--remember", "15m", "--uses", "2")
    done = codemode(tmp_path, "approvals", "approve", *words, "--json")
    assert {one["id"]: one["status"] for one in json.loads(done.stdout)["decisions"]} == dict.fromkeys(ids, 200)
    # Nobody has decided about this one: it may be made with what is remembered.
    left = approval(tmp_path, other.id)
    assert (left.state, left.votes) == ("withdrawn", ())
    (grant,) = in_store(tmp_path, lambda store: store.approval_grants.list())
    assert (grant.uses_left, grant.granted_by) == (2, BOB)
    again = codemode(tmp_path, "approvals", "approve", "--all", "exec_1", "--as", BOB)
    assert again.returncode == 1 and "no call of this run waits" in again.stderr.lower()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "the id of an approval, or --all RUN"),
        (("apr_1", "--all", "exec_1"), "the id of an approval, or --all RUN"),
        (("apr_1", "--uses", "2"), "--remember"),
        (("apr_1", "--this-run"), "--remember"),
        (("apr_1", "--remember", "soon"), "a duration such as"),
        (("apr_1", "--remember", "1s"), "60"),
        (("apr_1", "--comment", "x" * 1001), "1000"),
    ],
)
def test_what_cannot_be_meant_is_said_and_decides_nothing(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    one = asked(tmp_path)
    refused = codemode(tmp_path, "approvals", "approve", *words, "--as", BOB)
    assert refused.returncode in (1, 2) and refused.stdout == "" and why in refused.stderr, refused.stderr
    assert approval(tmp_path, one.id).state == "pending"


def test_the_arguments_are_shown_whole_and_nothing_hides_in_them(tmp_path: Path) -> None:
    arguments: Any = {"to": BIDI, "note": "word " * 3000 + "the end", f"key{HIDDEN}": [1, {"deep": HIDDEN}]}
    one = asked(tmp_path, arguments=arguments, email=f"ada{HIDDEN}@example.com")
    for columns in (40, 200):
        shown = codemode(tmp_path, "approvals", "show", one.id, columns=columns).stdout
        assert not set(HIDDEN) & set(shown) and "\N{REPLACEMENT CHARACTER}" not in shown
        text = shown[shown.index("\n{") :]
        assert json.loads(text) == arguments
        assert one.digest.hex() in shown and "ada\\u202e" in shown
    exact = json.loads(codemode(tmp_path, "approvals", "show", one.id, "--json").stdout)
    assert exact["arguments"] == canonical(arguments)
    listed = codemode(tmp_path, "approvals", "list", columns=40).stdout
    assert not set(HIDDEN) & set(listed)


@pytest.mark.parametrize("columns", [80, 200])
def test_runs_are_a_table_where_there_is_room_and_never_fold_and_service_tokens_have_their_names(columns: int) -> None:
    texts = ("email", "ip", "client_version", "session", "policy", "reason", "findings", "trace")
    run = ShownRun(
        **dict.fromkeys(texts, ""),  # type: ignore[arg-type]
        id="exec_35aff83a7dab5b49cb212de2",
        log_id=None,
        live=False,
        outcome="parked",
        portal="",
        identity="service:0b6ff68e-7f52-4d0a-94c2-6c8d4f6f3c11",
        client="token:4f1d.access",
        started_at="2026-12-01T09:30:00+00:00",
        duration_ms=1,
        calls_made=2,
        waiting=(ShownWait(tool="bank.pay", text="", kind="approval"),),
        bytes_in=0,
        bytes_out=0,
        tokens_saved=0,
        state="parked",
        parked_for="approval",
        expires_at=datetime(2026, 12, 2, 9, 30, tzinfo=UTC),
    )
    screen = Console(width=columns, record=True, file=StringIO())
    screen.print(runs_table([run], {run.identity: "nightly", run.client: "nightly"}))
    text = screen.export_text()
    assert run.id in text and "2026-12-02 09:30 UTC" in text and "bank.pay" in text and text.count("nightly") == 2
    assert run.identity not in text and len(text.splitlines()) == (2 if columns == 200 else 6)


@pytest.mark.parametrize("character", HIDDEN)
def test_what_is_not_seen_is_written_out(character: str) -> None:
    assert character not in seen(f"a{character}b") and seen(f"a{character}b").startswith("a\\")
    assert json.loads(json_lines(json.dumps({"a": character}, ensure_ascii=False))) == {"a": character}


def test_letters_of_every_script_stay_and_numbers_keep_their_spelling() -> None:
    plain = "Zoë, 東京, مرحبا, नमस्ते, 🙂 e\u0301"
    assert seen(plain) == plain
    assert seen("e" + "\u0301" * 9).count("\\u0301") == 5
    assert (
        json_lines('{"a":1e400,"b":12345678901234567890.10}') == '{\n  "a": 1e400,\n  "b": 12345678901234567890.10\n}'
    )
    assert json_lines("[" * 100_000) == "[" * 100_000 and json_lines("not\x1bjson") == "not\\u001bjson"


def test_an_unknown_approval_is_1_and_the_nearest_is_named(tmp_path: Path) -> None:
    one = asked(tmp_path)
    for words in (("show",), ("approve", "--as", BOB)):
        wrong = codemode(tmp_path, "approvals", words[0], one.id[:-1] + "?", *words[1:])
        assert wrong.returncode == 1
    assert f"Did you mean {one.id}" in codemode(tmp_path, "approvals", "show", one.id[:-1] + "?").stderr
    state = codemode(tmp_path, "approvals", "list", "pendign")
    assert state.returncode == 2 and "Did you mean pending?" in state.stderr


def test_who_opened_and_decided_on_the_command_line_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CODEMODE_STATE")
    place = {"state": state_in(tmp_path), "logs": {"database": f"sqlite:///{tmp_path}/logs.db"}}
    (tmp_path / "codemode.json").write_text(json.dumps({"mcpServers": {}, "portal": place}))
    make_log(tmp_path)
    one = asked(tmp_path)
    assert codemode(tmp_path, "approvals", "show", one.id).returncode == 0
    assert codemode(tmp_path, "approvals", "deny", one.id, "--as", BOB).returncode == 0
    rows = [json.loads(line) for line in codemode(tmp_path, "logs", "--json").stdout.splitlines()]
    told = {(row["method"], row.get("identity"), row.get("client")): row for row in rows}
    assert ("OPEN", "command line", "command line") in told
    assert ("POST", "okta:bob", "command line") in told
    assert "via cli" in told["approval/deny", "okta:bob", None]["reason"]
    assert "planted-secret" not in json.dumps(rows)
    parked(tmp_path, "exec_1")
    assert codemode(tmp_path, "runs", "cancel", "exec_1").returncode == 0
    assert codemode(tmp_path, "runs", "cancel", "exec_1").returncode == 1
    (row,) = [json.loads(line) for line in codemode(tmp_path, "logs", "--kind", "run", "--json").stdout.splitlines()]
    members = [row.get(name) for name in ("run", "portal", "identity", "outcome", "reason")]
    assert members == ["exec_1", "main", "okta:ada", "cancelled", "cancelled"]


def test_runs_that_are_kept_are_listed_shown_and_cancelled_with_what_they_ask_for(tmp_path: Path) -> None:
    assert codemode(tmp_path, "runs", "list").stdout == "No run is kept that has not ended.\n"
    one = asked(tmp_path)
    parked(tmp_path, "exec_1", reason="approval", waits=1)
    parked(tmp_path, "exec_2", reason="sleep", wake_in=3600)
    listed = {found["id"]: found for found in json.loads(codemode(tmp_path, "runs", "list", "--json").stdout)}
    assert {id: (found["state"], found["parked_for"]) for id, found in listed.items()} == {
        "exec_1": ("parked", "approval"),
        "exec_2": ("parked", "sleep"),
    }
    shown = codemode(tmp_path, "runs", "show", "exec_1").stdout
    assert "approval: shop.buy" in shown and one.id in shown and ADA in shown
    gone = codemode(tmp_path, "runs", "cancel", "exec_1")
    assert (gone.returncode, gone.stdout) == (0, "") and "Cancelled: exec_1" in gone.stderr
    assert approval(tmp_path, one.id).state == "withdrawn"
    assert "Did you mean exec_2" in codemode(tmp_path, "runs", "show", "exec_22").stderr
    again = codemode(tmp_path, "runs", "cancel", "exec_1")
    assert again.returncode == 1 and "has ended already: cancelled" in again.stderr
    assert [found["id"] for found in json.loads(codemode(tmp_path, "runs", "list", "cancelled", "--json").stdout)] == [
        "exec_1"
    ]


def test_a_run_is_waited_for_until_another_process_ends_it(tmp_path: Path) -> None:
    parked(tmp_path, "exec_1")
    over = codemode(tmp_path, "runs", "wait", "exec_1", "--timeout", "0.05")
    assert over.returncode == 1 and "has not ended within" in over.stderr and "exec_1: parked" in over.stdout
    ended: list[CompletedProcess[str]] = []
    waiting = threading.Thread(
        target=lambda: ended.append(
            as_forked(tmp_path, "runs", "wait", "exec_1", "--timeout", "60", "--json", "--state", state_in(tmp_path))
        )
    )
    waiting.start()

    async def cancel(store: Store) -> None:
        await store.runs.cancel("exec_1", "somebody has had enough")

    in_store(tmp_path, cancel)
    waiting.join()
    (done,) = ended
    assert done.returncode == 1 and json.loads(done.stdout)["state"] == "cancelled", done.stderr
    assert "somebody has had enough" in done.stdout


def test_a_token_for_a_person_is_made_by_the_operator_alone(tmp_path: Path) -> None:
    made = codemode(tmp_path, "api-token", "inbox", "--for", BOB)
    assert made.returncode == 0 and made.stdout.startswith("cmp_") and f"stands for {BOB}" in made.stderr
    unknown = codemode(tmp_path, "api-token", "inbox", "--for", "nobody@example.com")
    assert unknown.returncode == 2 and unknown.stdout == ""
