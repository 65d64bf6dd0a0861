"""Looks for what keeps a portal from working, and says for each trouble what mends it. Changes nothing."""

from portal.doctor.doctor import MOST_SECONDS, Wanted, examine
from portal.doctor.findings import CHECKS, Examination, Finding, Level, worst

__all__ = [
    "CHECKS",
    "MOST_SECONDS",
    "Examination",
    "Finding",
    "Level",
    "Wanted",
    "examine",
    "worst",
]
