"""What is known of callers besides their login: country, posture, risk, external evaluations. The part with I/O."""

from portal.access.signals.assessments import Assessments, PostureFeed
from portal.access.signals.certificates import ClientCertificates
from portal.access.signals.countries import Countries
from portal.access.signals.evaluations import Evaluations
from portal.access.signals.known import KnownSignals

__all__ = ["Assessments", "ClientCertificates", "Countries", "Evaluations", "KnownSignals", "PostureFeed"]
