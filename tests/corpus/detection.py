"""Texts with secrets and personal data that nobody here wrote, labelled by their authors, and how well they are found.

`secrets.json.gz` (of gitleaks, MIT) and `personal.json.gz` (of presidio-research, MIT) are files in the folder that
`CODEMODE_DLP_DATA` names. They are not part of this project, and are absent on most machines.

Half of the texts of a set were used to choose the rules. Of the other half no text was looked at, but its counts were,
and some rules were changed after them: it judges less strictly than texts that were never tried.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

VARIABLE = "CODEMODE_DLP_DATA"

Half = Literal["tuned", "judging"]
HALVES: tuple[Half, ...] = ("tuned", "judging")

_ROOT = Path(__file__).resolve().parents[2]
_DEFAULT = "../shared/data/dlp"


class AbsentTexts(Exception):
    """The file of a set is not there: the message says where it was looked for, and which variable names the folder."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A text with a secret, or a decoy that looks like one."""

    text: str
    is_secret: bool


class Span(NamedTuple):
    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text, and what of it is personal."""

    text: str
    spans: tuple[Span, ...]


def secrets(half: Half) -> list[Secret]:
    """Raises AbsentTexts where the file is not there."""
    return [Secret(row["text"], row["secret"]) for row in _rows("secrets") if _half(row["text"]) == half]


def sentences(half: Half) -> list[Sentence]:
    """Raises AbsentTexts where the file is not there."""
    return [
        Sentence(row["text"], tuple(Span(*span) for span in row["spans"]))
        for row in _rows("personal")
        if _half(row["text"]) == half
    ]


def _half(text: str) -> Half:
    return "tuned" if hashlib.sha256(text.encode()).digest()[0] % 2 else "judging"


def _rows(name: str) -> Sequence[dict[str, Any]]:
    folder = (_ROOT / (os.environ.get(VARIABLE) or _DEFAULT)).resolve()
    try:
        rows: Sequence[dict[str, Any]] = json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))
    except FileNotFoundError as error:
        raise AbsentTexts(f"{VARIABLE} names the folder of the labelled texts: {name} is not in {folder}") from error
    return rows
