"""The function that is the program: `async ({codemode}) => {...}`, `main(tools)`, `run(codemode, args)`.

Agents pass `codemode` or `tools` to their program as other environments do. Both are globals of an isolate, and a
program is called without arguments. So where a function names them as parameters and nobody calls it with arguments,
those parameters become blanks, and the names mean the globals. A function that only an environment would call, by its
name or for such a parameter, is called at the end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from codemode.check.brackets import Brackets, brackets
from codemode.erasure import spaces

ENTRY_NAMES = frozenset(
    "main run execute exec handler handle start program entry task code script solve solution default".split()
)
"""What environments call the function that they run."""
# Each begins with a word, which Python finds quickly: alternatives are tried at every character.
_TAKES = (
    ("codemode", re.compile(r"codemode\b[^()]{0,200}?(?:\)|=>)")),
    ("tools", re.compile(r"tools\b[^()]{0,200}?(?:\)|=>)")),
)
_NAMES = frozenset({"codemode", "tools"})
# Other environments pass these too, and they are globals here.
_GLOBALS = _NAMES | {"console", "fetch", "crypto", "setTimeout", "URL"}
_INPUTS = frozenset("args input inputs params options ctx context env event request payload data config".split())
_DECLARES = frozenset({"const", "let", "var"})
_NAMELESS = re.compile(r"\s*(?:async\b\s*)?function\s*\(")
_ARROW = re.compile(r"\s*(?:async\b\s*)?(?:\(|[\w$]+\s*=>)")
_CALLED = re.compile(r"\}\s*\(\s*\)\s*;?\s*\Z")
_STATEMENTS = frozenset("const let var class function if for while do switch try throw".split())
_MOST_BEFORE = 6  # tokens before the parameters of the only function: `const main = async function main(`
_MOST_AT_END = 40  # characters in which the call at the end of a program is looked for
_MOST_TOKENS = 200  # of one list of parameters


def may_take_globals(program: str) -> bool:
    """Whether `without_given_parameters` may change a program. Tells no for most programs."""
    return any(name in program and takes.search(program) is not None for name, takes in _TAKES)


def without_given_parameters(program: str) -> str:
    """The program with blanks for those parameters of its entry functions that are globals of an isolate."""
    text = brackets(program)
    if text is None:
        return program
    entries = _Entries(program, text)
    edits = [edit for at in range(len(text.tokens)) for edit in entries.edits(at)]
    pieces: list[str] = []
    position = 0
    for start, end, words in sorted(edits):
        if start >= position:
            pieces += (program[position:start], words)
            position = end
    return "".join((*pieces, program[position:]))


def may_stand_alone(program: str) -> bool:
    """Whether `as_expression` may change a program. Tells no for most programs."""
    if _NAMELESS.match(program) is not None:
        return True
    return (
        _CALLED.search(program, max(0, len(program) - _MOST_AT_END)) is not None and _ARROW.match(program) is not None
    )


def as_expression(program: str) -> str:
    """A program that is one function without a name, or that and `()`, as the function alone, which is called.

    As a statement such a function needs a name, and an arrow function cannot be called without parentheses around it.
    """
    text = brackets(program)
    if text is None or not text.tokens:
        return program
    keys = [token.key for token in text.tokens]
    first = int(keys[0] == "async")
    opening = first + (keys[first : first + 1] == ["function"])
    is_function, end = opening > first, text.pairs.get(opening)
    brace = None if end is None else next((at for at in range(end + 1, len(keys)) if keys[at] == "{"), None)
    closing = None if brace is None else text.pairs.get(brace)
    if (
        brace is None
        or closing is None
        or keys[opening] != "("
        or "".join(keys[closing + 1 :]) not in ("", ";", "()", "();")
    ):
        return program
    head, called = text.tokens[brace].start, text.tokens[closing].end
    if keys[closing + 1 : closing + 2] == ["("]:
        program = (
            program[:called]
            + spaces(program[called : text.tokens[closing + 2].end])
            + program[text.tokens[closing + 2].end :]
        )
    start = text.tokens[first].start
    if not is_function or "\n" in program[start:head]:
        return program
    parameters = program[text.tokens[opening].start : head].rstrip()
    return program[:start] + f"{parameters}=>".rjust(head - start) + program[head:]


def takes_parameters(program: str) -> bool:
    """Whether an entry function of the program has parameters, which get no values."""
    text = brackets(program)
    if text is None:
        return False
    entries = _Entries(program, text)
    heads = (entries.head(at) for at in range(len(text.tokens)))
    return any(head is not None and text.key(head[0] + 1) != ")" for head in heads)


class _Entries:
    """The functions of a program that are called without arguments: by it, or at its end by the isolate."""

    def __init__(self, program: str, text: Brackets) -> None:
        self._program = program
        self._text = text
        self._mentions: dict[str, list[int]] = {}
        for at, token in enumerate(text.tokens):
            self._mentions.setdefault(token.key, []).append(at)

    def edits(self, at: int) -> Iterator[tuple[int, int, str]]:
        """The parts of the program to replace, with replacements of the same length, for the entry function that begins
        at a token."""
        text = self._text
        head = self.head(at)
        if head is None:
            return
        first, end = head
        if text.key(first) != "(":  # `codemode => ...`
            token = text.tokens[first]
            if token.key in _NAMES:
                yield token.start, token.end, "()".ljust(token.end - token.start)
            return
        parts = [part for one in _split(text, first + 1, end) for part in _taken_apart(text, *one)]
        given = {text.key(index) for start, stop, is_given in parts if is_given for index in range(start, stop)}
        renamed = [start for start, stop, is_given in parts if not is_given and _is_renamed(text, start, stop)]
        if not (given & _NAMES or renamed):
            return
        for start in renamed:
            token, last = text.tokens[start], text.tokens[start + 2]
            words = f"{text.key(start + 2)}={token.key}"
            yield token.start, last.end, words + spaces(self._program[token.start : last.end])[len(words) :]
        rest = [(start, stop) for start, stop, is_given in parts if not is_given]
        stays = {index for start, stop in rest for index in range(start, stop)}
        for (_, stop), (start, _) in pairwise(rest):
            stays.add(next(index for index in range(stop, start) if text.key(index) == ","))
        for index in range(first + 1, end):
            if index not in stays:
                token = text.tokens[index]
                yield token.start, token.end, spaces(self._program[token.start : token.end])

    def head(self, at: int) -> tuple[int, int] | None:
        """The first and the last token of the parameters of the entry function that begins at a token; None where none
        does."""
        text = self._text
        start, before = at, text.key(at - 1)
        if before == "async" or text.depths[at] > 1:
            return None
        if text.key(at) == "async":
            at += 1
        if text.key(at) == "function":
            opening = at + 1 + (text.key(at + 1) == "*")
            name = "" if text.key(opening) == "(" else text.key(opening)
            opening += bool(name)
            end = text.pairs.get(opening)
            if text.key(opening) != "(" or end is None:
                return None
            is_entry = self._is_bare(name) if name and not text.depths[start] else self._is_called(start, end)
            return (opening, end) if is_entry else None
        if text.key(at) == "(":
            end = text.pairs.get(at)
            arrow = None if end is None or end - at > _MOST_TOKENS else _arrow(text, end + 1)
        else:
            end, arrow = at, at + 1 if text.key(at) in _NAMES and _arrow(text, at + 1) == at + 1 else None
        return (at, end) if end is not None and arrow is not None and self._is_called(start, end) else None

    def _is_called(self, start: int, end: int) -> bool:
        """Whether a function without a name of its own is the program, or is called without arguments where it is."""
        text = self._text
        before = text.key(start - 1)
        if text.depths[start] == 0:
            if before != "=":
                is_value = before == "," and text.key(start - 2) == "0"  # of an export
                return is_value or before in ("", ";", "}", "return", "default") or self._starts_line(start)
            name = text.key(start - 2)
            if text.key(start - 3) in ("const", "let", "var"):
                return self._is_bare(name)
            return name == "exports" and text.key(start - 3) == "." and text.key(start - 4) == "module"
        # `(async (codemode) => {...})()`
        if before != "(" or text.key(start - 2) not in ("", ";", "}", "return", "await", "="):
            return False
        closing = text.pairs.get(start - 1)
        if closing is None:
            return False
        is_last = text.key(closing + 1) == "" or (text.key(closing + 1), text.key(closing + 2)) == (";", "")
        if not is_last and (text.key(closing + 1) != "(" or text.key(closing + 2) != ")"):
            return False
        return all(text.depths[at] > 1 or text.key(at) != "," for at in range(end + 1, closing))

    def _starts_line(self, start: int) -> bool:
        """Whether a statement without a semicolon ends in the line before the word `async` or `function`."""
        text = self._text
        before, token = text.tokens[start - 1], text.tokens[start]
        ends_value = before.key[-1] in ")]`" or before.key[0] in "\"'" or before.key[-1].isalnum()
        return ends_value and token.key in ("async", "function") and "\n" in self._program[before.end : token.start]

    def _is_bare(self, name: str) -> bool:
        """Whether a function is mentioned only where it is defined, exported or called without arguments."""
        text = self._text
        if not name:
            return False
        mentions = [at for at in self._mentions.get(name, ()) if text.key(at - 1) != "."]
        definitions = [at for at in mentions if text.key(at - 1) in ("function", "*", "const", "let", "var")]
        others = [at for at in mentions if at not in definitions[:1]]
        calls = sum(text.key(at + 1) == "(" and text.key(at + 2) == ")" for at in others)
        exports = sum(
            text.key(at - 1) in ("default", "{", ",") and text.key(at + 1) in (";", "", "}", ",", "as")
            for at in mentions
        )
        return len(definitions) == 1 and len(mentions) - calls - exports == 1


def _arrow(text: Brackets, at: int) -> int | None:
    """The index of `=>` where parameters end before a token; a type of the result may stand between them."""
    if text.key(at) == ":":
        for index in range(at + 1, min(at + _MOST_TOKENS, len(text.tokens))):
            if text.key(index) == "=" and text.key(index + 1) == ">":
                return index
            if text.key(index) in (";", "=", ")"):
                return None
    return at if text.key(at) == "=" and text.key(at + 1) == ">" else None


def _split(text: Brackets, start: int, end: int) -> list[tuple[int, int]]:
    """The parameters between two tokens, each as its first token and the one after its last."""
    depth = text.depths[start] if start < end else 0
    parts: list[tuple[int, int]] = []
    begin = start
    for index in range(start, end + 1):
        if index == end or (text.key(index) == "," and text.depths[index] == depth):
            if index > begin:
                parts.append((begin, index))
            begin = index + 1
    return parts


def _taken_apart(text: Brackets, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """A parameter, and whether it is a global. The names that it takes out of an object become parameters where one of
    them is a global: the function is called without arguments, so the others are undefined either way."""
    closing = text.pairs.get(start)
    if text.key(start) != "{" or closing is None:
        yield start, end, _is_given(text, start, end)
        return
    items = list(_split(text, start + 1, closing))
    names = [
        text.key(first)
        for first, stop in items
        if stop == first + 1 or text.key(first + 1) == "=" or _is_renamed(text, first, stop)
    ]
    if len(names) < len(items) or not _NAMES.intersection(names):
        yield start, end, False
        return
    for first, stop in items:
        yield first, stop, stop == first + 1 and text.key(first) in _GLOBALS


def _is_renamed(text: Brackets, start: int, end: int) -> bool:
    """Whether what a parameter takes out of an object is a global with another name: `codemode: cm`."""
    return (
        end == start + 3
        and text.key(start) in _NAMES
        and text.key(start + 1) == ":"
        and text.key(start + 2).isidentifier()
    )


def _is_given(text: Brackets, start: int, end: int) -> bool:
    """Whether a parameter is a global by its name, with or without a type."""
    after = text.key(start + 1)
    return text.key(start) in _GLOBALS and (end == start + 1 or after == ":" or (after == "?" and end > start + 2))


def parameters_at(text: Brackets, at: int) -> int | None:
    """Of the function that begins at a token the index of the parenthesis before its parameters, -1 where it has none;
    None where no function begins."""
    at += text.key(at) == "async"
    if text.key(at) == "function":
        opening = next((index for index in range(at + 1, at + 4) if text.key(index) == "("), None)
        return opening if opening in text.pairs else None
    if text.key(at) == "(" and (end := text.pairs.get(at)) is not None:
        return at if _arrow(text, end + 1) is not None else None
    return -1 if _arrow(text, at + 1) == at + 1 and text.key(at).isidentifier() else None


def arguments(text: Brackets, opening: int) -> str:
    """The arguments for a function that an environment would call, by its parameters: globals where it takes them."""
    end = text.pairs.get(opening, opening + 1)
    given = [_argument(text, start, stop) for start, stop in _split(text, opening + 1, end)]
    while given and given[-1] == "undefined":
        given.pop()
    return ", ".join(given)


def _argument(text: Brackets, start: int, end: int) -> str:
    if _is_given(text, start, end):
        return text.key(start)
    if text.key(start) != "{" or (closing := text.pairs.get(start)) is None:
        return "undefined"
    names = [text.key(first) for first, _ in _split(text, start + 1, closing)]
    return f"{{{', '.join(name for name in names if name in _NAMES)}}}"


def uncalled(program: str, written: str) -> str | None:
    """The call of the function that only an environment would call: its name is `main` or the like, or it takes
    `codemode` or `tools`, or it is the whole program and takes `args` or the like. None where there is none.

    `written`: the program before `without_given_parameters`, which may have made blanks of `codemode`.
    """
    text = brackets(program)
    if text is None or text.cut is not None:
        return None
    # What the transformer of TypeScript printed has other places.
    written = written if len(written) == len(program) else program
    own = [at for at, depth in enumerate(text.depths) if not depth]
    if any(text.key(at) in ("return", "export") for at in own):
        return None
    counts = Counter(token.key for at, token in enumerate(text.tokens) if text.key(at - 1) != ".")
    functions = [
        found for at in own if (found := _declared(text, at)) and counts[found[0]] == _mentions_of_declaration(text, at)
    ]
    takers = []
    for name, opening in functions:
        closing = text.pairs.get(opening)
        if closing is None:
            continue
        taken = set(re.findall(r"[\w$]+", written[text.tokens[opening].start : text.tokens[closing].end]))
        if taken & (_NAMES | _INPUTS if _is_all(text, opening) else _NAMES):
            takers.append((name, opening))
    named = [one for one in functions if one[0] in ENTRY_NAMES]
    named += [(name, -1) for at in own for name in _taken_out(text, at) if name in ENTRY_NAMES and counts[name] < 3]
    if not (named or takers):
        return None
    name, opening = (named or takers)[-1]
    return f"return {name}({arguments(text, opening) if opening >= 0 else ''})"


def _is_all(text: Brackets, opening: int) -> bool:
    """Whether a program is one function alone, whose parameters begin at a token."""
    declarations = sum(
        not depth and token.key in _STATEMENTS for token, depth in zip(text.tokens, text.depths, strict=True)
    )
    return declarations == 1 and opening < _MOST_BEFORE


def _declared(text: Brackets, at: int) -> tuple[str, int] | None:
    """The name of the function that is declared at a token, and the index of the parenthesis before its parameters or
    -1; None where none is."""
    if text.key(at) in _DECLARES and text.key(at + 2) == "=":
        opening = parameters_at(text, at + 3)
        return None if opening is None else (text.key(at + 1), opening)
    if text.key(at) != "function" or text.key(at + 1) in ("(", "*") or text.key(at - 1) in ("=", "(", ",", "return"):
        return None
    return (text.key(at + 1), at + 2) if text.key(at + 2) == "(" else None


def _taken_out(text: Brackets, at: int) -> Iterator[str]:
    """The names that the declaration at a token takes out of an object: `const { main } = ...`."""
    closing = text.pairs.get(at + 1)
    if text.key(at) in _DECLARES and text.key(at + 1) == "{" and closing is not None and text.key(closing + 1) == "=":
        yield from (text.key(first) for first, end in _split(text, at + 2, closing) if end == first + 1)


def _mentions_of_declaration(text: Brackets, at: int) -> int:
    """How often the declaration at a token has its name: twice in `const main = async function main() {...}`."""
    if text.key(at) not in _DECLARES:
        return 1
    return 1 + (text.key(at + 1) in [text.key(index) for index in range(at + 3, at + 6)])
