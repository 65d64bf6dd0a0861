"""The place of a request in a trace, as it travels between systems: W3C Trace Context and Baggage, in HTTP headers and
in the `_meta` of MCP (SEP-414). Pure.

What comes in is read strictly and written anew: nothing reaches a server that the specification does not allow. What
cannot be read counts as not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from random import Random
from typing import NamedTuple

TRACEPARENT, TRACESTATE, BAGGAGE = "traceparent", "tracestate", "baggage"
MEMBERS = frozenset({TRACEPARENT, TRACESTATE, BAGGAGE})
"""The members of `_meta` that are about a trace."""
SAMPLED, RANDOM = 0x01, 0x02
MAX_STATE = 512
"""Characters of a tracestate that are passed on (section 3.3.1.5): of more, long entries and the last ones are left
out."""
MAX_READ = 8192
"""Characters of a tracestate or a baggage that are read."""
# Ids are no secrets, and every call needs one or two. Its seed comes from the system.
_IDS = Random()
_LONG_ENTRY = 128
_MOST_ENTRIES = 32
EVERYWHERE = "*"

_PARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_KEY = r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
# Printable characters without comma and equals sign, the last of them no space.
_ENTRY = re.compile(rf"({_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]", re.ASCII)
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,8192}", re.ASCII)


class TraceContext(NamedTuple):
    """A place in the trace `trace` (32 hexadecimal digits): below `span` (16 digits), "" where the trace begins here.

    `flags` and `state` are those of the specification. `recorded` says that the portal makes spans in this trace, so
    that each call has one of its own; otherwise the context goes on to servers as it came. `baggage` is for the servers
    that `baggage_to` names, and for no others.
    """

    trace: str
    span: str = ""
    flags: int = 0
    state: str = ""
    recorded: bool = False
    baggage: str = ""
    baggage_to: frozenset[str] = frozenset()

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace}-{self.span}-{self.flags & (SAMPLED | RANDOM):02x}"

    def below(self, span: str) -> TraceContext:
        """The place below another span of the same trace."""
        return self._replace(span=span)

    def for_server(self, server: str) -> TraceContext:
        """What a call of this server says of its trace: of its own span where spans are made."""
        baggage = self.baggage if self.baggage and self.baggage_to & {server, EVERYWHERE} else ""
        span = new_span() if self.recorded else self.span
        return TraceContext(self.trace, span, self.flags, self.state, self.recorded, baggage)

    def members(self) -> dict[str, str]:
        """The headers, and the members of `_meta`, that say this to a server. Here the trace has a span."""
        found = {TRACEPARENT: self.traceparent}
        if self.state:
            found[TRACESTATE] = self.state
        if self.baggage:
            found[BAGGAGE] = self.baggage
        return found


def new_trace() -> str:
    """The id of a new trace, random (W3C Trace Context level 2, section 3.2.2.3.1)."""
    return f"{_IDS.getrandbits(128) or 1:032x}"


def new_span() -> str:
    """The id of a new span, random."""
    return f"{_IDS.getrandbits(64) or 1:016x}"


def parse(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """The place that these say, None if the first is not valid (section 3.2). A state that is not valid is left out.

    Of a version that is not known yet the parts of version 00 are read, as the specification asks.
    """
    found = _PARENT.fullmatch(traceparent)
    if found is None or (found[5] is not None and found[1] == "00"):
        return None
    return TraceContext(found[2], found[3], int(found[4], 16) & (SAMPLED | RANDOM), _state(tracestate))


def found_in(
    headers: Iterable[tuple[bytes, bytes]], meta: Mapping[str, object], *, baggage: bool = False
) -> TraceContext | None:
    """The place that a request names: in its `_meta`, else in its headers; None if neither does.

    `headers` have names in lower case (ASGI). With `baggage` that is read too, from where the place is.
    """
    if (
        TRACEPARENT in meta
        and isinstance(parent := meta[TRACEPARENT], str)
        and (found := parse(parent, _text(meta.get(TRACESTATE)))) is not None
    ):
        return found._replace(baggage=_baggage(_text(meta.get(BAGGAGE)))) if baggage else found
    parents = [value for name, value in headers if name == b"traceparent"]
    # Two of them contradict each other: then nobody knows the place.
    if len(parents) != 1 or (found := parse(parents[0].decode("latin-1"), _joined(headers, b"tracestate"))) is None:
        return None
    return found._replace(baggage=_baggage(_joined(headers, b"baggage"))) if baggage else found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _joined(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str:
    """The values of a header that may come several times (RFC 9110 section 5.3)."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == wanted)


def _state(text: str) -> str:
    """A valid tracestate of at most `MAX_STATE` characters (section 3.3), "" for anything else."""
    if not text or len(text) > MAX_READ:
        return ""
    entries: dict[str, str] = {}
    for part in text.split(","):
        if not (entry := part.strip(" \t")):
            continue
        found = _ENTRY.fullmatch(entry)
        if found is None or found[1] in entries:
            return ""
        entries[found[1]] = entry
    if len(entries) > _MOST_ENTRIES:
        return ""
    kept = [*entries.values()]
    if len(",".join(kept)) > MAX_STATE:
        kept = [entry for entry in kept if len(entry) <= _LONG_ENTRY]
    while len(",".join(kept)) > MAX_STATE:
        kept.pop()
    return ",".join(kept)


def _baggage(text: str) -> str:
    """A baggage that fits into a header, "" for anything else (W3C Baggage, section 3.3.2)."""
    return text if _PRINTABLE.fullmatch(text) else ""
