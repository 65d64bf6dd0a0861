"""The tokens of a program as far as they are certain, and which brackets belong together.

Telling a regular expression from a division needs a parser. Where a slash could be either, the text ends here: what
stands behind it is not looked at, so nothing is said of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from codemode.tokens import Token, tokenize

_OPENING = {"(": ")", "[": "]", "{": "}"}
_BEFORE_CONDITION = frozenset({"if", "while", "for", "with"})
_WORDS_BEFORE_REGEX = frozenset("return typeof case in of do else void delete throw new instanceof yield await".split())


@dataclass(frozen=True, slots=True)
class Brackets:
    """`pairs` holds for each bracket, by index in `tokens`, its counterpart; `depths` how many are open around it.

    `cut` is the offset behind which nothing is certain.
    """

    tokens: list[Token]
    pairs: dict[int, int]
    depths: list[int]
    cut: int | None = None

    def key(self, index: int) -> str:
        """The token at an index; "" outside the text."""
        return self.tokens[index].key if 0 <= index < len(self.tokens) else ""

    def after(self, index: int) -> int | None:
        """The index behind the bracket that closes the one at `index`."""
        closing = self.pairs.get(index)
        return None if closing is None or closing < index else closing + 1


def brackets(program: str) -> Brackets | None:
    """The certain part of a program; None when its brackets do not match."""
    tokens = tokenize(program)
    pairs: dict[int, int] = {}
    depths: list[int] = []
    stack: list[tuple[str, int]] = []
    for index, token in enumerate(tokens):
        key = token.key
        continues = key[0] == "}" and len(key) > 1
        if key in (")", "]", "}") or continues:
            if not stack or stack[-1][0] != ("`" if continues else key):
                return None
            _, opened = stack.pop()
            pairs[opened], pairs[index] = index, opened
        depths.append(len(stack))
        if _uncertain(tokens, index, pairs) or _comments(program, token):
            return Brackets(tokens[:index], pairs, depths[:index], token.start)
        if key in _OPENING:
            stack.append((_OPENING[key], index))
        elif key[0] in "`}" and key.endswith("${"):
            stack.append(("`", index))
    return Brackets(tokens, pairs, depths) if not stack else None


def _uncertain(tokens: list[Token], index: int, pairs: dict[int, int]) -> bool:
    """Whether a slash was read as one thing and may be the other."""
    if tokens[index].key[0] != "/":
        return False
    before = tokens[index - 1].key if index else ""
    earlier = tokens[index - 2].key if index > 1 else ""
    if len(tokens[index].key) > 1:
        doubled = before in ("+", "-") and earlier == before
        return before == "!" or doubled or (before in _WORDS_BEFORE_REGEX and earlier == ".")
    if before[:1] == "}":
        return True
    opened = pairs.get(index - 1)
    return before == ")" and opened is not None and opened > 0 and tokens[opened - 1].key in _BEFORE_CONDITION


def _comments(program: str, token: Token) -> bool:
    """Whether a comment may begin here that only scripts of the Web have (ECMA-262, annex B.1.1)."""
    if token.key == "-" and program.startswith("-->", token.start):
        return not program[program.rfind("\n", 0, token.start) + 1 : token.start].strip()
    return (token.key == "<" and program.startswith("<!--", token.start)) or token.key == "#"
