"""The small decisions of the login: where it leads, whose address it believes, how long, how often, how it looks."""

from __future__ import annotations

import ipaddress
import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.config.durations import read_duration, write_duration
from portal.http import PortalAddress, Refusal, client_ip, cookie_name
from portal.http.origin import Origins
from portal.http.rates import Rate
from portal.identity import Group, Identity, identity_document, identity_from
from portal.objects import AppDocument
from portal.pages.pages import csp_source
from portal.pages.returns import safe_return
from portal.pages.rules import DENIED, LoginRules, RulesInvalid, read_rules, with_application
from portal.pages.visitor import Visitor
from tests.house.source import ROOT

BASE = "https://portal.example.com"
text = st.text(max_size=60)


@given(st.one_of(text, text.map(lambda rest: "/" + rest), text.map(lambda rest: "//" + rest)))
def test_a_return_never_leads_to_another_site(target: str) -> None:
    found = safe_return(target, "")
    assert found.startswith("/")
    # As browsers read it: backslashes are slashes, tabs and line breaks are nothing.
    read = "".join(character for character in found.replace("\\", "/") if character not in "\t\r\n")
    assert urlsplit(urljoin(BASE, read)).netloc == "portal.example.com"


def test_a_path_of_ours_with_its_query_is_kept() -> None:
    assert safe_return("/authorize/consent?request=abc%20d", "") == "/authorize/consent?request=abc%20d"
    assert safe_return("/docs/authorize/consent?request=a/../b", "/docs") == "/docs/authorize/consent?request=a/../b"


segments = st.lists(
    st.sampled_from(["docs", "ops", "login", "authorize", "..", ".", "%2e%2E", ".%2e", "", "\\..", "%252e%252e"]),
    max_size=6,
)


@given(segments, st.sampled_from(["", "/docs"]))
def test_a_return_never_leads_to_another_portal(parts: list[str], prefix: str) -> None:
    found = safe_return("/" + "/".join(parts), prefix)
    # As browsers resolve it (URL Standard, "path state"): %2e is a dot there, and a backslash is a slash.
    dotted = found.replace("%2e", ".").replace("%2E", ".").replace("\\", "/")
    path = urlsplit(urljoin(BASE + "/docs/login", dotted)).path
    assert path.startswith(prefix + "/")
    assert not path.startswith(("/ops", "/docs")[: 1 if prefix else 2])


def test_a_cookie_has_the_name_of_its_portal_and_with_tls_no_other_host_can_set_it() -> None:
    assert cookie_name("portal_session", PortalAddress(BASE)) == "__Host-portal_session"
    assert cookie_name("portal_session", PortalAddress(BASE, "/docs")) == "__Host-portal_session-docs"
    assert cookie_name("portal_session", PortalAddress("http://localhost:8787", "/docs")) == "portal_session-docs"


def visitor(key: str, address: PortalAddress) -> Visitor:
    return Visitor(key, False, address, "127.0.0.1")


@given(st.lists(st.sampled_from(["", "/docs", "/ops"]), min_size=2, max_size=2, unique=True))
def test_what_is_begun_at_one_portal_is_not_owned_at_another_of_that_host(prefixes: list[str]) -> None:
    here, there = (visitor("k" * 43, PortalAddress(BASE, prefix)) for prefix in prefixes)
    assert here.owns(here.binding) and here.sent(here.form_token())
    assert not there.owns(here.binding)
    assert not there.sent(here.form_token())
    assert here.sign("pin") != there.sign("pin")


@given(st.integers(min_value=1, max_value=10_000_000))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    assert read_duration(write_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@given(text)
def test_any_text_is_a_duration_or_refused(written: str) -> None:
    try:
        assert timedelta() <= read_duration(written) <= timedelta(days=3660)
    except ValueError as error:
        assert "must be" in str(error)


def scope(peer: str, *forwarded: str) -> dict[str, Any]:
    return {"client": (peer, 1), "headers": [(b"x-forwarded-for", line.encode()) for line in forwarded]}


def test_forwarded_addresses_are_believed_from_configured_proxies_only() -> None:
    proxies = [ipaddress.ip_network("10.0.0.0/8")]
    assert client_ip(scope("203.0.113.9", "1.1.1.1"), proxies) == "203.0.113.9"
    assert client_ip(scope("10.0.0.1", "1.1.1.1"), ()) == "10.0.0.1"
    assert client_ip(scope("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2"), proxies) == "1.1.1.1"
    assert client_ip(scope("10.0.0.1", "6.6.6.6", "1.1.1.1"), proxies) == "1.1.1.1"
    assert client_ip(scope("10.0.0.1", "1.1.1.1, nonsense"), proxies) == "10.0.0.1"
    assert client_ip(scope("::ffff:10.0.0.1", "1.1.1.1, ::ffff:10.0.0.2"), proxies) == "1.1.1.1"
    assert client_ip(scope("::ffff:203.0.113.9", "1.1.1.1"), proxies) == "::ffff:203.0.113.9"


@given(st.lists(st.ip_addresses().map(str), max_size=4), st.ip_addresses(v=4).filter(lambda ip: not ip.is_private))
def test_whatever_a_stranger_forwards_his_own_address_counts(claimed: list[str], peer: ipaddress.IPv4Address) -> None:
    proxies = [ipaddress.ip_network("10.0.0.0/8")]
    assert client_ip(scope(str(peer), *claimed), proxies) == str(peer)
    assert client_ip(scope("10.0.0.1", *claimed, str(peer)), proxies) == str(peer)


def test_attempts_come_back_with_time_and_each_key_has_its_own() -> None:
    time = [0.0]
    rate = Rate(burst=2, per_minute=1, clock=lambda: time[0])
    assert [rate.allows("a") for _ in range(3)] == [True, True, False]
    assert rate.allows("b")
    time[0] = 61.0
    assert [rate.allows("a"), rate.allows("a")] == [True, False]
    rate.forgive("a")
    assert rate.allows("a")


def test_a_public_url_is_https_or_loopback_and_nothing_but_an_origin() -> None:
    assert Origins("HTTPS://Portal.example.com:443/").public_url == "https://portal.example.com"
    for bad in ("http://portal.example.com", "https://portal.example.com/path", "portal.example.com", "ftp://x"):
        with pytest.raises(ValueError, match="must be"):
            Origins(bad)


def test_without_a_public_url_only_loopback_names_are_an_origin() -> None:
    def asked(host: str) -> str:
        return Origins().of({"headers": [(b"host", host.encode())]})

    assert asked("LOCALHOST:8787") == "http://localhost:8787"
    for host in ("portal.example.com", "127.0.0.1.evil.example", "localhost@evil.example"):
        with pytest.raises(Refusal):
            asked(host)


def test_the_words_for_who_has_no_access_are_cloudflares() -> None:
    assert DENIED == "That account does not have access"
    assert LoginRules().block.message == DENIED


def app_of(members: dict[str, Any]) -> AppDocument:
    return AppDocument.model_validate(members)


def test_what_an_application_names_replaces_the_settings() -> None:
    rules = read_rules({"allowed_idps": ["okta"], "login_design": {"logo_path": "https://acme.example/a.svg"}}, "Docs")
    # As the admin API stores an application of which nobody said more than its domain.
    plain: dict[str, Any] = {"type": "mcp_portal", "session_duration": "24h", "allowed_idps": [], "logo_url": None}
    assert with_application(rules, app_of({**plain, "auto_redirect_to_identity": False})) == rules
    named = app_of({**plain, "allowed_idps": ["github"], "logo_url": "https://acme.example/b.svg"})
    other = with_application(rules, named)
    assert (other.design.name, other.design.logo) == ("Docs", "https://acme.example/b.svg")
    assert (other.providers, other.instant) == (("github",), False)
    assert with_application(rules, app_of({**plain, "auto_redirect_to_identity": True})).instant
    # A page loads nothing in clear.
    in_clear = app_of({**plain, "logo_url": "http://acme.example/b.svg"})
    assert with_application(rules, in_clear).design.logo == rules.design.logo


@pytest.mark.parametrize(
    ("settings", "application", "lasts"),
    [("24h", "24h", "24h"), ("30m", "24h", "30m"), ("720h", "24h", "24h"), ("30m", "8h", "8h"), ("720h", "0s", "1m")],
)
def test_the_session_of_a_portal_lasts_as_its_application_says(settings: str, application: str, lasts: str) -> None:
    rules = with_application(
        read_rules({"session_duration": settings}), app_of({"type": "mcp_portal", "session_duration": application})
    )
    assert rules.session_duration == read_duration(lasts)


@given(st.text(max_size=400))
def test_the_name_of_a_portal_is_one_line(name: str) -> None:
    shown = read_rules({}, name).design.name
    assert shown and len(shown.splitlines()) == 1


def test_the_settings_of_the_chapter_are_read() -> None:
    chapter = (ROOT / "portal" / "login" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```json\n(.*?)```", chapter, re.DOTALL)
    assert found is not None
    rules = read_rules(json.loads(found[1]))
    assert (rules.design.name, rules.instant, rules.providers) == ("Acme tools", True, ("okta",))


@pytest.mark.parametrize(
    "document",
    [
        {"login_design": {"background_color": "red;} body {display:none"}},
        {"login_design": {"logo_path": "javascript:alert(1)"}},
        {"login_design": {"logo_path": "https://x.example; script-src *"}},
        {"login_design": ["red"]},
        {"custom_deny_url": "http://intranet.example"},
        {"session_duration": "1s"},
        {"session_duration": "for ever"},
        {"allowed_idps": "all"},
        {"name": "x" * 101},
    ],
)
def test_settings_that_could_break_out_of_a_page_or_mean_nothing_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(RulesInvalid, match="must be"):
        read_rules(document)


@given(st.one_of(text, text.map(lambda rest: "https://" + rest), text.map(lambda rest: rest + "://x")))
def test_no_url_adds_a_directive_to_the_policy_of_a_page(url: str) -> None:
    try:
        source = csp_source(url)
    except ValueError:
        return
    assert not set(source) & set(" ;,'\"*")


@given(text, text, st.lists(st.builds(Group, text, text, text), max_size=3), st.lists(text, max_size=2))
def test_an_identity_survives_its_row(id: str, email: str, groups: list[Group], methods: list[str]) -> None:
    identity = Identity(
        id=id, email=email, groups=tuple(groups), auth_methods=tuple(methods), claims={"department": [1, None]}
    )
    assert identity_from(identity_document(identity)) == identity


def test_the_addresses_of_one_network_are_counted_together() -> None:
    rate = Rate(burst=3, per_minute=1, clock=lambda: 0.0)
    assert [rate.allows(f"2001:db8:1:2::{number:x}") for number in range(5)] == [True] * 3 + [False] * 2
    assert rate.allows("2001:db8:1:3::1")
    rate.forgive("2001:db8:1:2::ffff")
    assert rate.allows("2001:db8:1:2::1")
