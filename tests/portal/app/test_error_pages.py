"""What a browser is shown at a wrong address, at every portal: what is wrong and what to do, in our own words."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from portal.pages import Design
from tests.portal.app.many_portals import http_client, many_portals
from tests.portal.login.guarded import guarded_portal
from tests.portal.portals import portal_over

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
NAVIGATION = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FETCHED = {"Accept": "*/*", "Sec-Fetch-Mode": "cors"}
# What Starlette, uvicorn and Python's http say.
OTHERS_WORDS = (
    "Not Found",
    "Method Not Allowed",
    "Invalid HTTP",
    "Internal Server Error",
    "Too many fields",
    "Traceback",
)


def is_page(answer: httpx2.Response) -> bool:
    return answer.headers["content-type"].startswith("text/html") and "<h1>" in answer.text


async def test_a_wrong_parameter_is_named_with_the_right_address_and_the_way_to_the_home_page(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, http_client() as http:
        for place in many.places:
            for query in ("?codemode=nonsense", "?Codemode=off", "?codemode=off&optimize_context=minimize_tools"):
                page = await http.get(place.mcp + query, headers=NAVIGATION)
                assert is_page(page) and "This address has a mistake" in page.text and "Allowed: ?" in page.text
                assert f'<p class="where">{place.mcp}</p>' in page.text
                assert f'href="{place.prefix}/"' in page.text
            page = await http.get(f"{place.mcp}?codemode=off", headers=NAVIGATION)
            assert "This is an MCP portal" in page.text and "mistake" not in page.text
            for headers in (FETCHED, {"Accept": "application/json, text/event-stream"}):
                answer = await http.get(f"{place.mcp}?codemode=nonsense", headers=headers)
                assert answer.headers["content-type"] == "application/json", answer.text


async def test_the_same_where_nobody_signs_in(tmp_path: Path) -> None:
    async with portal_over({}) as portal, http_client() as http:
        page = await http.get(f"{portal.mcp}?codemode=nonsense", headers=NAVIGATION)
        assert page.status_code == 400 and is_page(page) and "This address has a mistake" in page.text
        answer = await http.get(f"{portal.mcp}?codemode=nonsense")
        assert answer.status_code == 400 and "&#39;" not in answer.json()["error"]["message"]


async def test_a_wrong_path_is_a_page_of_its_portal(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, http_client() as http:
        for place in many.places:
            name = (await many.identity(place).login.directory.rules()).design.name
            page = await http.get(f"{place.url}/no/such/page", headers=NAVIGATION)
            assert page.status_code == 404 and is_page(page)
            assert f"Go to <bdi>{name}</bdi>" in page.text and f'href="{place.prefix}/"' in page.text


async def test_a_failure_of_the_portal_is_a_page_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*values: object) -> None:
        raise RuntimeError("a secret of the program")

    monkeypatch.setattr("portal.home.routes.connecting", fail)
    async with guarded_portal(tmp_path, name="Acme tools") as portal, http_client() as http:
        page = await http.get(f"{portal.url}/", headers=NAVIGATION)
        assert page.status_code == 500 and is_page(page) and "The portal failed" in page.text
        assert "Acme tools" in page.text and f"--background: {Design().background}" in page.text
        answer = await http.get(f"{portal.url}/", headers=FETCHED)
        assert answer.status_code == 500 and answer.json()["error"]["data"] == {"reason": "crash"}
        for said in (page.text, answer.text):
            assert "RuntimeError" not in said and "a secret" not in said


async def test_no_library_speaks_in_an_error(tmp_path: Path) -> None:
    fields = {f"field{number}": "x" for number in range(400)}
    async with guarded_portal(tmp_path) as portal, http_client() as http:
        for headers in (FETCHED, NAVIGATION):
            for method, path in (
                ("GET", "/no/such/page"),
                ("PUT", "/login"),
                ("DELETE", "/"),
                ("GET", "/logout/agent"),
                ("PATCH", "/healthz"),
                ("GET", "/client/v4/nothing"),
                ("DELETE", "/client/v4/accounts/none/access/organizations"),
            ):
                answer = await http.request(method, portal.url + path, headers=headers)
                assert answer.status_code in (404, 405), (method, path)
                said = answer.text.partition('<p class="small status">')[0]
                assert not any(words in said for words in OTHERS_WORDS), said
            answer = await http.post(f"{portal.url}/login/pin", data=fields, headers=headers)
            assert answer.status_code == 400 and not any(words in answer.text for words in OTHERS_WORDS[2:])
