"""The kind of action that a tool performs, and the kinds that a query asks for: to read, make, change or remove."""

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
_QUERY_VERBS = {
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
_OF_TOOL = {word: action for action, verbs in _TOOL_VERBS.items() for word in verbs.split()}
_OF_QUERY: dict[str, tuple[str, ...]] = {
    word: tuple(action for action, verbs in _QUERY_VERBS.items() if word in verbs.split())
    for verbs in _QUERY_VERBS.values()
    for word in verbs.split()
}
_OPENINGS = frozenset("please i we you want to would like need can could should do help me must".split())
_QUESTIONS = frozenset("can could should do must".split())
_ADDRESS = frozenset("you".split())
_NOT = frozenset("no not don never".split())
_NO_MORE = frozenset("longer more again any anymore".split())
_AWAY = frozenset("rid away".split())
_SWITCH = frozenset("turn switch put set".split())
_TAKE_OFF = frozenset("take cut throw get log sign".split())
_LOG_OUT = frozenset("log sign throw".split())
_GIVE = frozenset("get give".split())


def action_of(name: Sequence[str], annotations: Mapping[str, Any]) -> str | None:
    """The action of a tool by its name, the last and the first two words before the others; else by its hints."""
    for word in (*name[-1:], *name[:2], *name[::-1]):
        if (action := _OF_TOOL.get(word)) is not None:
            return action
    if annotations.get("readOnlyHint") is True:
        return READ
    return None


def actions_in(query: Sequence[str]) -> tuple[str, ...]:
    """The actions that a query may mean, likeliest first; none when it only names a thing.

    People begin with what they want done: a verb further on is about the thing, as in "domains I bought".
    """
    request = _request(query)
    if not request:
        return ()
    first, rest = request[0], request[1:]
    if first in _NOT and _NO_MORE.intersection(rest):
        return REMOVE, CHANGE
    if first in _OF_QUERY and _AWAY.intersection(rest[:4]):
        return REMOVE, CHANGE
    if "off" in rest and first in _SWITCH:
        return CHANGE, REMOVE
    if ("off" in rest and first in _TAKE_OFF) or ("out" in rest and first in _LOG_OUT):
        return REMOVE, CHANGE
    if first in _GIVE:
        return (MAKE, CHANGE) if "new" in rest[:2] else (READ, MAKE)
    if first == "set" and "up" in rest:
        return MAKE, CHANGE
    if first == "stop":
        return REMOVE, CHANGE
    return _OF_QUERY.get(first, ())


def _request(query: Sequence[str]) -> Sequence[str]:
    """A query without the words that only open a request: "I want to", "how do I"."""
    if query[:1] == ["how"] and not _OPENINGS.intersection(query[1:2]):
        return query
    start = next((n for n, word in enumerate(query) if word not in _OPENINGS and word != "how"), len(query))
    # "can you delete it" is a request; "can we delete it" is a question and stays whole.
    if start and query[0] in _QUESTIONS and not _ADDRESS.intersection(query[:start]):
        return query
    return query[start:]


def is_verb(word: str) -> bool:
    """Whether a word names an action: it says little of the thing that the action is done to."""
    return word in _OF_QUERY
