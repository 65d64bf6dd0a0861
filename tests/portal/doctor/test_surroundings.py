"""What `codemode doctor` finds around a portal: proxies, the port, the database, the engine, and clients."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import pytest

from portal.config import Config, load_config, parse_config
from portal.doctor import Diagnosis
from portal.doctor.database import database_findings, opened_database
from portal.doctor.engine import EngineFacts, engine_facts, engine_findings
from portal.doctor.environment import environment_facts, environment_findings
from portal.doctor.installed import client_facts, client_findings
from portal.doctor.mail import mail_facts, mail_findings
from portal.doctor.own_portal import PortFacts, PublicFacts, port_facts, port_findings, public_facts, public_findings
from portal.doctor.probes import HttpFacts
from portal.state import KeyRing
from tests.certificates import server_named
from tests.portal.approvals.told import post_office
from tests.portal.clients.machines import machine_in, written
from tests.portal.doctor.finding import checks, found
from tests.portal.portals import portal_over
from tests.portal.state.databases import new_state
from tests.portal.state.troubles import locked

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def config(**portal: Any) -> Config:
    return parse_config({"mcpServers": {}, "portal": portal}, env={})


# The environment


async def around(**environment: str) -> list[Diagnosis]:
    return list(environment_findings(await environment_facts(environment)))


async def test_a_proxy_that_answers_is_said_to_with_who_goes_around_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        one = found(
            await around(HTTPS_PROXY=f"http://me:secret@127.0.0.1:{port}", NO_PROXY="a.example"), "environment.proxies"
        )
    assert one.level == "ok" and "a.example" in one.text and "secret" not in one.text


async def test_a_proxy_that_is_not_there_is_named_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
    one = found(await around(https_proxy=f"http://me:secret@127.0.0.1:{port}"), "environment.proxies")
    assert one.level == "trouble" and f"names 127.0.0.1:{port}" in one.text and "secret" not in one.text
    assert "unset HTTPS_PROXY https_proxy" in one.fix


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "http://", "http://host:port"])
async def test_a_proxy_that_is_none_is_named(value: str) -> None:
    assert "names no proxy" in found(await around(HTTP_PROXY=value), "environment.proxies").text


async def test_a_variable_that_is_not_used_is_named() -> None:
    assert found(await around(ALL_PROXY="http://127.0.0.1:1"), "environment.proxies").level == "notice"


async def test_files_of_certificates_are_there_and_have_some(tmp_path: Path) -> None:
    pem, empty = tmp_path / "ca.pem", tmp_path / "empty.pem"
    server_named("localhost", pem)
    empty.write_text("no certificate")
    names = {"SSL_CERT_FILE": pem, "REQUESTS_CA_BUNDLE": empty, "NODE_EXTRA_CA_CERTS": tmp_path / "gone.pem"}
    findings = await around(**{name: str(path) for name, path in names.items()})
    assert found(findings, "environment.certificates", "SSL_CERT_FILE").level == "ok"
    assert "no certificate" in found(findings, "environment.certificates", "REQUESTS_CA_BUNDLE").text
    assert "not there" in found(findings, "environment.certificates", "NODE_EXTRA_CA_CERTS").text


# The port


async def test_a_port_that_is_free_is_said_to_be() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "is free" in found(port_findings(await port_facts(config(port=port))), "portal.port").text


async def test_a_port_of_another_program_is_named_with_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = found(port_findings(await port_facts(config(port=port))), "portal.port")
    assert one.level == "trouble" and f"Another program has port {port}" in one.text
    assert f"(process {os.getpid()}" in one.text
    assert f"codemode serve --port {port + 1}" in one.fix


async def test_the_port_of_the_running_portal_is_its_own() -> None:
    async with portal_over({}) as portal:
        port = int(portal.url.rpartition(":")[2])
        one = found(port_findings(await port_facts(config(port=port))), "portal.port")
        assert one.level == "ok" and f"This portal runs on port {port}" in one.text
        other = parse_config({"mcpServers": {"a": {"command": "x"}}, "portal": {"port": port}}, env={})
        assert "other servers" in found(port_findings(await port_facts(other)), "portal.port").text


@pytest.mark.parametrize("host", ["no-such-name.invalid", "192.0.2.1"])
async def test_an_address_that_is_none_of_this_machine_is_named_and_no_other_port(host: str) -> None:
    one = found(port_findings(await port_facts(config(host=host, port=8787))), "portal.port")
    assert one.level == "trouble" and "nknown error" not in one.text
    assert "`host`" in one.fix and "--port" not in one.fix


@pytest.mark.parametrize("port", [80, 1023, 65_535])
def test_the_port_that_is_advised_can_be_listened_on(port: int) -> None:
    (one,) = port_findings(PortFacts("127.0.0.1", port, free=False))
    assert "codemode serve --port 8787" in one.fix


async def test_an_address_that_may_not_be_listened_on_is_named() -> None:
    findings = list(port_findings(await port_facts(config(host="0.0.0.0", port=0))))
    assert checks(findings) == {"portal.host"}


async def test_a_public_url_leads_to_the_portal_or_is_named() -> None:
    async with portal_over({}) as portal:
        port = int(portal.url.rpartition(":")[2])
        facts = await port_facts(config(port=port))

        async def at(url: str) -> list[Diagnosis]:
            named = config(port=port, identity={"publicUrl": url})
            return list(public_findings(await public_facts(named, facts)))

        assert found(await at(f"http://localhost:{port}"), "portal.publicUrl").level == "ok"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            free = taken.getsockname()[1]
        assert "Nobody answers" in found(await at(f"http://localhost:{free}"), "portal.publicUrl").text


async def test_a_public_host_name_that_the_portal_does_not_answer_to_is_named() -> None:
    async with portal_over({}) as portal, aiohttp.ClientSession() as client:
        async with client.get(f"{portal.url}/healthz", headers={"Host": "tools.example.com"}) as answer:
            said = HttpFacts(answer.status, await answer.read())
    (one,) = public_findings(PublicFacts("https://tools.example.com", looked=True, answer=said))
    assert (one.check, one.level) == ("portal.hosts", "trouble")
    assert one.fix == '"allowedHosts": ["tools.example.com"] in `portal`'


# The database


async def database(url: str) -> list[Diagnosis]:
    async with opened_database(config(state=url)) as (facts, _):
        return list(database_findings(facts))


async def test_a_good_database_has_nothing_to_mend_and_is_not_written_to(tmp_path: Path) -> None:
    url = new_state(tmp_path)
    KeyRing.open(tmp_path / "state.key")
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    findings = await database(url)
    assert not checks(findings)
    assert {one.check for one in findings} == {"database.schema", "database.keys", "database.disk", "database.lock"}
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()} == before


async def test_a_database_that_is_not_there_yet_is_no_trouble_and_is_not_made(tmp_path: Path) -> None:
    findings = await database(f"sqlite:///{tmp_path}/state.db")
    assert not checks(findings) and "not there yet" in found(findings, "database.schema").text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("revision", "level", "words"), [("9999_new", "trouble", "newer codemode"), ("0001", "notice", "older version")]
)
async def test_a_database_of_another_version_is_said_to_be(
    tmp_path: Path, revision: str, level: str, words: str
) -> None:
    url = new_state(tmp_path)
    KeyRing.open(tmp_path / "state.key")
    with closing(sqlite3.connect(tmp_path / "state.db")) as file:
        file.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        file.commit()
    one = found(await database(url), "database.schema")
    assert one.level == level and words in one.text


async def test_a_file_that_is_no_database_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("no database at all, but long enough to be looked at" * 100)
    assert found(await database(f"sqlite:///{tmp_path}/state.db"), "database.schema").level == "trouble"


async def test_a_server_of_databases_that_is_not_there_is_no_file_to_restore(free_tcp_port: int) -> None:
    one = found(await database(f"postgresql://ada@127.0.0.1:{free_tcp_port}/portal"), "database.schema")
    assert one.level == "trouble" and "start the server" in one.fix and "copy" not in one.fix


async def test_a_database_too_large_for_a_copy_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_state(tmp_path)
    monkeypatch.setattr("portal.state.inspection.MOST_COPIED", 100)
    one = found(await database(url), "database.schema")
    assert one.level == "notice" and "larger than" in one.text


async def test_a_folder_for_the_copy_that_is_full_or_away_is_no_trouble_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_state(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "away"))
    one = found(await database(url), "database.schema")
    assert one.level == "notice" and "TMPDIR" in one.fix
    monkeypatch.undo()
    monkeypatch.setattr("portal.state.inspection.closing", _full)
    one = found(await database(url), "database.schema")
    assert one.level == "notice" and "no room" in one.text


def _full(_: object) -> NoReturn:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorname = "SQLITE_FULL"
    raise error


async def test_a_database_that_this_user_may_not_read_is_not_said_to_be_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_state(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).endswith("state.db"))
    one = found(await database(url), "database.schema")
    assert one.level == "trouble" and "may not read" in one.text and "copy" not in one.fix


async def test_keys_that_are_missing_or_readable_by_others_are_named(tmp_path: Path) -> None:
    url = new_state(tmp_path)
    assert "is not there" in found(await database(url), "database.keys").text
    assert not (tmp_path / "state.key").exists(), "none was made"
    KeyRing.open(tmp_path / "state.key")
    (tmp_path / "state.key").chmod(0o644)
    one = found(await database(url), "database.keys")
    assert (one.level, one.fix) == ("trouble", f"chmod 600 {tmp_path}/state.key")
    (tmp_path / "state.key").chmod(0o600)
    (tmp_path / "state.key").write_text("{}")
    assert "copy" in found(await database(url), "database.keys").fix


async def test_a_lock_that_is_held_is_said_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.doctor.database.LOCK_SECONDS", 0.1)
    url = new_state(tmp_path)
    KeyRing.open(tmp_path / "state.key")
    with closing(sqlite3.connect(tmp_path / "state.db")) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("SELECT * FROM alembic_version").fetchall()
        with locked(url):
            one = found(await database(url), "database.lock")
    assert one.level == "trouble" and "has held the lock" in one.text and one.fix.startswith("ps -p ")


# The engine


async def test_the_engine_runs_a_program_in_a_worker() -> None:
    findings = list(engine_findings(await engine_facts(None)))
    assert found(findings, "engine.runs").level == "ok"


def test_an_engine_that_does_not_start_is_named_with_the_reason() -> None:
    one = found(engine_findings(EngineFacts(1.0, problem="the worker died")), "engine.runs")
    assert one.level == "trouble" and "the worker died" in one.text and "portal.limits" in one.fix


def test_what_does_not_confine_the_workers_is_a_notice() -> None:
    facts = EngineFacts(1.0, right=True, unconfined={"landlock": "the kernel has none"})
    one = found(engine_findings(facts), "engine.confinement")
    assert one.level == "notice" and "landlock" in one.text
    assert "codemode demo" in found(engine_findings(EngineFacts(out_of_time=True)), "engine.runs").fix


# Clients


def clients(tmp_path: Path, url: str | None, text: str | None = None, name: str = "codemode") -> list[Diagnosis]:
    machine = machine_in(tmp_path)
    document = {"mcpServers": {name: {"url": url}} if url else {}}
    written(machine, "cursor", text if text is not None else json.dumps(document))
    return list(client_findings(client_facts(config(), machine)))


def test_a_client_that_has_the_portal_is_said_to(tmp_path: Path) -> None:
    findings = clients(tmp_path, "http://127.0.0.1:8787/mcp?codemode=search_and_execute")
    assert found(findings, "clients.portal").level == "ok"


def test_a_client_that_starts_the_portal_itself_has_it(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    ours, other = tmp_path / "codemode.json", tmp_path / "other.json"
    for file in (ours, other):
        file.write_text('{"mcpServers": {}}')
    entry = {"command": "codemode", "args": ["stdio", "--config", str(ours)]}
    written(machine, "claude-desktop", json.dumps({"mcpServers": {"tools": entry}}))
    one = found(client_findings(client_facts(load_config(ours), machine)), "clients.portal")
    assert (one.level, one.about) == ("ok", "claude-desktop") and "as `tools`" in one.text
    elsewhere = found(client_findings(client_facts(load_config(other), machine)), "clients.portal")
    assert elsewhere.level == "notice"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9999/mcp?codemode=search_and_execute", "its port is 9999, and the portal's is 8787"),
        ("http://localhost:8787/mpc", "its path is /mpc, and the portal's is /mcp"),
    ],
    ids=["old port", "wrong path"],
)
def test_a_client_that_has_the_portal_elsewhere_is_named_with_the_command(tmp_path: Path, url: str, words: str) -> None:
    one = found(clients(tmp_path, url), "clients.portal")
    assert (one.level, one.fix) == ("trouble", "codemode connect cursor")
    assert words in one.text


def test_a_server_of_somebody_else_is_no_portal_gone_astray(tmp_path: Path) -> None:
    one = found(clients(tmp_path, "http://127.0.0.1:9999/mcp", name="tickets"), "clients.portal")
    assert one.level == "notice" and "No client of this machine has the portal" in one.text


def test_a_document_of_a_client_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert found(clients(tmp_path, None, "{"), "clients.file").level == "notice"


async def test_a_mail_server_that_answers_is_said_to_and_one_that_does_not_is_named_without_its_password() -> None:
    async with post_office() as office:
        smtp = {"host": "127.0.0.1", "port": office.port, "sender": "portal@example.com", "security": "none"}
        identity = {"identity": {"smtp": smtp}}
        assert found(mail_findings(await mail_facts(config(**identity))), "portal.mail").level == "ok"
        # The server offers no encryption: neither a letter nor a password goes there.
        smtp |= {"security": "starttls", "username": "portal", "password": "planted-password"}
        one = found(mail_findings(await mail_facts(config(**identity))), "portal.mail")
        assert one.level == "trouble" and "SMTPNotSupportedError" in one.text and "planted" not in repr(one)
        assert office.letters == []
    one = found(mail_findings(await mail_facts(config(**identity))), "portal.mail")
    assert one.level == "trouble" and "did not take" in one.text
    assert list(mail_findings(await mail_facts(config()))) == []
