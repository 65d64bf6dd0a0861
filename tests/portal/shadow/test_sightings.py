"""Requests become sightings: what goes around the portals, and what goes through them; all of it bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.shadow import Certainty, EndpointPlace, Hosts, LogFile, LogRequest, Portals, Sightings, Window, report_json
from portal.shadow.report import shown, shown_path
from portal.shadow.sightings import MAX_CALLERS_EACH
from tests.portal.shadow.logs import squid, squid_connect

POST = LogRequest(host="mcp.example.com", path="/mcp", method="POST", status=200, at=1_000.0, address="192.0.2.1")
PORTAL = EndpointPlace.of("https://agents.example.com/")


def test_requests_of_one_endpoint_are_one_sighting_with_its_callers() -> None:
    sightings = Sightings()
    sightings.add(replace(POST, at=50.0))
    sightings.add(replace(POST, at=None))
    sightings.add(replace(POST, at=10.0, port=443, user="alice", agent="claude-code/2.1", protocol=True))
    sightings.add(replace(POST, method="GET", host="possible.example.com", at=99.0))
    first, second = sightings.report().sightings
    assert (first.place, first.certainty, first.requests) == ("mcp.example.com/mcp", Certainty.CERTAIN, 3)
    assert (first.first, first.last) == (10.0, 50.0)
    assert [(caller.user, caller.requests) for caller in first.callers] == [("", 2), ("alice", 1)]
    assert (second.place, second.certainty) == ("possible.example.com/mcp", Certainty.POSSIBLE)
    assert sightings.report().found


def test_what_is_only_possible_counts_as_nothing_found() -> None:
    sightings = Sightings()
    sightings.add(replace(POST, method="GET"))
    report = sightings.report()
    assert len(report.sightings) == 1 and not report.found


def test_requests_to_a_portal_are_counted_and_not_reported() -> None:
    sightings = Sightings(Portals((PORTAL,)))
    for port in (None, 443):
        sightings.add(replace(POST, host="agents.example.com", port=port))
    sightings.add(replace(POST, host="agents.example.com", path=None, method="CONNECT", port=443))
    sightings.add(replace(POST, host="agents.example.com", path="/login"))
    sightings.add(replace(POST, host="agents.example.com", port=8443))
    report = sightings.report()
    assert report.through_portals == 3
    assert [sighting.place for sighting in report.sightings] == ["agents.example.com:8443/mcp"]


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "has"),
    [
        ("https://a.example.com/team/mcp", "a.example.com", None, "/team/mcp", True),
        ("https://a.example.com/team/mcp", "a.example.com", None, "/team/mcp/", True),
        ("https://a.example.com/team/mcp", "a.example.com", None, "/other/mcp", False),
        ("https://a.example.com/team/mcp", "a.example.com", 443, None, True),
        ("https://a.example.com/team", "a.example.com", None, "/teams/mcp", False),
        ("http://127.0.0.1:8787/mcp", "127.0.0.1", 8787, "/mcp", True),
        ("http://127.0.0.1:8787/mcp", "127.0.0.1", None, "/mcp", False),
        ("http://127.0.0.1:8787/mcp", "127.0.0.1", 9000, "/mcp", False),
    ],
)
def test_which_requests_go_to_a_place(url: str, host: str, port: int | None, path: str | None, has: bool) -> None:
    assert EndpointPlace.of(url).has(LogRequest(host=host, port=port, path=path)) is has


def test_a_server_behind_a_portal_is_named_and_the_portals_own_requests_to_it_are_not_reported() -> None:
    servers = (("tickets", EndpointPlace.of("https://tickets.example.com/mcp")),)
    request = replace(POST, host="tickets.example.com")
    by_agent = Sightings(Portals((PORTAL,), servers))
    by_agent.add(request)
    by_agent.add(replace(request, agent="codemode-portal"))
    by_agent.add(replace(POST, agent="codemode-portal"))
    report = by_agent.report()
    assert {(one.place, one.server) for one in report.sightings} == {
        ("tickets.example.com/mcp", "tickets"),
        ("mcp.example.com/mcp", ""),
    }
    assert report.by_portals == 1
    # Where the portals connect from is known, nobody is believed to be one by name.
    by_address = Sightings(Portals((PORTAL,), servers, frozenset({"192.0.2.9"})))
    by_address.add(replace(request, agent="codemode-portal"))
    by_address.add(replace(request, address="192.0.2.9"))
    report = by_address.report()
    assert (len(report.sightings), report.by_portals) == (1, 1)


@pytest.mark.parametrize(
    ("method", "path", "certainty"),
    [("POST", "/rpc", Certainty.LIKELY), ("CONNECT", None, Certainty.POSSIBLE), ("POST", "/other", None)],
)
def test_the_address_of_a_server_behind_a_portal_is_a_sign_whatever_it_is_called(
    method: str, path: str | None, certainty: Certainty | None
) -> None:
    portals = Portals(servers=(("tools", EndpointPlace.of("https://tools.test/rpc")),))
    sightings = Sightings(portals)
    log = LogFile("a.log", portals.words)
    request = replace(POST, host="tools.test", path=path, method=method, at=1_796_000_000.0)
    line = squid_connect(request) if path is None else squid(request)
    for found in (*log.feed(line.encode()), *log.end()):
        sightings.add(found)
    assert [(one.certainty, one.server) for one in sightings.report().sightings] == (
        [(certainty, "tools")] if certainty is not None else []
    )


def test_only_the_window_and_the_hosts_that_are_asked_for_count() -> None:
    sightings = Sightings(window=Window(10.0, 20.0), hosts=Hosts.of(["*.Example.com", "one.test"]))
    for at in (9.0, 10.0, 19.0, 20.0, None):
        sightings.add(replace(POST, at=at))
    for host in ("example.com", "one.test", "two.test"):
        sightings.add(replace(POST, host=host, at=10.0))
    counted = {sighting.host: sighting.requests for sighting in sightings.report().sightings}
    assert counted == {"mcp.example.com": 3, "one.test": 1}


def test_a_request_without_a_host_is_of_the_site_that_was_named() -> None:
    for site, place in (("", "?/mcp"), ("shop.example.com", "shop.example.com/mcp")):
        sightings = Sightings(site=site)
        sightings.add(replace(POST, host=""))
        assert [sighting.place for sighting in sightings.report().sightings] == [place]


def test_a_flood_of_names_pushes_out_nothing_that_is_certain_and_is_counted() -> None:
    sightings = Sightings(places=10, callers=100)
    for at in range(1_000):
        sightings.add(replace(POST, host=f"mcp.{at}.test", path=None, method="CONNECT"))
    for at in range(12):
        sightings.add(replace(POST, path=f"/{at}/mcp", protocol=True))
    report = sightings.report()
    assert len(report.sightings) == 20
    assert report.left_out == {Certainty.CERTAIN: 2, Certainty.LIKELY: 0, Certainty.POSSIBLE: 990}


def test_callers_beyond_the_bound_are_counted() -> None:
    sightings = Sightings()
    for at in range(MAX_CALLERS_EACH + 7):
        sightings.add(replace(POST, address=f"10.0.0.{at}"))
    [sighting] = sightings.report().sightings
    assert (len(sighting.callers), sighting.more_callers) == (MAX_CALLERS_EACH, 7)


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/api/mcp/s/OWI3ZjQ1YjMtNzU2Zi00/mcp", "/api/mcp/s/…/mcp"),
        ("/mcp/9b7f45b3-756f-4c1e-9d55-1f3b1a2c3d4e/sse", "/mcp/…/sse"),
        ("/mcp/sk-ak-Zx81kd02/sse", "/mcp/…/sse"),
        ("/mcp%3Ftoken=abc", "/mcp"),
        ("/v1/customer-records/mcp", "/v1/customer-records/mcp"),
        ("/a\x1b[2Jb\u202e/mcp", "/a\ufffd[2Jb\ufffd/mcp"),
    ],
)
def test_keys_in_a_path_are_not_shown(path: str, seen: str) -> None:
    assert shown_path(path) == seen


@given(text=st.text())
def test_nothing_that_is_shown_controls_a_terminal(text: str) -> None:
    assert shown(text).isprintable() and len(shown(text)) == len(text)
    assert shown_path(text).isprintable() and len(shown_path(text)) <= 200


@given(agent=st.text(max_size=20), user=st.text(max_size=20), address=st.text(max_size=20))
def test_a_report_is_printable_whatever_a_log_says(agent: str, user: str, address: str) -> None:
    sightings = Sightings()
    sightings.add(replace(POST, agent=agent, user=user, address=address))
    [sighting] = sightings.report().sightings
    [caller] = sighting.callers
    assert (caller.address + caller.user + caller.agent).isprintable()
    assert report_json(sightings.report())["found"] is True
