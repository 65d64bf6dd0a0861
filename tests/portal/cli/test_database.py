"""Commands agree on their database: the named one, else the configuration's; they say which, and make none unasked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from portal.app import database_place, open_store
from portal.cli.exits import Exit
from portal.config import parse_config
from portal.state import Store
from tests.portal.cli.command import as_quick_process, in_process
from tests.portal.state.conftest import new_postgres_database
from tests.portal.state.troubles import PAGE, locked, page_of, write_page

DECLARED = "groups:\n  Engineers: {include: [{email_domain: {domain: acme.example}}]}\n"
WORDS = [
    ("api-token", "ci"),
    ("keys", "rotate"),
    ("admin", "list"),
    ("admin", "audit"),
    ("admin", "invite", "ada@example.com"),
    ("plan", "declared.yaml"),
    ("apply", "declared.yaml", "--yes"),
    ("export",),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "declared.yaml").write_text(DECLARED)
    return tmp_path


def configure(folder: Path, name: str = "codemode.json", **portal: Any) -> Path:
    """A configuration. Its path is that of a file which may have a folder of its own."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"mcpServers": {}, "portal": portal}))
    return file


def make_database(file: Path) -> Path:
    """A database as `codemode serve` makes it."""

    async def make() -> None:
        async with open_store(f"sqlite:///{file}"):
            pass

    asyncio.run(make())
    return file


def databases(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".db", ".key")]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_command_uses_the_database_of_the_configuration_that_is_there_and_says_so(
    folder: Path, words: tuple[str, ...]
) -> None:
    configure(folder, state="sqlite:///state.db", identity={})
    database = make_database(folder / "state.db")
    done = in_process(folder, *words)
    assert done.returncode in (Exit.OK, Exit.PROGRAM_FAILED), done.stderr
    assert "Using ./codemode.json" in done.stderr and f"Database: {database}" in done.stderr
    assert {path.parent for path in databases(folder)} == {folder}


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_configuration_whose_portal_never_ran_has_no_database_and_gets_none(
    folder: Path, words: tuple[str, ...]
) -> None:
    configure(folder, state="sqlite:///state.db", identity={})
    done = in_process(folder, *words)
    assert done.returncode == Exit.USAGE and done.stdout == ""
    assert f"There is no database at {folder}/state.db yet" in done.stderr
    assert databases(folder) == []


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_without_a_configuration_the_users_own_database_is_used_and_not_made(
    folder: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "home"))
    done = in_process(folder, *words)
    own = folder / "home" / "codemode-portal" / "state.db"
    assert done.returncode == Exit.USAGE and f"There is no database at {own} yet" in done.stderr
    assert databases(folder) == []
    own.parent.mkdir(parents=True)
    make_database(own)
    assert f"Database: {own}" in in_process(folder, *words).stderr


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_configuration_without_a_database_is_told_what_to_name(folder: Path, words: tuple[str, ...]) -> None:
    configure(folder)
    done = in_process(folder, *words)
    assert done.returncode == Exit.USAGE and "has no database" in done.stderr and "--state" in done.stderr
    assert databases(folder) == []


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("admin", "list")], ids=" ".join)
def test_over_a_damaged_database_a_command_says_which_file_what_is_damaged_and_what_to_do(
    folder: Path, words: tuple[str, ...]
) -> None:
    configure(folder, state="sqlite:///state.db", identity={})
    database = make_database(folder / "state.db")
    url = f"sqlite:///{database}"
    page = page_of(url, "facts")
    write_page(url, page, bytes([255]) * PAGE)
    done = in_process(folder, *words)
    assert done.returncode not in (Exit.OK, Exit.PROGRAM_FAILED) and done.stdout == ""
    said = " ".join(done.stderr.split())
    assert "state.db: the file is damaged (tables: facts)" in said and "Put a copy from before" in said
    assert "Traceback" not in said


def makes_something(words: tuple[str, ...]) -> bool:
    return words[0] in ("api-token", "apply") or "invite" in words


@pytest.mark.parametrize("words", [words for words in WORDS if not makes_something(words)], ids=" ".join)
def test_what_only_reads_makes_no_database_where_one_was_named(folder: Path, words: tuple[str, ...]) -> None:
    named = folder / "named.db"
    done = in_process(folder, *words, "--state", f"sqlite:///{named}")
    assert databases(folder) == []
    assert f"Database: {named}" in done.stderr and "(not there yet)" in done.stderr


@pytest.mark.parametrize("words", [words for words in WORDS if makes_something(words)], ids=" ".join)
def test_what_makes_something_makes_a_database_only_if_it_is_asked_to(folder: Path, words: tuple[str, ...]) -> None:
    file = configure(folder, "elsewhere/codemode.json", state="sqlite:///state.db", identity={})
    places = {
        folder / "named.db": ("--state", f"sqlite:///{folder / 'named.db'}"),
        folder / "new" / "named.db": ("--state", f"sqlite:///{folder / 'new' / 'named.db'}"),
        folder / "elsewhere" / "state.db": ("--config", str(file)),
    }
    for place, options in places.items():
        refused = in_process(folder, *words, *options)
        assert (refused.returncode, refused.stdout) == (Exit.USAGE, "")
        assert f"There is no database at {place} yet" in refused.stderr and "--create" in refused.stderr
    assert databases(folder) == []
    for place, options in places.items():
        done = in_process(folder, *words, *options, "--create")
        assert done.returncode == Exit.OK and place.exists(), done.stderr
        assert f"Database: {place}" in done.stderr


@pytest.mark.parametrize("words", [words for words in WORDS if makes_something(words)], ids=" ".join)
def test_the_users_own_database_is_made_for_whoever_asks(
    folder: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "home"))
    done = in_process(folder, *words, "--create")
    own = folder / "home" / "codemode-portal" / "state.db"
    assert done.returncode == Exit.OK and own.exists() and f"Database: {own}" in done.stderr
    assert own.parent.stat().st_mode & 0o077 == 0


def on_server(database: str) -> str:
    """A database of PostgreSQL as messages name it."""
    return str(database_place(database))


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_no_command_makes_tables_in_a_database_of_a_server_unasked(
    folder: Path, words: tuple[str, ...], postgres: Path
) -> None:
    empty = new_postgres_database(postgres, "template0")
    done = in_process(folder, *words, "--state", empty)
    if makes_something(words):
        assert (done.returncode, done.stdout) == (Exit.USAGE, "")
        assert f"{on_server(empty)} has no portal in it yet" in done.stderr and "--create" in done.stderr
    else:
        assert f"Database: {on_server(empty)} (no portal in it yet)" in done.stderr
    configure(folder, state=empty, identity={})
    done = in_process(folder, *words)
    assert done.returncode == Exit.USAGE and f"{on_server(empty)} has no portal in it yet" in done.stderr
    assert not asyncio.run(Store.is_made(empty))
    if makes_something(words):
        assert in_process(folder, *words, "--state", empty, "--create").returncode == Exit.OK
        assert asyncio.run(Store.is_made(empty))


def test_policies_and_pins_are_read_without_making_tables_on_a_server(
    folder: Path, shop: dict[str, Any], postgres: Path
) -> None:
    empty = new_postgres_database(postgres, "template0")
    document = {"mcpServers": {"shop": {**shop, "pin": True}}, "portal": {"state": empty, "identity": IDENTITY}}
    (folder / "codemode.json").write_text(json.dumps(document))
    code, report, said = decided(folder, "op@acme.example", "--call", "shop.list_orders")
    assert (code, report["call"]["policy"]) == (Exit.OK, "ops") and "(no portal in it yet)" in said
    assert in_process(folder, "tools").returncode == Exit.OK
    done = in_process(folder, "pins")
    assert done.returncode == Exit.USAGE and f"{on_server(empty)} has no portal in it yet" in done.stderr
    assert not asyncio.run(Store.is_made(empty))


def test_a_server_of_databases_that_does_not_answer_is_one_line(folder: Path) -> None:
    done = in_process(folder, "admin", "list", "--state", f"postgresql://postgres@/portal?host={folder}")
    assert done.returncode == Exit.USAGE and "did not answer" in done.stderr and "Traceback" not in done.stderr


def test_while_another_process_holds_the_lock_a_command_reads_and_says_that_it_stored_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.state.database.PATIENCE_SECONDS", 2.0)
    database = f"sqlite:///{make_database(folder / 'state.db')}"
    # The first command gives the account its id.
    assert in_process(folder, "admin", "list", "--state", database).returncode == Exit.OK
    with locked(database):
        assert in_process(folder, "admin", "list", "--state", database).returncode == Exit.OK
        done = in_process(folder, "api-token", "ci", "--state", database)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    said = " ".join(done.stderr.split())
    assert "another process holds its lock. This was not done. Try again" in said and "Traceback" not in said
    assert in_process(folder, "api-token", "ci", "--state", database).returncode == Exit.OK


def test_a_portal_does_not_start_on_a_file_that_is_no_database_and_says_which(folder: Path) -> None:
    configure(folder, state="sqlite:///state.db", identity={})
    (folder / "state.db").write_bytes(b"this is no database at all. " * 1000)
    done = in_process(folder, "serve", "--port", "0")
    said = " ".join(done.stderr.split())
    assert done.returncode == Exit.USAGE and "state.db: the file is no database" in said
    assert "Traceback" not in said


def test_the_configurations_database_is_the_same_from_any_folder(folder: Path) -> None:
    file = configure(folder, "elsewhere/codemode.json", state="sqlite:///state.db", identity={})
    database = make_database(folder / "elsewhere" / "state.db")
    done = as_quick_process(folder, "api-token", "ci", "--config", str(file))
    assert done.returncode == Exit.OK and f"Database: {database}" in done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "ci" in in_process(folder, "admin", "list", "tokens", "--config", str(file)).stdout
    rotated = in_process(folder, "keys", "rotate", "--config", str(file))
    assert rotated.returncode == Exit.OK and f"Database: {database}" in rotated.stderr


def test_who_makes_a_token_for_a_portal_without_an_admin_api_is_told(folder: Path) -> None:
    cases: list[tuple[dict[str, Any], bool]] = [({}, True), ({"identity": {}}, False)]
    for section, told in cases:
        file = configure(folder, **{"state": "sqlite:///state.db", **section})
        done = in_process(folder, "api-token", "ci", "--create", "--config", str(file))
        assert done.returncode == Exit.OK and ("has no admin API" in " ".join(done.stderr.split())) is told
        assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("sqlite:///state.db", "sqlite:////here/state.db"),
        ("sqlite:///a/b.db?synchronous=off", "sqlite:////here/a/b.db?synchronous=off"),
        ("sqlite+aiosqlite:///state.db", "sqlite+aiosqlite:////here/state.db"),
        ("sqlite:////var/state.db", "sqlite:////var/state.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://me@db/portal", "postgresql://me@db/portal"),
    ],
)
def test_a_relative_file_of_a_database_is_beside_the_configuration(written: str, expected: str) -> None:
    config = parse_config({"portal": {"state": written}}, folder=Path("/here"), env={})
    assert config.portal.state == expected


def test_a_database_is_named_without_its_password() -> None:
    assert str(database_place("postgresql://me:secret@db.example:5432/portal?x=secret")) == (
        "postgresql://db.example:5432/portal"
    )
    assert "secret" not in repr(database_place("postgresql://me:secret@db.example/portal"))


IDENTITY = {
    "policies": [{"id": "staff", "decision": "allow", "include": [{"email_domain": {"domain": "acme.example"}}]}],
    "serverPolicies": {
        "shop": [{"id": "ops", "decision": "allow", "include": [{"email": {"email": "op@acme.example"}}]}]
    },
}


def decided(folder: Path, who: str, *words: str) -> tuple[int, dict[str, Any], str]:
    done = in_process(folder, "policy", "test", "--identity", who, "--json", *words)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_policies_are_tested_as_the_configuration_has_them(folder: Path, shop: dict[str, Any]) -> None:
    document = {
        "mcpServers": {"shop": shop},
        "portal": {"state": "sqlite:///state.db", "identity": IDENTITY},
        "portals": {"docs": {"servers": []}},
    }
    (folder / "codemode.json").write_text(json.dumps(document))
    code, report, said = decided(folder, "op@acme.example", "--call", "shop.list_orders")
    assert (code, report["call"]["effect"], report["call"]["policy"]) == (Exit.OK, "allow", "ops")
    assert len(report["servers"]["shop"]["tools"]) == 11
    assert f"Database: {folder}/state.db (not there yet)" in said and databases(folder) == []
    code, report, _ = decided(folder, "ada@acme.example", "--call", "shop.list_orders")
    assert (code, report["portal"]["effect"], report["call"]["effect"]) == (Exit.PROGRAM_FAILED, "allow", "deny")
    code, report, _ = decided(folder, "ada@acme.example", "--portal", "docs")
    assert (code, report["portal"]["policy"], report["servers"]) == (Exit.PROGRAM_FAILED, "default-deny", {})
    as_file = in_process(folder, "policy", "test", "codemode.json", "--identity", "op@acme.example", "--json")
    assert json.loads(as_file.stdout)["portal"]["policy"] == "staff"
    missing = in_process(folder, "policy", "test", "--identity", "x@y.example", "--portal", "wiki")
    assert missing.returncode == Exit.USAGE and "There are: docs" in missing.stderr


def test_stored_policies_decide_in_the_test_as_in_the_portal(folder: Path) -> None:
    configure(folder, state="sqlite:///state.db", identity={"pin": True})
    make_database(folder / "state.db")
    code, report, said = decided(folder, "ada@acme.example")
    assert (code, report["portal"]["effect"]) == (Exit.PROGRAM_FAILED, "deny")
    assert f"Database: {folder}/state.db\n" in said
    (folder / "declared.yaml").write_text(
        """
policies:
  Staff: {decision: allow, include: [{email_domain: {domain: acme.example}}]}
portals:
  own: {name: Own, hostname: localhost}
apps:
  Own:
    type: mcp_portal
    domain: localhost
    policies: [Staff]
"""
    )
    applied = in_process(folder, "apply", "declared.yaml", "--yes")
    assert applied.returncode == Exit.OK, applied.stderr
    code, report, _ = decided(folder, "ada@acme.example")
    assert (code, report["portal"]["effect"]) == (Exit.OK, "allow")


def test_a_policy_test_without_anything_to_test_says_what_it_looked_for(folder: Path) -> None:
    done = in_process(folder, "policy", "test", "--identity", "x@y.example")
    assert done.returncode == Exit.USAGE and "No configuration found" in done.stderr
