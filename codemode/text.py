"""Makes text from outside fit for UTF-8."""

from __future__ import annotations


def encodable(text: str) -> str:
    """The text with lone surrogates, which have no UTF-8 form, as U+FFFD. Surrogates that make a pair are joined."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
