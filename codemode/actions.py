"""What kind of deed a tool does, and what kind a person asks for: to read, to make, to change or to remove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

READ, MAKE, CHANGE, REMOVE = "read", "make", "change", "remove"

_TOOL_VERBS = {
    READ: "get list read search find query show fetch describe download export view count check status summary log "
    "diff top timeseries ranking verify preview precheck peek analyze validate inspect lookup stats tail",
    MAKE: "create add new insert post send push upload write run start open import generate register publish submit "
    "commit launch invoke trigger execute build copy clip scan",
    CHANGE: "update edit set patch replace rename move rotate enable disable pause resume assign close toggle restore "
    "refresh sync switch modify convert hold rollback roll tune prioritize",
    REMOVE: "delete remove purge clear cancel revoke reset drop stop kick unlink refund abort archive dismiss",
}
_ASKED_VERBS = {
    READ: "get list read search find query show fetch describe download export view count check compare see look "
    "browse display tell watch who what which whose when where why how is are does do did was were can has have",
    MAKE: "create add make new insert post send push upload write run start open import generate register publish "
    "submit save put order buy invite record deploy build book store copy announce connect let "
    "trust try test quiet mute host offer define require enforce go issue teach train draw translate merge bring "
    "grant attach install give block allow limit restrict redirect forward protect balance distribute warn notify "
    "alert ship route point hook schedule use ask kick launch report request remember note log capture turn take "
    "compress",
    CHANGE: "update edit set patch replace rename move rotate enable disable pause resume assign close toggle restore "
    "refresh sync switch modify change convert hold keep turn block allow limit restrict redirect forward mark fix "
    "use let protect make only always never prevent force require enforce correct adjust extend lower raise "
    "increase reduce renew tune configure customize fight mute quiet run go automatically roll lock unlock trust test",
    REMOVE: "delete remove purge clear cancel revoke reset drop stop kick unlink refund abort erase destroy forget "
    "throw empty discard wipe end uninstall undo ban take cut detach disconnect unsubscribe withdraw expel evict leave",
}
_TOOL = {word: deed for deed, listed in _TOOL_VERBS.items() for word in listed.split()}
_ASKED: dict[str, tuple[str, ...]] = {
    word: tuple(deed for deed, listed in _ASKED_VERBS.items() if word in listed.split())
    for words in _ASKED_VERBS.values()
    for word in words.split()
}
_OPENINGS = frozenset("please i we you want to would like need can could should do help me must".split())
_QUESTIONS = frozenset("can could should do must".split())
_ASKING = frozenset("you".split())
_NOT = frozenset("no not don never".split())
_NO_MORE = frozenset("longer more again any anymore".split())
_AWAY = frozenset("rid away".split())
_SWITCHED = frozenset("turn switch put set".split())
_TAKEN = frozenset("take cut throw get log sign".split())
_LOGGED = frozenset("log sign throw".split())
_GIVEN = frozenset("get give".split())


def deed_of(name: Sequence[str], annotations: Mapping[str, Any]) -> str | None:
    """The deed of a tool: from the first or the last word of its name, else from its hints; None when nothing says."""
    for word in (*name[-1:], *name[:2], *name[::-1]):
        if (deed := _TOOL.get(word)) is not None:
            return deed
    if annotations.get("readOnlyHint") is True:
        return READ
    return None


def deeds_asked(query: Sequence[str]) -> tuple[str, ...]:
    """The deeds a query may mean, most likely first; none when it only names a thing.

    People begin with what they want done: a verb further on tells of the thing, as in "domains I bought".
    """
    said = _asked_for(query)
    if not said:
        return ()
    first, rest = said[0], said[1:]
    if first in _NOT and _NO_MORE.intersection(rest):
        return REMOVE, CHANGE
    if first in _ASKED and _AWAY.intersection(rest[:4]):
        return REMOVE, CHANGE
    if "off" in rest and first in _SWITCHED:
        return CHANGE, REMOVE
    if ("off" in rest and first in _TAKEN) or ("out" in rest and first in _LOGGED):
        return REMOVE, CHANGE
    if first in _GIVEN:
        return (MAKE, CHANGE) if "new" in rest[:2] else (READ, MAKE)
    if first == "set" and "up" in rest:
        return MAKE, CHANGE
    if first == "stop":
        return REMOVE, CHANGE
    return _ASKED.get(first, ())


def _asked_for(query: Sequence[str]) -> Sequence[str]:
    """A query from its first word that is no mere opening of a request: "I want to", "how do I"."""
    if query[:1] == ["how"] and not _OPENINGS.intersection(query[1:2]):
        return query
    start = next((n for n, word in enumerate(query) if word not in _OPENINGS and word != "how"), len(query))
    if start and query[0] in _QUESTIONS and not _ASKING.intersection(query[:start]):
        return query
    return query[start:]


def is_verb(word: str) -> bool:
    """Whether a word names a deed, which says little of what it is done to."""
    return word in _ASKED
