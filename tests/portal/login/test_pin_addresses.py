"""Whom a PIN is sent: addresses that some policy could let in, and nobody can tell from the pages which these are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.access import ADDRESS, Access, BestCase, Sources, read_document
from portal.identity import Identity
from tests.portal.admin.ruled import Ruled, ruled_portal
from tests.portal.login.browser import Browser, Page, browser_at

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
GRACE, EVE = "grace@example.com", "eve@elsewhere.example"
STAFF = {"id": "staff", "name": "Staff", "decision": "allow", "include": [{"email_domain": {"domain": "example.com"}}]}


async def ask(browser: Browser, email: str) -> Page:
    return await browser.submit(await browser.open("/login?return=/logout"), "/login/pin", email=email)


def shape(page: Page, email: str) -> str:
    """The page without what differs between any two."""
    return re.sub(r'value="[^"]{20,}"', "", page.html.replace(email, "WHO"))


async def written_to(portal: Ruled) -> str:
    """Once every letter is on its way."""
    await portal.identity.login_routes.aclose()
    return " ".join(portal.console)


async def test_an_address_that_no_policy_could_let_in_gets_the_same_page_and_no_mail(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path, pin=True, policies=[STAFF]) as portal, browser_at(portal.url) as browser:
        hers, theirs = await ask(browser, GRACE), await ask(browser, EVE)
        assert (hers.status, shape(hers, GRACE)) == (theirs.status, shape(theirs, EVE))
        assert dict(hers.headers).keys() == dict(theirs.headers).keys()
        said = await written_to(portal)
        assert GRACE in said and EVE not in said
        wrong = await browser.submit(theirs, "/login/pin/check", pin="123456")
        assert (wrong.status, "That PIN is wrong." in wrong.text) == (403, True)
        # A policy of an application that signs people in is one as well, and so is one made later.
        await portal.access.applications.create(
            account_id=portal.account,
            type="saas",
            name="Tickets",
            saas_app={"auth_type": "oidc", "redirect_uris": ["https://tickets.example.com/callback"]},
            policies=[{"name": "Eve", "decision": "allow", "include": [{"email": {"email": EVE}}]}],
        )
        await ask(browser, EVE)
        assert EVE in await written_to(portal)


async def test_a_portal_for_its_local_administrators_writes_to_nobody(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path, pin=True) as portal, browser_at(portal.url) as browser:
        assert (await ask(browser, GRACE)).status == 200
        assert GRACE not in await written_to(portal)


SOURCES = Sources(identity_providers={"pin": "onetimepin", "okta": "okta"})
WHO = Identity(id=f"pin:{GRACE}", email=GRACE, idp_id="pin", login_method="pin", auth_methods=("otp",))


def sends(*policies: dict[str, Any], **more: Any) -> bool:
    given = [{"id": str(place), "decision": "allow", **policy} for place, policy in enumerate(policies)]
    document = read_document({"portal": {"policies": given}, **more})
    return BestCase(Access(document, SOURCES), ADDRESS).allows(WHO)


@pytest.mark.parametrize(
    "rule",
    [
        {"everyone": {}},
        {"email": {"email": GRACE}},
        {"login_method": {"id": "pin"}},
        {"auth_method": {"auth_method": "otp"}},
        {"okta": {"name": "staff", "identity_provider_id": "okta"}},
        {"oidc": {"claim_name": "a", "claim_value": "b", "identity_provider_id": "okta"}},
        {"external_evaluation": {"evaluate_url": "https://a.example", "keys_url": "https://a.example"}},
        {"ip": {"ip": "192.0.2.0/24"}},
        {"geo": {"country_code": "SE"}},
        {"device_posture": {"integration_uid": "disk"}},
        {"group": {"id": "not there"}},
        {"email_list": {"id": "not there"}},
    ],
)
def test_in_doubt_it_is_sent(rule: dict[str, Any]) -> None:
    assert sends({"include": [rule]})
    assert sends({"include": [{"everyone": {}}], "require": [rule]})
    nobody = {"include": [{"email": {"email": EVE}}], "require": [rule]}
    assert not sends(nobody)


def test_only_what_is_certain_keeps_it_from_being_sent() -> None:
    everyone: dict[str, Any] = {"include": [{"everyone": {}}]}
    assert not sends()
    assert not sends({"include": [{"email": {"email": EVE}}]})
    assert not sends({"include": [{"login_method": {"id": "okta"}}]})
    assert not sends({**everyone, "exclude": [{"email": {"email": GRACE}}]})
    assert sends({**everyone, "exclude": [{"ip": {"ip": "192.0.2.0/24"}}]})
    assert not sends({**everyone, "decision": "deny"}, everyone)
    assert sends({"decision": "deny", "include": [{"ip": {"ip": "192.0.2.0/24"}}]}, everyone)
    assert not sends({"decision": "non_identity", "include": [{"any_valid_service_token": {}}]})
    assert sends({"decision": "bypass", "include": [{"ip": {"ip": "192.0.2.0/24"}}]})
    friends = {"groups": [{"id": "friends", "include": [{"email": {"email": EVE}}]}]}
    assert not sends({"include": [{"group": {"id": "friends"}}]}, **friends)
    listed = {"lists": [{"id": "names", "type": "EMAIL", "items": [{"value": GRACE}]}]}
    assert sends({"include": [{"email_list": {"id": "names"}}]}, **listed)


RULES = st.sampled_from(
    [
        {"everyone": {}},
        {"email": {"email": GRACE}},
        {"email": {"email": EVE}},
        {"email_domain": {"domain": "example.com"}},
        {"ip": {"ip": "192.0.2.1"}},
        {"ip": {"ip": "198.51.100.0/24"}},
        {"device_posture": {"integration_uid": "disk"}},
        {"user_risk_score": {"user_risk_score": ["low"]}},
        {"login_method": {"id": "pin"}},
        {"group": {"id": "some"}},
    ]
)
LISTS = st.lists(RULES, max_size=3)
POLICY = st.fixed_dictionaries(
    {
        "decision": st.sampled_from(["allow", "deny", "bypass", "non_identity"]),
        "include": st.lists(RULES, min_size=1, max_size=3),
        "require": LISTS,
        "exclude": LISTS,
    }
)


@given(
    st.lists(POLICY, max_size=4),
    st.sampled_from(["192.0.2.1", "198.51.100.7", ""]),
    st.dictionaries(st.just("disk"), st.booleans()),
    st.sampled_from(["low", "high", ""]),
)
def test_whoever_the_policies_let_in_was_sent_a_pin(
    policies: list[dict[str, Any]], ip: str, posture: dict[str, bool], risk: str
) -> None:
    some = {"id": "some", "include": [{"ip": {"ip": "192.0.2.1"}}], "exclude": [{"email": {"email": EVE}}]}
    given = [{**policy, "id": str(place)} for place, policy in enumerate(policies)]
    document = read_document({"portal": {"policies": given}, "groups": [some]})
    sources = Sources(identity_providers={"pin": "onetimepin"}, device_posture=frozenset({"disk"}), user_risk=True)
    access = Access(document, sources)
    there = Identity(
        id=WHO.id,
        email=GRACE,
        idp_id="pin",
        login_method="pin",
        auth_methods=("otp",),
        ip=ip,
        device_posture=posture,
        user_risk=risk,
    )
    if access.portal(there).allowed:
        assert BestCase(access, ADDRESS).allows(WHO)
