"""The longer JavaScript of these tests, from the files beside this one."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
_HEADING = re.compile(r"^// == (.+)$", re.MULTILINE)


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def sections(name: str) -> dict[str, str]:
    """The parts of a file that headings `// == name` divide."""
    _, *parts = _HEADING.split(text(name))
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))


def lines(name: str) -> list[str]:
    """The lines that are not empty and no comments."""
    return [line for line in text(name).splitlines() if line and not line.startswith("//")]
