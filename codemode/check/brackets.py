"""The tokens of a program as far as they are certain, and its pairs of brackets.

Only a parser can always tell a regular expression from a division. Where a slash could be either, the certain part of
the text ends: no check looks further.
"""

from __future__ import annotations

from dataclasses import dataclass

from codemode.tokens import SourceToken, tokenize

_OPENING = {"(": ")", "[": "]", "{": "}"}
_BEFORE_CONDITION = frozenset({"if", "while", "for", "with"})
_WORDS_BEFORE_REGEX = frozenset("return typeof case in of do else void delete throw new instanceof yield await".split())


@dataclass(frozen=True, slots=True)
class Brackets:
    """The certain part of a program.

    `pairs`: for the index of each bracket in `tokens` that of its counterpart. `depths`: for each token the number of
    brackets around it. `cut`: the offset after which nothing is certain.
    """

    tokens: list[SourceToken]
    pairs: dict[int, int]
    depths: list[int]
    cut: int | None = None

    def key(self, index: int) -> str:
        """The key of the token at an index; "" outside the text."""
        return self.tokens[index].key if 0 <= index < len(self.tokens) else ""

    def after(self, index: int) -> int | None:
        """The index after the bracket that closes the one at `index`; None for a bracket without an end."""
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
            _, opening = stack.pop()
            pairs[opening], pairs[index] = index, opening
        depths.append(len(stack))
        if _uncertain(tokens, index, pairs) or _comments(program, token):
            return Brackets(tokens[:index], pairs, depths[:index], token.start)
        if key in _OPENING:
            stack.append((_OPENING[key], index))
        elif key[0] in "`}" and key.endswith("${"):
            stack.append(("`", index))
    return Brackets(tokens, pairs, depths) if not stack else None


def _uncertain(tokens: list[SourceToken], index: int, pairs: dict[int, int]) -> bool:
    """Whether a slash that was read as a division may begin a regular expression, or the other way round."""
    if tokens[index].key[0] != "/":
        return False
    before = tokens[index - 1].key if index else ""
    earlier = tokens[index - 2].key if index > 1 else ""
    if len(tokens[index].key) > 1:
        doubled = before in ("+", "-") and earlier == before
        return before == "!" or doubled or (before in _WORDS_BEFORE_REGEX and earlier == ".")
    if before[:1] == "}":
        return True
    opening = pairs.get(index - 1)
    return before == ")" and opening is not None and opening > 0 and tokens[opening - 1].key in _BEFORE_CONDITION


def _comments(program: str, token: SourceToken) -> bool:
    """Whether a comment may begin here as only scripts of the Web may have it (ECMA-262, annex B.1.1)."""
    if token.key == "-" and program.startswith("-->", token.start):
        return not program[program.rfind("\n", 0, token.start) + 1 : token.start].strip()
    return (token.key == "<" and program.startswith("<!--", token.start)) or token.key == "#"
