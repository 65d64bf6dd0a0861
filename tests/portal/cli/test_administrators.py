"""`codemode admin` for local administrators, on a database of their own and below a portal that runs."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from portal.app import open_store
from portal.cli.app import app
from portal.login import Administrators, Passwords
from tests.forked import finished
from tests.portal.admin.ruled import ruled_portal
from tests.portal.admin.test_members import post_office
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, QUICK, sign_in

pytestmark = [pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
OTHER, NEW = "grace@example.com", "another password"
Command = Callable[..., Result]


def state_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'state.db'}"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    environment = {"CODEMODE_STATE": state_in(tmp_path), "COLUMNS": "200"}
    return lambda *words, input=None: CliRunner(env=environment).invoke(app, [str(word) for word in words], input=input)


def make(folder: Path, *emails: str) -> None:
    """Local accounts."""

    async def made() -> None:
        async with open_store(state_in(folder)) as store:
            for email in emails:
                await Administrators(store, Passwords(QUICK)).create(email, "Ada", PASSWORD, by="test")

    asyncio.run(made())


def signs_in(folder: Path, email: str, password: str) -> bool:
    async def tried() -> bool:
        async with open_store(state_in(folder)) as store:
            return await Administrators(store, Passwords(QUICK)).sign_in(email, password) is not None

    return asyncio.run(tried())


def test_administrators_and_who_is_invited_are_listed_invited_and_removed(command: Command, tmp_path: Path) -> None:
    assert command("admin", "list").stdout == "There are no administrators.\n"
    make(tmp_path, EMAIL, OTHER)
    invited = command("admin", "invite", "Hal@Example.com")
    assert invited.exit_code == 0
    assert invited.stdout.startswith("/login/invitation?token=") and invited.stdout.count("\n") == 1
    assert "Put the portal's address before it" in invited.stderr
    listed = json.loads(command("admin", "list", "--json").stdout)
    assert [(one["email"], one["status"]) for one in listed] == [
        (EMAIL, "accepted"),
        (OTHER, "accepted"),
        ("hal@example.com", "pending"),
    ]
    assert invited.stdout.strip().partition("=")[2] not in str(listed)
    again = command("admin", "invite", "hal@example.com")
    assert "the earlier one is dead" in again.stderr and again.stdout != invited.stdout
    assert "revoked: HAL@example.com" in command("admin", "remove", "HAL@example.com").stderr
    assert "Removed, with every session" in command("admin", "remove", EMAIL.upper()).stderr
    last = command("admin", "remove", OTHER)
    assert (last.exit_code, "the last owner who can sign in stays one" in last.stderr) == (1, True)
    assert [line.split()[1:] for line in command("admin", "list").stdout.splitlines()[1:]] == [
        [OTHER, "owner", "accepted"]
    ]
    trail = command("admin", "audit").stdout
    assert "create invitation" in " ".join(trail.split()) and "delete admin" in " ".join(trail.split())


def test_an_invitation_says_the_role_and_the_list_shows_it(command: Command, tmp_path: Path) -> None:
    make(tmp_path, EMAIL)
    assert "makes its holder auditor" in command("admin", "invite", OTHER, "--role", "auditor").stderr
    assert "makes its holder admin" in command("admin", "invite", "hal@example.com").stderr
    assert "makes its holder owner" in command("admin", "invite", "hal@example.com", "--role", "owner").stderr
    listed = [line.split()[1:4] for line in command("admin", "list").stdout.splitlines()[1:]]
    assert listed == [
        [EMAIL, "owner", "accepted"],
        [OTHER, "auditor", "pending"],
        ["hal@example.com", "owner", "pending"],
    ]
    assert command("admin", "invite", "eve@example.com", "--role", "king").exit_code == 2


def test_an_administrator_is_a_kind_like_others(command: Command, tmp_path: Path) -> None:
    make(tmp_path, EMAIL, OTHER)
    (ada, _) = json.loads(command("admin", "list", "administrators", "--json").stdout)
    shown = command("admin", "show", "administrators", ada["id"])
    assert json.loads(shown.stdout)["email"] == EMAIL and "argon2" not in shown.stdout
    assert command("admin", "remove", "administrators", ada["id"]).exit_code == 0
    assert not signs_in(tmp_path, EMAIL, PASSWORD)


def test_a_password_from_standard_input_is_the_new_one(command: Command, tmp_path: Path) -> None:
    make(tmp_path, EMAIL)
    done = command("admin", "reset-password", EMAIL.upper(), "--ask", input=f"{NEW}\n")
    assert done.exit_code == 0
    assert NEW not in done.output
    assert (signs_in(tmp_path, EMAIL, PASSWORD), signs_in(tmp_path, EMAIL, NEW)) == (False, True)


def test_a_password_is_asked_for_twice_on_a_terminal_and_not_shown(tmp_path: Path) -> None:
    make(tmp_path, EMAIL)
    for second, expected in (("something else", 2), (NEW, 0)):
        here, there = pty.openpty()
        words = [sys.executable, "-m", "portal.cli", "admin", "reset-password", EMAIL, "--ask"]
        words += ["--state", state_in(tmp_path)]
        with subprocess.Popen(words, stdin=there, stdout=there, stderr=there, start_new_session=True) as process:
            os.close(there)
            seen = b""
            for prompt, line in ((b"New password: ", NEW), (b"Again: ", second)):
                while prompt not in seen:
                    seen += os.read(here, 1000)
                os.write(here, f"{line}\n".encode())
            assert process.wait() == expected
        seen += rest_of(here)
        os.close(here)
        assert NEW.encode() not in seen
        assert signs_in(tmp_path, EMAIL, NEW) is (expected == 0)


def rest_of(terminal: int) -> bytes:
    read = b""
    try:
        while chunk := os.read(terminal, 1000):
            read += chunk
    except OSError:
        # The other end is closed.
        pass
    return read


@pytest.mark.parametrize(
    ("words", "input", "code", "message"),
    [
        (("reset-password", EMAIL, "--ask"), "short\n", 2, "at least 12 characters"),
        (("reset-password", EMAIL, "--ask"), "", 2, "at least 12 characters"),
        (("reset-password", OTHER), None, 1, "no administrator has this address"),
        (("invite", EMAIL.upper()), None, 2, "there is an administrator with this address"),
        (("invite", "nobody"), None, 2, "that is not an e-mail address"),
        (("remove", OTHER), None, 1, "neither an administrator nor invited"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    command: Command, tmp_path: Path, words: tuple[str, ...], input: str | None, code: int, message: str
) -> None:
    make(tmp_path, EMAIL)
    failed = command("admin", *words, input=input)
    assert (failed.exit_code, failed.stdout) == (code, "")
    assert message in failed.stderr and failed.stderr.count("\n") == 1
    assert signs_in(tmp_path, EMAIL, PASSWORD)


@pytest.mark.anyio
async def test_below_a_portal_that_runs_a_reset_ends_the_sessions_and_its_link_opens_there(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, browser_at(portal.url) as browser, browser_at(portal.url) as other:
        await portal.person()
        await sign_in(browser, await browser.open("/login"))
        document = tmp_path / "codemode.json"
        port = int(portal.url.rpartition(":")[2])
        document.write_text(
            json.dumps({"mcpServers": {}, "portal": {"state": state_in(tmp_path), "port": port, "identity": {}}})
        )
        link = await asyncio.to_thread(codemode, "reset-password", EMAIL, "--config", str(document))
        assert link.startswith(f"{portal.url}/login/reset?token=")
        assert "You are signed out" in (await browser.open("/logout")).text
        assert (await sign_in(browser, await browser.open("/login"))).status == 403
        page = await other.open(link)
        assert (await other.submit(page, "/login/reset", password=NEW)).status == 200
        assert (await other.open(link)).status == 400
        await sign_in(browser, await browser.open("/login"), password=NEW)
        assert EMAIL in (await browser.open("/logout")).text


@pytest.mark.anyio
async def test_with_a_configuration_the_link_is_whole_and_mailed_in_the_name_of_the_portal(tmp_path: Path) -> None:
    async with post_office() as (post, smtp):
        identity = {"publicUrl": "https://tools.acme.example", "smtp": smtp}
        document = tmp_path / "codemode.json"
        settings = {"name": "Acme", "state": state_in(tmp_path), "identity": identity}
        document.write_text(json.dumps({"mcpServers": {}, "portal": settings}))
        link = await asyncio.to_thread(codemode, "invite", OTHER, "--config", str(document), "--create")
        assert link.startswith("https://tools.acme.example/login/invitation?token=")
        recipients, letter = await post.letters.get()
        assert (recipients, letter["subject"]) == ([OTHER], "You are invited to administer Acme")
        assert link in letter.get_payload(decode=True).decode()


def codemode(*words: str) -> str:
    """The only line on the standard output of `codemode admin`."""
    done = finished("admin", *words, environment={"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return line
