"""Programs of one person that take whatever they can get, and short ones of others who come meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from codemode import ToolFailed
from stubs import Server, Tool

LARGE = {
    "imports nothing": "let x = 0;\n" + "x += (1 + 2) * 7;\n" * 3_000 + "export default async (n: number) => x",
    "typed": "interface A { a: number }\n" + "".join(f"const v{n}: number[] = [1];\n" for n in range(1_500)),
    "no program": "const x = ;\n" + "f(x);\n" * 8_000,
    "throws": "const o = {};\n" + "o.a = 1;\n" * 5_000 + "o.b.c.d()",
}
HOSTILE = [
    *LARGE.values(),
    "for (;;) {}",
    "const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(7))",
    "/^(a+)+$/.test('a'.repeat(40) + 'b')",
    "for (;;) await new Promise(r => setTimeout(r, 0))",
    "for (;;) { for (let i = 0; i < 1e5; i++); await new Promise(r => setTimeout(r, 0)) }",
    "for (;;) await Promise.all(Array.from({length: 16}, () => codemode.slow.wait({})))",
    "for (;;) await Promise.all(Array.from({length: 16}, (_, i) => codemode.search('zzq wxyv ' + i)))",
    "for (;;) console.log('x'.repeat(1000))",
]
"""Those that the benchmark runs."""
MORE = [
    "for (;;) JSON.parse(JSON.stringify(Array.from({length: 20000}, (_, i) => ({i}))))",
    "for (;;) await codemode.describe(['slow', 'slow.wait'])",
    "return Array.from({length: 20000}, (_, i) => ({i, s: 'abcdefgh'}))",
]
QUICK = ("return 1 + 1", "const a: number = 2; return a", "await codemode.search('wait'); return 2")
"""Each gives 2."""
SLOW = Server(id="slow", tools=(Tool(name="wait", description="Wait."),))


class Slow:
    """Calls that take as long as the program lasts."""

    async def call_tool(self, call: Any) -> ToolFailed:
        await asyncio.Event().wait()
        return ToolFailed("never")
