"""The programs and payloads every subject runs, so that all do the same work."""

from __future__ import annotations

import json

FIB = "function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }"
MARSHAL_CHARS = {"marshal_1kb": 1_000, "marshal_1mb": 1_000_000}

# Programs that wait for one call: a small one, and one with 20,000 objects of three properties in its memory.
WAITING = {
    "small": "const first = await host.call({ q: 1 }); return [first]",
    "large": """const rows = [];
for (let i = 0; i < 20000; i++) rows.push({ id: i, name: 'name ' + i, on: i % 2 === 0 });
const first = await host.call({ q: 1 }); return [first, rows.length, rows.at(-1).name]""",
}
WAITING_PYTHON = {
    "small": "first = echo({'q': 1})\n[first]",
    "large": """rows = [{'id': i, 'name': f'name {i}', 'on': i % 2 == 0} for i in range(20000)]
first = echo({'q': 1})
[first, len(rows), rows[-1]['name']]""",
}
WAITED = {"small": [7], "large": [7, 20000, "name 19999"]}
"""What they return when the call is answered with 7."""


def marshal_rows(size: int) -> list[dict[str, object]]:
    """Rows as tools return them, together about `size` characters of JSON."""
    row = {"id": 10_000, "name": "Ada Lovelace", "email": "ada@example.com", "active": True, "score": 0.75}
    return [{**row, "id": 10_000 + index} for index in range(max(1, size // len(json.dumps(row))))]


def marshal_text(size: int) -> str:
    return json.dumps(marshal_rows(size))
