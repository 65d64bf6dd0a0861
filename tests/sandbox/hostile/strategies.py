"""What hypothesis makes for the fuzz tests: outcomes nearly right, mutated bytes, programs of random tokens."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.strategies import json_values

JSON_VALUES = json_values(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=20))

_KINDS = ("syntax", "exception", "deadlock", "cpu_time", "wall_time", "memory", "stack", "calls", "size")
_WORDS = st.sampled_from(
    ("completed", "suspended", "failed", "log", "warn", "error", "engine", "program.js:3:5", *_KINDS)
)
_TEXTS = _WORDS | st.text(max_size=20)


def _often(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what belongs there, sometimes anything."""
    return st.one_of(right, right, right, right, right, right, right, JSON_VALUES)


@st.composite
def outcomes(draw: st.DrawFn, ids: st.SearchStrategy[int] | None = None) -> list[Any]:
    """Lists of the shape of an outcome, with some member out of place."""
    if ids is None:
        ids = st.integers(min_value=-1, max_value=2**33)
    logs = _often(
        st.lists(_often(st.tuples(_often(st.sampled_from(["log", "info", "debug"])), _often(_TEXTS))), max_size=3)
    )
    call = st.tuples(_often(ids), _often(_TEXTS), JSON_VALUES)
    numbered = st.integers(min_value=0, max_value=3).map(lambda n: [(i + 1, "x", None) for i in range(n)])
    calls = _often(st.one_of(numbered, st.lists(_often(call), max_size=3)))
    failure = st.fixed_dictionaries(
        {"kind": _often(st.sampled_from(_KINDS)), "message": _often(_TEXTS)},
        optional={"name": _often(_TEXTS), "stack": _often(_TEXTS), "extra": JSON_VALUES},
    )
    wake = _often(st.none() | st.floats(min_value=0, max_value=1e13))
    shapes: tuple[tuple[st.SearchStrategy[Any], ...], ...] = (
        (st.just("suspended"), calls, wake, logs),
        (st.just("completed"), _often(st.booleans()), JSON_VALUES, logs, calls),
        (st.just("failed"), _often(failure), logs, calls),
        (_often(_TEXTS), JSON_VALUES, JSON_VALUES, logs),
    )
    found = [draw(member) for member in draw(st.sampled_from(shapes))]
    return found if draw(st.integers(0, 9)) else found[: draw(st.integers(0, len(found)))]


@st.composite
def mutated(draw: st.DrawFn, source: st.SearchStrategy[bytes], most: int = 6) -> bytes:
    """Bytes with a few of them changed, cut, doubled or put in."""
    data = bytearray(draw(source))
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "cut", "insert", "double", "drop"])):
            case "flip" if at < len(data):
                data[at] ^= draw(st.integers(1, 255))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "double":
                data[at:at] = data[max(0, at - draw(st.integers(1, 64))) : at]
            case _:
                del data[at : at + draw(st.integers(1, 8))]
    return bytes(data)
