"""The servers of several clients come together in one document: each once, each with a name of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from portal.clients import CarriedServer, ClientFile, ClientServer, Machine, Takeover, carry, servers_in
from portal.clients import read_client_file as read
from portal.clients.merging import MAX_NAME, take_over
from portal.config import parse_config, server_id
from tests.portal.clients.machines import IS_PORTAL, URL, machine_in, named, three_clients, written

MACHINE = Machine("linux", Path("/users/ada"), Path("/work"), {})


def of(client: str, name: str, entry: Mapping[str, Any]) -> CarriedServer:
    file = ClientFile(named(client), Path("/users/ada/x.json"), "user")
    return carry(ClientServer(file, (named(client).section,), name, dict(entry), MACHINE.folder, True), MACHINE)


def merged(*carried: CarriedServer, existing: Mapping[str, Any] | None = None) -> Takeover:
    return take_over(existing or {}, carried, IS_PORTAL)


def test_the_servers_of_three_clients_are_there_once(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    servers = [
        one for file in three_clients(machine).values() for one in servers_in(file, read(file, machine), machine)
    ]
    assert len(servers) == 8
    found = take_over({}, [carry(one, machine) for one in servers], IS_PORTAL)
    assert list(found.added) == ["github", "files", "db", "files-cursor", "notes", "docs", "time"]
    assert len(found.names) == 8 and found.private
    assert found.added["github"]["headers"] == {"Authorization": "Bearer ghp_0123456789"}
    assert "`files` of Cursor is called `files-cursor` here: there is another server of that name." in found.sentences


def test_the_same_command_is_the_same_server_under_any_name_and_in_both_spellings_of_a_variable() -> None:
    found = merged(
        of("cursor", "a", {"command": "x", "args": ["1"], "env": {"K": "${env:T}"}}),
        of("claude-code", "b", {"type": "stdio", "command": "x", "args": ["1"], "env": {"K": "${T}"}}),
    )
    assert list(found.added) == ["a"]
    assert [name for _, name in found.names] == ["a", "a"]
    assert "`b` of Claude Code is the same server as `a`, and is there once." in found.sentences


def test_other_words_or_variables_make_another_server() -> None:
    plain = {"command": "x", "args": ["1"], "env": {"K": "v"}}
    others = [{**plain, "args": ["2"]}, {**plain, "env": {"K": "w"}}, {**plain, "command": "y"}]
    found = merged(of("cursor", "a", plain), *(of("codex", "a", other) for other in others))
    assert list(found.added) == ["a", "a-codex", "a-codex-2", "a-codex-3"]


def test_another_account_at_the_same_url_is_another_server_and_no_account_is_the_same() -> None:
    url = "https://a.example/mcp"
    found = merged(
        of("cursor", "a", {"url": url, "headers": {"Authorization": "Bearer of-one-person"}}),
        of("vscode", "a", {"url": url, "headers": {"authorization": "Bearer of-one-person"}}),
        of("gemini", "a", {"httpUrl": url}),
        of("codex", "a", {"url": url, "http_headers": {"Authorization": "Bearer of-another"}}),
    )
    assert list(found.added) == ["a", "a-codex"]


def test_a_header_without_which_nobody_is_let_in_is_not_lost_to_a_client_without_it() -> None:
    url, headers = "https://a.example/mcp", {"Authorization": "Bearer of-one-person"}
    found = merged(of("cursor", "a", {"url": url, "headers": headers}), existing={"a": {"url": url, "timeout": 5}})
    assert found.added == {"a": {"url": url, "timeout": 5, "headers": headers}}
    assert found.private
    with_login = {"a": {"url": url, "oauth": {"clientId": "x"}}}
    assert merged(of("cursor", "a", {"url": url, "headers": headers}), existing=with_login).added == {}


def test_what_is_there_already_is_not_written_again() -> None:
    existing = {"mine": {"command": "x", "args": ["1"]}}
    found = merged(of("cursor", "a", {"command": "x", "args": ["1"]}), existing=existing)
    assert found.added == {} and [name for _, name in found.names] == ["mine"]


def test_the_portal_itself_and_a_bridge_to_it_stay_out() -> None:
    found = merged(
        of("cursor", "codemode", {"url": URL}),
        of("claude-desktop", "codemode", {"command": "npx", "args": ["-y", "mcp-remote", URL]}),
        of("cursor", "a", {"command": "a"}),
    )
    assert list(found.added) == ["a"]
    assert [server.title for server in found.itself] == ["Cursor", "Claude Desktop"]
    assert found.sentences.count("`codemode` of Cursor is left out: it is this portal itself.") == 1


def test_what_cannot_be_taken_over_stays_with_its_client() -> None:
    found = merged(of("cursor", "a", {"type": "ws", "url": "wss://a.example"}), of("cursor", "b", {"command": "b"}))
    assert [(server.name, "websocket" in why.lower() or "`ws`" in why) for server, why in found.left] == [("a", True)]
    assert [server.name for server in found.gone] == ["b"]


names = st.text(max_size=90) | st.sampled_from(["a", "a-b", "a_b", "a b", "日本", "", "-", "x" * 90, "a-cursor"])
commands = st.sampled_from(["one", "two", "three"])


@given(st.lists(st.tuples(st.sampled_from(["cursor", "codex", "claude-code"]), names, commands), max_size=12))
def test_every_name_makes_an_id_of_its_own_that_the_configuration_takes(found: list[tuple[str, str, str]]) -> None:
    carried = [of(client, name, {"command": command}) for client, name, command in found]
    taken = merged(*carried, existing={"a": {"command": "zero"}})
    ids = [server_id(name) for name in ("a", *taken.added)]
    assert len(set(ids)) == len(ids) and all(1 <= len(id) <= MAX_NAME for id in ids)
    assert {str(entry["command"]) for entry in taken.added.values()} == {command for _, _, command in found}
    config = parse_config(json.loads(json.dumps({"mcpServers": {"a": {"command": "zero"}, **taken.added}})), env={})
    assert set(config.servers) == set(ids)


def test_an_entry_of_ours_that_cannot_be_read_is_like_no_other(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {"a": {"command": "x"}}}')
    (server,) = servers_in(file, read(file, machine), machine)
    existing = {"b": {"command": "x", "url": "https://a.example", "serverUrl": "https://b.example"}, "c": 7}
    assert list(take_over(existing, [carry(server, machine)], IS_PORTAL).added) == ["a"]
