"""The examples of the chapter are used as they stand there, and every field has its place in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError

from portal.gateway.fields import FIELDS
from portal.gateway.reading import read_expression
from tests.portal.gateway.searching import Searching
from tests.portal.gateway.test_portal import secret
from tests.portal.portals import MODERN, client_of, portal_over
from tests.portal.upstreams.hosting import hosted

CHAPTER = (Path(__file__).resolve().parents[3] / "portal" / "gateway" / "README.md").read_text(encoding="utf-8")


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_the_example_does_what_its_names_say(searching: Searching) -> None:
    settings = json.loads(re.findall(r"```json\n(.*?)```", CHAPTER, re.DOTALL)[0])["portal"]
    async with hosted() as host:
        # In the place of the host of the CRM, that of the server which is one here.
        rules = json.loads(json.dumps(settings).replace("crm.example.com", "localhost"))
        entries = {"crm": {"url": host.url.replace("127.0.0.1", "localhost")}, "mail": {"url": host.url}}
        async with portal_over(entries, detector=searching, **rules) as portal:
            async with client_of(portal.mcp, MODERN) as client:

                async def sent(tool: str, text: str) -> str:
                    result = await client.call_tool(tool, {"text": text})
                    return "".join(block.text for block in result.content if block.type == "text")

                assert await sent("crm_echo", "ada@example.com") == "ada@example.com"
                assert (await sent("crm_echo", f"it is {secret()}")).startswith("it is [redacted:")
                for text in (secret(), "ada@example.com"):
                    with pytest.raises(MCPError, match="Secrets are in the vault"):
                        await sent("mail_echo", text)


def test_the_example_expressions_can_be_read() -> None:
    lines = re.findall(r"```text\n(.*?)```", CHAPTER, re.DOTALL)[0].splitlines()
    assert [
        read_expression(line, family) is not None for line, family in zip(lines, ("traffic", "identity"), strict=True)
    ]


def test_the_chapter_has_every_field() -> None:
    assert [
        name
        for name, field in FIELDS.items()
        if f"`{field.shown}`" not in CHAPTER and f".{name.rpartition('.')[2]}[*]" not in CHAPTER
    ] == []
