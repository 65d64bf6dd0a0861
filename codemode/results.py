"""The result of a tool, and the content of a prompt's message, in the form that the protocol gives them.

Servers send a text where a list of blocks belongs, `"true"` where a boolean does, the `toolResult` of the protocol
before its first release, or their value as the result itself. All readers of a result read what this module makes of
it, so that plain clients and programs see the same one. A result in the right form stays the same object, and the test
for it is cheap.

Source: MCP 2025-11-25 and 2026-07-28, "Tools" and "Prompts"; `toolResult`: 2024-10-07, which the official TypeScript
client still takes (`CompatibilityCallToolResult`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeGuard

import orjson

from codemode.offload import heavy

Block = dict[str, Any]

_BLOCK_TYPES = frozenset({"text", "image", "audio", "resource", "resource_link"})
_OF_RESULTS = frozenset({"content", "structuredContent", "isError", "_meta", "resultType", "ttlMs", "cacheScope"})
_FALSE = frozenset({"", "0", "f", "false", "n", "no", "none", "null", "off"})


def well_formed(result: Mapping[str, object]) -> Block:
    """The result with a list of blocks as its `content` and a boolean as `isError`, where it has these members."""
    content = result.get("content")
    failed = result.get("isError", False)
    if content is None and result.get("structuredContent") is None and not result.keys() <= _OF_RESULTS:
        result = _from_tool_result(result) if "toolResult" in result else _from_bare_members(result)
    elif content is not None and not (type(content) is list and all(map(_is_block, content))):
        result = {**result, "content": content_blocks(content)}
    if type(failed) is not bool:
        result = {**result, "isError": means_true(failed)}
    return result if isinstance(result, dict) else dict(result)


def content_blocks(content: object) -> list[Block]:
    """A JSON value as content blocks: a list item by item, and another value as its only item.

    A text becomes a block with it, null becomes none, and a value that is no block becomes the text of its JSON.
    """
    items = content if isinstance(content, list) else [content]
    return [item if _is_block(item) else _block(item) for item in items if item is not None]


def means_true(value: object) -> bool:
    """The boolean that a server meant by another JSON value. What is neither a number nor a word for false is true."""
    if isinstance(value, str):
        return value.strip().lower() not in _FALSE
    return bool(value)


def _is_block(item: object) -> TypeGuard[Block]:
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    return isinstance(item.get("text"), str) if kind == "text" else isinstance(kind, str)


def _block(item: object) -> Block:
    if not isinstance(item, Mapping):
        return {"type": "text", "text": _text(item)}
    if item.get("type") == "text" and item.get("text") is not None:
        return {**item, "text": _text(item["text"])}
    return {"type": "text", "text": _text(item)}


def _from_tool_result(result: Mapping[str, object]) -> Block:
    """A result whose value is its `toolResult`: blocks, a text, or any other JSON value."""
    value = result["toolResult"]
    shaped = {name: member for name, member in result.items() if name not in ("toolResult", "structuredContent")}
    is_content = (
        isinstance(value, list) and value and all(_is_block(one) and one["type"] in _BLOCK_TYPES for one in value)
    )
    if is_content or value is None or isinstance(value, str):
        return {**shaped, "content": content_blocks(value)}
    shaped["content"] = [{"type": "text", "text": _text(value)}]
    return {**shaped, "structuredContent": value} if isinstance(value, dict) else shaped


def _from_bare_members(result: Mapping[str, object]) -> Block:
    """A result whose value is its members that the protocol does not know: a block, or any other object.

    Another `resultType` is that of another result, which is nothing for this module.
    """
    if result.get("resultType", "complete") != "complete":
        return result if isinstance(result, dict) else dict(result)
    shaped = {name: member for name, member in result.items() if name in _OF_RESULTS and name != "structuredContent"}
    value = {name: member for name, member in result.items() if name not in _OF_RESULTS}
    if _is_block(value) and value["type"] in _BLOCK_TYPES:
        return {**shaped, "content": [value]}
    return {**shaped, "content": [{"type": "text", "text": _text(value)}], "structuredContent": value}


def _text(value: object) -> str:
    """A text as it is, and the JSON of any other value."""
    if isinstance(value, str):
        return value
    if heavy(value):
        # Without the spaces, which take a hundred milliseconds to write.
        with suppress(TypeError):
            return orjson.dumps(value).decode()
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, TypeError, ValueError):
        return "(a value that is nested too deep to be shown)"
