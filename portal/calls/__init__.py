"""Every call to an upstream server passes through here, from a client, a program or the command line."""

from portal.calls.assertions import AssertionCredentials
from portal.calls.call import Call, Denial
from portal.calls.caller import Caller, Records, Run
from portal.calls.gate import Admission, Credentials, Direction, Gate, Screening
from portal.calls.policy import PolicyAdmission

__all__ = [
    "Admission",
    "AssertionCredentials",
    "Call",
    "Caller",
    "Credentials",
    "Denial",
    "Direction",
    "Gate",
    "PolicyAdmission",
    "Records",
    "Run",
    "Screening",
]
