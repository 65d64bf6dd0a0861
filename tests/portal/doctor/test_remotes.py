"""What `codemode doctor` finds about servers by URL: real ones, with certificates, clocks and logins that are wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from portal.config import HttpServer, parse_config
from portal.credentials import OWN, CredentialDocument, SealedGrant, save_login
from portal.credentials.metadata import ServerMetadata
from portal.doctor import Diagnosis
from portal.doctor.database import opened_database
from portal.doctor.probes import probe, seconds_ahead
from portal.doctor.remotes import certificate_finding, now_utc, remote_facts, remote_findings
from portal.state import CredentialKey, KeyRing, Store
from tests.certificates import server_named
from tests.portal.credentials.authority import Authority, authority, protected
from tests.portal.doctor.finding import checks, found
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
SECONDS = 30.0
DAY = timedelta(days=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def looked_at(entry: dict[str, Any], **portal: Any) -> list[Diagnosis]:
    """The findings about one server called `up`."""
    config = parse_config({"mcpServers": {"up": entry}, "portal": portal}, env={})
    server = config.servers["up"]
    assert isinstance(server, HttpServer)
    async with opened_database(config) as (_, logins):
        return list(remote_findings(await remote_facts(server, config, logins, SECONDS), now_utc()))


@asynccontextmanager
async def answering(context: ssl.SSLContext | None = None, *, ahead: timedelta = timedelta()) -> AsyncIterator[int]:
    """The port of a server that answers everything with 200, by a clock that is `ahead`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
        date = format_datetime(datetime.now(UTC) + ahead, usegmt=True)
        writer.write(f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".encode())
        with suppress(OSError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_server_that_answers_has_its_tools_counted() -> None:
    async with hosted() as host:
        findings = await looked_at({"url": host.url})
    assert not checks(findings)
    assert "tools" in found(findings, "remote.answers").text
    assert found(findings, "remote.clock").level == "ok"


async def test_a_server_where_nothing_listens_is_said_to_be_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    one = found(await looked_at({"url": f"http://127.0.0.1:{port}/mcp"}), "remote.answers")
    assert one.level == "trouble" and one.text == "Cannot be reached: Connection refused."
    assert "correct its `url`" in one.fix


async def test_a_server_that_speaks_something_else_is_found_at_its_host() -> None:
    async with answering() as port:
        one = found(await looked_at({"url": f"http://127.0.0.1:{port}/mcp"}), "remote.answers")
    assert one.level == "trouble" and "something answers at the host" in one.fix


async def certified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "localhost", **valid: Any
) -> Diagnosis:
    """The finding about the certificate of a server that is trusted, and called as `name` says."""
    context = server_named(name, tmp_path / "own.pem", **valid)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    async with answering(context) as port:
        facts = await probe(f"https://localhost:{port}")
    assert facts.certificate is not None
    return certificate_finding("up", "localhost", facts.certificate, now_utc())


async def test_a_certificate_that_is_valid_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await certified(tmp_path, monkeypatch, ends=100 * DAY)
    assert one.level == "ok" and "localhost" in one.text


async def test_a_certificate_that_has_ended_says_when_and_whose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await certified(tmp_path, monkeypatch, begins=-10 * DAY, ends=-2 * DAY)
    ended = datetime.now(UTC) - 2 * DAY
    assert one.level == "trouble"
    assert one.text == f"Its certificate ended on {ended:%Y-%m-%d} (issued by localhost)."


async def test_a_certificate_that_is_not_valid_yet_hints_at_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await certified(tmp_path, monkeypatch, begins=2 * DAY, ends=9 * DAY)
    assert one.level == "trouble" and "timedatectl" in one.fix


async def test_a_certificate_that_ends_within_two_weeks_is_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await certified(tmp_path, monkeypatch, ends=13 * DAY)).level == "notice"
    assert (await certified(tmp_path, monkeypatch, ends=15 * DAY)).level == "ok"


async def test_a_certificate_for_another_name_says_for_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await certified(tmp_path, monkeypatch, "tickets.example.com")
    assert one.level == "trouble" and "for tickets.example.com, not localhost" in one.text
    assert "tickets.example.com" in one.fix


async def test_an_authority_that_is_not_known_is_named_with_the_variable(tmp_path: Path) -> None:
    context = server_named("localhost", tmp_path / "own.pem")
    async with answering(context) as port:
        findings = await looked_at({"url": f"https://localhost:{port}/mcp"})
    one = found(findings, "remote.certificate")
    assert one.level == "trouble" and "issued by localhost, which this machine does not know" in one.text
    assert "SSL_CERT_FILE" in one.fix
    answers = found(findings, "remote.answers")
    assert answers.level == "trouble" and "certificate is of an unknown authority" in answers.text


@pytest.mark.parametrize(("ahead", "level"), [(0, "ok"), (60, "notice"), (-60, "notice"), (-600, "trouble")])
async def test_a_clock_that_differs_is_said_to(ahead: int, level: str) -> None:
    async with answering(ahead=timedelta(seconds=ahead)) as port:
        one = found(await looked_at({"url": f"http://127.0.0.1:{port}/mcp"}), "remote.clock")
    assert one.level == level
    if ahead:
        assert ("ahead of" if ahead > 0 else "behind") in one.text and "timedatectl" in one.fix


async def test_a_head_without_end_is_no_http_and_hides_no_finding() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000)
        with suppress(OSError):
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        one = found(await looked_at({"url": f"http://127.0.0.1:{port}/mcp"}), "remote.answers")
    assert one.level == "trouble"


@pytest.mark.parametrize("line", ["Date: yesterday", "Date:", "X: y", "date: Mon, 30 Nov 2026 20:17:26 +9999999"])
def test_a_date_that_is_none_is_none(line: str) -> None:
    assert seconds_ahead([line], datetime.now(UTC)) is None


# Logins


class Guarded:
    """A server that wants a login, its authorization server, and a database with a login of the portal."""

    def __init__(self, host: Hosted, issuing: Authority, folder: Path) -> None:
        self.host, self.issuing = host, issuing
        self.url = new_state(folder)
        self.keys = KeyRing.open(folder / "state.key")

    async def log_in(self, *, lives: timedelta = timedelta(hours=1), **changes: Any) -> None:
        """A login whose token the server takes."""
        now = datetime.now(UTC)
        document = CredentialDocument(
            state="ready", granted_at=now, issued_at=now - 4 * abs(lives), expires_at=now + lives
        )
        server = ServerMetadata(issuer=self.issuing.issuer, token_endpoint=f"{self.issuing.url}/token")
        grant = SealedGrant(access="the-access-token", refresh="the-refresh-token", server=server)
        self.issuing.tokens["the-access-token"] = ""
        async with Store.open(self.url, self.keys) as store:
            key = CredentialKey(OWN, "up", self.issuing.issuer, self.host.url, "client")
            await save_login(store, key, document.model_copy(update=changes), grant)

    async def finding(self, **entry: Any) -> Diagnosis:
        before = Path(self.url.partition(":///")[2].partition("?")[0]).read_bytes()
        findings = await looked_at({"url": self.host.url, **entry}, state=self.url)
        assert Path(self.url.partition(":///")[2].partition("?")[0]).read_bytes() == before, "nothing was written"
        assert self.issuing.requests == [], "no token was asked for"
        assert all("the-access-token" not in one.text for one in findings)
        assert found(findings, "remote.answers").level == "ok"
        return found(findings, "remote.login")


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with authority() as issuing, protected(issuing) as (_, host):
        yield Guarded(host, issuing, tmp_path)


async def test_a_login_that_is_taken_is_said_to_be(guarded: Guarded) -> None:
    await guarded.log_in()
    assert (await guarded.finding()).level == "ok"


async def test_a_login_that_was_taken_back_is_named_with_the_command(guarded: Guarded) -> None:
    await guarded.log_in()
    guarded.issuing.tokens.clear()
    one = await guarded.finding()
    assert (one.level, one.fix) == ("trouble", "codemode login up")
    assert "refuses the login" in one.text


async def test_a_token_that_has_ended_and_is_renewed_by_itself_is_no_trouble(guarded: Guarded) -> None:
    await guarded.log_in(lives=-timedelta(minutes=1))
    one = await guarded.finding()
    assert one.level == "ok" and "renewed with the next call" in one.text


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"refreshable": False}, "notice", "ends soon"),
        ({"state": "needs_reauth", "reason": "the refresh token was refused"}, "trouble", "refresh token was refused"),
        ({"state": "misconfigured", "reason": "the client is unknown"}, "trouble", "the client is unknown"),
        ({"state": "unknown"}, "notice", "did not answer"),
    ],
    ids=["ends", "refused", "misconfigured", "unknown"],
)
async def test_a_stored_login_says_how_it_is(guarded: Guarded, changes: dict[str, Any], level: str, words: str) -> None:
    await guarded.log_in(**changes)
    one = await guarded.finding()
    assert one.level == level and words in one.text and "codemode login up" in one.fix


async def test_a_login_that_has_ended_is_named(guarded: Guarded) -> None:
    await guarded.log_in(lives=-timedelta(minutes=1), refreshable=False)
    one = await guarded.finding()
    assert (one.level, one.text) == ("trouble", "Its login has ended.")


async def test_a_login_that_is_missing_is_named_with_the_command(guarded: Guarded) -> None:
    one = await guarded.finding()
    assert (one.level, one.fix) == ("trouble", "codemode login up --create")
    without = found(await looked_at({"url": guarded.host.url}), "remote.login")
    assert without.level == "trouble" and "no database" in without.text and '"state"' in without.fix


async def test_a_credential_of_the_configuration_that_is_refused_is_named(guarded: Guarded) -> None:
    entry = {"headers": {"Authorization": "Bearer of-yesterday"}}
    one = await guarded.finding(**entry)
    assert one.level == "trouble" and "`headers`" in one.text and "of-yesterday" not in one.text


async def test_an_api_whose_document_is_a_file_has_no_host_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object, **__: object) -> object:
        raise AssertionError("there is no address to ask")

    monkeypatch.setattr("portal.doctor.remotes.probe", never)
    file = tmp_path / "api.json"
    file.write_text('{"openapi": "3.1.0", "info": {}, "paths": {"/a": {"get": {"operationId": "a"}}}}')
    (finding,) = [one for one in await looked_at({"openapi": str(file)}) if one.check == "remote.answers"]
    assert "names no address" in finding.text
    assert finding.fix == "correct its `openapi`, `url` or `server`, as the reason says"
