"""Tokens as a model counts them, with the vocabulary `o200k_base`, which is read when the first text is counted."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest


def counted(text: str) -> int:
    """How many tokens the text has. Skips the test where splintr is not installed."""
    return len(_tokenizer().encode(text))


@cache
def _tokenizer() -> Any:
    return pytest.importorskip("splintr").Tokenizer.from_pretrained("o200k_base")
