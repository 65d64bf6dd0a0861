"""What is known of callers besides their login: country, posture, risk, external evaluations. The part with I/O."""

from portal.signals.assessments import Assessment, Assessments, PostureFeed
from portal.signals.certificates import ClientCertificates
from portal.signals.countries import Countries
from portal.signals.evaluations import Evaluations, Sign
from portal.signals.known import KnownSignals
from portal.signals.pushed import KEPT, KIND, merged, pushed_followed, told_of

__all__ = [
    "KEPT",
    "KIND",
    "Assessment",
    "Assessments",
    "ClientCertificates",
    "Countries",
    "Evaluations",
    "KnownSignals",
    "PostureFeed",
    "Sign",
    "merged",
    "pushed_followed",
    "told_of",
]
