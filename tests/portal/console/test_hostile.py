"""Every page and form of the console, with whatever a stranger to it could put into its path, its query and its fields:
none is a fault of the portal, none shows it as HTML, and each has the headers under which nothing foreign runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from starlette.routing import Route

import portal.console
from portal.admin.tokens import API_TOKEN
from portal.app.console import ConsoleDoor
from portal.export import EXPORT_JOB
from portal.home import Connecting
from portal.http import PortalAddress
from portal.oauth import SERVICE_TOKEN
from portal.objects import (
    APP,
    CUSTOM_PAGE,
    DLP_PROFILE,
    FLOW_RULE,
    GATEWAY_RULE,
    GROUP,
    IDENTITY_PROVIDER,
    LIST,
    POLICY,
    PORTAL,
    QUOTA,
    SERVER,
    PageDocument,
)
from portal.pages import ASSETS_PATH
from portal.state import Kind, plain
from tests.deep import WHOLE, sixth
from tests.portal.console.test_traffic_read_only import filled
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Guarded, guarded_portal, sign_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
FOLDER = Path(portal.console.__file__).parent
EVIL = "<script>alert(1)</script>"
IDS = (
    *("%2e%2e", "a%2fb", "%2f%2fevil.example", "%5c%5cevil.example", "%00", "%0d%0aX-Evil:1", "%3fa%23b"),
    *("%E2%80%AE", "%ff%fe", "x" * 257, quote(EVIL, safe=""), "javascript:alert(1)"),
)
VALUES = (
    *("", "0", "-1", "9" * 400, "1e999", "nan", "\0", EVIL, "\u202e\u2028", "//evil.example", "javascript:alert(1)"),
    *("a" * 700, "a\r\nX-Evil: 1", "2026-02-30T99:99:99Z", "²", "null", "[]", '{"a": ' * 30),
)
ODD = ("broken", "s1")
"""Ids of stored objects: one cannot be read, one has hostile names."""
ROUNDS = range(5)
KINDS: tuple[Kind[Any], ...] = (
    *(SERVER, PORTAL, APP, POLICY, GROUP, LIST, IDENTITY_PROVIDER, CUSTOM_PAGE, SERVICE_TOKEN, API_TOKEN),
    *(GATEWAY_RULE, DLP_PROFILE, FLOW_RULE, QUOTA, EXPORT_JOB),
)


def named(pattern: str) -> list[str]:
    """The names that the sources of the console have where this pattern finds them."""
    sources = [*FOLDER.glob("*.py"), *FOLDER.glob("templates/*.html")]
    return sorted({name for source in sources for name in re.findall(pattern, source.read_text(encoding="utf-8"))})


QUERIES = named(r'query\("(\w+)"') + ["said", "return"]
FIELDS = named(r'(?:sent|ticked|lines)\("([\w-]+)"') + named(r'name="([\w-]+)"')


def routes_of(portal: Guarded) -> list[Route]:
    def connect(address: PortalAddress) -> Connecting:
        raise AssertionError("nothing is asked here")

    found = ConsoleDoor(portal.instance.shared).routes(portal.identity.login, connect)
    return [one for one in found if isinstance(one, Route) and not one.path.startswith(ASSETS_PATH)]


def paths_of(route: Route, ids: Iterable[str]) -> Iterator[str]:
    """The paths of a route with each of these ids in the place of its parameters."""
    if "{" not in route.path:
        yield route.path
    else:
        yield from (
            "".join(id if part.startswith("{") else part for part in re.split(r"({[^}]+})", route.path)) for id in ids
        )


async def stored(portal: Guarded) -> None:
    """Objects with hostile names, and objects that cannot be read."""
    await filled(portal)
    store = portal.store
    server = {"name": EVIL, "hostname": "https://s.example/mcp", "auth_type": "bearer", "description": EVIL}
    await store.create(plain(SERVER.name), "s1", {**server, "updated_tools": [{"name": EVIL, "alias": "x"}]}, by=EVIL)
    at = {"name": f"\u202e{EVIL}", "hostname": "p.example", "servers": [{"server_id": "s1"}]}
    await store.create(plain(PORTAL.name), "s1", at, by=EVIL)
    await store.create(plain(LIST.name), "s1", {"name": EVIL, "type": "EMAIL", "items": []}, by=EVIL)
    page = PageDocument(name=EVIL, type="forbidden", custom_html=EVIL)
    await store.create(CUSTOM_PAGE, "s1", page, by=EVIL)
    rules = {"name": EVIL, "include": [{"email": {"email": f"{EVIL}@example.com"}}]}
    await store.create(plain(GROUP.name), "s1", rules, by=EVIL)
    await store.create(plain(POLICY.name), "s1", {**rules, "decision": "allow"}, by=EVIL)
    for kind in KINDS:
        await store.create(
            plain(kind.name), "broken", {"name": [EVIL], "newer": {"than": "this"}}, by="a newer version"
        )


def various(names: list[str], round: int) -> dict[str, str]:
    """A hostile value for each of these names, another one in each round."""
    return {name: VALUES[(place * len(ROUNDS) + round) % len(VALUES)] for place, name in enumerate(names)}


def fault(answer: httpx2.Response) -> str:
    """What is wrong with an answer, "" for nothing."""
    if answer.status_code >= 500:
        return f"status {answer.status_code}"
    if EVIL in answer.text:
        return "HTML of somebody else"
    if answer.status_code != 303 and "html" in answer.headers.get("content-type", ""):
        policy = answer.headers.get("content-security-policy", "")
        if "default-src 'none'" not in policy or "frame-ancestors 'none'" not in policy:
            return f"the policy {policy!r}"
    if "no-store" not in answer.headers.get("cache-control", ""):
        return "it is cached"
    if answer.headers.get("x-evil"):
        return "a header of somebody else"
    target = answer.headers.get("location", "/admin")
    if re.match(r"(/[/\\]|[a-z]+:|\\)", target):
        return f"it leads to {target!r}"
    return ""


@WHOLE
async def test_no_id_and_no_query_is_a_fault_of_any_page(whole: bool, tmp_path: Path) -> None:
    faults, statuses = [], Counter[int]()
    async with guarded_portal(tmp_path, has_log=True) as portal, browser_at(portal.url) as person:
        await portal.account()
        await sign_in(person, await person.open("/admin"))
        await stored(portal)
        pages = [one for one in routes_of(portal) if "GET" in (one.methods or ())]
        assert len(pages) > 50
        quoted, seen = "&lt;script&gt;alert(1)", 0
        for place, route in enumerate(pages):
            ids, rounds = (*ODD, *sixth(IDS, place, whole)), ROUNDS if whole else (place % 5, (place + 2) % 5)
            asked: list[tuple[str, dict[str, str] | None]] = [(path, None) for path in paths_of(route, ids)]
            asked += [(path, various(QUERIES, one)) for path in paths_of(route, ("s1",)) for one in rounds]
            for path, query in asked:
                answer = await person.client.get(
                    portal.url + path, params=query, headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
                )
                statuses[answer.status_code] += 1
                seen += quoted in answer.text
                if wrong := fault(answer):
                    faults.append((path[:80], str(query)[:90], wrong))
    # They were really asked: pages are shown, hostile names are on them, and what cannot be read is refused as that.
    assert statuses[200] > len(pages) and statuses[409] > 5 and seen > 50, (statuses, seen)
    assert not faults, "\n".join(map(str, faults))


@WHOLE
async def test_no_id_and_no_field_is_a_fault_of_any_form(whole: bool, tmp_path: Path) -> None:
    faults, statuses = [], Counter[int]()
    async with guarded_portal(tmp_path, has_log=True) as portal, browser_at(portal.url) as person:
        await portal.account()
        await sign_in(person, await person.open("/admin"))
        await stored(portal)
        token = (await person.open("/logout")).form("/logout").fields
        forms = [one for one in routes_of(portal) if "POST" in (one.methods or ())]
        assert len(forms) > 40
        for place, route in enumerate(forms):
            ids, rounds = (*ODD, *sixth(IDS, place, whole)), ROUNDS if whole else (place % 5, (place + 2) % 5)
            sent = [(path, dict.fromkeys(FIELDS, "x")) for path in paths_of(route, ids)]
            sent += [(path, various(FIELDS, one)) for path in paths_of(route, ("s1",)) for one in rounds]
            for path, fields in sent:
                answer = await person.client.post(
                    portal.url + path,
                    data=fields | token,
                    headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"},
                )
                statuses[answer.status_code] += 1
                if wrong := fault(answer):
                    faults.append((path[:80], str(fields)[:90], wrong))
    # The token of the form was taken: nothing was refused before it was looked at.
    assert statuses[303] > 5 and statuses[400] > len(forms) // 2 and statuses[409] > 5 and not statuses[403], statuses
    assert not faults, "\n".join(map(str, faults))
