"""People are told of calls that wait for them: once each, by a real mail server and a real webhook."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from portal.access import ApprovalRule
from portal.approvals import Approval, Approvals, NoticePlace
from portal.approvals.notice_words import MAX_LISTED, MAX_TARGETS, event_body, letter, people, plain
from portal.approvals.notices import GATHERED, LEASE, MAX_TRIES
from portal.config import ApprovalNoticesSection
from portal.state import StateUnavailable
from tests.patience import PATIENCE
from tests.portal.approvals.people import ADA, BOB, group, need, rule
from tests.portal.approvals.told import SECRET, Teller, Town, text_of, town
from tests.portal.state.conftest import new_postgres_database, postgres  # noqa: F401 - a fixture
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio
TWO = rule(group(1, "bob", "carol"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if getattr(request, "param", "sqlite") == "sqlite":
        return new_state(tmp_path)
    return new_postgres_database(request.getfixturevalue("postgres"))


@pytest.fixture
async def place(url: str) -> AsyncIterator[Town]:
    async with town(url) as found:
        yield found


async def asked(approvals: Approvals, by: ApprovalRule = TWO, **more: Any) -> Approval:
    return await approvals.request(need(by, **more))


async def gathered(place: Town, *processes: Teller) -> None:
    """Have these processes look now, and when mails do not wait for further calls any more."""
    await asyncio.gather(*(one.look() for one in processes))
    place.time.passes(seconds=GATHERED.total_seconds())
    await asyncio.gather(*(one.look() for one in processes))


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_each_who_may_approve_gets_one_mail_whatever_number_of_processes_look(place: Town) -> None:
    async with place.process() as one, place.process() as other:
        approval = await asked(one.approvals)
        await gathered(place, one, other, one)
        await gathered(place, one, other)
    assert sorted(place.office.people) == ["bob@example.com", "carol@example.com"]
    mail = place.office.letters[0]
    assert mail["Subject"] == "Acme: a call waits for your approval"
    assert mail["From"] == "Portal <portal@example.com>" and mail["Auto-Submitted"] == "auto-generated"
    text = text_of(mail)
    assert "pay of bank\nAsked for by ada@example.com through Claude Code\nEnds at 2026-01-02 00:00 UTC\n" in text
    assert f"\nhttps://portal.example/approve/{approval.id}\n" in text


async def test_no_argument_no_purpose_and_no_secret_is_told(place: Town) -> None:
    place.settings = place.hooked.model_copy(update={"mail": True})
    async with place.process() as one:
        await asked(one.approvals, rule(group(1, "bob"), justified=True), justification="the planted purpose")
        with capture_logs() as lines:
            await gathered(place, one)
    [mail], [told] = place.office.letters, place.hook.told
    for carried in ("planted", "500", "amount", SECRET):
        assert carried not in mail.as_string() and carried not in str(told) and carried not in str(lines)


async def test_calls_that_are_asked_for_within_seconds_come_in_one_mail(place: Town) -> None:
    async with place.process() as one:
        first = await asked(one.approvals, rule(group(1, "bob")))
        await one.look()
        place.time.passes(seconds=GATHERED.total_seconds() - 1)
        others = [await asked(one.approvals, rule(group(1, "bob")), call=call) for call in range(2, MAX_LISTED + 4)]
        await gathered(place, one)
        await gathered(place, one)
    [mail] = place.office.letters
    assert mail["Subject"] == f"Acme: {MAX_LISTED + 3} calls wait for your approval"
    text = text_of(mail)
    assert first.id in text and others[-1].id not in text and "And 3 more." in text
    assert "https://portal.example/approvals\n" in text


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_more_mails_than_may_be_within_an_hour_come_as_one_after_it(place: Town) -> None:
    place.settings = ApprovalNoticesSection(mail=True, mails_an_hour=2)
    async with place.process() as one, place.process() as other:
        for call in range(1, 6):
            await asked(one.approvals, rule(group(1, "bob")), call=call)
            await gathered(place, one, other)
        assert len(place.office.letters) == 2
        assert "last mail" not in text_of(place.office.letters[0])
        assert "This is the last mail about calls before 01:00 UTC." in text_of(place.office.letters[1])
        place.time.passes(hours=1)
        await gathered(place, one, other)
    assert [str(one["Subject"])[6:12] for one in place.office.letters] == ["a call", "a call", "3 call"]


async def test_who_has_decided_and_what_is_over_are_not_told_of(place: Town) -> None:
    async with place.process() as one:
        both = await asked(one.approvals, rule(group(2, "bob", "carol")))
        gone = await asked(one.approvals, rule(group(1, "dan")), run="exec_2")
        late = await asked(one.approvals, rule(group(1, "eve"), seconds=3), run="exec_3")
        await one.look()
        await one.approvals.decide(both.id, BOB, True)
        await one.approvals.withdraw("exec_2")
        await gathered(place, one)
        assert place.office.people == ["carol@example.com"]
        assert set((await one.store.approval_notices.states(gone.id)).values()) <= {"ended"}
        assert set((await one.store.approval_notices.states(late.id)).values()) <= {"ended"}


async def test_a_member_hears_when_the_purpose_is_said_and_the_person_that_they_have_to_say_it(place: Town) -> None:
    place.settings = ApprovalNoticesSection(mail=True, to_person=True)
    async with place.process() as one:
        approval = await asked(one.approvals, rule(group(1, "bob"), justified=True))
        await gathered(place, one)
        assert place.office.people == ["ada@example.com"]
        await one.approvals.justify(approval.id, ADA, "for the invoice")
        await gathered(place, one)
    assert place.office.people == ["ada@example.com", "bob@example.com"]


async def test_a_webhook_is_told_of_each_approval_in_a_signed_request(place: Town) -> None:
    place.settings = place.hooked
    async with place.process() as one, place.process() as other:
        approval = await asked(one.approvals)
        mine = await asked(one.approvals, rule(), run="exec_2")
        await gathered(place, one, other)
        await gathered(place, one, other)
    assert sorted(place.hook.ids) == sorted(f"{one.id}.requested" for one in (approval, mine))
    [told] = [one for one in place.hook.told if one["data"]["approval"] == approval.id]
    assert told["type"] == "approval.requested" and told["timestamp"] == approval.created_at.isoformat()
    data = told["data"]
    assert data["url"] == f"https://portal.example/approve/{approval.id}"
    assert (data["server"], data["tool"], data["requested_by"]) == ("bank", "pay", "ada@example.com")
    assert (data["client"], data["client_name"], data["run"]) == ("agent", "Claude Code", "exec_1")
    assert (data["policy"], data["by"], data["approvers"]) == ("p", "group", ["bob@example.com", "carol@example.com"])
    assert data["expires_at"] == approval.expires_at.isoformat()
    assert place.office.letters == []


@pytest.mark.parametrize("channel", ["mail", "webhook"])
async def test_what_is_not_taken_is_sent_again_more_and_more_rarely_until_it_is_given_up(
    place: Town, channel: str
) -> None:
    place.settings = place.hooked if channel == "webhook" else ApprovalNoticesSection(mail=True)
    # A redirect is not followed: it could lead anywhere.
    place.office.answer, place.hook.status = "451 Try again", 302
    moments = []
    async with place.process() as one, place.process() as other:
        approval = await asked(one.approvals, rule(group(1, "bob")))
        with capture_logs() as lines:
            await one.look()
            while due := await one.store.approval_notices.next_due([""], webhook=channel == "webhook"):
                sent = len(place.office.letters) + len(place.hook.ids)
                place.time.now = due - timedelta(seconds=1)
                await asyncio.gather(one.look(), other.look())
                assert len(place.office.letters) + len(place.hook.ids) == sent
                place.time.now = due
                await asyncio.gather(one.look(), other.look())
                moments.append(place.time.now)
        counts = one.notices.counts + other.notices.counts
        states = await one.store.approval_notices.states(approval.id)
    pauses = [after - before for before, after in zip(moments, moments[1:], strict=False)]
    assert pauses == [timedelta(seconds=30) * 2**n for n in range(MAX_TRIES - 1)]
    assert set(place.hook.ids) <= {f"{approval.id}.requested"}
    assert list(states.values()) == ["failed"]
    assert counts[channel, "refused"] == MAX_TRIES and counts[channel, "given up"] == 1
    failures = [line for line in lines if line["event"] == "people could not be told that calls wait for them"]
    assert [line["again"] for line in failures] == [True] * (MAX_TRIES - 1) + [False]
    assert place.hook.url not in str(lines) and "bob@" not in str(lines)
    [row] = [row for row in place.events.rows if row.method == "approval/notice"]
    assert (row.outcome, row.name, approval.id in row.reason) == ("error", "bank.pay", True)


async def test_what_a_process_has_begun_when_it_ends_another_tells_with_the_same_id(
    place: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.settings = place.hooked

    async def killed(*given: object) -> None:
        raise StateUnavailable("killed")

    async with place.process() as one:
        await asked(one.approvals)
        await one.look()
        place.time.passes(seconds=GATHERED.total_seconds())
        with monkeypatch.context() as patch, pytest.raises(StateUnavailable):
            patch.setattr(one.store.approval_notices, "settle", killed)
            await one.look()
    async with place.process() as other:
        await other.look()
        assert len(place.hook.ids) == 1
        place.time.passes(seconds=LEASE.total_seconds())
        await other.look()
        place.time.passes(seconds=LEASE.total_seconds())
        await other.look()
    assert len(place.hook.ids) == 2 and len(set(place.hook.ids)) == 1


async def test_a_silent_mail_server_costs_the_call_nothing_and_others_are_told(place: Town) -> None:
    place.settings = place.hooked.model_copy(update={"mail": True})
    place.office.port = 1
    async with place.process() as one:
        approval = await asked(one.approvals)
        await gathered(place, one)
        assert len(place.hook.ids) == 1
        assert (await one.approvals.decide(approval.id, BOB, True)).state == "approved"


async def test_while_it_is_open_what_is_asked_for_is_told_without_anybody_looking(place: Town) -> None:
    # The clock stands: what is due later would never be.
    place.gathered = timedelta(0)
    async with place.process() as one, one.notices:
        await asked(one.approvals, rule(group(1, "bob")))
        async with asyncio.timeout(PATIENCE):
            await place.office.came.wait()
    assert place.office.people == ["bob@example.com"]


async def test_without_settings_nobody_is_told_and_with_them_those_of_what_still_waits(place: Town) -> None:
    place.settings = ApprovalNoticesSection()
    async with place.process() as one:
        await asked(one.approvals, rule(group(1, "bob")))
        await gathered(place, one)
        place.settings = ApprovalNoticesSection(mail=True)
        await gathered(place, one)
    assert place.office.people == ["bob@example.com"]


HOSTILE = "x\r\nBcc: eve@evil.example\r\n\r\n\u202eevil https://evil.example/\x1b[2J"


async def test_what_a_client_or_server_calls_itself_breaks_no_header_and_becomes_no_link(place: Town) -> None:
    async with place.process() as one:
        approval = await asked(one.approvals)
    hostile = replace(approval, client=HOSTILE, server=HOSTILE, tool="evil.example\u200b/x", email="a\nb")
    acme = NoticePlace("Acme\r\nBcc: eve@evil.example", "https://portal.example")
    await place.office.mail.send(letter("bob@example.com", "msg_1", [(hostile, HOSTILE)], acme, None))
    [sent], told = place.office.letters, json.loads(event_body(hostile, HOSTILE, acme))
    assert sent["Bcc"] is None and place.office.people == ["bob@example.com"]
    for text in (text_of(sent), told["data"]["text"]):
        assert "evil.example" not in text and "\u202e" not in text and "\x1b" not in text and "\u200b" not in text
        assert "evil[.]example" in text and "\nBcc" not in text
    assert "\u202e" not in str(told) and told["data"]["tool"] == "evil.example\\u{200b}/x"


@pytest.mark.parametrize("text", ["a.b", "http://x", "a@b", "a\nb", "\u2066a", "x" * 500])
def test_a_name_is_one_short_line_without_an_address(text: str) -> None:
    shown = plain(text)
    assert "\n" not in shown and "://" not in shown and "@b" not in shown and len(shown) < 100 and "\u2066" not in shown


async def test_who_gets_a_mail(place: Town) -> None:
    async with place.process() as one:
        calls = iter(range(1, 100))

        async def told(by: ApprovalRule, *, person: bool = False, **more: Any) -> tuple[str, ...]:
            approval = await asked(one.approvals, by, call=next(calls), **more)
            return tuple(email.partition("@")[0] for email in people(approval, members=True, person=person))

        assert await told(TWO) == ("bob", "carol")
        # The requester approves with another member, and not where they confirm the call beside the groups.
        assert await told(rule(group(2, "ada", "bob"))) == ("ada", "bob")
        assert await told(rule(group(1, "bob"), group(1, "carol", "dan"))) == ("bob", "carol", "dan")
        assert await told(rule()) == () and await told(rule(), person=True) == ("ada",)
        assert await told(rule(group(1, "bob"), also_person=True), person=True) == ("ada", "bob")
        # What may be answered in the client is asked there.
        assert await told(rule(by="client"), person=True, destructive=False) == ()
        assert await told(rule(by="client"), person=True) == ("ada",)
        assert await told(rule(), person=True, email="not an address") == ()
        many = [f"m{n:03}" for n in range(300)]
        crowd = await told(rule(group(1, *many), group(1, "zoe")))
        assert len(crowd) == MAX_TARGETS and "zoe" in crowd
