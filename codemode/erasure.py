"""Puts a transformed program back on the lines and columns of its source.

The TypeScript transformer reprints a program without comments and line breaks, so every position moves. Compared with
the source token by token, its output tells which tokens of the source are types. Where the transformer adds nothing,
those become blanks, and every other token keeps its exact place. Where it adds code (enums, namespaces, parameter
properties), the output's tokens go to the lines of their source tokens. The caller proves the result by transforming it
again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from codemode.tokens import SourceToken, tokenize

_WINDOW = 400  # tokens that one type may have
_MOST_STEPS = 400_000  # of one erasure: a fraction of a second for any source
_MOST_PASSES = 12
_OPEN = frozenset("([{<")
_CLOSE = frozenset(")]}>")
_OPERATORS = frozenset("=<>!&|?+-*/%^.")
# No line may end right after these words (ECMA-262, "no LineTerminator here").
_RESTRICTED = frozenset({"return", "throw", "yield", "break", "continue", "async"})
RETURN_MARK = "$ret$"
"""What stands in a source for a `return` outside a function: with a comma, or with a semicolon where it is alone."""


def blank(source: str, output: str) -> str | None:
    """The source with blanks for every token that the output lacks; None where the output has tokens of its own."""
    tokens = tokenize(source)
    stays = _Erasure(tokens, _significant(output)).run()
    if stays is None:
        return None
    pieces: list[str] = []
    position = 0
    for index, token in enumerate(tokens):
        if stays[index]:
            continue
        pieces.append(source[position : token.start])
        pieces.append(spaces(source[token.start : token.end]))
        position = token.end
    pieces.append(source[position:])
    return "".join(pieces)


def same_program(one: str, other: str) -> bool:
    """Whether two reprinted programs are equal apart from empty statements."""
    return one == other or [t.key for t in _significant(one)] == [t.key for t in _significant(other)]


def _significant(output: str) -> list[SourceToken]:
    return [token for token in tokenize(output) if token.key != ";"]


def spaces(text: str) -> str:
    """A blank for each character, and the text's own line ends."""
    return "".join(character if character in "\r\n\u2028\u2029" else " " for character in text)


class _Erasure:
    """One walk over the tokens of a source and its output. The brackets of a type are balanced: that tells its end."""

    def __init__(self, source: list[SourceToken], output: list[SourceToken]) -> None:
        self.source = [token.key for token in source]
        self.output = [token.key for token in output]
        self.stays = [False] * len(source)
        self.steps = 0
        self.groups: list[bool] = []  # for each open bracket that stays: whether it is a grouping parenthesis

    def run(self) -> list[bool] | None:
        """For each token of the source whether it stays; None when the output is not the source without some tokens."""
        at = goal = 0
        while at < len(self.source):
            key = self.source[at]
            if goal < len(self.output) and key == self.output[goal]:
                self._open_or_close(key, group=False)
                self.stays[at], at, goal = True, at + 1, goal + 1
            elif self._is_harmless(at):
                self._open_or_close(key, group=True)
                self.stays[at], at = True, at + 1
            elif count := self._new_parentheses(at, goal):
                goal += count
            else:
                end = self._end_of_types(at, goal)
                if end is None:
                    return None
                at = end
        return self.stays if all(key in "()" for key in self.output[goal:]) else None

    def _new_parentheses(self, at: int, goal: int) -> int:
        """How many parentheses the printer adds here: around the `x` of `x => y`, after the `A` of `new A`."""
        for count in (1, 2):
            keys = self.output[goal : goal + count]
            if len(keys) == count and all(key in "()" for key in keys):
                if goal + count < len(self.output) and self.output[goal + count] == self.source[at]:
                    return count
        return 0

    def _open_or_close(self, key: str, *, group: bool) -> None:
        if key in "([{":
            self.groups.append(group and key == "(")
        elif key in ")]}" and self.groups:
            self.groups.pop()

    def _is_harmless(self, at: int) -> bool:
        """Whether a token is punctuation that the printer omits and that may stay: `;`, grouping parentheses, `,` at an
        end."""
        key = self.source[at]
        if key == ",":
            return at + 1 < len(self.source) and self.source[at + 1] in (")", "]", "}")
        return key in (";", "(") or (key == ")" and bool(self.groups) and self.groups[-1])

    def _end_of_types(self, at: int, goal: int) -> int | None:
        """The index of the output's next token after the types that begin at `at`; the end when there is none."""
        if goal == len(self.output):
            return len(self.source)
        depth, best, best_run, closing = 0, None, 0, 0
        groups = len(self.groups)
        for index in range(at, min(len(self.source), at + _WINDOW)):
            key = self.source[index]
            self.steps += 1
            if self.steps > _MOST_STEPS:
                return None
            if depth == 0 and index > at:
                run = self._run(index, goal)
                if run > best_run:
                    best, best_run = index, run
                if run >= 2 or (run and goal + 1 == len(self.output)):
                    break
            if key in _OPEN:
                depth += 1
            elif key in _CLOSE and not (key == ">" and self.source[index - 1] == "="):
                depth -= 1
            if depth < 0:
                # The parenthesis around `(x as T)` closes after the type. It stays, like the opening one.
                if key != ")" or closing >= groups or not self.groups[groups - 1 - closing]:
                    break
                closing, depth = closing + 1, 0
        if best is None:
            return None
        self._keep_ends(at, best)
        return best

    def _run(self, index: int, goal: int) -> int:
        """How many tokens from here on are those of the output, at most three."""
        length = 0
        if self.source[index] == "(" != self.output[goal]:
            index += 1
        while length < 3 and index < len(self.source) and goal < len(self.output):
            if self.source[index] == self.output[goal]:
                length, index, goal = length + 1, index + 1, goal + 1
            elif length and self.source[index] == ";":
                index += 1
            else:
                break
        return length

    def _keep_ends(self, at: int, end: int) -> None:
        """Keep the ends of statements and the closing grouping parentheses among the types from `at` to `end`."""
        depth = 0
        for index in range(at, end):
            key = self.source[index]
            if key in _OPEN:
                depth += 1
            elif key in _CLOSE and not (key == ">" and self.source[index - 1] == "="):
                depth -= 1
            if depth < 0:
                depth, self.stays[index] = 0, True
                self._open_or_close(key, group=True)
            elif depth == 0 and key == ";":
                self.stays[index] = True


def lay_out(source: str, output: str) -> str:
    """The output's tokens, each on the line and, where there is room, in the column of its source token."""
    original, printed = tokenize(source), tokenize(output)
    origin: list[int | None] = [None] * len(printed)
    for theirs, ours in matches([token.key for token in original], [token.key for token in printed]):
        origin[ours] = original[theirs].start
    starts = [0, *(index + 1 for index, character in enumerate(source) if character == "\n")]
    pieces: list[str] = []
    line, column, position = 0, 0, 0
    for index, token in enumerate(printed):
        gap, text = output[position : token.start], output[token.start : token.end]
        space = " " if gap else ""
        home = origin[index]
        if home is not None and not _continues_operator(printed, index):
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
    """Pairs of positions of equal items that keep their order: a patience diff, in about linear time.

    It pairs equal beginnings and ends, then the items that occur once on either side as far as they keep their order,
    then does the same between those pairs.
    """
    pairs: list[tuple[int, int]] = []
    pending = [(0, len(one), 0, len(other), 0)]
    while pending:
        low, high, start, end, depth = pending.pop()
        while low < high and start < end and one[low] == other[start]:
            pairs.append((low, start))
            low, start = low + 1, start + 1
        while low < high and start < end and one[high - 1] == other[end - 1]:
            high, end = high - 1, end - 1
            pairs.append((high, end))
        anchors = _anchors(one, other, range(low, high), range(start, end)) if depth < _MOST_PASSES else []
        for theirs, ours in anchors:
            pairs.append((theirs, ours))
            pending.append((low, theirs, start, ours, depth + 1))
            low, start = theirs + 1, ours + 1
        if anchors:
            pending.append((low, high, start, end, depth + 1))
    return pairs


def _anchors(one: Sequence[str], other: Sequence[str], theirs: range, ours: range) -> list[tuple[int, int]]:
    """The longest run of items that occur once in either range and stand in the same order in both."""
    places = _once(other, ours)
    pairs = [(position, places[one[position]]) for position in _once(one, theirs).values() if one[position] in places]
    tails: list[int] = []  # patience piles: the least end of an ascending run of each length
    heads: list[int] = []  # the pair with that end
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        pile = bisect_left(tails, place)
        before.append(heads[pile - 1] if pile else -1)
        if pile == len(tails):
            tails.append(place)
            heads.append(index)
        else:
            tails[pile], heads[pile] = place, index
    longest: list[tuple[int, int]] = []
    index = heads[-1] if heads else -1
    while index >= 0:
        longest.append(pairs[index])
        index = before[index]
    return longest[::-1]


def _once(items: Sequence[str], positions: range) -> dict[str, int]:
    """The items that occur exactly once in a range, with their positions."""
    places: dict[str, int] = {}
    for position in positions:
        item = items[position]
        places[item] = -1 if item in places else position
    return {item: position for item, position in places.items() if position >= 0}


def _continues_operator(printed: list[SourceToken], index: int) -> bool:
    """Whether a token is another character of the operator before it."""
    before, token = printed[index - 1] if index else None, printed[index]
    return before is not None and before.end == token.start and before.key in _OPERATORS and token.key in _OPERATORS


def _must_stay(printed: list[SourceToken], index: int) -> bool:
    """Whether a line break before this token would change the program: after `return`, before `=>`, `++` and `--`."""
    before = printed[index - 1].key if index else ""
    if before in _RESTRICTED or before == RETURN_MARK or (before == "," and printed[index - 2].key == RETURN_MARK):
        return True
    if index + 1 < len(printed) and _continues_operator(printed, index + 1):
        return printed[index].key + printed[index + 1].key in ("=>", "++", "--")
    return False
