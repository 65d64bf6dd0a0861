"""From what an agent sends as `code` to the program itself.

Agents wrap programs in Markdown: a fence with a language tag, prose around it, sometimes several fences. This module
finds the program and leaves it untouched, so that line 1 is the first line inside the fence. Which form the program
has (script, function, `export default`) is the sandbox's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codemode.text import encodable

_JAVASCRIPT = frozenset({"js", "javascript", "jsx", "mjs", "cjs", "es6", "ecmascript", "node", "nodejs"})
_TYPESCRIPT = frozenset({"ts", "typescript", "tsx", "mts", "cts"})
_MOST_BLOCKS = 200
# Each takes time linear in its text: the text is anybody's.
_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>[^`\r\n]*)(?:\r\n|\r|\n|\Z)", re.MULTILINE)
_ONE_LINE = re.compile(r"`{3,}(?P<tag>[A-Za-z0-9]+)?[ \t](?P<code>[^\r\n]*)\Z")


@dataclass(frozen=True, slots=True)
class Program:
    """A program as the sandbox takes it; `typescript` says that its fence was tagged so."""

    text: str
    typescript: bool = False


@dataclass(frozen=True, slots=True)
class _Fenced:
    tag: str
    text: str

    @property
    def rank(self) -> tuple[int, int]:
        """JavaScript and TypeScript before untagged before anything else; the longest of equals."""
        known = self.tag in _JAVASCRIPT or self.tag in _TYPESCRIPT
        return (2 if known else 0 if self.tag else 1, len(self.text.strip()))


def extract(code: str) -> Program:
    """The program inside what an agent sent. Text without a fence is the program as it stands."""
    code = encodable(code.removeprefix("\ufeff"))
    if "```" not in code and "~~~" not in code:
        return Program(code)
    whole = code.strip()
    if whole.endswith("```") and (one_line := _ONE_LINE.match(whole)):
        tag = (one_line["tag"] or "").lower()
        return Program(one_line["code"].rstrip("`").strip(), tag in _TYPESCRIPT)
    blocks = [block for block in _fenced(code) if block.text.strip()]
    if not blocks:
        return Program(code)
    best = blocks[0]
    for block in blocks[1:]:
        if block.rank >= best.rank:
            best = block
    return Program(best.text, best.tag in _TYPESCRIPT)


def _fenced(code: str) -> list[_Fenced]:
    """All fenced blocks in order (CommonMark section 4.5); a fence left open runs to the end."""
    blocks: list[_Fenced] = []
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(code):
        if len(blocks) == _MOST_BLOCKS:
            break
        if opened is None:
            opened = line
        elif _closes(line, opened):
            blocks.append(_block(opened, code[opened.end() : line.start()]))
            opened = None
    if opened is not None:
        blocks.append(_block(opened, code[opened.end() :]))
    return blocks


def _closes(line: re.Match[str], opened: re.Match[str]) -> bool:
    same = line["fence"][0] == opened["fence"][0] and len(line["fence"]) >= len(opened["fence"])
    return same and not line["info"].strip()


def _block(opened: re.Match[str], text: str) -> _Fenced:
    words = opened["info"].strip("{}. \t").split(maxsplit=1)
    tag = words[0].split("{")[0].split(":")[0].lower() if words else ""
    if indent := opened["indent"]:
        text = re.sub(rf"^[ \t]{{1,{len(indent)}}}", "", text, flags=re.MULTILINE)
    return _Fenced(tag, text.removesuffix("\n").removesuffix("\r"))
