"""The batches that cross into the guest and back, as pure functions over bytes.

Into the guest go length-prefixed frames (the payloads are JSON), out of it comes one JSON array:

    ["suspended", [[id, name, arguments, line], ...], wake_at or null, logs]
    ["completed", has_value, value, logs, calls]
    ["failed", {"kind", "name"?, "message", "stack"?}, logs, calls]          logs: [[level, text], ...]

The guest is hostile: an outcome of any other shape raises GuestAbiError.
"""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from sandbox.errors import PROGRAM_ERRORS, GuestAbiError, GuestError, LimitExceeded, LocalStateError
from sandbox.events import Completed, Failed, HostCall, LogLine, Outcome, Settlement, Suspended
from sandbox.limits import Limits

SEED_SIZE = 32
_TIME, _ONE, _TWO = struct.Struct("<d"), struct.Struct("<I"), struct.Struct("<II")
_RESUME, _SETTLEMENT = struct.Struct("<dI"), struct.Struct("<III")
_PARSER_DEPTH = 1024  # the nesting levels that orjson accepts
_FRAME_DEPTH = 3  # the nesting levels of an outcome above the arguments of a call
_LEVELS = frozenset({"log", "info", "warn", "error", "debug"})
_FRAME = re.compile(r"program\.js:(\d{1,9}):(\d{1,9})")
_WORD = re.compile(r"[\w$]+")
# The source is hostile too. Bounded repetition keeps the search linear in its length.
_FUNCTION = re.compile(
    r"^[ \t]{0,8}(?:export[ \t]{1,4})?(?:(?:async[ \t]{1,4})?function[ \t]{0,4}\*?[ \t]{0,4}([A-Za-z_$][\w$]{0,99})"
    r"|(?:const|let|var)[ \t]{1,4}([A-Za-z_$][\w$]{0,99})[ \t]{0,4}="
    r"[ \t]{0,4}(?:async\b)?[ \t]{0,4}(?:function\b|\(|[A-Za-z_$][\w$]{0,99}[ \t]{0,4}=>))",
    re.MULTILINE,
)


def encode_start(source: str, now: float, seed: bytes, limits: Limits, begin: str = "") -> bytes:
    """The first batch of a run. `now`: milliseconds since the epoch; `seed`: 32 random bytes; `begin`: text for the
    preload's `host.begin`, which is called before the program unless the text is empty.

    A source over its limit is left out, and the guest reports the failure. Raises LocalStateError for a seed of another
    length.
    """
    if len(seed) != SEED_SIZE:
        raise LocalStateError(f"the seed has {len(seed)} bytes, it must have {SEED_SIZE}")
    try:
        text = source.encode()
    except UnicodeEncodeError:
        text = source.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    size = len(text)
    names = b""
    if size > limits.source:
        text = b""
    elif defined := _FUNCTION.findall(source):
        names = "\n".join(_entry_candidates(source, defined)).encode()
    given = begin.encode()
    beginning = (_TIME.pack(now), seed, limits.words, _ONE.pack(len(given)), given, b"\0")
    names_of_program = (_TWO.pack(min(size, 0xFFFFFFFF), len(names)), names)
    return b"".join((*beginning, *names_of_program, _ONE.pack(len(text)), text, b"\0"))


def _entry_candidates(source: str, defined: list[tuple[str, str]]) -> list[str]:
    """The functions that the source seems to define and never mentions again, the last 16. The guest checks that they
    exist."""
    mentions = Counter(_WORD.findall(source))
    names = (first or second for first, second in defined)
    return [name for name in names if mentions[name] == 1][-16:]


def encode_resume(settlements: Sequence[Settlement], now: float, limits: Limits) -> bytes:
    """The batch that settles calls. Raises LocalStateError when a settlement is not JSON.

    A value over `limits.tool_result` rejects its call instead, so that the program can go on.
    """
    parts = [_RESUME.pack(now, len(settlements))]
    for settlement in settlements:
        ok, payload = settlement.ok, _json(settlement)
        if len(payload) > limits.tool_result:
            message = f"the result has {len(payload)} bytes, at most {limits.tool_result} are allowed"
            ok, payload = False, _json(Settlement.error(settlement.id, name="RangeError", message=message))
        parts += (_SETTLEMENT.pack(settlement.id, ok, len(payload)), payload, b"\0")
    return b"".join(parts)


def _json(settlement: Settlement) -> bytes:
    try:
        return orjson.dumps(settlement.payload)
    except TypeError:
        pass
    try:  # integers past 64 bits and lone surrogates, which orjson refuses
        return json.dumps(settlement.payload, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalStateError(f"the settlement of call {settlement.id} is not JSON: {error}") from None


def encode_failed(kind: str, message: str, logs: bytes = b"") -> bytes:
    """A failed outcome that the host writes in the guest's place. `logs`: the elements of the log array, as JSON."""
    failure = orjson.dumps({"kind": kind, "message": message})
    return b'["failed",%b,[%b],[]]' % (failure, logs)


def decode_outcome(data: bytes, limits: Limits) -> Outcome:
    """Reads one outcome.

    Raises GuestAbiError for any other shape than the documented one, and for an outcome larger or deeper than an honest
    guest can write under these limits.
    """
    if len(data) > limits.outcome:
        raise GuestAbiError(f"the guest's outcome has {len(data)} bytes, at most {limits.outcome} are allowed")
    try:
        outcome = _parse(data, limits.depth + _FRAME_DEPTH)
    except ValueError as error:
        raise GuestAbiError(f"the guest's outcome is not JSON, or nested too deeply: {error}") from None
    # Not a match statement: every run comes through here, and comparing by hand is three times as fast.
    if type(outcome) is list and len(outcome) in (4, 5):
        tag, first = outcome[0], outcome[1]
        if tag == "completed" and type(first) is bool and len(outcome) == 5:
            return Completed(outcome[2] if first else None, _logs(outcome[3]), first, _calls(outcome[4]))
        if tag == "suspended" and len(outcome) == 4:
            return Suspended(_calls(first), _logs(outcome[3]), _wake_at(outcome[2]))
        if tag == "failed" and type(first) is dict and len(outcome) == 4:
            return Failed(_failure(first), _logs(outcome[2]), _calls(outcome[3]))
    raise GuestAbiError("the guest's outcome has an unknown shape")


def _parse(data: bytes, depth: int) -> Any:
    """The JSON value. Raises ValueError when it is nested more than `depth` levels deep.

    The parser's own bound is fixed. Brackets put round the text lower it to `depth` at the parser's speed; walking
    through the parsed value would take as long as parsing it. Afterwards each added bracket must hold exactly one
    value, because the text may close some of them and open others.
    """
    if len(data) <= 2 * depth or data.count(b"[") + data.count(b"{") <= depth:  # too few brackets to be too deep
        return orjson.loads(data)
    spare = _PARSER_DEPTH - depth
    value = orjson.loads(b"".join((b"[" * spare, data, b"]" * spare)))
    for _ in range(spare):
        (value,) = value
    return value


def _calls(items: Any) -> tuple[HostCall, ...]:
    if type(items) is not list:
        raise GuestAbiError("the guest's outcome holds malformed host calls")
    return tuple(map(_call, items)) if items else ()


def _call(item: Any) -> HostCall:
    if type(item) is list and len(item) == 4:
        id, name, arguments, line = item
        if type(id) is int and type(name) is str and 0 < id < 2**31 and type(line) is int and 0 <= line < 2**31:
            return HostCall(id, name, arguments, line)
    raise GuestAbiError("the guest's outcome holds a malformed host call")


def _logs(items: Any) -> tuple[LogLine, ...]:
    if type(items) is not list:
        raise GuestAbiError("the guest's outcome holds malformed logs")
    return tuple(map(_log, items)) if items else ()


def _log(item: Any) -> LogLine:
    if type(item) is list and len(item) == 2:
        level, text = item
        if type(level) is str and type(text) is str and level in _LEVELS:
            return LogLine(level, text)
    raise GuestAbiError("the guest's outcome holds a malformed log line")


def _wake_at(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300:
        return float(value)
    raise GuestAbiError("the guest's outcome holds a malformed wake time")


def _failure(item: dict[str, Any]) -> GuestError | LimitExceeded:
    kind, message = item.get("kind"), item.get("message")
    name, stack = item.get("name"), item.get("stack")
    if not isinstance(kind, str) or not isinstance(message, str) or kind not in PROGRAM_ERRORS:
        raise GuestAbiError("the guest's outcome holds a malformed failure")
    if not isinstance(name, str | None) or not isinstance(stack, str | None):
        raise GuestAbiError("the guest's outcome holds a malformed failure")
    place = _FRAME.search(stack or "")
    line, column = (int(place[1]), int(place[2])) if place else (None, None)
    return PROGRAM_ERRORS[kind](message, name=name, line=line, column=column, stack=stack)
