"""What stands where in a program: what surrounds the place a compiler complains about."""

from __future__ import annotations

from bisect import bisect_right

from codemode.check.brackets import Brackets, brackets
from codemode.check.paths import calls, is_name, paths, results
from codemode.tokens import tokenize
from codemode.typescript import JavaScript

_TESTS = frozenset({"|", "&", "?", "!", "typeof", "delete"})


class Context:
    """Questions about one program. Everything is "no" where its text is not certain."""

    def __init__(self, program: str, stripped: JavaScript | None) -> None:
        self.program = program
        self._text = brackets(program) or Brackets([], {}, [], 0)
        self._starts = [token.start for token in self._text.tokens]
        self._calls = calls(self._text)
        self._results = results(self._text)
        self._paths = {index: path for path in paths(self._text) for index in range(path.first, path.end)}
        self._stripped = stripped.text if stripped is not None and stripped.text != program else None
        self._kept = {token.key for token in tokenize(self._stripped)} if self._stripped is not None else set()
        tokens = self._text.tokens
        self._tested = {tokens[i + 1].key for i in range(len(tokens) - 1) if tokens[i].key == "typeof"}

    @property
    def uncertain(self) -> int | None:
        """The offset behind which nothing is known of what stands where."""
        return self._text.cut

    def is_type(self, offset: int) -> bool:
        """Whether what stands there is a type, gone before the program runs."""
        if self._stripped is None:
            return False
        if len(self._stripped) == len(self.program):
            return self._stripped[offset : offset + 1] != self.program[offset : offset + 1]
        index = self._index(offset)
        return index is None or self._text.key(index) not in self._kept

    def is_tested(self, name: str) -> bool:
        """Whether the program asks whether a name is there."""
        return name in self._tested

    def word(self, offset: int) -> str:
        index = self._index(offset)
        return "" if index is None else self._text.key(index)

    def called(self, offset: int) -> tuple[str, ...] | None:
        """The path of the call whose arguments, or whose name, stand there."""
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
        """The path `codemode.a.b` that a token belongs to, by whatever name it is called, and where that begins."""
        index = self._index(offset)
        if index is None:
            return None
        if (path := self._paths.get(index)) is not None:
            return path.members, self._text.tokens[path.first].start
        members = self._calls.get(index + 1)
        return None if members is None else (members, self._text.tokens[self._head(index)].start)

    def origin(self, offset: int) -> tuple[str, ...] | None:
        """The call that gave the value whose member stands there."""
        index = self._index(offset)
        if index is None:
            return None
        while self._text.key(index) in ("await", "("):
            index += 1
        if (path := self._paths.get(index)) is not None:
            return path.members
        return self._results.get(self._text.key(self._head(index)))

    def is_assigned(self, offset: int) -> bool:
        index = self._index(offset)
        return index is not None and self._text.key(index + 1) == "=" and self._text.key(index + 2) not in ("=", ">")

    def is_probed(self, offset: int) -> bool:
        """Whether a member is only asked for: `a.b ?? c`, `a?.b`, `if (a.b)`, `!a.b`."""
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
        """Whether an object written out in place begins there, with nothing spread into it."""
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
        """The token that an expression of members and calls begins with."""
        while index > 0:
            if self._text.key(index) in (")", "]") and (opened := self._text.pairs.get(index)) is not None:
                index = opened if not is_name(self._text.key(opened - 1)) or opened > index else opened - 1
                continue
            if self._text.key(index - 1) != ".":
                break
            index -= 3 if self._text.key(index - 2) == "?" else 2
        return max(index, 0)
