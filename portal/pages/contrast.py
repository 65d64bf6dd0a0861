"""How well a colour is read on another (WCAG 2.2, relative luminance and contrast ratio). Pure."""

from __future__ import annotations

ENOUGH = 4.5
"""The contrast of text (WCAG 2.2, success criterion 1.4.3)."""
_INK, _PAPER, _BLACK = "#1c1c1a", "#ffffff", "#000000"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours `#rrggbb`, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def readable(background: str, text: str) -> str:
    """The colour of text on this background: `text` if it can be read there, else white or dark, else black."""
    if contrast(background, text) >= ENOUGH:
        return text
    best = max((_INK, _PAPER), key=lambda colour: contrast(background, colour))
    return best if contrast(background, best) >= ENOUGH else _BLACK


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
