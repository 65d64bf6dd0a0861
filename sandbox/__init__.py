"""Runs untrusted JavaScript programs in single-use WebAssembly isolates. Does no I/O and knows nothing of MCP or HTTP."""

from sandbox.batch import decode_outcome, encode_failed, encode_resume, encode_start
from sandbox.conversation import Conversation, State
from sandbox.engine import Engine, Image
from sandbox.errors import (
    CallsExceeded,
    CpuTimeExceeded,
    Deadlock,
    EngineError,
    ForeignImage,
    GuestAbiError,
    GuestError,
    GuestException,
    GuestSyntaxError,
    IsolateClosed,
    LimitExceeded,
    LocalStateError,
    MemoryExceeded,
    Overloaded,
    SandboxError,
    SizeExceeded,
    StackExceeded,
    WallTimeExceeded,
    WorkerDied,
)
from sandbox.events import Completed, Failed, HostCall, LogLine, Outcome, Settlement, Suspended
from sandbox.isolate import Isolate
from sandbox.limits import Limits

__all__ = [
    "CallsExceeded",
    "Completed",
    "Conversation",
    "CpuTimeExceeded",
    "Deadlock",
    "Engine",
    "EngineError",
    "Failed",
    "ForeignImage",
    "GuestAbiError",
    "GuestError",
    "GuestException",
    "GuestSyntaxError",
    "HostCall",
    "Image",
    "Isolate",
    "IsolateClosed",
    "LimitExceeded",
    "Limits",
    "LocalStateError",
    "LogLine",
    "MemoryExceeded",
    "Outcome",
    "Overloaded",
    "SandboxError",
    "Settlement",
    "SizeExceeded",
    "StackExceeded",
    "State",
    "Suspended",
    "WallTimeExceeded",
    "WorkerDied",
    "decode_outcome",
    "encode_failed",
    "encode_resume",
    "encode_start",
]
