"""Finds the program in the text that an agent sends as `code`.

Agents wrap programs in Markdown: a fence with a language tag, prose around it, sometimes several fences. Programs also
hold fences themselves, in comments and in texts that they send on. The program itself stays untouched, so that line 1
is the first line inside the fence. The sandbox accepts every form of a program (script, function, `export default`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from codemode.text import encodable
from codemode.tokens import SourceToken, tokens_from

_JAVASCRIPT = frozenset({"js", "javascript", "jsx", "mjs", "cjs", "es6", "ecmascript", "node", "nodejs"})
_TYPESCRIPT = frozenset({"ts", "typescript", "tsx", "mts", "cts"})
_MOST_BLOCKS = 200
_MOST_READ = 4  # times its length that a text is read in search of the ends of its fences
# Both take time linear in the text, which may be hostile.
_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>[^`\r\n]*)(?:\r\n|\r|\n|\Z)", re.MULTILINE)
_ONE_LINE = re.compile(r"`{3,}(?P<tag>[A-Za-z0-9]+)?[ \t](?P<code>[^\r\n]*)\Z")
_ELEMENT = re.compile(
    r"\s*<(?P<tag>code|program|script|javascript|typescript|js|ts)\b[^<>\n]{0,100}>\n?(?P<code>.*?)</(?P=tag)>\s*",
    re.DOTALL,
)
_OF_PROGRAMS = re.compile(r"\b(?:codemode|return|await|console)\b")
_ENDS_OF_CODE = (";", "}", ")")


@dataclass(frozen=True, slots=True)
class Program:
    """A program for the sandbox. `typescript`: its fence has a TypeScript tag.

    `note`: which part of the text the program is, where the text has several that could be one; else None.
    """

    text: str
    typescript: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Block:
    tag: str
    text: str
    line: int

    @property
    def is_script(self) -> bool:
        return self.tag in _JAVASCRIPT or self.tag in _TYPESCRIPT

    @property
    def rank(self) -> tuple[int, int]:
        """JavaScript and TypeScript rank above blocks without a tag, those above other languages; then the longest."""
        return (2 if self.is_script else 0 if self.tag else 1, len(self.text.strip()))


def extract(code: str) -> Program:
    """The program in the text of an agent. A text whose fences are in comments and templates only is the program."""
    code = encodable(code.removeprefix("\ufeff"))
    if (wrapped := _ELEMENT.fullmatch(code)) is not None:
        code = wrapped["code"]
    elif code.startswith('{"code"') and (inner := _of_json(code)) is not None:
        code = inner
    if "```" not in code and "~~~" not in code:
        return Program(code)
    whole = code.strip()
    if whole.endswith("```") and (one_line := _ONE_LINE.match(whole)):
        tag = (one_line["tag"] or "").lower()
        return Program(one_line["code"].rstrip("`").strip(), tag in _TYPESCRIPT)
    fences = list(_FENCE.finditer(code))
    if not fences or _are_in_program(code, fences):
        return Program(code)
    blocks = [block for block in _blocks(code, fences) if block.text.strip()]
    before = code[: fences[0].start()]
    if not blocks:
        is_lone_end = len(fences) == 1 and before.strip()
        return Program(before if is_lone_end else code)
    best = blocks[0]
    for block in blocks[1:]:
        if block.rank >= best.rank:
            best = block
    if not best.is_script and _looks_like_code(before):
        return Program(before, note=f"Note: the program is the text before the fence in line {best.line}.")
    return Program(best.text, best.tag in _TYPESCRIPT, _note(best, blocks))


def _of_json(code: str) -> str | None:
    """The program in arguments that were sent in place of one, `{"code": "..."}`; None for other texts."""
    try:
        value = orjson.loads(code)
    except ValueError:
        return None
    inner = value.get("code") if isinstance(value, dict) and len(value) == 1 else None
    return inner if isinstance(inner, str) else None


def _note(chosen: _Block, blocks: list[_Block]) -> str | None:
    """Which block the program is, where another could be one too."""
    others = [block for block in blocks if block is not chosen and block.rank[0] >= min(1, chosen.rank[0])]
    if not others:
        return None
    lines = ", ".join(str(block.line) for block in others[:3]) + (", …" if len(others) > 3 else "")
    return (
        f"Note: the text has {len(others) + 1} blocks of code. The program is the one in line {chosen.line}, the "
        f"longest; not run: line {lines}. Send one program, with everything it needs."
    )


def _looks_like_code(text: str) -> bool:
    return text.rstrip().endswith(_ENDS_OF_CODE) and _OF_PROGRAMS.search(text) is not None


def _are_in_program(code: str, fences: list[re.Match[str]]) -> bool:
    """Whether the text is a program that holds its fences in comments and templates which end."""
    starts = {fence.start("fence") for fence in fences}
    last: SourceToken | None = None
    for token in tokens_from(code, 0):
        if token.start in starts:
            return False
        last = token
    if last is not None and last.end > fences[-1].start():
        return last.key[0] not in "`}" or last.key == "}" or last.key.endswith("`")
    return code.rstrip().endswith("*/")


def _blocks(code: str, fences: list[re.Match[str]]) -> list[_Block]:
    """All fenced blocks in order (CommonMark section 4.5). A fence without an end runs to the end of the text.

    A program ends at the first closing fence that is in none of its comments and templates.
    """
    by_start = {fence.start("fence"): place for place, fence in enumerate(fences)}
    blocks: list[_Block] = []
    budget = _MOST_READ * len(code)
    place = 0
    while place < len(fences) and len(blocks) < _MOST_BLOCKS:
        opening = fences[place]
        closing = next((at for at in range(place + 1, len(fences)) if _closes(fences[at], opening)), len(fences))
        if budget > 0 and closing < len(fences):
            end = len(code)
            for token in tokens_from(code, opening.end()):
                at = by_start.get(token.start)
                if at is not None and _closes(fences[at], opening):
                    closing, end = at, token.start
                    break
            budget -= end - opening.end()
        text = code[opening.end() : fences[closing].start() if closing < len(fences) else len(code)]
        blocks.append(_block(opening, text, code.count("\n", 0, opening.start()) + 1))
        place = closing + 1
    return blocks


def _closes(line: re.Match[str], opening: re.Match[str]) -> bool:
    same = line["fence"][0] == opening["fence"][0] and len(line["fence"]) >= len(opening["fence"])
    return same and not line["info"].strip()


def _block(opening: re.Match[str], text: str, line: int) -> _Block:
    words = opening["info"].strip("{}. \t").split(maxsplit=1)
    tag = words[0].split("{")[0].split(":")[0].lower() if words else ""
    if indent := opening["indent"]:
        text = re.sub(rf"^[ \t]{{1,{len(indent)}}}", "", text, flags=re.MULTILINE)
    return _Block(tag, text.removesuffix("\n").removesuffix("\r"), line)
