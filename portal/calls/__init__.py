"""Every call to an upstream server passes through here, from a client, a program or the command line."""

from portal.calls.approvals import ApprovalAdmission
from portal.calls.asked import AskingRules
from portal.calls.assertions import AssertionCredentials
from portal.calls.caller import Caller, CallJournal, LeasedRun, Records, RunWatcher
from portal.calls.gate import Call, Gate
from portal.calls.gateway import GatewayScreening
from portal.calls.plans import NOBODY_DECIDES, UNREADABLE, PlanApprovals
from portal.calls.policy import PolicyAdmission
from portal.calls.quotas import QuotaAdmission
from portal.calls.rows import HIDDEN, EndedRequest, EndedRun, request_row, session_name

__all__ = [
    "HIDDEN",
    "NOBODY_DECIDES",
    "UNREADABLE",
    "ApprovalAdmission",
    "AskingRules",
    "AssertionCredentials",
    "Call",
    "CallJournal",
    "Caller",
    "EndedRequest",
    "EndedRun",
    "Gate",
    "GatewayScreening",
    "LeasedRun",
    "PlanApprovals",
    "PolicyAdmission",
    "QuotaAdmission",
    "Records",
    "RunWatcher",
    "request_row",
    "session_name",
]
