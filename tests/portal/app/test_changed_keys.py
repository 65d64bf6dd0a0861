"""The keys that a changed configuration changes: as an operator writes them, as deep as they differ, never a value."""

from __future__ import annotations

from typing import Any

import pytest

from portal.app.reload import changed_keys
from portal.config import Config, parse_config

WIKI = {"url": "https://wiki.example.com/mcp", "headers": {"Authorization": "Bearer one-one-one"}}
IDENTITY = {"publicUrl": "https://portal.example.com", "smtp": {"host": "a.example", "sender": "p@example.com"}}


def parse(document: dict[str, Any]) -> Config:
    return parse_config(document, env={})


def keys(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, ...]:
    return changed_keys(parse(before), parse(after))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"mcpServers": {"wiki": WIKI}}, {"mcpServers": {"wiki": WIKI}}, ()),
        ({}, {"mcpServers": {"my_wiki": WIKI}}, ("mcpServers.my_wiki (new)",)),
        ({"servers": {"wiki": WIKI}}, {"servers": {}}, ("servers.wiki (removed)",)),
        (
            {"mcpServers": {"wiki": WIKI}},
            {"mcpServers": {"wiki": {**WIKI, "headers": {"Authorization": "Bearer two-two-two"}, "type": "sse"}}},
            ("mcpServers.wiki.headers.Authorization", "mcpServers.wiki.type"),
        ),
        ({"mcpServers": {"wiki": WIKI}}, {"mcpServers": {"wiki": {"command": "x"}}}, ("mcpServers.wiki",)),
        (
            {"portal": {"limits": {"cpuTime": 1, "calls": 3}, "name": "A"}},
            {"portal": {"limits": {"cpu_time": 2, "calls": 3}, "name": "B", "logLevel": "debug"}},
            ("portal.name", "portal.limits.cpuTime", "portal.logLevel"),
        ),
        (
            {"portal": {"identity": IDENTITY}},
            {"portal": {"identity": {**IDENTITY, "smtp": {**IDENTITY["smtp"], "password": "pa55"}, "pin": True}}},  # type: ignore[dict-item]
            ("portal.identity.pin", "portal.identity.smtp.password"),
        ),
        ({"portal": {"identity": IDENTITY}}, {}, ("portal.identity",)),
        (
            {"portals": {"docs": {"name": "Docs"}, "old": {}}},
            {"portals": {"docs": {"name": "Documents", "servers": []}, "new": {"name": "New"}}},
            ("portals.docs.name", "portals.old (removed)", "portals.new (new)"),
        ),
    ],
)
def test_each_key_is_named_and_no_value(
    before: dict[str, Any], after: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert keys(before, after) == expected
