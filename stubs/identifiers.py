"""The rule that turns any name into a JavaScript identifier, and the rule that settles collisions.

Both are pure and depend on the set of names only, never on their order, so that the spelling a program was written
with keeps working when a server lists its tools in another order or adds some.
"""

import hashlib
import re
from collections.abc import Collection, Iterable

LONGEST_IDENTIFIER = 80

RESERVED_WORDS = frozenset(
    # ECMAScript keywords and literals, words reserved in strict mode, and those of ECMAScript 3, which the
    # generators agents learned from still avoid.
    """
    abstract arguments await boolean break byte case catch char class const continue debugger default delete do
    double else enum eval export extends false final finally float for function goto if implements import in
    instanceof int interface let long native new null package private protected public return short static super
    switch synchronized this throw throws transient true try typeof undefined var void volatile while with yield
    """.split()
)

PROTOCOL_PROPERTIES = frozenset(
    # JavaScript itself reads these from an object it did not create: to await it, print it, or convert it. A tool
    # under such a name would be called by accident.
    """
    then toJSON toString toLocaleString valueOf constructor prototype hasOwnProperty isPrototypeOf
    propertyIsEnumerable __proto__ __defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__
    """.split()
)

CODEMODE_FUNCTIONS = frozenset("search describe tools emit step run".split())
"""What `codemode` itself offers a program, now or soon: no server may hide it."""

_SEPARATORS = re.compile(r"[-.\s]")
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_$]")


def identifier(name: str, reserved: Collection[str] = ()) -> str:
    """The identifier for a name on its own; empty when no character of it can be kept.

    `[-.\\s]` become `_`, other characters outside `[A-Za-z0-9_$]` go, a leading digit gets `_` in front, a reserved
    word (of JavaScript, or one of `reserved`) gets `_` behind, and what is longer than 80 characters is cut.
    """
    text = _FORBIDDEN.sub("", _SEPARATORS.sub("_", name))[:LONGEST_IDENTIFIER]
    if text[:1].isdigit():
        text = "_" + text
    if text in RESERVED_WORDS or text in PROTOCOL_PROPERTIES or text in reserved:
        text += "_"
    return text


def distinct(names: Iterable[str], reserved: Collection[str] = (), *, fallback: str) -> dict[str, str]:
    """Give every name an identifier of its own.

    A name that is its own identifier always keeps it. Of several others that want the same, the first in code point
    order gets it and each of the rest gets it with a suffix made from its own raw name; so does a name of which
    nothing is left, on top of `fallback`. Adding a name to the set renames another only by taking its place.
    """
    identifiers: dict[str, str] = {}
    taken: set[str] = set()
    waiting: list[tuple[str, str]] = []
    for name in sorted(set(names)):
        wanted = identifier(name, reserved)
        if name and wanted == name:
            identifiers[name] = name
            taken.add(name)
        else:
            waiting.append((name, wanted))
    suffixed: list[tuple[str, str]] = []
    for name, wanted in waiting:
        # A cut name would otherwise depend on which other long names share its beginning.
        if wanted and wanted not in taken and len(name) <= LONGEST_IDENTIFIER:
            identifiers[name] = wanted
            taken.add(wanted)
        else:
            suffixed.append((name, wanted or fallback))
    for name, base in suffixed:
        identifiers[name] = _with_suffix(base, name, taken)
        taken.add(identifiers[name])
    return identifiers


def _with_suffix(base: str, name: str, taken: Collection[str]) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    for length in range(4, len(digest) + 1, 2):
        candidate = f"{base}_{digest[:length]}"
        if candidate not in taken:
            return candidate
    raise AssertionError("two names with one SHA-256")
