"""The text to paste is valid for each client, and carries the address and the name of the portal."""

from __future__ import annotations

import json
import re
import shlex

from hypothesis import given
from hypothesis import strategies as st

from portal.home import CODE_MODE, client_setups, server_name

URL = f"http://127.0.0.1:8787/mcp{CODE_MODE}"
HTTPS = f"https://mcp.example.com/docs/mcp{CODE_MODE}"


def test_every_way_carries_the_url() -> None:
    for url in (URL, HTTPS):
        for way in client_setups(url):
            assert url in way.text and url in way.spread, way.client


def test_shell_lines_survive_the_shell() -> None:
    lines = [way.text for way in client_setups(URL) if way.language == "bash"]
    assert len(lines) == 3
    for line in lines:
        assert shlex.split(line)[-1] == URL


def test_documents_are_json_of_the_clients_form_on_one_line_and_on_several() -> None:
    ways = [way for way in client_setups(URL, "mine") if way.language == "json"]
    documents = [json.loads(way.text) for way in ways]
    assert [list(document) for document in documents] == [["mcpServers"], ["servers"], ["mcpServers"], ["mcpServers"]]
    assert all("mine" in servers for document in documents for servers in document.values())
    assert [json.loads(way.spread) for way in ways] == documents
    assert all("\n" in way.spread and "\n" not in way.text for way in ways)


def test_mcp_remote_needs_a_word_for_plain_http_only() -> None:
    assert "--allow-http" in client_setups(URL)[-1].text
    assert "--allow-http" not in client_setups("https://mcp.example.com/mcp")[-1].text


def test_a_connector_of_claude_is_offered_where_claude_could_reach_the_portal() -> None:
    def clients(url: str) -> list[str]:
        return [way.client for way in client_setups(url) if "claude.ai" in way.client]

    assert clients(HTTPS) and not clients(URL)


def test_a_client_that_may_not_register_is_shown_with_what_its_administrator_must_write() -> None:
    notes = {way.client: way.note for way in client_setups(HTTPS, allows=lambda uri: uri.startswith("cursor:"))}
    assert "https://claude.ai/api/mcp/auth_callback to allowed_uris" in notes["Claude Desktop and claude.ai"]
    assert notes["Cursor"] == ""


@given(st.text(max_size=120))
def test_a_server_name_is_one_word_for_every_client(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", found := server_name(name)) and len(found) <= 40


def test_a_server_name_is_that_of_the_portal_as_far_as_it_can_be_typed() -> None:
    assert server_name("Acme Tools") == "acme-tools"
    assert server_name("  Café / Ops! ") == "cafe-ops"
    assert server_name("כלים", "docs") == "docs"
