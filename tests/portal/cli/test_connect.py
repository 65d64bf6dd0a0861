"""The text to paste is valid for each client and turns on code mode."""

from __future__ import annotations

import json
import shlex

from portal.cli.show.connect import client_setups

URL = "http://127.0.0.1:8787/mcp"


def test_every_way_carries_the_url_in_code_mode() -> None:
    for way in client_setups(URL):
        assert f"{URL}?codemode=search_and_execute" in way.text


def test_shell_lines_survive_the_shell() -> None:
    [line] = [way.text for way in client_setups(URL) if way.language == "bash"]
    assert shlex.split(line)[-1] == f"{URL}?codemode=search_and_execute"


def test_documents_are_json_of_the_clients_form() -> None:
    documents = [json.loads(way.text) for way in client_setups(URL, "mine") if way.language == "json"]
    assert [list(document) for document in documents] == [["mcpServers"], ["servers"], ["mcpServers"]]
    assert all("mine" in servers for document in documents for servers in document.values())


def test_mcp_remote_needs_a_word_for_plain_http_only() -> None:
    assert "--allow-http" in client_setups(URL)[-1].text
    assert "--allow-http" not in client_setups("https://mcp.example.com/mcp")[-1].text
