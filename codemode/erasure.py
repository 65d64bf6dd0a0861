"""Puts a transformed program back on the lines and columns its author wrote.

The TypeScript transformer reprints a program: comments and line breaks are gone, so every position moves. Laid beside
the source token by token, its output tells which tokens of the source are types. Where nothing was added, those are
blanked out and every other token keeps its exact place; where code was added (enums, namespaces, parameter properties),
the output's tokens are set on the lines they came from. Whoever calls this proves the result by transforming it again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from codemode.tokens import Token, tokenize

_WINDOW = 400  # tokens a deletion may span before its end is looked for elsewhere
_MOST_STEPS = 400_000  # of one erasure, so that no source makes it take longer than a fraction of a second
_MOST_PASSES = 12
_OPEN = frozenset("([{<")
_CLOSE = frozenset(")]}>")
_OPERATORS = frozenset("=<>!&|?+-*/%^.")
# No line may end between these words and what follows them (ECMA-262, no LineTerminator here).
_RESTRICTED = frozenset({"return", "throw", "yield", "break", "continue", "async"})


def blank(source: str, output: str) -> str | None:
    """The source with every token absent from the output blanked; None where the output has tokens of its own."""
    written = tokenize(source)
    kept = _Erasure(written, _significant(output)).kept()
    if kept is None:
        return None
    pieces: list[str] = []
    position = 0
    for index, token in enumerate(written):
        if kept[index]:
            continue
        pieces.append(source[position : token.start])
        pieces.append(_spaces(source[token.start : token.end]))
        position = token.end
    pieces.append(source[position:])
    return "".join(pieces)


def same_program(one: str, other: str) -> bool:
    """Whether two reprinted programs are equal but for empty statements."""
    return one == other or [t.key for t in _significant(one)] == [t.key for t in _significant(other)]


def _significant(output: str) -> list[Token]:
    return [token for token in tokenize(output) if token.key != ";"]


def _spaces(text: str) -> str:
    return "".join(character if character in "\r\n\u2028\u2029" else " " for character in text)


class _Erasure:
    """One walk over both texts. A run of type tokens is balanced in its brackets, which tells where it ends."""

    def __init__(self, written: list[Token], wanted: list[Token]) -> None:
        self.written = [token.key for token in written]
        self.wanted = [token.key for token in wanted]
        self.steps = 0
        self.groups: list[bool] = []  # for each bracket open in what is kept: is it a grouping parenthesis

    def kept(self) -> list[bool] | None:
        """For each token of the source whether it stays; None when the output does not come from erasing alone."""
        kept = [False] * len(self.written)
        at = goal = 0
        while at < len(self.written):
            key = self.written[at]
            if goal < len(self.wanted) and key == self.wanted[goal]:
                self._open_or_close(key, group=False)
                kept[at], at, goal = True, at + 1, goal + 1
            elif self._harmless(at):
                self._open_or_close(key, group=True)
                kept[at], at = True, at + 1
            elif added := self._added_parentheses(at, goal):
                goal += added
            else:
                end = self._end_of_types(at, goal, kept)
                if end is None:
                    return None
                at = end
        return kept if all(key in "()" for key in self.wanted[goal:]) else None

    def _added_parentheses(self, at: int, goal: int) -> int:
        """How many parentheses the printer added here: around the `x` of `x => y`, after the `A` of `new A`."""
        for count in (1, 2):
            added = self.wanted[goal : goal + count]
            if len(added) == count and all(key in "()" for key in added):
                if goal + count < len(self.wanted) and self.wanted[goal + count] == self.written[at]:
                    return count
        return 0

    def _open_or_close(self, key: str, *, group: bool) -> None:
        if key in "([{":
            self.groups.append(group and key == "(")
        elif key in ")]}" and self.groups:
            self.groups.pop()

    def _harmless(self, at: int) -> bool:
        """Punctuation that a printer leaves out and that may stay: `;`, grouping parentheses, trailing commas."""
        key = self.written[at]
        if key == ",":
            return at + 1 < len(self.written) and self.written[at + 1] in (")", "]", "}")
        return key in (";", "(") or (key == ")" and bool(self.groups) and self.groups[-1])

    def _end_of_types(self, at: int, goal: int, kept: list[bool]) -> int | None:
        """Where the wanted token stands after the types that begin at `at`; the end of the text when none is left."""
        if goal == len(self.wanted):
            return len(self.written)
        depth, best, best_run, closing = 0, None, 0, 0
        groups = len(self.groups)
        for index in range(at, min(len(self.written), at + _WINDOW)):
            key = self.written[index]
            self.steps += 1
            if self.steps > _MOST_STEPS:
                return None
            if depth == 0 and index > at:
                run = self._run(index, goal)
                if run > best_run:
                    best, best_run = index, run
                if run >= 2 or (run and goal + 1 == len(self.wanted)):
                    break
            if key in _OPEN:
                depth += 1
            elif key in _CLOSE and not (key == ">" and self.written[index - 1] == "="):
                depth -= 1
            if depth < 0:
                # The parenthesis around `(x as T)` closes after the type: it stays, like its opening one.
                if key != ")" or closing >= groups or not self.groups[groups - 1 - closing]:
                    break
                closing, depth = closing + 1, 0
        if best is None:
            return None
        self._keep_between(at, best, kept)
        return best

    def _run(self, index: int, goal: int) -> int:
        length = 0
        if self.written[index] == "(" != self.wanted[goal]:
            index += 1
        while length < 3 and index < len(self.written) and goal < len(self.wanted):
            if self.written[index] == self.wanted[goal]:
                length, index, goal = length + 1, index + 1, goal + 1
            elif length and self.written[index] == ";":
                index += 1
            else:
                break
        return length

    def _keep_between(self, at: int, end: int, kept: list[bool]) -> None:
        """Inside a run of types only statement ends and closing grouping parentheses stay."""
        depth = 0
        for index in range(at, end):
            key = self.written[index]
            if key in _OPEN:
                depth += 1
            elif key in _CLOSE and not (key == ">" and self.written[index - 1] == "="):
                depth -= 1
            if depth < 0:
                depth, kept[index] = 0, True
                self._open_or_close(key, group=True)
            elif depth == 0 and key == ";":
                kept[index] = True


def lay_out(source: str, output: str) -> str:
    """The output's tokens, each on the line and, where there is room, the column of the source it came from."""
    written, printed = tokenize(source), tokenize(output)
    origin: list[int | None] = [None] * len(printed)
    for theirs, ours in matches([token.key for token in written], [token.key for token in printed]):
        origin[ours] = written[theirs].start
    starts = [0, *(index + 1 for index, character in enumerate(source) if character == "\n")]
    pieces: list[str] = []
    line, column, position = 0, 0, 0
    for index, token in enumerate(printed):
        gap, text = output[position : token.start], output[token.start : token.end]
        space = " " if gap else ""
        home = origin[index]
        if home is not None and not _glued(printed, index):
            target = bisect_right(starts, home) - 1
            if target > line and not _must_stay(printed, index):
                space, line, column = "\n" * (target - line), target, 0
            if target == line:
                space += " " * max(0, home - starts[target] - column - space.count(" "))
        pieces += (space, text)
        column = len(text) - text.rfind("\n") - 1 if "\n" in text else column + len(space.lstrip("\n")) + len(text)
        line += text.count("\n")
        position = token.end
    return "".join(pieces)


def matches(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of positions of equal items that keep their order: a patience diff, in time about linear.

    Equal beginnings and ends are paired; then what occurs once on either side, as far as it keeps its order; then the
    same again between those pairs.
    """
    found: list[tuple[int, int]] = []
    pending = [(0, len(one), 0, len(other), 0)]
    while pending:
        low, high, start, end, depth = pending.pop()
        while low < high and start < end and one[low] == other[start]:
            found.append((low, start))
            low, start = low + 1, start + 1
        while low < high and start < end and one[high - 1] == other[end - 1]:
            high, end = high - 1, end - 1
            found.append((high, end))
        anchors = _anchors(one, other, range(low, high), range(start, end)) if depth < _MOST_PASSES else []
        for theirs, ours in anchors:
            found.append((theirs, ours))
            pending.append((low, theirs, start, ours, depth + 1))
            low, start = theirs + 1, ours + 1
        if anchors:
            pending.append((low, high, start, end, depth + 1))
    return found


def _anchors(one: Sequence[str], other: Sequence[str], theirs: range, ours: range) -> list[tuple[int, int]]:
    """The longest run of items that occur once in either range and stand in the same order in both."""
    places = _once(other, ours)
    pairs = [(position, places[one[position]]) for position in _once(one, theirs).values() if one[position] in places]
    tails: list[int] = []  # patience piles: the least end of an ascending run of each length
    heads: list[int] = []  # which pair that is
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        pile = bisect_left(tails, place)
        before.append(heads[pile - 1] if pile else -1)
        if pile == len(tails):
            tails.append(place)
            heads.append(index)
        else:
            tails[pile], heads[pile] = place, index
    chosen: list[tuple[int, int]] = []
    index = heads[-1] if heads else -1
    while index >= 0:
        chosen.append(pairs[index])
        index = before[index]
    return chosen[::-1]


def _once(items: Sequence[str], positions: range) -> dict[str, int]:
    """Items that occur exactly once in a range -> where."""
    found: dict[str, int] = {}
    for position in positions:
        item = items[position]
        found[item] = -1 if item in found else position
    return {item: position for item, position in found.items() if position >= 0}


def _glued(printed: list[Token], index: int) -> bool:
    """Whether a token is a further character of one operator."""
    before, token = printed[index - 1] if index else None, printed[index]
    return before is not None and before.end == token.start and before.key in _OPERATORS and token.key in _OPERATORS


def _must_stay(printed: list[Token], index: int) -> bool:
    """Whether a line end before this token would change the program: after `return`, before `=>`, `++` and `--`."""
    if index and printed[index - 1].key in _RESTRICTED:
        return True
    if index + 1 < len(printed) and _glued(printed, index + 1):
        return printed[index].key + printed[index + 1].key in ("=>", "++", "--")
    return False
