"""Signals about callers, with the I/O to get them: country, posture, risk, external evaluations."""

from portal.signals.assessments import Assessment, Assessments, PostureFeed
from portal.signals.certificates import ClientCertificates
from portal.signals.countries import Countries
from portal.signals.evaluations import Evaluations, Sign
from portal.signals.known import KnownSignals
from portal.signals.pushed import ASSESSMENT, MAX_AGE, AssessmentDocument, PushedAssessments, assessments_in, merged

__all__ = [
    "ASSESSMENT",
    "MAX_AGE",
    "Assessment",
    "AssessmentDocument",
    "Assessments",
    "ClientCertificates",
    "Countries",
    "Evaluations",
    "KnownSignals",
    "PostureFeed",
    "PushedAssessments",
    "Sign",
    "assessments_in",
    "merged",
]
