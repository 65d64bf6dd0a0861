"""Looks up findings in tests."""

from __future__ import annotations

from collections.abc import Iterable

from portal.doctor import Finding


def found(findings: Iterable[Finding], check: str, about: str = "") -> Finding:
    """The one finding of a check, about this if it is named."""
    listed = [one for one in findings if one.check == check and about in ("", one.about)]
    assert len(listed) == 1, listed
    return listed[0]


def checks(findings: Iterable[Finding], level: str = "trouble") -> set[str]:
    """The checks with a finding of this level."""
    return {one.check for one in findings if one.level == level}
