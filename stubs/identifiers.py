"""The rule that turns any name into a JavaScript identifier, and the rule for collisions.

Both are pure and depend on the set of names only, not on their order. So a program's spelling of a tool still works
when the server lists its tools in another order or adds some.
"""

import hashlib
import re
from collections.abc import Collection, Iterable

LONGEST_IDENTIFIER = 80

RESERVED_WORDS = frozenset(
    # ECMAScript keywords and literals, words reserved in strict mode, and those of ECMAScript 3, which code generators
    # still avoid, and so agents expect.
    """
    abstract arguments await boolean break byte case catch char class const continue debugger default delete do
    double else enum eval export extends false final finally float for function goto if implements import in
    instanceof int interface let long native new null package private protected public return short static super
    switch synchronized this throw throws transient true try typeof undefined var void volatile while with yield
    """.split()
)

PROTOCOL_PROPERTIES = frozenset(
    # JavaScript reads these from any object: to await it, print it, or convert it. A tool with such a name would be
    # called by accident.
    """
    then toJSON toString toLocaleString valueOf constructor prototype hasOwnProperty isPrototypeOf
    propertyIsEnumerable __proto__ __defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__
    """.split()
)

CODEMODE_FUNCTIONS = frozenset("search describe tools emit runs portal step run".split())
"""The members of `codemode` itself, present and planned: no server may hide one."""

_SEPARATORS = re.compile(r"[-.\s]")
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_$]")


def identifier(name: str, reserved: Collection[str] = ()) -> str:
    """The identifier for a name, regardless of other names. Empty when no character of it is left.

    `[-.\\s]` become `_`, and other characters outside `[A-Za-z0-9_$]` are removed. A leading digit gets `_` in front, a
    reserved word (of JavaScript, or one of `reserved`) gets `_` behind. At most 80 characters are left.
    """
    text = _FORBIDDEN.sub("", _SEPARATORS.sub("_", name))[:LONGEST_IDENTIFIER]
    if text[:1].isdigit():
        text = "_" + text
    if text in RESERVED_WORDS or text in PROTOCOL_PROPERTIES or text in reserved:
        text += "_"
    return text


def distinct(names: Iterable[str], reserved: Collection[str] = (), *, fallback: str) -> dict[str, str]:
    """A different identifier for every name.

    A name that is its own identifier keeps it. Of other names with the same identifier the first in code point order
    gets it; each of the rest gets it with a suffix, a hash of its raw name. A name without an identifier gets
    `fallback` with such a suffix. So a new name changes the identifier of another only by taking that very identifier.
    """
    identifiers: dict[str, str] = {}
    used: set[str] = set()
    others: list[tuple[str, str]] = []
    for name in sorted(set(names)):
        plain = identifier(name, reserved)
        if name and plain == name:
            identifiers[name] = name
            used.add(name)
        else:
            others.append((name, plain))
    suffixed: list[tuple[str, str]] = []
    for name, plain in others:
        # A cut name always gets a suffix: else its identifier would depend on other names with the same beginning.
        if plain and plain not in used and len(name) <= LONGEST_IDENTIFIER:
            identifiers[name] = plain
            used.add(plain)
        else:
            suffixed.append((name, plain or fallback))
    for name, base in suffixed:
        identifiers[name] = _with_suffix(base, name, used)
        used.add(identifiers[name])
    return identifiers


def _with_suffix(base: str, name: str, used: Collection[str]) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    for length in range(4, len(digest) + 1, 2):
        candidate = f"{base}_{digest[:length]}"
        if candidate not in used:
            return candidate
    raise AssertionError("two names with one SHA-256")
