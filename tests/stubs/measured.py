"""Tools as three texts a model might read: our declarations, the list as MCP sends it, the original's declarations."""

import json
from typing import Any

from stubs import assign_names, declarations
from tests.stubs import corpus

Tools = list[dict[str, Any]]


def declared(tools: Tools) -> str:
    """Our declarations of these tools, as one server."""
    server = corpus.as_server({"id": "api", "tools": tools})
    return declarations([server], assign_names([server]))


def listed(tools: Tools) -> str:
    """The tools as `tools/list` gives them, without hints and other extras."""
    kept = ("name", "description", "inputSchema", "outputSchema")
    bare = [{key: tool[key] for key in kept if key in tool} for tool in tools]
    return json.dumps(bare, ensure_ascii=False, separators=(",", ":"))


def synthetic(count: int = 52) -> Tools:
    """Tools of three described parameters each and nothing to share: the kind the original was measured on."""
    words = ("identifier of record", "field to sort by in view", "largest number of rows to return from shelf")
    return [
        {
            "name": f"tool_{number}",
            "description": f"Does the thing number {number} with the given record and gives it back.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    name: {"type": kind, "description": f"The {word} {number}."}
                    for name, kind, word in zip(
                        ("id", "sort", "limit"), ("string", "string", "number"), words, strict=True
                    )
                },
                "required": ["id"],
            },
        }
        for number in range(count)
    ]
