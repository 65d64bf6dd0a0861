"""A client is connected in its own document, and gets back what it had."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.clients import (
    CLIENTS,
    ClientFile,
    KeptChanges,
    Machine,
    PreparedConnection,
    carry,
    prepare_connection,
    prepare_import,
    prepare_undo,
    project_file,
    read_client_file,
    servers_in,
    user_file,
    write_connection,
    write_undo,
)
from portal.clients.reading import LARGEST, look_at
from portal.config import DocumentFile, parse_document, replace_document
from portal.errors import ConfigError, InputError
from tests.deep import examples
from tests.portal.clients.machines import COMMAND, ENDPOINT, IS_PORTAL, URL, machine_in, named, three_clients, written

HTTP: Mapping[str, Any] = {
    "claude-code": {"type": "http", "url": URL},
    "cursor": {"url": URL},
    "vscode": {"type": "http", "url": URL},
    "codex": {"url": URL},
    "gemini": {"httpUrl": URL},
    "windsurf": {"serverUrl": URL},
}
PROGRAM: dict[str, Any] = {"command": COMMAND[0], "args": list(COMMAND[1:])}


def kept(machine: Machine) -> KeptChanges:
    return KeptChanges(machine.home / ".local/state/codemode-portal/clients")


def prepare(file: ClientFile, machine: Machine, into: Path | None = None, **options: Any) -> PreparedConnection:
    if into is not None:
        servers = servers_in(file, read_client_file(file, machine), machine)
        imported = prepare_import([carry(one, machine) for one in servers], into, machine, IS_PORTAL)
        options |= {"moved": imported.takeover, "document": imported.edit}
    return prepare_connection(file, machine, ENDPOINT, IS_PORTAL, **options)


def connect(file: ClientFile, machine: Machine, into: Path | None = None, **options: Any) -> PreparedConnection:
    prepared = prepare(file, machine, into, **options)
    write_connection(prepared, kept(machine))
    return prepared


def undo(file: ClientFile, machine: Machine) -> tuple[bool, tuple[str, ...]]:
    prepared = prepare_undo(file, machine, kept(machine))
    write_undo(prepared, kept(machine))
    return prepared.exact, prepared.sentences


def servers(file: ClientFile) -> dict[str, Any]:
    document = parse_document(file.path.read_text(), file.path.suffix, file="")
    found = document[file.client.section]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("id", [client.id for client in CLIENTS])
def test_each_client_gets_the_portal_in_its_own_words(tmp_path: Path, id: str) -> None:
    machine = machine_in(tmp_path)
    file = user_file(named(id), machine)
    connect(file, machine)
    assert servers(file) == {"codemode": HTTP.get(id, PROGRAM)}
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert not prepare(file, machine).edits


@pytest.mark.parametrize("id", ["claude-code", "vscode", "codex"])
def test_every_client_can_be_made_to_start_the_portal(tmp_path: Path, id: str) -> None:
    machine = machine_in(tmp_path)
    file = user_file(named(id), machine)
    connect(file, machine, stdio=True)
    kind = {} if id == "codex" else {"type": "stdio"}
    assert servers(file) == {"codemode": {**kind, **PROGRAM}}
    assert not prepare(file, machine, stdio=True).edits
    connect(file, machine)
    assert servers(file) == {"codemode": HTTP[id]}


def test_comments_order_and_line_ends_stay(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    files = three_clients(machine)
    for file in files.values():
        before = file.path.read_bytes()
        connect(file, machine)
        after = file.path.read_bytes()
        kept_lines = [line.rstrip(b",") for line in after.splitlines(keepends=False)]
        assert [line for line in before.splitlines() if line.rstrip(b",") not in kept_lines] == []
    assert b"\r\n" in files["cursor"].path.read_bytes()


@pytest.mark.parametrize(
    ("id", "entry"),
    [
        ("cursor", {"url": URL, "headers": {"X-Mine": "kept"}}),
        ("claude-desktop", {"command": "npx", "args": ["-y", "mcp-remote", URL]}),
        ("claude-code", {"command": "npx", "args": ["-y", "mcp-remote", URL]}),
        ("windsurf", {"url": URL}),
    ],
)
def test_a_client_that_has_the_portal_already_keeps_what_it_has(tmp_path: Path, id: str, entry: Any) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, id, json.dumps({"mcpServers": {"tools": entry}}))
    prepared = prepare(file, machine)
    if id == "claude-desktop":
        # The portal is started without a bridge, and without Node.
        assert prepared.edits
    else:
        assert not prepared.edits and prepared.plan.name == "tools"


def test_another_mode_changes_the_url_and_nothing_else_of_the_entry(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    plain = URL.partition("?")[0]
    file = written(machine, "cursor", json.dumps({"mcpServers": {"mine": {"url": plain, "headers": {"X": "y"}}}}))
    connect(file, machine)
    assert servers(file) == {"mine": {"url": URL, "headers": {"X": "y"}}}


def test_a_name_that_another_server_has_is_not_taken(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {"codemode": {"command": "something-else"}}}')
    with pytest.raises(ConfigError, match="another server already.*--name NAME"):
        prepare(file, machine)
    connect(file, machine, name="portal")
    assert list(servers(file)) == ["codemode", "portal"]


def test_three_clients_with_eight_servers_are_taken_over_and_given_back_byte_for_byte(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    files, into = three_clients(machine), machine.folder / "codemode.json"
    before = {id: file.path.read_bytes() for id, file in files.items()}
    states: list[bytes | None] = [None]
    for file in files.values():
        connect(file, machine, into)
        states.append(into.read_bytes())
    for id, file in files.items():
        assert servers(file) == {"codemode": HTTP[id]}
    claude = json.loads(files["claude-code"].path.read_text())
    assert claude["projects"][str(machine.folder)]["mcpServers"] == {}
    assert claude["projects"]["/elsewhere"] == {"mcpServers": {"far": {"command": "far"}}}
    taken = json.loads(into.read_text())["mcpServers"]
    assert list(taken) == ["github", "files", "db", "files-cursor", "notes", "docs", "time"]
    assert stat.S_IMODE(into.stat().st_mode) == 0o600
    for file in reversed(files.values()):
        states.pop()
        assert undo(file, machine) == (True, ())
        assert (into.read_bytes() if into.exists() else None) == states[-1]
    assert {id: file.path.read_bytes() for id, file in files.items()} == before
    assert list(kept(machine).folder.iterdir()) == []


def test_what_cannot_be_taken_over_stays_in_its_client(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    entries = {"socket": {"type": "ws", "url": "wss://a.example"}, "plain": {"command": "plain"}}
    file = written(machine, "claude-code", json.dumps({"mcpServers": entries}))
    prepared = connect(file, machine, machine.folder / "codemode.json")
    assert list(servers(file)) == ["socket", "codemode"]
    assert "`socket` stays in Claude Code." in prepared.sentences


def test_an_undo_after_somebody_elses_change_takes_out_the_portal_and_puts_back_the_servers(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file, into = three_clients(machine)["cursor"], machine.folder / "codemode.json"
    had = servers(file)
    connect(file, machine, into)
    text = file.path.read_text().replace("// what I use", "// all that I use")
    file.path.write_text(text)
    into.write_text(into.read_text() + "\n")
    exact, sentences = undo(file, machine)
    assert not exact and "// all that I use" in file.path.read_text()
    assert servers(file) == had
    assert any("was changed since: only the portal is taken out" in one for one in sentences)
    assert any(one.endswith("codemode.json was changed since, and stays as it is.") for one in sentences)
    assert into.exists()
    # The former bytes are still there for the person.
    assert kept(machine).copy_of(file).exists()


def test_an_entry_that_is_another_one_by_then_is_not_taken_out(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {}}')
    connect(file, machine)
    file.path.write_text('{"mcpServers": {"codemode": {"command": "mine"}}}')
    assert undo(file, machine)[0] is False
    assert servers(file) == {"codemode": {"command": "mine"}}


def test_what_is_given_back_is_from_before_the_first_of_our_own_changes(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = three_clients(machine)["codex"]
    before = file.path.read_bytes()
    connect(file, machine)
    connect(file, machine, stdio=True)
    connect(file, machine, machine.folder / "codemode.json")
    assert undo(file, machine) == (True, ())
    assert file.path.read_bytes() == before
    assert not (machine.folder / "codemode.json").exists()


def test_a_second_change_after_somebody_elses_gives_back_nothing_that_they_lose(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {}}')
    connect(file, machine)
    file.path.write_text(file.path.read_text().replace('"mcpServers": {', '"theirs": 1, "mcpServers": {'))
    connect(file, machine, stdio=True)
    assert undo(file, machine)[0] is False
    assert json.loads(file.path.read_text()) == {"theirs": 1, "mcpServers": {}}


def test_servers_that_moved_come_back_also_after_the_portal_was_taken_out_by_hand(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file, into = three_clients(machine)["cursor"], machine.folder / "codemode.json"
    had = servers(file)
    connect(file, machine, into)
    file.path.write_text('{"mcpServers": {}, "mine": 1}')
    connect(file, machine)
    assert undo(file, machine)[0] is False
    assert servers(file) == had and '"mine": 1' in file.path.read_text()
    assert not into.exists()


def test_a_change_that_broke_off_between_the_two_documents_is_given_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machine_in(tmp_path)
    file, into = three_clients(machine)["codex"], machine.folder / "codemode.json"
    into.write_text('{"mcpServers": {"o": {"command": "o"}}}')
    former = file.path.read_bytes(), into.read_bytes()

    def breaks_off(document: DocumentFile, text: str, **options: bool) -> Path | None:
        if document.path == file.path:
            raise ConfigError("cannot be written.", file="")
        return replace_document(document, text, **options)

    with monkeypatch.context() as patched:
        patched.setattr("portal.clients.connecting.replace_document", breaks_off)
        with pytest.raises(ConfigError):
            connect(file, machine, into)
    assert into.read_bytes() != former[1]
    connect(file, machine, into)
    assert undo(file, machine) == (True, ())
    assert (file.path.read_bytes(), into.read_bytes()) == former


def test_a_copy_is_named_only_where_there_is_one(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = user_file(named("gemini"), machine)
    assert write_connection(prepare(file, machine), kept(machine)) is None
    assert write_connection(prepare(file, machine, stdio=True), kept(machine)) is None
    there = written(machine, "cursor", "{}")
    for stdio in (False, True):
        copy = write_connection(prepare(there, machine, stdio=stdio), kept(machine))
        assert copy is not None and copy.read_text() == "{}"


def test_our_entry_goes_also_where_somebody_has_added_to_it(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {}}')
    connect(file, machine)
    file.path.write_text(json.dumps({"mcpServers": {"codemode": {"url": URL, "disabled": True}}}))
    assert undo(file, machine)[0] is False
    assert servers(file) == {}


def test_an_entry_that_was_the_persons_own_is_put_back_after_somebody_elses_change(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    own = {"url": URL.replace("search_and_execute", "off"), "headers": {"X-Team": "blue"}}
    file = written(machine, "cursor", json.dumps({"mcpServers": {"tools": own}}))
    connect(file, machine)
    connect(file, machine, stdio=True)
    file.path.write_text(json.dumps(json.loads(file.path.read_text()) | {"theirs": 1}))
    assert undo(file, machine)[0] is False
    assert json.loads(file.path.read_text()) == {"mcpServers": {"tools": own}, "theirs": 1}


def test_a_portal_that_stays_is_said_by_its_name(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {}}')
    connect(file, machine)
    file.path.write_text('{"mcpServers": {"codemode": {"command": "mine"}}}')
    assert prepare_undo(file, machine, kept(machine)).staying == "codemode"


def test_an_undo_makes_no_file_where_there_is_none(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {}}')
    connect(file, machine)
    file.path.unlink()
    undo(file, machine)
    assert not file.path.exists()


@pytest.mark.parametrize("with_document", [True, False])
def test_an_undo_takes_no_server_from_a_client_that_has_it_by_our_document(tmp_path: Path, with_document: bool) -> None:
    machine = machine_in(tmp_path)
    into = machine.folder / "codemode.json"
    text = '{"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}'
    first, second = written(machine, "cursor", text), written(machine, "gemini", text)
    connect(first, machine, into)
    prepared = prepare(second, machine, into)
    if not with_document:
        # As `codemode init --move` does, which writes our document by itself.
        imported = prepare_import(
            [carry(one, machine) for one in look_at(second, machine).servers], into, machine, IS_PORTAL
        )
        prepared = prepare_connection(second, machine, ENDPOINT, IS_PORTAL, moved=imported.takeover, into=into)
    write_connection(prepared, kept(machine))
    served = into.read_bytes()
    exact, sentences = undo(first, machine)
    assert exact and first.path.read_text() == text
    assert into.read_bytes() == served
    assert f"{into} stays as it is: Gemini CLI has `time` by it." in sentences
    assert undo(second, machine)[0] and second.path.read_text() == text


def test_a_file_that_was_not_there_is_gone_again(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = user_file(named("gemini"), machine)
    connect(file, machine)
    assert undo(file, machine) == (True, ())
    assert not file.path.exists()
    with pytest.raises(InputError, match="nothing to undo"):
        prepare_undo(file, machine, kept(machine))


def test_a_file_that_is_as_before_already_is_left_alone(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {}}')
    connect(file, machine)
    file.path.write_text('{"mcpServers": {}}')
    assert undo(file, machine) == (True, ())
    assert file.path.read_text() == '{"mcpServers": {}}'


def test_a_file_that_is_changed_while_somebody_decides_is_not_written(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {}}')
    prepared = prepare(file, machine)
    file.path.write_text('{"mcpServers": {"new": {"command": "new"}}}')
    with pytest.raises(ConfigError, match="changed by somebody else meanwhile"):
        write_connection(prepared, kept(machine))
    assert list(servers(file)) == ["new"]


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = three_clients(machine)["claude-code"]
    file.path.chmod(0o644)
    before = file.path.read_bytes()
    connect(file, machine)
    folder = kept(machine).folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert kept(machine).copy_of(file).read_bytes() == before
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o644


def test_where_the_former_file_cannot_be_kept_nothing_is_written(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    files, into = three_clients(machine), machine.folder / "codemode.json"
    before = files["cursor"].path.read_bytes()
    (tmp_path / ".local").write_text("no folder")
    with pytest.raises(InputError, match="Cannot keep a copy"):
        connect(files["cursor"], machine, into)
    assert files["cursor"].path.read_bytes() == before and not into.exists()


def test_a_damaged_record_or_copy_gives_nothing_back(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = three_clients(machine)["cursor"]
    connect(file, machine)
    connected = file.path.read_bytes()
    kept(machine).copy_of(file).write_bytes(b'{"mcpServers": {"evil": {"command": "evil"}}}')
    with pytest.raises(InputError, match="is damaged"):
        prepare_undo(file, machine, kept(machine))
    (record,) = kept(machine).folder.glob("*.json")
    record.write_text("{")
    with pytest.raises(InputError, match="it is damaged"):
        prepare_undo(file, machine, kept(machine))
    assert file.path.read_bytes() == connected


HOSTILE: Mapping[str, bytes] = {
    "not UTF-8": b'{"mcpServers": {"a": "\xff"}}',
    "not JSON": b"{mcpServers",
    "no object": b'["mcpServers"]',
    "a key twice": b'{"mcpServers": {"a": {"command": "a"}, "a": {"command": "b"}}}',
    "a section that is no object": b'{"mcpServers": ["a"]}',
    "nested too deeply": b'{"mcpServers": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "too large": b'{"mcpServers": {}}' + b" " * LARGEST,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_document_that_cannot_be_read_is_not_written(tmp_path: Path, kind: str) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", HOSTILE[kind])
    with pytest.raises(ConfigError, match=r"mcp\.json"):
        connect(file, machine)
    assert file.path.read_bytes() == HOSTILE[kind]
    assert look_at(file, machine).problem or kind == "a section that is no object"
    assert not kept(machine).folder.exists()


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = user_file(named("cursor"), machine)
    file.path.mkdir(parents=True)
    with pytest.raises(ConfigError):
        prepare(file, machine)
    file.path.rmdir()
    os.mkfifo(file.path)
    with pytest.raises(ConfigError):
        prepare(file, machine)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_or_written_is_said(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    file = written(machine, "cursor", '{"mcpServers": {}}')
    file.path.chmod(0o000)
    with pytest.raises(ConfigError, match="Permission denied"):
        prepare(file, machine)


def test_a_link_of_the_person_stays_a_link_and_a_link_out_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    dotfiles = tmp_path / "dotfiles.json"
    dotfiles.write_text('{"mcpServers": {}}')
    file = user_file(named("cursor"), machine)
    file.path.parent.mkdir()
    file.path.symlink_to(dotfiles)
    connect(file, machine)
    assert file.path.is_symlink() and "codemode" in dotfiles.read_text()
    assert undo(file, machine) == (True, ())
    assert file.path.is_symlink() and dotfiles.read_text() == '{"mcpServers": {}}'
    in_folder = project_file(named("claude-code"), machine)
    assert in_folder is not None
    in_folder.path.symlink_to(dotfiles)
    with pytest.raises(ConfigError, match="is a link out of this folder"):
        prepare(in_folder, machine)
    assert "link out of" in look_at(in_folder, machine).problem


ENTRIES = st.fixed_dictionaries({"command": st.sampled_from(["a", "b", "${X}"])}) | st.fixed_dictionaries(
    {"url": st.sampled_from(["https://a.example", URL, "no url"])}
)
NAMES = st.text(min_size=1, max_size=8) | st.sampled_from(["codemode", "a", "my server"])


@examples(100)
@given(st.dictionaries(NAMES, ENTRIES | st.none() | st.integers(), max_size=6), st.sampled_from([None, 1, 2, "\t"]))
def test_any_document_that_is_connected_and_moved_comes_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Any], indent: Any
) -> None:
    machine = machine_in(tmp_path_factory.mktemp("machine"))
    file = written(machine, "cursor", json.dumps({"x": "ü", "mcpServers": entries, "y": [1]}, indent=indent))
    before = file.path.read_bytes()
    into = machine.folder / "codemode.json"
    try:
        prepared = connect(file, machine, into)
    except ConfigError as error:
        assert "another server already" in str(error)
        assert file.path.read_bytes() == before and not into.exists()
        return
    there = servers(file)
    assert prepared.plan.name in there
    if file.path.read_bytes() != before:
        assert undo(file, machine) == (True, ())
        assert file.path.read_bytes() == before and not into.exists()
