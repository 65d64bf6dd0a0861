"""Runs untrusted JavaScript in single-use WebAssembly isolates. Does no I/O and knows nothing of MCP or HTTP."""

from sandbox.batch import decode_outcome, encode_failed, encode_resume, encode_start
from sandbox.compiled import CompiledCache, default_cache, user_cache
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
from sandbox.executor import Execution, Executor
from sandbox.fair import FairQueue
from sandbox.in_process import InProcessExecutor
from sandbox.isolate import Isolate
from sandbox.limits import LimitInvalid, Limits
from sandbox.workers.confinement import Confinement
from sandbox.workers.executor import WorkerExecutor, WorkerLoad

__all__ = [
    "CallsExceeded",
    "CompiledCache",
    "Completed",
    "Confinement",
    "Conversation",
    "CpuTimeExceeded",
    "Deadlock",
    "Engine",
    "EngineError",
    "Execution",
    "Executor",
    "Failed",
    "FairQueue",
    "ForeignImage",
    "GuestAbiError",
    "GuestError",
    "GuestException",
    "GuestSyntaxError",
    "HostCall",
    "Image",
    "InProcessExecutor",
    "Isolate",
    "IsolateClosed",
    "LimitExceeded",
    "LimitInvalid",
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
    "WorkerExecutor",
    "WorkerLoad",
    "decode_outcome",
    "default_cache",
    "encode_failed",
    "encode_resume",
    "encode_start",
    "user_cache",
]
