"""`codemode add`, `remove`, `enable` and `disable` as a person runs them, over real documents and real servers."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.cli.exits import Exit
from portal.config import load_config, load_document
from tests.clients.serving import serving
from tests.portal.cli.command import as_forked
from tests.portal.cli.command import in_process as codemode
from tests.portal.credentials.authority import login_authority, protected

SHOP = ("--", sys.executable, "-m", "portal.demo.shop")
MINE = """\
{
  // Mine
  "mcpServers": {
    "desk": {"command": "desk", "disabled": true}, // not now
    "my_notes": {
      "command": "notes",
      "env": {"NOTES_TOKEN": "hunter2-hunter2"}
    },
  },
  "portal": {"name": "Mine"}
}
"""
CODEX = '# mine\nmodel = "o3" # fast\n\n[mcp_servers.docs]\ncommand = "docs" # local\n\n[tui]\ntheme = "dark"\n'


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A document with comments, and a last comma."""
    file = tmp_path / "codemode.json"
    file.write_text(MINE)
    return file


def test_the_first_server_makes_a_document_and_answers(tmp_path: Path) -> None:
    done = as_forked(tmp_path, "add", "shop", *SHOP)
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert done.stdout.startswith("--- /dev/null\n+++ codemode.json\n")
    assert done.stdout.endswith(
        "Made codemode.json with the server shop.\nIt answers with 11 tools.\n"
        "A portal that is running with this file takes it up by itself.\n"
    )
    file = tmp_path / "codemode.json"
    assert load_document(file) == {
        "mcpServers": {"shop": {"command": sys.executable, "args": ["-m", "portal.demo.shop"]}}
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_server_reached_by_url_answers_and_says_it_to_programs(tmp_path: Path, shop: dict[str, Any]) -> None:
    done = codemode(tmp_path, "add", "my shop", str(shop["url"]), "--json")
    assert done.returncode == Exit.OK
    said = json.loads(done.stdout)
    assert said.pop("diff").startswith("--- /dev/null\n+++ codemode.json\n")
    assert said == {
        "file": "codemode.json",
        "made": True,
        "written": True,
        "section": "mcpServers",
        "name": "my shop",
        "id": "my-shop",
        "check": {"state": "ready", "tools": 11, "why": ""},
    }


def test_a_portal_that_runs_takes_up_what_is_added_and_disabled(tmp_path: Path, shop: dict[str, Any]) -> None:
    with serving({"mcpServers": {"shop": shop}}, tmp_path) as served:
        done = codemode(tmp_path, "add", "shipping", "--no-check", "--", sys.executable, "-m", "portal.demo.shipping")
        assert done.returncode == Exit.OK
        assert served.event("configuration changed")["keys"] == ["mcpServers.shipping (new)"]
        while not any(event.get("server") == "shipping" and event["state"] == "ready" for event in served.events):
            served.next_event()
        origin = served.url.removesuffix("/mcp")
        served.events.clear()
        assert codemode(tmp_path, "disable", "shipping").returncode == Exit.OK
        assert served.event("configuration changed")["keys"] == ["mcpServers.shipping.enabled"]
        assert list(httpx2.get(f"{origin}/healthz").json()["servers"]) == ["shop"]


def test_a_server_that_does_not_answer_stays_in_the_document_and_is_taken_out_as_it_says(tmp_path: Path) -> None:
    done = codemode(tmp_path, "add", "gone", "--", "no-such-program-anywhere")
    assert done.returncode == Exit.UPSTREAM
    assert "It does not answer: cannot be started: No such file or directory" in done.stdout
    assert "Its entry stays; `codemode remove gone` takes it out.\n" in done.stdout
    assert "gone" in load_document(tmp_path / "codemode.json")["mcpServers"]  # type: ignore[operator]
    done = codemode(tmp_path, "remove", "gone")
    assert (done.returncode, load_document(tmp_path / "codemode.json")) == (Exit.OK, {"mcpServers": {}})


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_server_that_wants_a_login_says_how_to_log_in(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        done = await asyncio.to_thread(codemode, tmp_path, "add", "files", host.url)
    assert "It needs a login: codemode login files.\n" in done.stdout
    assert done.returncode == Exit.OK


def test_comments_and_order_stay_and_secrets_are_not_printed(mine: Path) -> None:
    done = codemode(mine.parent, "add", "tickets", "https://a.example/mcp", "--no-check")
    assert done.stderr == "Using codemode.json\n"
    new = '\n    "tickets": {\n      "url": "https://a.example/mcp"\n    },'
    assert mine.read_text() == MINE.replace("    },\n  },", f"    }},{new}\n  }},")
    assert '+    "tickets": {\n' in done.stdout
    assert "hunter2" not in done.stdout and '"NOTES_TOKEN": "***"' in done.stdout


def test_a_value_that_sounds_secret_is_taken_and_a_reference_suggested(tmp_path: Path) -> None:
    words = ("add", "a", "https://a.example/mcp", "--no-check")
    done = codemode(tmp_path, *words, "--header", "Authorization: Bearer abcdefgh", "-H", "X-Team: ops")
    assert done.stderr == (
        "The value of Authorization is in the file as it is; '${NAME}' takes it from the environment instead.\n"
    )
    assert "abcdefgh" not in done.stdout
    headers = load_document(tmp_path / "codemode.json")["mcpServers"]["a"]["headers"]  # type: ignore[index]
    assert headers == {"Authorization": "Bearer abcdefgh", "X-Team": "ops"}


def test_a_reference_is_kept_as_it_is_written_and_the_server_not_tried_without_its_variable(tmp_path: Path) -> None:
    header = "Authorization: Bearer ${NO_SUCH_TOKEN}"
    done = codemode(tmp_path, "add", "a", "${NO_SUCH_BASE}/mcp", "--header", header)
    assert done.returncode == Exit.OK
    why = "It was not tried, because NO_SUCH_BASE and NO_SUCH_TOKEN are not set in this environment.\n"
    assert why in done.stdout and "Bearer ${NO_SUCH_TOKEN}" in done.stdout


def test_a_codex_document_gets_its_own_words(tmp_path: Path) -> None:
    file = tmp_path / ".codex" / "config.toml"
    file.parent.mkdir()
    file.write_text(CODEX)
    words = ("--config", str(file), "--no-check", "--header", "Authorization: Bearer ${WIKI}")
    assert codemode(tmp_path, "add", "wiki", "https://a.example/mcp", *words).returncode == Exit.OK
    new = '\n[mcp_servers.wiki]\nurl = "https://a.example/mcp"\nbearer_token_env_var = "WIKI"\n'
    assert file.read_text() == CODEX.replace("# local\n", f"# local\n{new}")
    assert as_forked(tmp_path, "remove", "wiki", "-c", str(file)).returncode == Exit.OK
    assert file.read_text() == CODEX


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("add", "desk", "--", "x"), "has a server 'desk' already. `codemode add desk --replace ...` puts this one in"),
        (("add", "my-notes", "--", "x"), "has a server 'my_notes' already."),
        (("add", "codemode", "--", "codemode", "serve"), "codemode would lead back to this portal itself. Nothing was"),
        (("add", "me", "http://localhost:8787/mcp"), "me would lead back to this portal itself. Nothing was written."),
        (("add", "?!", "--", "x"), "is no name for a server"),
        (("add", "a", "npx -y some"), "Write the command as words of their own: `codemode add a -- npx -y some`."),
        (("add", "a"), "Say what a is: its URL, or `--` and its command"),
        (("add", "a", "ws://a.example"), "ws:// is no http:// or https:// URL"),
        (("add", "a", "https://a.example", "--env", "A=b"), "--env and --cwd are for a program."),
        (("add", "a", "--header", "A: b", "--", "x"), "--header and --transport are for a URL."),
        (("add", "a", "--env", "A", "--", "x"), "--env wants KEY=VALUE."),
        (("add", "a", "--env", "A B=c", "--", "x"), "'A B' is no name of an environment variable."),
        (("add", "a", "--env", "A=1", "-e", "A=2", "--", "x"), "--env has 'A' twice."),
        (("add", "a", "https://a.example", "--header", "A b: c"), "must be the name of an HTTP header"),
        (("remove", "dsk"), "codemode.json has no server 'dsk'; did you mean 'desk'?"),
        (("enable", "zzz"), "codemode.json has no server 'zzz'; it has: desk, my_notes."),
        (("disable", "my-note"), "did you mean 'my_notes'?"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence_and_nothing_is_written(
    mine: Path, words: tuple[str, ...], why: str
) -> None:
    done = codemode(mine.parent, *words)
    assert done.returncode == Exit.USAGE
    assert why in done.stderr
    assert (done.stdout, mine.read_text()) == ("", MINE)
    assert os.listdir(mine.parent) == ["codemode.json"]


def test_a_server_is_replaced_in_its_place_when_that_is_asked_for(mine: Path) -> None:
    done = codemode(mine.parent, "add", "my-notes", "--replace", "--no-check", "--", "other", "-x")
    assert done.returncode == Exit.OK
    assert list(load_document(mine)["mcpServers"].items()) == [  # type: ignore[attr-defined]
        ("desk", {"command": "desk", "disabled": True}),
        ("my_notes", {"command": "other", "args": ["-x"]}),
    ]
    assert "// not now" in mine.read_text()


def test_a_server_is_turned_on_and_off_in_its_own_spelling_and_nothing_else_changes(mine: Path) -> None:
    assert "desk is enabled." in as_forked(mine.parent, "enable", "desk").stdout
    assert mine.read_text() == MINE.replace('"disabled": true', '"disabled": false')
    assert codemode(mine.parent, "enable", "desk").stdout == "desk is enabled already.\n"
    assert as_forked(mine.parent, "disable", "desk").returncode == Exit.OK
    assert mine.read_text() == MINE
    codemode(mine.parent, "disable", "my-notes")
    assert not load_config(mine, {}).servers["my-notes"].enabled


def test_a_dry_run_shows_the_change_and_writes_nothing(mine: Path) -> None:
    for words in (("add", "a", "--", "x"), ("remove", "desk"), ("enable", "desk")):
        done = codemode(mine.parent, words[0], "--dry-run", *words[1:])
        assert done.returncode == Exit.OK
        assert done.stdout.startswith("--- codemode.json\n+++ codemode.json\n@@")
        assert done.stdout.endswith("Nothing was written (--dry-run).\n")
        assert mine.read_text() == MINE


def test_a_removed_server_that_a_portal_names_is_refused(mine: Path) -> None:
    text = MINE.replace('"portal"', '"portals": {"docs": {"servers": ["desk"]}},\n  "portal"')
    mine.write_text(text)
    done = codemode(mine.parent, "remove", "desk")
    assert done.returncode == Exit.USAGE
    assert "Without desk the document could not be used." in done.stderr
    assert mine.read_text() == text


def test_a_broken_server_can_be_removed_and_another_one_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "codemode.json"
    file.write_text('{"mcpServers": {"a": {"command": "x"}, "b": {"command": "x", "env": {"K": "${NOT_SET_HERE}"}}}}')
    assert codemode(tmp_path, "remove", "a").returncode == Exit.OK
    assert codemode(tmp_path, "remove", "b").returncode == Exit.OK
    assert load_document(file) == {"mcpServers": {}}


@pytest.mark.parametrize("words", [("add", "a", "--no-check", "--", "x"), ("remove", "a")])
def test_a_document_of_another_kind_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "codemode.yaml"
    file.write_text("mcpServers: {}\n")
    done = codemode(tmp_path, *words[:2], "--config", "codemode.yaml", *words[2:])
    assert done.returncode == Exit.USAGE
    assert "codemode.yaml: is YAML, and the configuration is JSON or TOML." in done.stderr
    file.write_text("{")
    file.rename(tmp_path / "codemode.json")
    assert "is not JSON" in codemode(tmp_path, *words).stderr


def test_an_empty_document_and_a_null_section_get_a_server(tmp_path: Path) -> None:
    file = tmp_path / "codemode.json"
    for text in ("", "// mine\n", '{"mcpServers": null}'):
        file.write_text(text)
        assert codemode(tmp_path, "add", "a", "--no-check", "--", "x").returncode == Exit.OK
        assert load_document(file) == {"mcpServers": {"a": {"command": "x"}}}


def test_a_folder_of_a_program_means_the_same_from_the_document(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    words = ("add", "a", "--no-check", "--cwd", "work", "--config", str(tmp_path / "codemode.json"), "--", "x")
    assert codemode(tmp_path / "here", *words).returncode == Exit.OK
    server = load_config(tmp_path / "codemode.json").servers["a"]
    assert str(server.model_dump()["cwd"]) == str(tmp_path / "here" / "work")


def test_two_commands_at_once_lose_nothing(mine: Path) -> None:
    names = [f"new{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        commands = {name: pool.submit(as_forked, mine.parent, "add", name, "--no-check", "--", "x") for name in names}
    done = {name: command.result() for name, command in commands.items()}
    servers = load_document(mine)["mcpServers"]
    assert isinstance(servers, dict)
    for name, one in done.items():
        assert (name in servers) is (one.returncode == Exit.OK)
        assert one.returncode == Exit.OK or "has been changed by somebody else meanwhile" in one.stderr
    assert {"desk", "my_notes"} <= servers.keys()
    assert sorted(os.listdir(mine.parent)) == ["codemode.json"]


API = """\
openapi: 3.1.0
info: {title: Shop, version: "1"}
servers: [{url: "https://api.shop.example.com/v1"}]
paths:
  /orders:
    get: {operationId: list_orders, responses: {"200": {description: fine}}}
    post: {operationId: odd, parameters: [{$ref: "#/nowhere"}]}
"""


def test_an_api_is_added_by_its_document_and_says_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(API)
    done = codemode(tmp_path, "add", "shop", "--openapi", "shop.yaml", "--credential", "key=${SHOP_KEY}", "--no-check")
    assert done.returncode == Exit.OK
    assert load_document(tmp_path / "codemode.json") == {
        "mcpServers": {"shop": {"openapi": "shop.yaml", "credentials": {"key": "${SHOP_KEY}"}}}
    }
    done = codemode(tmp_path, "add", "shop", "--replace", "--openapi", "shop.yaml", "--url", "https://127.0.0.1:9")
    assert done.returncode == Exit.OK and "It answers with " in done.stdout and "/paths/~1orders" in done.stdout


def test_what_goes_with_no_api_is_refused(tmp_path: Path) -> None:
    for words in (
        ("--openapi", "nowhere.yaml"),
        ("--openapi", "https://a.example/x", "https://b.example/mcp"),
        ("--openapi", "https://a.example/x", "--env", "A=b"),
        ("--openapi", "https://a.example/x", "--transport", "sse"),
        ("https://a.example/mcp", "--url", "https://b.example"),
        ("https://a.example/mcp", "--credential", "a=b"),
    ):
        done = codemode(tmp_path, "add", "shop", *words)
        assert done.returncode == Exit.USAGE and not (tmp_path / "codemode.json").exists(), words
