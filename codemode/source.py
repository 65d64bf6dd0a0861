"""Finds the program in the text that an agent sends as `code`.

Agents wrap programs in Markdown: a fence with a language tag, prose around it, sometimes several fences. Programs also
hold fences themselves, in comments and in texts that they send on. The program itself stays untouched, so that line 1
is the first line inside the fence. The sandbox accepts every form of a program (script, function, `export default`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import orjson

from codemode.erasure import spaces
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
    r"\s*<(?P<tag>pre|code|program|script|javascript|typescript|js|ts|codemode|tool_call|tool_code|function_call|invoke"
    r"|parameter)\b[^<>\n]{0,100}>\n?(?P<code>.*?)</(?P=tag)>\s*",
    re.DOTALL,
)
_MOST_ELEMENTS = 3  # one in another
_LABEL = re.compile(r"\s*(?:(?P<js>js|jsx|mjs|cjs|javascript)|tsx?|typescript)[ \t]*\r?\n(?=\s*\S)", re.IGNORECASE)
# One way to read each line: of a text without an end of its head nothing is read twice.
_FRONT_MATTER = re.compile(
    r"\s*---[ \t]*\r?\n(?:[ \t]*(?:\w[\w.-]*[ \t]*:[^\r\n]*|-[ \t][^\r\n]*|#[^\r\n]*)?\r?\n)+?---[ \t]*(?:\r?\n|\Z)"
)
_COMMENT = re.compile(r"\s*<!--.*?-->", re.DOTALL)
_QUOTED = re.compile(r"^[ \t]*>[ ]?", re.MULTILINE)
_OF_PROGRAMS = re.compile(r"\b(?:codemode|return|await|console)\b")
_ENDS_OF_CODE = (";", "}", ")")
_BEGINS_CODE = re.compile(
    r"\s*(?:(?:return|await|const|let|var|async|function|export|import|for|if|try|codemode)\b|//|/\*|\(|[\w$]+\s*=>)"
)
_OF_CODE = re.compile(r"=>|[;{}=]|\w\(|\b(?:return|await)\b")
_PROSE = re.compile(r"\s*(?:[$>]\s|[A-Z]?[a-z'-]+(?:[ ,]+[\w'-]+){2,}|<[a-z!]|\d+(?:[ ,]+[a-z]+){2,})")
# The names under which a program is sent in an object, and what may be sent with it.
_CODE_KEYS = frozenset("code program script source javascript js typescript ts".split())
_OTHER_KEYS = frozenset("check language lang description title type timeout".split())
_CALL_KEYS = frozenset("arguments args input params parameters".split())


@dataclass(frozen=True, slots=True)
class Program:
    """A program for the sandbox. `typescript`: its fence has a TypeScript tag.

    `note`: which part of the text the program is, where the text has several that could be one; else None.
    """

    text: str
    typescript: bool = False
    note: str | None = None


@dataclass(frozen=True)
class _Block:
    tag: str
    text: str
    line: int

    @property
    def is_script(self) -> bool:
        return self.tag in _JAVASCRIPT or self.tag in _TYPESCRIPT

    @property
    def is_foreign(self) -> bool:
        return bool(self.tag) and not self.is_script

    @cached_property
    def runs(self) -> int:
        """2 for a program that calls or returns something, 1 for other code, 0 for what is none: data, types, text,
        comments, another language."""
        text = self.text.strip()
        if _of_json(text) is not None:
            return 2
        if self.is_foreign or _is_json(text):
            return 0
        if not self.is_script and (_PROSE.match(text) or not _OF_CODE.search(text)) and not _BEGINS_CODE.match(text):
            return 0
        if not _has_statements(text):
            return 0
        return 2 if _OF_PROGRAMS.search(text) else 1

    @property
    def rank(self) -> tuple[int, int, int]:
        """Programs rank above what is none; JavaScript and TypeScript above blocks without a tag, and those above other
        languages; then the longest."""
        return (self.runs, 2 if self.is_script else 0 if self.tag else 1, len(self.text.strip()))


def extract(code: str) -> Program:
    """The program in the text of an agent. A text whose fences are in comments and templates only is the program."""
    code = encodable(code.removeprefix("\ufeff"))
    for _ in range(_MOST_ELEMENTS):
        if (wrapped := _ELEMENT.fullmatch(code)) is None:
            break
        code = wrapped["code"]
    if "```" not in code and "~~~" not in code:
        return _unwrapped(Program(code))
    if (inner := _of_json(code)) is not None:
        return extract(inner)
    if code.lstrip().startswith(">"):
        code = _QUOTED.sub("", code)
    return _unwrapped(_in_fences(code))


def _unwrapped(program: Program) -> Program:
    """The program without what may stand around it in its block: its label, quotes, the object of a tool's arguments, a
    comment of HTML, a head of YAML."""
    text = program.text
    if (label := _LABEL.match(text)) is not None:
        return replace(program, text=text[label.end() :], typescript=program.typescript or label["js"] is None)
    first = text.lstrip()[:1] if text[:1].isspace() else text[:1]
    if first == "{" and (inner := _of_json(text)) is not None:
        return replace(extract(inner), note=program.note)
    if first and first in "\"'`" and (inner := _of_text(text)) is not None:
        return replace(extract(inner), note=program.note)
    front = _COMMENT if first == "<" else _FRONT_MATTER if first == "-" else None
    if front is not None and (before := front.match(text)) is not None:
        return replace(program, text=spaces(before[0]) + text[before.end() :])
    return program


def _in_fences(code: str, *, inside: bool = False) -> Program:
    """The program in a text with fences. `inside`: the text is that of a block; a fence around another is taken off."""
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
    if not inside and best.text.lstrip().startswith(("```", "~~~")):
        return _in_fences(best.text, inside=True)
    return Program(best.text, best.tag in _TYPESCRIPT, _note(best, blocks))


def _of_json(code: str) -> str | None:
    """The program in arguments that were sent in place of one, `{"code": "..."}`; None for other texts."""
    if not code.lstrip().startswith("{") or not code.rstrip().endswith("}"):
        return None
    try:
        value = orjson.loads(code)
    except ValueError:
        return None
    return _of_arguments(value)


def _of_arguments(value: object, *, inside: bool = False) -> str | None:
    if not isinstance(value, dict):
        return None
    codes = [key for key in value if key in _CODE_KEYS]
    if len(codes) == 1 and len(value) == 1 + len(value.keys() & _OTHER_KEYS):
        code = value[codes[0]]
        return code if isinstance(code, str) else None
    calls = [key for key in value if key in _CALL_KEYS]
    if inside or len(calls) != 1 or not value.keys() - set(calls) <= {"name", "tool", "type", "id"}:
        return None
    return _of_arguments(value[calls[0]], inside=True)


def _of_text(text: str) -> str | None:
    """The program that a text in quotes is; None for other texts."""
    tokens = list(islice(tokens_from(text, 0), 3))
    if not tokens or [token.key for token in tokens[1:]] not in ([], [";"]):
        return None
    written = text[tokens[0].start : tokens[0].end]
    if len(written) < 2 or written[0] != written[-1] or written[0] not in "\"'`" or "${" in written:
        return None
    inner = written[1:-1]
    if written[0] == '"':
        try:
            inner = orjson.loads(written)
        except ValueError:
            return None
    return inner if _BEGINS_CODE.match(inner) and _OF_CODE.search(inner) else None


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return not text.isdigit()


def _has_statements(text: str) -> bool:
    """Whether a text has more than comments, types and imports."""
    depth = 0
    is_type = begins = False
    last = ""
    end = 0
    for token in tokens_from(text, 0):
        key = token.key
        is_new_line = "\n" in text[end : token.start]
        if not depth and (
            not last or last == ";" or (is_new_line and (last[-1] in ")]}'\"" or last[-1].isalnum() or is_type))
        ):
            begins = True
        if begins and key != "export":
            is_type = key in ("type", "interface", "declare", "import")
            begins = False
            if not is_type and key != ";":
                return True
        depth += (key in ("(", "[", "{")) - (key in (")", "]", "}"))
        last, end = key, token.end
    return False


def _note(chosen: _Block, blocks: list[_Block]) -> str | None:
    """Which block the program is, and why, where another could be one too."""
    others = [block for block in blocks if block is not chosen and (block.runs or block.rank[1:2] > chosen.rank[1:2])]
    if not others:
        return None
    if all(block.rank[:2] == chosen.rank[:2] for block in others):
        why = "the last" if any(block.rank == chosen.rank for block in others) else "the longest"
    elif all(block.runs == chosen.runs for block in others):
        why = (
            "the longest with a label of its language"
            if any(block.is_script for block in others)
            else "the labelled one"
        )
    else:
        why = "which returns or calls something"
    lines = ", ".join(str(block.line) for block in others[:3]) + (", …" if len(others) > 3 else "")
    return (
        f"Note: the text has {len(others) + 1} blocks of code. The program is the one in line {chosen.line}, {why}; "
        f"not run: line {lines}. Send one program, with everything it needs."
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
