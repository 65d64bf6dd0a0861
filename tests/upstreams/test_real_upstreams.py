"""About fifty tools of servers that others wrote, behind one `code` tool, and programs that join several of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from tests.clients.serving import Served, serving
from tests.upstreams.packages import npm_server, python_server

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

CALL_SECONDS = 120


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with three commits; the tests read it through the servers."""
    root = tmp_path_factory.mktemp("workspace").resolve()

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    for number, name in enumerate(("tents.md", "packs.md", "boots.md"), start=1):
        (root / name).write_text(f"# {name.removesuffix('.md').title()}\n" + "word " * number * 10)
        git("add", name)
        git("commit", "-m", f"Describe {name.removesuffix('.md')}")
    return root


@pytest.fixture(scope="module")
def portal(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("portal")

    def entry(server: tuple[str, list[str]], *arguments: str, **more: Any) -> dict[str, Any]:
        command, before = server
        return {"command": command, "args": [*before, *arguments], **more}

    servers = {
        "everything": entry(npm_server("mcp-server-everything"), "stdio"),
        "filesystem": entry(npm_server("mcp-server-filesystem"), str(workspace)),
        "memory": entry(npm_server("mcp-server-memory"), env={"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}),
        "git": entry(python_server("mcp-server-git"), "--repository", str(workspace)),
        "time": entry(python_server("mcp-server-time"), "--local-timezone", "UTC"),
    }
    with serving({"mcpServers": servers}, folder) as served:
        yield served


@pytest.fixture
async def client(portal: Served) -> AsyncIterator[Client]:
    async with Client(portal.code_url) as client:
        yield client


async def run(client: Client, program: str) -> dict[str, Any]:
    async with asyncio.timeout(CALL_SECONDS):
        result = await client.call_tool("code", {"code": program})
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def test_every_server_is_ready(portal: Served) -> None:
    states = portal.event("servers settled")["states"]
    assert states == dict.fromkeys(("everything", "filesystem", "memory", "git", "time"), "ready")


@pytest.mark.anyio
async def test_about_fifty_tools_are_one(client: Client) -> None:
    listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == ["code"]
    answer = await run(client, "return (await codemode.tools()).map((tool) => tool.server)")
    counts = {server: answer["result"].count(server) for server in set(answer["result"])}
    assert set(counts) == {"everything", "filesystem", "memory", "git", "time"}
    assert sum(counts.values()) >= 45


@pytest.mark.anyio
async def test_a_program_joins_git_the_files_and_the_clock_and_remembers_it(client: Client, workspace: Path) -> None:
    """Words per file and who last wrote it, kept as entities of the knowledge graph."""
    program = (
        f"const root = {json.dumps(str(workspace))};"
        """
        const [log, listing, clock] = await Promise.all([
          codemode.git.git_log({ repo_path: root }),
          codemode.filesystem.list_directory({ path: root }),
          codemode.time.get_current_time({ timezone: "UTC" }),
        ]);
        const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
        const names = [...new Set(text(listing).match(/[a-z]+\\.md/g))].sort();
        const files = await Promise.all(names.map(async (name) => {
          const content = text(await codemode.filesystem.read_text_file({ path: `${root}/${name}` }));
          return { name, words: (content.match(/word/g) ?? []).length };
        }));
        await codemode.memory.create_entities({
          entities: files.map((file) => ({
            name: file.name,
            entityType: "file",
            observations: [`${file.words} words`, `seen ${text(clock).match(/\\d{4}-\\d\\d-\\d\\d/)[0]}`],
          })),
        });
        const graph = await codemode.memory.read_graph();
        return {
          files,
          commits: (text(log).match(/Describe \\w+/g) ?? []).length,
          remembered: graph.entities.map((entity) => entity.name).sort(),
        };
        """
    )
    answer = await run(client, program)
    assert answer["status"] == "completed", answer.get("error")
    assert answer["result"] == {
        "files": [
            {"name": "boots.md", "words": 30},
            {"name": "packs.md", "words": 20},
            {"name": "tents.md", "words": 10},
        ],
        "commits": 3,
        "remembered": ["boots.md", "packs.md", "tents.md"],
    }
    assert {call["tool"].split(".")[0] for call in answer["calls"]} == {"git", "filesystem", "time", "memory"}
    assert {call["status"] for call in answer["calls"]} == {"ok"}


@pytest.mark.anyio
async def test_search_finds_tools_of_servers_it_was_not_made_for(client: Client) -> None:
    wanted = {
        "commit history": "git.git_log",
        "current time in a timezone": "time.get_current_time",
        "read a text file": "filesystem.read_text_file",
        "add entities to the knowledge graph": "memory.create_entities",
    }
    program = f"""
        const found = {{}};
        for (const query of {json.dumps(list(wanted))}) {{
          found[query] = (await codemode.search(query, {{ limit: 5 }})).map((tool) => tool.path);
        }}
        return found;
    """
    found = (await run(client, program))["result"]
    missed = {query: found[query] for query, path in wanted.items() if path not in found[query]}
    assert missed == {}


@pytest.mark.anyio
async def test_a_tool_that_refuses_is_an_error_the_program_can_catch(client: Client) -> None:
    program = """
        try {
          await codemode.filesystem.read_text_file({ path: "/etc/passwd" });
        } catch (error) {
          return [error.name, error.tool, error.message.includes("denied")];
        }
    """
    answer = await run(client, program)
    assert answer["result"] == ["ToolError", "filesystem.read_text_file", True]
    assert [call["status"] for call in answer["calls"]] == ["error"]


@pytest.mark.anyio
async def test_an_image_reaches_the_client_past_the_text(client: Client) -> None:
    program = """
        const blocks = await codemode.everything.get_tiny_image({});
        for (const block of blocks) if (block.type === "image") codemode.emit(block);
        return blocks.length;
    """
    async with asyncio.timeout(CALL_SECONDS):
        result = await client.call_tool("code", {"code": program})
    assert [block.type for block in result.content].count("image") == 1
    assert result.content[0].type == "text"
