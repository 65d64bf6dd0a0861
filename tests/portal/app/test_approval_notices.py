"""Somebody who has a mail of a running portal decides by its link: they sign in first, and nothing else lets them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from portal.approvals import NoticePlace
from portal.approvals.notices import GATHERED
from portal.config import ApprovalNoticesSection, Config
from portal.config.identity import MailServer
from portal.state import APPROVAL_NOTICES
from tests.patience import PATIENCE
from tests.portal.approvals.told import PostOffice, post_office, text_of
from tests.portal.home.approving import BOB, EVE, approvals_of, asked, group, rule
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Guarded, guarded_portal, sign_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def with_mail(config: Config, office: PostOffice) -> Config:
    """The configuration, with this mail server and members who are told."""
    smtp = MailServer(host="127.0.0.1", port=office.port, sender="portal@example.com", security="none")
    assert config.portal.identity is not None
    changes = {
        "identity": config.portal.identity.model_copy(update={"smtp": smtp}),
        "approval_notices": ApprovalNoticesSection(mail=True),
    }
    return config.model_copy(update={"portal": config.portal.model_copy(update=changes)})


def hurry(portal: Guarded) -> None:
    """Let no mail wait for further calls: the clock jumps as soon as it is written down who is told."""

    def jump(kinds: frozenset[str]) -> None:
        if APPROVAL_NOTICES in kinds and portal.instance.shared.notices is not None:
            portal.clock.ahead += GATHERED
            portal.instance.shared.notices.again()

    portal.store.subscribe(jump)


async def test_the_link_of_a_mail_leads_over_signing_in_to_the_call_and_its_decision(tmp_path: Path) -> None:
    async with post_office() as office, guarded_portal(tmp_path) as portal:
        assert await portal.instance.apply(with_mail(portal.instance.config, office)) == ()
        hurry(portal)
        await portal.account(BOB)
        await portal.account(EVE)
        approval = await asked(portal, rule(group(1, BOB)), {"amount": 500})
        async with asyncio.timeout(PATIENCE):
            await office.came.wait()
        [letter] = office.letters
        [link] = re.findall(r"^(http\S+/approve/\S+)$", text_of(letter), re.MULTILINE)
        assert letter["To"] == BOB and link == NoticePlace("", portal.url).page(approval.id)
        async with browser_at(portal.url) as bob, browser_at(portal.url) as eve:
            page = await bob.open(link)
            # Who is not signed in sees nothing of it, and comes back to it after signing in.
            assert urlsplit(page.url).path == "/login" and "bank" not in page.text
            page = await sign_in(bob, page, BOB)
            assert page.url == link and "500" in page.text
            page = await bob.send(page, page.form(f"/approve/{approval.id}"), "approve")
            assert "Approved" in page.text
            refused = await sign_in(eve, await eve.open(link), EVE)
            assert refused.status == 404 and "bank" not in refused.text
        decided = await approvals_of(portal).get(approval.id)
        assert decided.state == "approved" and [vote.email for vote in decided.votes] == [BOB]
