"""The programs and payloads every subject runs, so that all do the same work."""

from __future__ import annotations

import json

FIB = "function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }"
MARSHAL_CHARS = {"marshal_1kb": 1_000, "marshal_1mb": 1_000_000}


def marshal_rows(size: int) -> list[dict[str, object]]:
    """Rows as tools return them, together about `size` characters of JSON."""
    row = {"id": 10_000, "name": "Ada Lovelace", "email": "ada@example.com", "active": True, "score": 0.75}
    return [{**row, "id": 10_000 + index} for index in range(max(1, size // len(json.dumps(row))))]


def marshal_text(size: int) -> str:
    return json.dumps(marshal_rows(size))
