"""What a scan answers: findings, without anything of the text that they were found in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from portal.errors import InputError, StartError

Confidence = Literal["low", "medium", "high"]
CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")

HOW_TO_INSTALL = "pip install 'codemode-portal[dlp]'"


class DetectionUnavailable(StartError):
    """Nothing can be detected: the extra is not installed, or its folder cannot be used."""


class RuleRefused(InputError):
    """A pattern, a list or a choice of profiles that an administrator wrote cannot be used.

    The message names it, and never has a value of a list in it. `profile` is the one that costs itself alone, "" if it
    is not known.
    """

    def __init__(self, message: str, profile: str = "") -> None:
        super().__init__(message)
        self.profile = profile


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf of a JSON value: the number of the member or item at each level, from the root.

    With `is_name` it is the name of that member.
    """

    steps: tuple[int, ...]
    is_name: bool = False


@dataclass(frozen=True, slots=True)
class Detection:
    """A match of a rule in one leaf of a value: where it is, and never what it is.

    `path` is for people: `result.items[3].token`, and `result.items[3].token#` for the name of that member. A name
    that has a finding stands in no path; its place shows the rule. `start` and `length` count characters of the leaf
    as text. What is found inside base64 has the place of the whole base64 text. `digest` is a keyed hash of the match
    in its normal form, so that the same secret has the same one wherever it is found.

    A secret that is split over several leaves has one finding for each of them, with the same digest, numbered by
    `piece` from 0.
    """

    profile: str
    rule: str
    confidence: Confidence
    path: str
    start: int
    length: int
    digest: str
    leaf: Leaf
    piece: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings of a scan in the order of the text.

    `allowed` has those that a profile's number of allowed matches lets pass. Where `complete` is false the text was not
    read to its end, or not all findings are listed, because a bound was reached: whoever must be sure refuses it.
    """

    findings: tuple[Detection, ...] = ()
    allowed: tuple[Detection, ...] = ()
    complete: bool = True

    def __bool__(self) -> bool:
        """Whether something stands against the value: a finding, or a part that was not read."""
        return bool(self.findings) or not self.complete
