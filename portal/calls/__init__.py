"""Every call to an upstream server passes through here, whoever makes it."""

from portal.calls.assertions import AssertionGate
from portal.calls.call import Call
from portal.calls.caller import Caller, Records, Run
from portal.calls.gate import Gate, OpenGate
from portal.calls.policy import AccessGate

__all__ = ["AccessGate", "AssertionGate", "Call", "Caller", "Gate", "OpenGate", "Records", "Run"]
