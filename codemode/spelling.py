"""Says what to write instead where a text is no JavaScript, and the engine's words say only where: brackets without a
counterpart, characters of a word processor, decorators, HTML, prose, other languages."""

from __future__ import annotations

import re

from codemode.check.brackets import brackets
from codemode.check.finding import place
from codemode.run import Failure
from codemode.tokens import SourceToken, tokenize

_CLOSES = {"(": ")", "[": "]", "{": "}"}
_PLAIN = {
    **dict.fromkeys("“”„«»″＂", '"'),
    **dict.fromkeys("‘’‚′＇", "'"),
    **dict.fromkeys("−–—‐", "-"),
    **{
        "…": "...",
        "；": ";",
        "，": ",",
        "（": "(",
        "）": ")",
        "：": ":",
        "｛": "{",
        "｝": "}",
        "＝": "=",
        "×": "*",
        "÷": "/",
    },
    **{"≠": "!==", "≤": "<=", "≥": ">=", "→": "=>", "⇒": "=>"},
}
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|nbsp|#\d{1,5});")
_MARKUP = re.compile(r"<[A-Za-z][\w.]*(?:\s[^<>]*)?/>|</[A-Za-z][\w.]*>|</>")
_MIXED = re.compile(r"\?\?.*(?:\|\||&&)|(?:\|\||&&).*\?\?")
_IN_QUOTES = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_PYTHON = re.compile(
    r"\s*(?:def\s+\w+\s*\(.*\).*:|from\s+[\w.]+\s+import\s|import\s+[\w.]+(?:\s+as\s+\w+)?\s*$|elif\b.*:|(?:if|for|while|with)"
    r"\s[^({]*:\s*$|print\(f\")"
)
_NAMESPACE = re.compile(r"\b(?:namespace|module)\s+([\w$]+)\s*\{")
_NO_CONSTANT = re.compile(r"\bexport\s+(?:let|var)\b")
_PROSE = re.compile(
    r"\s*(?:[#>*-]+\s+|\d+\.\s+)?[A-Z][a-z']*(?:[.!:]? [ ,]*|,[ ,]*)[A-Za-z'0-9-]+(?:[ ,]+[A-Za-z'0-9-]+){2,}"
    r"|\s*[A-Z][a-z']*(?: [a-z']+){1,}[.:](?:\s*$| `)|\s*#{1,6} \w"
)
_NO_ARROW = re.compile(r"\s*(?:return\s+)?async\s*\([^()]*\)\s*\{")
_LEXICAL = frozenset({"const", "let", "class"})
_DECLARES = _LEXICAL | {"var", "function"}
_BEFORE_VALUE = frozenset(("=", "(", ",", "return", ":", "?", ">", ".", "await", "new", "&", "|", "!"))
_QUOTES = frozenset("'\"")
_MOST_AROUND = 200  # characters of a line, to either side
_OF_MESSAGES = (
    ("unsupported keyword: export", "A program exports nothing: leave `export` out, and `return` the value."),
    ("invalid export syntax", "A program exports nothing: leave the line out, and `return` the value."),
    ("function name expected", "Write async () => { ... }: without a name a function cannot stand alone."),
    ("unexpected 'yield' keyword", "`yield` needs a generator around it: function* () { ... }."),
    ("invalid keyword: with", "A program is strict, where `with` does not exist: write object.member."),
    ("Octal literals", "Write 0o before the digits of an octal number."),
    ("Octal escape", "Write \\x and two hexadecimal digits."),
)
_SEND_ALONE = "Send the program alone: text around it belongs into comments, or the program into a fence."
_OF_LINES = (
    (_NO_ARROW, "The arrow is missing: write async () => { ... }."),
    (_PYTHON, "A program is JavaScript or TypeScript."),
    (_PROSE, _SEND_ALONE),
)


def instead(failure: Failure, program: str) -> str | None:
    """What to write instead of what a syntax error is about; None where the engine's words will do."""
    lines = program.split("\n")
    at = (failure.line or 1) - 1
    line = lines[at] if 0 <= at < len(lines) else ""
    column = (failure.column or 1) - 1
    start = max(0, column - _MOST_AROUND)
    if (advice := _at(line[start : column + _MOST_AROUND], column - start)) is not None:
        return advice
    if (advice := _of_text(failure.message, line, column, at)) is not None:
        return advice
    for words, advice in _OF_MESSAGES:
        if failure.message.startswith(words):
            return advice
    tokens = tokenize(program)
    if "redefinition" in failure.message or "already been declared" in failure.message:
        return _declared_twice(program, tokens, at, column)
    if failure.message.startswith("Duplicate parameter"):
        return _parameter_twice(program, tokens, at, column)
    if is_object(tokens):
        return "An object that is the result needs `return` before it: return { ... };"
    if failure.line is not None and failure.message.startswith("unexpected token in expression"):
        if (advice := joined(program, failure.line)) is not None:
            return advice
    # The engine may stop at the beginning of the next line.
    around = [text[:_MOST_AROUND] for text in lines[max(0, at - 1) : at + 1][::-1]]
    for pattern, advice in _OF_LINES:
        if any(pattern.match(text) for text in around):
            return advice
    return _of_brackets(program, tokens)


def _at(line: str, column: int) -> str | None:
    """What to write instead of what stands at a column of a line, from 0."""
    around = line[max(0, column - 1) : column + 1]
    if (odd := next((letter for letter in around[::-1] if letter in _PLAIN), None)) is not None:
        return f"Write {_PLAIN[odd]} in place of {odd}: the program has characters of a text editor."
    code = _IN_QUOTES.sub("", line)
    if _ENTITY.search(code):
        return "The program is escaped as HTML: send <, >, & and quotes as they are."
    if (escape := line[column : column + 2]) in ("\\n", "\\t", '\\"', "\\'"):
        return f"The program has {escape} between its words: send it without escapes, with line ends."
    if line[column : column + 1] == "@":
        return "There are no decorators: call the function with the class, Name = decorate(Name), or leave it out."
    if (namespace := _NAMESPACE.search(code)) is not None:
        name = namespace[1]
        if _NO_CONSTANT.search(code):
            return f"A namespace exports constants: write export const in it, or const {name} = {{ ... }} in its place."
        return f"A namespace stands only outside of functions and blocks: write const {name} = {{ ... }};"
    if _MIXED.search(code) and line[column : column + 2] in ("||", "&&", "??"):
        return "`??` beside || or && needs parentheses: (a ?? b) || c."
    if _MARKUP.search(code):
        return "There is no JSX and no HTML in a program: return data, or a text in quotes."
    return None


def _of_text(message: str, line: str, column: int, at: int) -> str | None:
    """What to write instead of a text in quotes that ends too early, or not at all. `at`: the line, from 0."""
    if message.startswith("unexpected end of string"):
        if _PROSE.match(line):
            return _SEND_ALONE
        if line[column : column + 1] == "`":
            return f"The ` in line {at + 1}, column {column + 1} is never closed: the program may have been cut off."
        return "A text in quotes must end on its line: write \\n for a line end, or put the text into backticks."
    quote = line[column - 1 : column] if column else ""
    if quote in _QUOTES and line[column : column + 1].isalpha() and line[:column].count(quote) > 1:
        return (
            f"The text ends at the {quote} in column {column}: write \\{quote} inside of it, or put it into backticks."
        )
    return None


def joined(program: str, line: int) -> str | None:
    """What to write where a line from 1, or the one after it, begins with a bracket and so goes on with the statement
    before it, which has no semicolon; None elsewhere."""
    lines = program.split("\n")
    for at in (line - 1, line):
        if not 0 < at < len(lines) or not lines[at].lstrip().startswith(("(", "[", "`")):
            continue
        before = next((n for n in range(at - 1, -1, -1) if lines[n].strip()), at)
        last = lines[before].rstrip()[-1:]
        if before < at and last and (last.isalnum() or last in "_$)]}'\"`"):
            goes_on = f"Line {at + 1} begins with {lines[at].lstrip()[0]} and so goes on with line {before + 1}"
            return f"{goes_on}: end that one with a semicolon."
    return None


def _declared_twice(program: str, tokens: list[SourceToken], at: int, column: int) -> str | None:
    """What to write instead of the second declaration of a name, which ends before a column of a line, both from 0."""
    before = [one for one in tokens if place(program, one.end) <= (at + 1, column + 1)]
    first = next((i for i in range(len(before) - 1, -1, -1) if before[i].key in _DECLARES), len(before)) + 1
    names = before[first : first + 1] if first < len(before) and before[first].key.isidentifier() else before[-1:]
    return _twice(names[0].key) if names and names[0].key.isidentifier() else None


def _twice(name: str) -> str:
    return f"`{name}` is declared twice: use another name, or leave its const, let or var out."


def _parameter_twice(program: str, tokens: list[SourceToken], at: int, column: int) -> str | None:
    """What to write instead of the parameter that is twice among those that end before a column of a line."""
    seen: set[str] = set()
    for token in reversed([one for one in tokens if place(program, one.start) < (at + 1, column + 1)]):
        if token.key in seen:
            return f"Two parameters are called `{token.key}`: give each a name of its own."
        if token.key.isidentifier():
            seen.add(token.key)
    return None


def declared_twice(program: str) -> tuple[int, str] | None:
    """The offset of a function or variable of a program's own level that has the name of an earlier one, and what to
    write; None where there is none. The engine finds some of them only after it has read all of a program."""
    text = brackets(program)
    seen: dict[str, str] = {}
    for at, token in enumerate(text.tokens if text is not None else ()):
        if text is None or text.depths[at] or token.key not in _DECLARES or text.key(at - 1) in _BEFORE_VALUE:
            continue
        name = text.key(at + 1 + (text.key(at + 1) == "*"))
        if not name.isidentifier():
            continue
        if {seen.get(name), token.key} & _LEXICAL and name in seen:
            return token.start, _twice(name)
        seen[name] = token.key
    return None


def is_object(tokens: list[SourceToken]) -> bool:
    """Whether a program begins and ends as an object does: `{"a": 1, b}`."""
    keys = [token.key for token in tokens]
    if keys[-1:] == [";"]:
        keys.pop()
    if len(keys) < 4 or (keys[0], keys[2], keys[-1]) != ("{", ":", "}"):
        return False
    return keys[1][0] == '"' or keys[1].isidentifier()


def _of_brackets(program: str, tokens: list[SourceToken]) -> str | None:
    """Which bracket has no counterpart."""
    stack: list[tuple[str, int]] = []
    for token in tokens:
        key = token.key
        if key[0] == "}" and len(key) > 1:  # of a template
            if stack and stack[-1][0] == "`":
                stack.pop()
        elif key in (")", "]", "}"):
            if not stack:
                line, column = place(program, token.start)
                return f"The {key} in line {line}, column {column} closes nothing: leave it out."
            opening, start = stack.pop()
            if _CLOSES.get(opening) != key:
                line, column = place(program, start)
                return f"The {opening} in line {line}, column {column} is not closed before the next {key}."
        if key in _CLOSES:
            stack.append((key, token.start))
        elif key[0] in "`}" and key.endswith("${"):
            stack.append(("`", token.start))
    if not stack:
        return None
    opening, start = stack[-1]
    line, column = place(program, start)
    return f"The {opening} in line {line}, column {column} is never closed: the program may have been cut off."
