"""What a program has of a module or a script file and needs not: exports, imports of types, a `#!` line.

A program has no modules. What means nothing at run time becomes blanks, so that every other character keeps its place.
What a module exports is the program: a function, or an object or a class with a function to run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from codemode.check.brackets import Brackets, brackets
from codemode.entry import ENTRY_NAMES, arguments, parameters_at
from codemode.erasure import spaces
from codemode.modules import begins_export, export_from, import_at, with_attributes

# Each begins with a word, which Python finds quickly: alternatives are tried at every character.
_EXPORTS = re.compile(
    r"export(?:\s*[{*=]|s\s*[.=,]|\s+(?:default|const|let|var|function|class|async|type|interface|enum|abstract|declare"
    r"|namespace|module|import)\b)"
)
_TYPES_IMPORTED = re.compile(r"import(?:\s+type\b|\s*\{\s*type\b)")
_TESTS = re.compile(r"(?:require|meta)\s*\.\s*main\b|meta\.url\s*===?\s*`file:")
_INTERPRETER = re.compile(r"\A\s*#!.*")
_DECLARATIONS = frozenset(
    "const let var function class async type interface enum abstract declare namespace module".split()
)
_TARGETS = (
    ("module", ".", "exports", ".", "", "="),
    ("module", ".", "exports", "="),
    ("exports", ".", "", "="),
    ("exports", "="),
)
_STARTED = (  # whether the file is the program, as Node and Deno tell it
    ("require", ".", "main", "=", "=", "=", "module"),
    ("require", ".", "main", "=", "=", "module"),
    ("module", "=", "=", "=", "require", ".", "main"),
    ("import", ".", "meta", ".", "main"),
    *(
        ("import", ".", "meta", ".", "url", *signs, "`file://${", "process", ".", "argv", "[", "0", "]", "}`")
        for signs in (("=", "=", "="), ("=", "="))
    ),
)
_HAS_MODULES = tuple(  # what is asked before one of these
    ("typeof", word, "!", *signs, '"undefined') for word in ("require", "module") for signs in (("=", "="), ("=",))
)
_MARK = ("Object", ".", "defineProperty", "(", "exports", ",", '"__esModule')
_NODE_ONLY = tuple(  # what is asked before exports that only Node needs: there are no modules here
    ("if", "(", "typeof", word, *signs, kind)
    for word in ("module", "exports")
    for signs, kind in (
        (("!", "=", "="), '"undefined'),
        (("!", "="), '"undefined'),
        (("=", "=", "="), '"object'),
        (("=", "="), '"object'),
    )
)
_FROZEN = tuple(("Object", ".", word, "(", "{") for word in ("freeze", "seal"))
_VALUE = "$e"
"""The variable for an exported value that has no name."""
_MODIFIERS = frozenset({"async", "*", "static", "public", "private", "protected", "override", "readonly"})
_BEFORE_NAME = frozenset({"const", "let", "var", "function", "class"})
_MOST_MEMBERS = 100
_MOST_EXPORTS = 50  # each is looked for in all of the program
_ENDS_NAME = frozenset((";", "", "as", "satisfies"))


@dataclass(frozen=True, slots=True)
class Script:
    """A program without the words of a module.

    `text` has the length and the lines of the program. `call` runs what it exports, and belongs at its end; "" for
    most programs.
    """

    text: str
    call: str = ""


@dataclass(frozen=True, slots=True)
class _Export:
    """An exported value: the indexes of the export's first token and the value's, and the name."""

    first: int
    value: int
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """A function of an object or a class. `parameters`: the index of the parenthesis before them, None if not known."""

    name: str
    parameters: int | None
    is_static: bool = False


def may_have_modules(program: str) -> bool:
    """Whether `as_script` may change a program. Tells no for most programs."""
    return (
        ("export" in program and _EXPORTS.search(program) is not None)
        or ("import" in program and _TYPES_IMPORTED.search(program) is not None)
        or ((".main" in program or "meta.url" in program) and _TESTS.search(program) is not None)
        or ("#!" in program and _INTERPRETER.match(program) is not None)
    )


def as_script(program: str) -> Script:
    """The program with blanks for a `#!` line, imports and exports of types, `export` before declarations, and
    `module.exports =`; and the call of what it exports.

    A program with `export default` stays a module, unless it has a `return` of its own, which no module may have, or
    exports an object or class with a function to run.
    """
    program = _INTERPRETER.sub(lambda line: spaces(line[0]), program)
    if "import" not in program and "export" not in program and ".main" not in program:
        return Script(program)
    text = brackets(program)
    if text is None:
        return Script(program)
    is_body = any(token.key == "return" and not text.depths[at] for at, token in enumerate(text.tokens))
    own = {word for word in ("module", "exports") if _is_variable(text, word)}
    blanks = _node_only(program, text) if not own else {}
    unused = {index for first, end in blanks.items() for index in range(first, end)}
    exports = {
        one.first: one
        for at, token in enumerate(text.tokens)
        if at not in unused and token.key not in own and (one := _export(text, at)) is not None
    }
    if len(exports) > _MOST_EXPORTS:
        return Script(program)
    # What the program calls itself must not run again.
    done = {first: end for first, one in exports.items() if (end := _end_of_used(text, one)) is not None}
    left = [one for one in exports.values() if one.first not in done]
    blanks |= done
    variables, call = ({}, "") if is_body or _VALUE in program else _result(text, left)
    has_default = any(text.key(one.first) == "export" and text.key(one.first + 1) == "default" for one in left)
    keep_values = has_default and not is_body and not call
    if not (call or exports or is_body):
        call = _call_of_data(program, text)
    started = _true_of_program(text)
    edits: list[tuple[int, int, str]] = []
    for at, token in enumerate(text.tokens):
        start = token.start
        if edits and start < edits[-1][1]:
            continue
        if at in blanks:
            end = text.tokens[blanks[at] - 1].end
            edits.append((start, end, spaces(program[start:end])))
        elif (one := exports.get(at)) is not None:
            if keep_values and token.key == "export":
                continue
            end = text.tokens[one.value - 1].end
            edits.append((start, end, _head(text, one, variables.get(at), end - start)))
        elif (index := _end_of_blank(text, at, keep_values=keep_values)) is not None:
            end = text.tokens[index - 1].end
            edits.append((start, end, spaces(program[start:end])))
        elif (keys := _first_of(text, at, started)) and text.key(at - 1) != ".":
            end = text.tokens[at + len(keys) - 1].end
            edits.append((start, end, "true".ljust(end - start)))
    return Script(_edited(program, edits), call)


def _head(text: Brackets, one: _Export, variable: str | None, width: int) -> str:
    """What stands before an exported value in place of the words of its export."""
    if variable is not None:
        return f"let {variable}=".ljust(width)
    # A value stays one: on its own a function would be a declaration, which needs a name, and which nobody calls, and
    # an object a block.
    return ("0,".rjust(width) if _must_be_value(text, one) else "").ljust(width)


def _edited(program: str, edits: Iterable[tuple[int, int, str]]) -> str:
    pieces: list[str] = []
    position = 0
    for start, end, words in edits:
        # Line ends stay.
        if "\n" in program[start:end] and "\n" not in words:
            kept = spaces(program[start:end])
            words = words.rstrip()
            words = kept[: -len(words)] + words if words and "\n" not in kept[-len(words) :] else kept
        pieces += (program[position:start], words)
        position = end
    return "".join((*pieces, program[position:]))


def _are(text: Brackets, at: int, keys: tuple[str, ...]) -> bool:
    """Whether these tokens begin at an index; "" is any."""
    return all(not key or text.key(at + index) == key for index, key in enumerate(keys))


def _first_of(text: Brackets, at: int, choices: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The first of several rows of tokens that begins at an index; () where none does."""
    return next((keys for keys in choices if _are(text, at, keys)), ())


def _true_of_program(text: Brackets) -> tuple[tuple[str, ...], ...]:
    """The rows of tokens that ask whether the file is the program: also whether there are modules, where that is asked
    before it."""
    asks = any(token.key == "require" and _first_of(text, at, _STARTED) for at, token in enumerate(text.tokens))
    return (*_STARTED, *_HAS_MODULES) if asks else _STARTED


def _node_only(program: str, text: Brackets) -> dict[int, int]:
    """The first token and the end of each statement `if (typeof module !== "undefined") ...` of a program's own level.
    It never runs, and what it exports is then a function that nothing calls."""
    found: dict[int, int] = {}
    reached = 0
    for at, depth in enumerate(text.depths):
        if at < reached or depth or text.key(at) != "if" or not _first_of(text, at, _NODE_ONLY):
            continue
        body = text.after(at + 1)
        if body is None or any(_first_of(text, index, _STARTED) for index in range(at, body)):
            continue
        end = text.after(body) if text.key(body) == "{" else _end_of_line(program, text, body)
        if end is not None and text.key(end) != "else":
            found[at] = reached = end
    return found


def _end_of_line(program: str, text: Brackets, at: int) -> int:
    """The end of the statement at a token: behind its semicolon, or where its line ends outside of brackets."""
    for index in range(at, len(text.tokens)):
        if text.depths[index] or text.key(index) in ("(", "[", "{"):
            continue
        after = text.tokens[index + 1].start if index + 1 < len(text.tokens) else len(program)
        if text.key(index) == ";" or (index > at and "\n" in program[text.tokens[index].end : after]):
            return index + 1
    return len(text.tokens)


def _result(text: Brackets, exports: list[_Export]) -> tuple[dict[int, str], str]:
    """The variables for exported values, by the first token of the export, and what makes the result of them: the call
    of the one that the program is, or all of several data. "" where the isolate calls it, or nothing is to call."""
    names = {one.name for one in exports}
    if 1 < len(exports) == len(names) and "default" not in names:
        if all(_function(text, one.value) is None and _is_data(text, one) for one in exports):
            variables = {one.first: f"{_VALUE}{number}" for number, one in enumerate(exports)}
            return variables, f"return {{ {', '.join(f'{one.name}: {variables[one.first]}' for one in exports)} }}"
    chosen = _chosen(text, exports)
    is_named, call = (False, "") if chosen is None else _call(text, chosen, len(exports))
    return {} if chosen is None or is_named or not call else {chosen.first: _VALUE}, call


def _is_data(text: Brackets, one: _Export) -> bool:
    kind = _kind(text, one)
    if kind is None:
        return True
    is_class, _, opening = kind
    return not is_class and opening is not None and next(members(text, opening, is_class=False), None) is None


def _end_of_used(text: Brackets, one: _Export) -> int | None:
    """The end of what becomes blanks of the export of a function or class that the program calls itself: all of it, or
    the words before a declaration. None for other exports."""
    at = one.value
    if text.key(at) == "{" and (end := text.after(at)) is not None:
        names = [text.key(index) for index in range(at + 1, end - 1)]
    elif text.key(at + 1) in (";", "") or (text.key(at).isidentifier() and text.key(at + 1).isidentifier()):
        names, end = [text.key(at)], at + 1
    else:
        names, end = [], at
    if text.key(one.first) == "export" and text.key(one.first + 1) == "default":
        head = at + (text.key(at) == "async")
        if text.key(head) in ("function", "class"):
            names, end = [text.key(head + 1)], at
    if not any(_is_used(text, name) for name in names if name.isidentifier()):
        return None
    return end + (text.key(end) == ";" and end > at)


def _is_used(text: Brackets, name: str) -> bool:
    """Whether a program calls one of its functions, or makes an object of a class, outside of the definition."""
    places = [at for at, token in enumerate(text.tokens) if token.key == name and text.key(at - 1) != "."]
    defined = next((at for at in places if text.key(at - 1) in _BEFORE_NAME or text.key(at - 1) == "*"), None)
    if defined is None:
        return False
    braces = (at for at in range(defined, len(text.tokens)) if text.key(at) == "{" and not text.depths[at])
    body = next(braces, defined)
    end = text.pairs.get(body, body)
    uses = (at for at in places if at != defined and not body < at < end)
    return any(text.key(at + 1) in ("(", ".") or text.key(at - 1) == "new" for at in uses)


def _is_variable(text: Brackets, word: str) -> bool:
    """Whether a program has a variable of its own that is called `module` or `exports`."""
    for at, token in enumerate(text.tokens):
        if token.key == word:
            before, after = text.key(at - 1), text.key(at + 1)
            if before in _BEFORE_NAME or (before in ("{", ",", "[", "(") and after in ("}", ",", "]", ")", "=")):
                return text.key(at - 3) != "defineProperty" and text.key(at - 2) != "defineProperty"
    return False


def _export(text: Brackets, at: int) -> _Export | None:
    """The exported value whose export begins a statement at a token: `export default`, `export =`, `module.exports =`,
    `exports.name =`, or several of them in a row."""
    if text.key(at) == "export" and begins_export(text, at) and text.key(at + 1) in ("default", "="):
        return _Export(at, at + 2, "default")
    if text.key(at) not in ("module", "exports") or text.depths[at]:
        return None
    if text.key(at - 1) in (".", "=", ",", "(", "?", ":", "else") or _is_conditional(text, at):
        return None
    name, value = "", at
    while (target := next((keys for keys in _TARGETS if _are(text, value, keys)), None)) is not None:
        end = value + len(target)
        if text.key(end) in ("=", ">"):
            break
        name, value = "default" if target[-2] == "exports" else text.key(end - 2), end
    return _Export(at, value, name) if value > at else None


def _is_conditional(text: Brackets, at: int) -> bool:
    """Whether a token begins the statement of an `if`, `for` or `while` without braces."""
    opening = text.pairs.get(at - 1) if text.key(at - 1) == ")" else None
    return opening is not None and text.key(opening - 1) in ("if", "for", "while")


def _chosen(text: Brackets, exports: Iterable[_Export]) -> _Export | None:
    """Of several exported values the one that the program is: the default one, else one with the name of an entry, else
    the last function, else the last."""
    best, rank = None, -1
    for one in exports:
        its = (
            3
            if one.name == "default"
            else 2
            if one.name in ENTRY_NAMES
            else int(_function(text, one.value) is not None)
        )
        if its >= rank:
            best, rank = one, its
    return best


def _call(text: Brackets, chosen: _Export, count: int) -> tuple[bool, str]:
    """Whether the chosen value has a name of its own, and the call of it or of its function; "" where the isolate calls
    it, or where there is nothing to call."""
    kind = _kind(text, chosen)
    if kind is None:
        return False, f"return {_VALUE}" if count > 1 and text.key(chosen.first) != "export" else ""
    is_class, name, opening = kind
    functions = [] if opening is None else list(members(text, opening, is_class=is_class))
    member = _to_run(functions)
    if member is None:
        return False, ""
    is_made = is_class and text.key(chosen.value) != "new" and not member.is_static
    made = f"new {name or _VALUE}()" if is_made else name or _VALUE
    return bool(name), f"return {made}.{member.name}({arguments_of(text, member)})"


def _to_run(functions: list[Member]) -> Member | None:
    """The function of an object or a class that runs: the one with the name of an entry, else the only one."""
    only = functions[0] if len(functions) == 1 else None
    return next((one for one in functions if one.name in ENTRY_NAMES), only)


def _kind(text: Brackets, chosen: _Export) -> tuple[bool, str, int | None] | None:
    """Of an exported object or class: whether it is a class or an object made of one, its name if it has one where it
    stands, and the index of the brace before its members. None for other values."""
    at = chosen.value
    key, after = text.key(at), text.key(at + 1)
    if key == "{" or (key == "(" and after == "{"):
        return False, "", at + (key == "(")
    if _first_of(text, at, _FROZEN):
        return False, "", at + 4
    if key == "new" and (after == "class" or (after == "(" and text.key(at + 2) == "class")):
        return True, "", body_of_class(text, at + 1 + (after == "("))
    if key == "(" and after == "class":
        return True, "", body_of_class(text, at + 1)
    if key == "class":
        # Elsewhere the name of a class is its own only.
        is_declared = text.key(chosen.first) == "export" and text.key(chosen.first + 1) == "default"
        return True, after if is_declared and after not in ("{", "extends") else "", body_of_class(text, at)
    name = after if key == "new" else key
    if key == "new":
        made = text.after(at + 2) if text.key(at + 2) == "(" else at + 2
        if made is None or text.key(made) in (".", "[", "?"):
            return None
    elif text.key(at + 1) in _ENDS_NAME and (brace := _object(text, name)) is not None:
        return False, name, brace
    for index in range(len(text.tokens)):
        if text.key(index) == "class" and text.key(index + 1) == name and not text.depths[index]:
            if (
                key == "new"
                or text.key(at + 1) in _ENDS_NAME
                or text.depths[at] == 0
                and text.key(at + 1) not in ("(", ".")
            ):
                return True, "" if key == "new" else name, body_of_class(text, index)
    return None


def _object(text: Brackets, name: str) -> int | None:
    """The index of the brace that begins the object in a variable; None where it has something else."""
    for at, token in enumerate(text.tokens):
        if token.key == name and text.key(at - 1) in ("const", "let", "var") and not text.depths[at]:
            return at + 2 if (text.key(at + 1), text.key(at + 2)) == ("=", "{") else None
    return None


def _call_of_data(program: str, text: Brackets) -> str:
    """What returns the variables that a program exports, where its last statement is one of these exports; "" where it
    exports a function or a class, or has a function to run."""
    names: list[str] = []
    last = 0
    for at, token in enumerate(text.tokens):
        if token.key in ENTRY_NAMES and text.key(at - 1) in _BEFORE_NAME:
            return ""
        if token.key != "export" or not begins_export(text, at):
            continue
        if (call := _call_of_object(text, at)) is not None:
            return call
        found = _exported_names(text, at)
        if found is None:
            return ""
        names += found
        last = at
    if not names or not _is_last(program, text, last):
        return ""
    return f"return {names[0]}" if len(names) == 1 else f"return {{ {', '.join(dict.fromkeys(names))} }}"


def _call_of_object(text: Brackets, at: int) -> str | None:
    """The call of the function to run of an object that is exported as `export const name = {...}` and not used; "" for
    one that is used, None for other exports."""
    if text.key(at + 1) not in ("const", "let", "var") or (text.key(at + 3), text.key(at + 4)) != ("=", "{"):
        return None
    functions = list(members(text, at + 4, is_class=False))
    member = _to_run(functions)
    if member is None:
        return "" if functions else None
    if sum(token.key == text.key(at + 2) for token in text.tokens) > 1:
        return ""
    return f"return {text.key(at + 2)}.{member.name}({arguments_of(text, member)})"


def _exported_names(text: Brackets, at: int) -> list[str] | None:
    """The variables that the export at a token exports, none for types, enumerations, and functions and classes that
    the program uses itself; None where one is another function or class, or has another name outside."""
    opening, value = at + 1, None
    if text.key(at + 1) in ("type", "interface", "declare", "enum") or text.key(at + 2) == "enum":
        return []
    head = at + 1 + (text.key(at + 1) == "async")
    if text.key(head) in ("function", "class"):
        return [] if _is_used(text, text.key(head + 1 + (text.key(head + 1) == "*"))) else None
    if text.key(at + 1) in ("const", "let", "var"):
        opening = at + 2
        value = next((index for index in range(at + 3, len(text.tokens)) if text.key(index) == "="), None)
    elif text.key(at + 1) != "{" or export_from(text, at) is not None:
        return None
    end = text.pairs.get(opening) if text.key(opening) == "{" else None
    keys = [text.key(opening)] if end is None else [text.key(index) for index in range(opening + 1, end)]
    names = [key for key in keys if key != ","]
    if not all(name.isidentifier() for name in names) or keys.count(",") < len(names) - 1:
        return None
    if value is not None:
        return None if text.key(value + 1) == "class" or _function(text, value + 1) is not None else names
    defined = {
        text.key(index + 1) for index, token in enumerate(text.tokens) if token.key in ("function", "class", "*")
    }
    functions = (name for name in names if any(_function(text, index) is not None for index in _mentions(text, name)))
    return None if defined.intersection(names) or next(functions, None) is not None else names


def _mentions(text: Brackets, name: str) -> Iterator[int]:
    return (index for index, token in enumerate(text.tokens) if token.key == name and text.key(index + 1) in (",", "}"))


def _is_last(program: str, text: Brackets, at: int) -> bool:
    """Whether the statement at a token is the last one."""
    own = [index for index in range(at + 1, len(text.tokens)) if not text.depths[index]]
    if any(text.key(index) == ";" for index in own[:-1]):
        return False
    for before, index in pairwise(own):
        key, ends = text.key(index), text.key(before)[-1]
        is_new_line = "\n" in program[text.tokens[before].end : text.tokens[index].start]
        if is_new_line and (key[0].isidentifier() or key[0] in '"$`') and (ends.isalnum() or ends in ")]}\"'`"):
            return False
    return True


def body_of_class(text: Brackets, at: int) -> int | None:
    """The index of the brace that opens the body of the class at a token."""
    depth = text.depths[at]
    braces = (
        index for index in range(at + 1, len(text.tokens)) if text.key(index) == "{" and text.depths[index] == depth
    )
    return next(braces, None)


def members(text: Brackets, opening: int, *, is_class: bool) -> Iterator[Member]:
    """The functions of an object or a class that can be called by name: no getters, no setters, no constructor."""
    end = text.pairs.get(opening)
    if end is None:
        return
    depth = text.depths[opening] + 1
    at = opening + 1
    for _ in range(_MOST_MEMBERS):
        first = at
        while text.key(at) in _MODIFIERS and text.key(at + 1) not in ("(", ":", ",", "=", "}"):
            at += 1
        name, after = text.key(at).removeprefix('"'), text.key(at + 1)
        parameters: int | None = None
        is_function = False
        if after == "(" and name not in ("get", "set", "constructor"):
            parameters, is_function = at + 1, True
        elif after == ("=" if is_class else ":"):
            parameters = _function(text, at + 2)
            is_function = parameters is not None
        elif not is_class and after in (",", "}"):
            parameters = _function(text, at)
            is_function = parameters is not None
        if is_function and name.isidentifier():
            static = "static" in (text.key(index) for index in range(first, at))
            yield Member(name, None if parameters is None or parameters < 0 else parameters, static)
        at = _next_member(text, at + 1, end, depth, is_class=is_class)
        if at >= end:
            return


def arguments_of(text: Brackets, member: Member) -> str:
    """The arguments for a function of an object or a class, as `arguments` gives them."""
    return "" if member.parameters is None else arguments(text, member.parameters)


def _next_member(text: Brackets, at: int, end: int, depth: int, *, is_class: bool) -> int:
    """The index of the first token of the member after the one around a token; `end` after the last."""
    while at < end:
        if text.depths[at] == depth:
            if text.key(at) == (";" if is_class else ","):
                return at + 1
            if is_class and text.key(at) == "}" and text.key(at + 1) not in (";", ".", "(", "["):
                return at + 1
        at += 1
    return end


def _function(text: Brackets, at: int) -> int | None:
    """Of a function that a token begins, or that it names, the index of the parenthesis before its parameters; -1 where
    it has none, and None for other values."""
    found = parameters_at(text, at)
    if found is not None or text.key(at + 1) in (".", "(", "[", "+", "?"):
        return found
    for index, token in enumerate(text.tokens):
        if token.key != text.key(at):
            continue
        if text.key(index - 1) in ("function", "*") and text.key(index + 1) == "(":
            return index + 1
        if text.key(index - 1) in ("const", "let", "var") and text.key(index + 1) == "=":
            return parameters_at(text, index + 2)
    return None


def _must_be_value(text: Brackets, one: _Export) -> bool:
    """Whether the exported value would be a declaration or a block if it stood alone."""
    at = one.value + (text.key(one.value) == "async")
    key, after = text.key(at), text.key(at + 1)
    if text.key(one.first) != "export" or text.key(one.first + 1) == "=":
        return key in ("function", "class", "{")
    if key == "class":
        return after in ("{", "extends")
    return key == "{" or (key == "function" and "(" in (after, after == "*" and text.key(at + 2)))


def _end_of_blank(text: Brackets, at: int, *, keep_values: bool) -> int | None:
    """The end of what begins at a token and becomes blanks: an import of types, the word `export`, all of a list of
    exported names, a mark of compilers; None for everything else."""
    if text.key(at) == "import":
        found = import_at(text, at)
        return found.end if found is not None and found.types else None
    if text.key(at) == "export" and begins_export(text, at):
        return _end_of_export(text, at, keep_values=keep_values)
    if _are(text, at, _MARK) and (end := text.after(at + 3)) is not None:
        return end + (text.key(end) == ";")
    return None


def _end_of_export(text: Brackets, at: int, *, keep_values: bool) -> int | None:
    after = text.key(at + 1)
    if (statement := export_from(text, at)) is not None:
        return statement.end if statement.types else None
    if after == "type" and text.key(at + 2) == "{":
        end = text.after(at + 2)
        return None if end is None else with_attributes(text, end)
    if after in ("type", "interface", "declare"):
        return at + 1
    if keep_values:
        return None
    if after == "{":
        end = text.after(at + 1)
        return None if end is None else with_attributes(text, end)
    return at + 1 if after in _DECLARATIONS else None
