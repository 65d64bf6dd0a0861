"""Looks up findings in tests."""

from __future__ import annotations

from collections.abc import Iterable

from portal.doctor import Diagnosis


def found(findings: Iterable[Diagnosis], check: str, about: str = "") -> Diagnosis:
    """The one finding of a check, about this if it is named."""
    listed = [one for one in findings if one.check == check and about in ("", one.about)]
    assert len(listed) == 1, listed
    return listed[0]


def checks(findings: Iterable[Diagnosis], level: str = "trouble") -> set[str]:
    """The checks with a finding of this level."""
    return {one.check for one in findings if one.level == level}
