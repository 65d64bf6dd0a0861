"""Answers questions about the code around a place in a program, for judging the diagnostics of a compiler."""

from __future__ import annotations

from bisect import bisect_right

from codemode.check.brackets import Brackets, brackets
from codemode.check.paths import calls, is_name, paths, results
from codemode.tokens import tokenize
from codemode.typescript import JavaScript

_TESTS = frozenset({"|", "&", "?", "!", "typeof", "delete"})


class Context:
    """Questions about one program. Where its text is not certain, every answer is no."""

    def __init__(self, program: str, stripped: JavaScript | None) -> None:
        self.program = program
        self._text = brackets(program) or Brackets([], {}, [], 0)
        self._starts = [token.start for token in self._text.tokens]
        self._calls = calls(self._text)
        self._results = results(self._text)
        self._paths = {index: path for path in paths(self._text) for index in range(path.first, path.end)}
        # None for JavaScript: nothing in it is a type.
        self._stripped = stripped.text if stripped is not None and stripped.text != program else None
        self._code = {token.key for token in tokenize(self._stripped)} if self._stripped is not None else set()
        tokens = self._text.tokens
        self._typeof_operands = {tokens[i + 1].key for i in range(len(tokens) - 1) if tokens[i].key == "typeof"}

    @property
    def uncertain(self) -> int | None:
        """The offset after which the text is not certain; None when all of it is."""
        return self._text.cut

    def is_type(self, offset: int) -> bool:
        """Whether the text there is a type, which is gone when the program runs."""
        if self._stripped is None:
            return False
        if len(self._stripped) == len(self.program):
            return self._stripped[offset : offset + 1] != self.program[offset : offset + 1]
        index = self._index(offset)
        return index is None or self._text.key(index) not in self._code

    def is_tested(self, name: str) -> bool:
        """Whether the program tests with `typeof` that a name exists."""
        return name in self._typeof_operands

    def word(self, offset: int) -> str:
        """The key of the token there, or ""."""
        index = self._index(offset)
        return "" if index is None else self._text.key(index)

    def called(self, offset: int) -> tuple[str, ...] | None:
        """The path of the call whose arguments, or whose name, are there."""
        index = self._index(offset)
        if index is None:
            return None
        if self._text.key(index + 1) == "(" and index + 1 in self._calls:
            return self._calls[index + 1]
        depth = self._text.depths[index]
        for earlier in range(index, -1, -1):
            if self._text.depths[earlier] < depth:
                depth = self._text.depths[earlier]
                if earlier in self._calls:
                    return self._calls[earlier]
                if self._text.key(earlier) == "(" and is_name(self._text.key(earlier - 1)):
                    return None
        return None

    def path(self, offset: int) -> tuple[tuple[str, ...], int] | None:
        """The path that the token there belongs to, also by an alias, and the offset where it begins."""
        index = self._index(offset)
        if index is None:
            return None
        if (path := self._paths.get(index)) is not None:
            return path.members, self._text.tokens[path.first].start
        members = self._calls.get(index + 1)
        return None if members is None else (members, self._text.tokens[self._head(index)].start)

    def origin(self, offset: int) -> tuple[str, ...] | None:
        """The path of the call that returned the value whose member is there."""
        index = self._index(offset)
        if index is None:
            return None
        while self._text.key(index) in ("await", "("):
            index += 1
        if (path := self._paths.get(index)) is not None:
            return path.members
        return self._results.get(self._text.key(self._head(index)))

    def is_assigned(self, offset: int) -> bool:
        """Whether the token there is the target of an assignment."""
        index = self._index(offset)
        return index is not None and self._text.key(index + 1) == "=" and self._text.key(index + 2) not in ("=", ">")

    def is_probed(self, offset: int) -> bool:
        """Whether the program only tests a member: `a.b ?? c`, `a?.b`, `if (a.b)`, `!a.b`."""
        index = self._index(offset)
        if index is None:
            return False
        head, after = self._head(index), self._text.key(index + 1)
        before = self._text.key(head - 1)
        if after in _TESTS or before in _TESTS or (after == "=" and self._text.key(index + 2) == "="):
            return True
        condition = before == "(" and self._text.key(head - 2) in ("if", "while") and after == ")"
        return condition or any(self._text.key(i) == "?" for i in range(head, index))

    def is_literal(self, offset: int) -> bool:
        """Whether an object literal without a spread begins there."""
        index = self._index(offset)
        end = None if index is None or self._text.key(index) != "{" else self._text.after(index)
        if index is None or end is None:
            return False
        return not any(self._text.key(i) == "." and self._text.key(i + 1) == "." for i in range(index, end))

    def _index(self, offset: int) -> int | None:
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or offset >= self._text.tokens[index].end:
            return None
        return index

    def _head(self, index: int) -> int:
        """The index of the first token of an expression of members and calls."""
        while index > 0:
            if self._text.key(index) in (")", "]") and (opening := self._text.pairs.get(index)) is not None:
                index = opening if not is_name(self._text.key(opening - 1)) or opening > index else opening - 1
                continue
            if self._text.key(index - 1) != ".":
                break
            index -= 3 if self._text.key(index - 2) == "?" else 2
        return max(index, 0)
