"""What kind of deed a tool does, and what kind a person asks for: to read, to make, to change or to remove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

READ, MAKE, CHANGE, REMOVE = "read", "make", "change", "remove"

_TOOL_VERBS = {
    READ: "get list read search find query show fetch describe download export view count check status summary log "
    "diff",
    MAKE: "create add new insert post send push upload write run start open import generate register publish submit "
    "commit launch invoke trigger execute build",
    CHANGE: "update edit set patch replace rename move rotate enable disable pause resume assign close toggle restore "
    "refresh sync switch modify convert hold",
    REMOVE: "delete remove purge clear cancel revoke reset drop stop kick unlink refund abort archive dismiss",
}
_ASKED_VERBS = {
    READ: "get list read search find query show fetch describe download export view count check compare see look "
    "browse display tell watch who what which whose when where why how is are does do did was were can has have",
    MAKE: "create add make new insert post send push upload write run start open import generate register publish "
    "submit save put order buy invite record deploy build book store copy announce connect attach install give "
    "block allow limit restrict redirect forward protect balance distribute warn notify alert ship route point hook "
    "schedule use ask kick launch report request remember note log capture turn take compress",
    CHANGE: "update edit set patch replace rename move rotate enable disable pause resume assign close toggle restore "
    "refresh sync switch modify change convert hold keep turn block allow limit restrict redirect forward mark fix "
    "use let stop protect",
    REMOVE: "delete remove purge clear cancel revoke reset drop stop kick unlink refund abort erase destroy forget "
    "throw empty discard wipe end uninstall undo ban take",
}
_TOOL = {word: deed for deed, listed in _TOOL_VERBS.items() for word in listed.split()}
_ASKED: dict[str, tuple[str, ...]] = {
    word: tuple(deed for deed, listed in _ASKED_VERBS.items() if word in listed.split())
    for words in _ASKED_VERBS.values()
    for word in words.split()
}


def deed_of(name: Sequence[str], annotations: Mapping[str, Any]) -> str | None:
    """The deed of a tool: from the first or the last word of its name, else from its hints; None when nothing says."""
    for word in (*name[-1:], *name[:2], *name[::-1]):
        if (deed := _TOOL.get(word)) is not None:
            return deed
    if annotations.get("readOnlyHint") is True:
        return READ
    return None


def deeds_asked(query: Sequence[str]) -> tuple[str, ...]:
    """The deeds a query may mean, most likely first, by the first of its words that names one."""
    return next((deeds for word in query if (deeds := _ASKED.get(word)) is not None), ())


def is_verb(word: str) -> bool:
    """Whether a word names a deed, which says little of what it is done to."""
    return word in _ASKED
