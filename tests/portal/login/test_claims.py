"""What a provider says of somebody is checked before it is used: a claim that does not fit signs nobody in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.identity import Group
from portal.login.claims import MAX_CLAIMS_BYTES, MAX_GROUPS, ClaimUnfit
from portal.login.oauth2 import identity_of as github_identity
from portal.login.oidc import identity_of
from portal.login.providers import OAuthProvider, OidcProvider
from portal.login.sessions import SESSION, SessionDocument
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal
from tests.portal.login.test_providers import bendable, seen

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
PROVIDER = OidcProvider(id="acme", name="Acme", type="oidc", client_id="c", client_secret="hush")
HUB = OAuthProvider(id="hub", name="Hub", client_id="c", client_secret="hush")
SECRET = "a value that nobody is shown"


def nested(depth: int) -> object:
    value: object = SECRET
    for _ in range(depth):
        value = [value]
    return value


UNFIT: list[tuple[str, object]] = [
    ("sub", None),
    ("sub", ""),
    ("sub", " "),
    ("sub", "ada\0"),
    ("sub", "ada\n"),
    ("sub", "ada\u202e"),
    ("sub", "ada\u200b"),
    ("sub", "a" * 256),
    ("sub", 7),
    ("sub", ["ada"]),
    ("email", f"{'a' * 300}@example.com"),
    ("email", ["ada@example.com"]),
    ("email", "ada@example.com\0"),
    ("name", "a" * 5_000),
    ("name", "Ada\0"),
    ("name", {"first": "Ada"}),
    ("preferred_username", 7),
    ("groups", "staff"),
    ("groups", {"staff": True}),
    ("groups", ["staff", 7]),
    ("groups", ["staff", None]),
    ("groups", ["s" * 600]),
    ("groups", ["staff\0"]),
    ("groups", [{"id": "1", "name": ["staff"]}]),
    ("groups", ["x"] * (MAX_GROUPS + 1)),
    ("groups", [f"{n:0500}" for n in range(400)]),
    ("amr", "pwd"),
    ("amr", [7]),
    ("amr", ["x" * 200]),
    ("amr", ["pwd"] * 60),
    ("department", "x" * (MAX_CLAIMS_BYTES + 1)),
    ("department", nested(30)),
]


async def test_a_claim_that_does_not_fit_signs_nobody_in_and_is_named_with_its_provider(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        async with browser_at(portal.url, issuer.url) as browser:
            for claim, value in (*UNFIT[:4], *UNFIT[10:-2:2], UNFIT[-1]):
                issuer.claims = {claim: value}
                page = await browser.open("/login/with/oidc?return=/logout")
                assert page.status == 403, (claim, str(value)[:50])
                assert f"Oidc says something of you that this portal cannot use: '{claim}'" in page.text
                assert SECRET not in page.html and len(page.html) < 4000
                assert await seen(portal, browser) is None
            issuer.claims = {"name": "a" * 500_000}
            page = await browser.open("/login/with/oidc?return=/logout")
            assert page.status == 403 and "'id_token' has more than" in page.text
            assert await portal.store.tokens.list(SESSION) == []
            issuer.claims = {"groups": ["staff"], "amr": ["pwd"], "department": nested(10)}
            assert (await browser.open("/login/with/oidc?return=/logout")).status == 200


@pytest.mark.parametrize(("claim", "value"), UNFIT)
def test_no_identity_is_made_of_a_claim_that_does_not_fit(claim: str, value: object) -> None:
    with pytest.raises(ClaimUnfit) as refused:
        identity_of(PROVIDER, {"sub": "ada", claim: value})
    assert f"Acme says something of you that this portal cannot use: '{claim}'" in str(refused.value)
    assert SECRET not in str(refused.value) and len(str(refused.value)) < 300


USER: dict[str, object] = {"id": 7, "login": "ada", "name": "Ada"}
UNFIT_AT_A_HUB: list[dict[str, Any]] = [
    {"user": {**USER, "id": True}},
    {"user": {**USER, "id": "7"}},
    {"user": {**USER, "id": 0}},
    {"user": {**USER, "id": 2**70}},
    {"user": {**USER, "id": 7.0}},
    {"user": {"login": "ada"}},
    {"user": {**USER, "login": "ada\0"}},
    {"user": {**USER, "name": "a" * 1000}},
    {"emails": [{"email": ["a"], "primary": True, "verified": True}]},
    {"organisations": [{"login": 7}]},
    {"organisations": [{"login": "a" * 600}]},
    {"teams": [{"slug": "x\0", "organization": {"login": "acme"}}]},
]


@pytest.mark.parametrize("said", UNFIT_AT_A_HUB)
def test_nor_where_plain_oauth_is_spoken(said: dict[str, Any]) -> None:
    with pytest.raises(ClaimUnfit, match="Hub says something of you"):
        github_identity(HUB, **{"user": USER, "emails": [], "organisations": [], "teams": [], **said})


def test_groups_are_read_as_providers_write_them() -> None:
    groups = ["staff", {"id": 42, "name": "engineers"}, {"name": "all", "email": "all@example.com"}]
    identity = identity_of(PROVIDER, {"sub": "ada", "groups": groups})
    assert identity.groups == (
        Group("staff", "staff"),
        Group("42", "engineers"),
        Group("all", "all", "all@example.com"),
    )


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["sub", "email", "name", "groups", "amr", "x"]), json))
def test_whatever_a_provider_says_is_refused_or_can_be_stored(claims: dict[str, object]) -> None:
    try:
        identity = identity_of(PROVIDER, claims)
    except ClaimUnfit as refused:
        assert "Acme" in str(refused)
    else:
        SESSION.text(SessionDocument(identity=identity))
        assert identity.id.removeprefix("acme:").strip() and identity.id.isprintable()
