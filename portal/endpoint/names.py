"""Names of capabilities as clients see them: `{server}_{tool}`, at most 128 characters, one meaning each.

Server ids have no underscore, so the first one splits a name; the portal itself never splits, it looks names up. 128 is
the length SEP-986 allows, and past which clients in the field drop a tool without a word.
"""

import hashlib
from collections.abc import Container

MAX_NAME = 128


def exposed_name(server: str, raw: str, *, prefix: bool, taken: Container[str]) -> str:
    """The name under which `raw` of `server` is listed: deterministic for a given order, never one that is taken."""
    name = shorten(f"{server}_{raw}") if prefix else shorten(raw)
    if name in taken and not prefix:
        name = shorten(f"{server}_{raw}")
    if name in taken:
        name = _with_digest(name, f"{server}\0{raw}")
    return name


def shorten(name: str) -> str:
    """A name of at most 128 characters: a longer one keeps its head and ends in a digest of the whole."""
    return name if len(name) <= MAX_NAME else _with_digest(name, name)


def _with_digest(name: str, of: str) -> str:
    digest = hashlib.sha256(of.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{name[: MAX_NAME - 11]}_{digest}"
