"""Decisions on a request body before anything parses it: how deeply it nests."""

import re
from itertools import accumulate

# A string, closed or running to the end. Possessive throughout, so the scan is linear whatever the input.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = tuple(1 if byte in b"[{" else -1 for byte in range(256))


def nests_deeper_than(body: bytes, limit: int) -> bool:
    """Whether JSON text nests arrays and objects more than `limit` deep. Linear, and exact for well-formed JSON.

    Parsers further in recurse: 100,000 brackets must be turned away by something that does not.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    return any(depth > limit for depth in accumulate(map(_STEP.__getitem__, brackets)))
