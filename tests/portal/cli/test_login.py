"""`codemode login`, `logout` and `credentials`: a person logs in, and the portal shows the token from then on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from portal.app import Instance, Parts, open_store
from portal.cli.exits import Exit
from portal.config import load_config, parse_config
from portal.credentials import OWN, CredentialDocument, save_login
from portal.credentials.grants import SealedGrant
from portal.credentials.metadata import ServerMetadata
from portal.logs import Discard
from portal.state import CredentialKey
from tests.patience import PATIENCE
from tests.portal.cli.command import in_process
from tests.portal.credentials.authority import login_authority, protected
from tests.portal.state.databases import new_state

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def configure(folder: Path, url: str, **entry: Any) -> Path:
    file = folder / "codemode.json"
    document = {"mcpServers": {"files": {"url": url, **entry}}, "portal": {"state": "sqlite:///state.db"}}
    file.write_text(json.dumps(document))
    return file


@asynccontextmanager
async def logging_in(folder: Path, *more: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The command in a process of its own, and the address that it prints."""
    command = (sys.executable, "-m", "portal.cli", "login", "files", "--no-browser", "--create", *more)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def log_in(folder: Path, *more: str) -> str:
    """What the command says after a browser has followed it."""
    async with logging_in(folder, *more) as (process, address), aiohttp.ClientSession() as browser:
        async with browser.get(address) as page:
            assert page.status == 200 and "Back to the terminal" in await page.text()
        _, said = await process.communicate()
        assert process.returncode == Exit.OK, said
        return said.decode()


async def until(instance: Instance, *, ready: bool) -> None:
    """Return when the server is ready, or is not."""
    async with asyncio.timeout(PATIENCE):
        while (instance.servers.snapshot.servers["files"].state == "ready") is not ready:
            await instance.servers.refresh("files")


async def test_where_people_sign_in_the_reason_sends_each_of_them_to_the_page(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        for on_behalf, words in (
            (True, "; each person logs in to it on the portal's page /servers; `codemode login files` lists its tools"),
            (False, "; log in with `codemode login files`; or put"),
        ):
            document = {
                "mcpServers": {"files": {"url": host.url, "onBehalf": on_behalf}},
                "portal": {"state": new_state(tmp_path), "identity": {}},
            }
            async with Instance.open(parse_config(document, env={}), Discard(), parts=Parts(code=None)) as instance:
                assert words in str((await instance.servers.settled()).servers["files"].reason)


async def test_a_running_portal_is_let_in_as_soon_as_somebody_has_logged_in_and_out_again(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="files:read") as (_, host):
        config = load_config(configure(tmp_path, host.url))
        async with Instance.open(config, Discard(), parts=Parts(code=None)) as instance:
            before = (await instance.servers.settled()).servers["files"]
            assert before.state == "error" and "; log in with `codemode login files`; or put" in str(before.reason)
            said = await log_in(tmp_path)
            assert "Logged in to files for files:read." in said and f"Database: {tmp_path}/state.db" in said
            await until(instance, ready=True)
            shown = await asyncio.to_thread(in_process, tmp_path, "credentials", "--json")
            (found,) = json.loads(shown.stdout)["credentials"]
            assert (found["server"], found["subject"], found["state"]) == ("files", None, "ready")
            assert found["scope"] == "files:read" and found["grantedBy"].startswith("command line: ")
            assert (found["ending"], found["endsAt"]) == ("no", None)
            left = await asyncio.to_thread(in_process, tmp_path, "logout", "files")
            assert left.returncode == Exit.OK and "has taken the token back" in left.stderr
            assert len(issuing.revoked) == 2
            await until(instance, ready=False)
        again = await asyncio.to_thread(in_process, tmp_path, "logout", "files")
        assert again.returncode == Exit.USAGE and "Nobody is logged in to 'files'" in again.stderr


async def test_commands_that_call_servers_show_the_token_too(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        configure(tmp_path, host.url)
        await log_in(tmp_path)
        called = await asyncio.to_thread(in_process, tmp_path, "call", "files.echo", "text=hello")
        assert called.returncode == Exit.OK and "hello" in called.stdout


async def test_permissions_that_a_server_wanted_are_asked_for_at_the_next_login(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="read") as (guard, host):
        configure(tmp_path, host.url)
        await log_in(tmp_path)
        guard.needed = "write"
        refused = await asyncio.to_thread(in_process, tmp_path, "call", "files.echo", "text=hello")
        assert refused.returncode != Exit.OK and "wants more permissions" in refused.stderr
        guard.needed = "read write"
        assert "for read write" in await log_in(tmp_path)
        called = await asyncio.to_thread(in_process, tmp_path, "call", "files.echo", "text=hello")
        assert called.returncode == Exit.OK


async def test_a_registration_that_is_refused_is_said_whatever_the_error(tmp_path: Path) -> None:
    async with login_authority(registration_error="invalid_client") as issuing, protected(issuing) as (_, host):
        configure(tmp_path, host.url)
        said = await asyncio.to_thread(in_process, tmp_path, "login", "files", "--create")
    assert said.returncode == Exit.UPSTREAM
    assert f"files: {issuing.url} refused to register the portal (invalid_client)" in said.stderr


async def test_an_answer_that_nobody_asked_for_is_passed_over(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        configure(tmp_path, host.url)
        async with logging_in(tmp_path) as (process, address), aiohttp.ClientSession() as browser:
            async with browser.get(address, allow_redirects=False) as redirect:
                location = redirect.headers["location"]
            forged = location.partition("?")[0] + "?code=stolen&state=guessed"
            async with browser.get(forged) as page:
                assert page.status == 200
            async with browser.get(location) as page:
                assert page.status == 200
            await process.wait()
            assert process.returncode == Exit.OK
        assert len(issuing.requests) == 1


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"headers": {"Authorization": "Bearer x"}}, "has a credential in its `headers` or `url`"),
        (
            {"oauth": {"grant": "client_credentials", "clientId": "c", "clientSecret": "s"}},
            "has a client of its own (`oauth`)",
        ),
    ],
)
def test_a_server_with_another_credential_needs_no_login(tmp_path: Path, entry: dict[str, Any], why: str) -> None:
    configure(tmp_path, "http://127.0.0.1:1/mcp", **entry)
    said = in_process(tmp_path, "login", "files", "--create")
    assert said.returncode == Exit.USAGE and why in said.stderr


def test_what_is_no_server_to_log_in_to_is_named(tmp_path: Path) -> None:
    configure(tmp_path, "http://127.0.0.1:1/mcp")
    said = in_process(tmp_path, "login", "fils", "--create")
    assert "There is no server 'fils' to log in to. Did you mean files?" in said.stderr


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    configure(tmp_path, "http://127.0.0.1:1/mcp")
    said = in_process(tmp_path, "login", "files", "--create")
    assert said.returncode == Exit.UPSTREAM and "files: cannot be reached" in said.stderr


def test_without_a_login_the_list_says_how_to_log_in(tmp_path: Path) -> None:
    configure(tmp_path, "http://127.0.0.1:1/mcp")
    said = in_process(tmp_path, "credentials", "--state", f"sqlite:///{tmp_path}/other.db")
    assert "Nobody is logged in anywhere. `codemode login SERVER` logs in." in said.stdout


async def test_a_login_that_is_about_to_end_or_has_ended_is_listed_as_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    now = datetime.now(UTC)
    async with open_store(url) as store:
        for server, until in (("ending", now + timedelta(days=1)), ("ended", now - timedelta(days=1))):
            key = CredentialKey(OWN, server, "https://idp.example", f"https://{server}.example/mcp", "us")
            document = CredentialDocument(
                state="ready",
                granted_at=now - timedelta(days=30),
                issued_at=now - timedelta(days=30),
                expires_at=until,
                refreshable=False,
            )
            metadata = ServerMetadata(issuer="https://idp.example", token_endpoint="https://idp.example/t")
            await save_login(store, key, document, SealedGrant(access="hush", server=metadata))
    listed = await asyncio.to_thread(in_process, tmp_path, "credentials", "--state", url, "--json")
    found = {one["server"]: one for one in json.loads(listed.stdout)["credentials"]}
    assert {server: one["ending"] for server, one in found.items()} == {"ending": "soon", "ended": "ended"}
    assert found["ending"]["endsAt"] == (now + timedelta(days=1)).isoformat()
    table = await asyncio.to_thread(in_process, tmp_path, "credentials", "--state", url)
    said = " ".join(table.stdout.split())
    assert "it ends soon" in said and "it has ended" in said and "hush" not in said + listed.stdout


def test_an_api_without_an_oauth_is_told_where_its_token_goes(tmp_path: Path) -> None:
    (tmp_path / "api.json").write_text("{}")
    servers = {"pets": {"openapi": str(tmp_path / "api.json"), "url": "https://pets.example.com"}}
    document = {"mcpServers": servers, "portal": {"state": f"sqlite:///{tmp_path / 'state.db'}"}}
    (tmp_path / "codemode.json").write_text(json.dumps(document))
    done = in_process(tmp_path, "login", "pets")
    assert done.returncode
    assert "give it an `oauth`, or write a token into its `credentials`" in done.stderr
