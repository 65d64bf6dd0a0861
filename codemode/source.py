"""Finds the program in the text that an agent sends as `code`.

Agents wrap programs in Markdown: a fence with a language tag, prose around it, sometimes several fences. The program
itself stays untouched, so that line 1 is the first line inside the fence. The sandbox accepts every form of a program
(script, function, `export default`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codemode.text import encodable

_JAVASCRIPT = frozenset({"js", "javascript", "jsx", "mjs", "cjs", "es6", "ecmascript", "node", "nodejs"})
_TYPESCRIPT = frozenset({"ts", "typescript", "tsx", "mts", "cts"})
_MOST_BLOCKS = 200
# Both take time linear in the text, which may be hostile.
_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>[^`\r\n]*)(?:\r\n|\r|\n|\Z)", re.MULTILINE)
_ONE_LINE = re.compile(r"`{3,}(?P<tag>[A-Za-z0-9]+)?[ \t](?P<code>[^\r\n]*)\Z")


@dataclass(frozen=True, slots=True)
class Program:
    """A program for the sandbox. `typescript`: its fence has a TypeScript tag."""

    text: str
    typescript: bool = False


@dataclass(frozen=True, slots=True)
class _Block:
    tag: str
    text: str

    @property
    def rank(self) -> tuple[int, int]:
        """JavaScript and TypeScript rank above blocks without a tag, those above other languages; then the longest."""
        is_script = self.tag in _JAVASCRIPT or self.tag in _TYPESCRIPT
        return (2 if is_script else 0 if self.tag else 1, len(self.text.strip()))


def extract(code: str) -> Program:
    """The program in the text of an agent. A text without a fence is the program."""
    code = encodable(code.removeprefix("\ufeff"))
    if "```" not in code and "~~~" not in code:
        return Program(code)
    whole = code.strip()
    if whole.endswith("```") and (one_line := _ONE_LINE.match(whole)):
        tag = (one_line["tag"] or "").lower()
        return Program(one_line["code"].rstrip("`").strip(), tag in _TYPESCRIPT)
    blocks = [block for block in _blocks(code) if block.text.strip()]
    if not blocks:
        return Program(code)
    best = blocks[0]
    for block in blocks[1:]:
        if block.rank >= best.rank:
            best = block
    return Program(best.text, best.tag in _TYPESCRIPT)


def _blocks(code: str) -> list[_Block]:
    """All fenced blocks in order (CommonMark section 4.5). A fence without an end runs to the end of the text."""
    blocks: list[_Block] = []
    opening: re.Match[str] | None = None
    for line in _FENCE.finditer(code):
        if len(blocks) == _MOST_BLOCKS:
            break
        if opening is None:
            opening = line
        elif _closes(line, opening):
            blocks.append(_block(opening, code[opening.end() : line.start()]))
            opening = None
    if opening is not None:
        blocks.append(_block(opening, code[opening.end() :]))
    return blocks


def _closes(line: re.Match[str], opening: re.Match[str]) -> bool:
    same = line["fence"][0] == opening["fence"][0] and len(line["fence"]) >= len(opening["fence"])
    return same and not line["info"].strip()


def _block(opening: re.Match[str], text: str) -> _Block:
    words = opening["info"].strip("{}. \t").split(maxsplit=1)
    tag = words[0].split("{")[0].split(":")[0].lower() if words else ""
    if indent := opening["indent"]:
        text = re.sub(rf"^[ \t]{{1,{len(indent)}}}", "", text, flags=re.MULTILINE)
    return _Block(tag, text.removesuffix("\n").removesuffix("\r"))
