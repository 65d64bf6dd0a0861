"""Looks for what keeps a portal from working, and says for each trouble what mends it. Changes nothing."""

from portal.doctor.doctor import MOST_SECONDS, ExaminationScope, examine
from portal.doctor.findings import CHECKS, Diagnosis, Examination, Level, worst

__all__ = [
    "CHECKS",
    "MOST_SECONDS",
    "Diagnosis",
    "Examination",
    "ExaminationScope",
    "Level",
    "examine",
    "worst",
]
