"""Counts the tokens of a text: o200k tokens if the tokenizer is installed, else an estimate that is marked as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A number of tokens. `exact` is False for an estimate from the length of the text."""

    tokens: int
    exact: bool

    def __str__(self) -> str:
        return f"{self.tokens:,} tokens" if self.exact else f"about {self.tokens:,} tokens (estimate)"


def count_tokens(text: str) -> TokenCount:
    """The tokens of `text` in o200k_base (needs the optional package `splintr-rs`), or a quarter of its characters."""
    encode = _encoder()
    if encode is None:
        return TokenCount(-(-len(text) // 4), exact=False)
    return TokenCount(len(encode(text)), exact=True)


@cache
def _encoder() -> Callable[[str], Sequence[int]] | None:
    try:
        from splintr import Tokenizer
    except ImportError:
        return None
    encode: Callable[[str], Sequence[int]] = Tokenizer.from_pretrained("o200k_base").encode
    return encode
