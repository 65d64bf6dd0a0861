"""The `code` tool: a catalog of tools, search over it, the driver of a program and its calls. Transport-free."""

from codemode.answer import answer as answer_to
from codemode.answer import paused, refused
from codemode.arguments import ArgumentCheck
from codemode.caller import PARKED, CallOutcome, ToolCall, ToolCaller, ToolDenied, ToolFailed, ToolReturned
from codemode.catalog import Catalog, CatalogServer, Likeness
from codemode.check.checker import Checker
from codemode.check.compiler import Compiler
from codemode.check.declared import isolate_declarations
from codemode.check.install import HOW_TO as HOW_TO_INSTALL_CHECKER
from codemode.check.install import install as install_checker
from codemode.errors import (
    CatalogError,
    CheckUnavailable,
    CodemodeError,
    MeaningUnavailable,
    NotRecordable,
    ParkedUnreadable,
)
from codemode.expose import ExposedTools, expose, expose_server
from codemode.handle import Agreement, KeptRuns, OwnServers, RunHandle, RunJournal
from codemode.kept import only_fetches
from codemode.meaning.meanings import Meanings
from codemode.mentions import asks_for_servers, computes_servers, named_servers
from codemode.offload import heavy, off_loop
from codemode.outcome import returned
from codemode.pace import Flight, Pace, RealPace
from codemode.parking import (
    LoggedCall,
    LoggedResume,
    ParkedProgram,
    PendingCall,
    ProgramLog,
    digest_of,
    ended_as_bytes,
    ended_from_bytes,
)
from codemode.plan import Adherence, PlannedCall, ProgramPlan, matches
from codemode.planning import LabelsOf, Reads, only_reads, planned_answer, planned_run
from codemode.preload import common_preload
from codemode.recording import ReplayDifference, Replayed, RunRecording
from codemode.results import content_blocks, well_formed
from codemode.run import Failure, Run
from codemode.threads import FairThreads, on_behalf_of, work_for
from codemode.tool import PLAN, CodeTool, Repetition
from codemode.virtual_time import VirtualPace
from codemode.volume import excess
from codemode.waits import OnWait, Waiting, WaitKind, Waits

__all__ = [
    "HOW_TO_INSTALL_CHECKER",
    "PARKED",
    "PLAN",
    "Adherence",
    "Agreement",
    "ArgumentCheck",
    "CallOutcome",
    "Catalog",
    "CatalogError",
    "CatalogServer",
    "CheckUnavailable",
    "Checker",
    "CodeTool",
    "CodemodeError",
    "Compiler",
    "ExposedTools",
    "Failure",
    "FairThreads",
    "Flight",
    "KeptRuns",
    "LabelsOf",
    "Likeness",
    "LoggedCall",
    "LoggedResume",
    "MeaningUnavailable",
    "Meanings",
    "NotRecordable",
    "OnWait",
    "OwnServers",
    "Pace",
    "ParkedProgram",
    "ParkedUnreadable",
    "PendingCall",
    "PlannedCall",
    "ProgramLog",
    "ProgramPlan",
    "Reads",
    "RealPace",
    "Repetition",
    "ReplayDifference",
    "Replayed",
    "Run",
    "RunHandle",
    "RunJournal",
    "RunRecording",
    "ToolCall",
    "ToolCaller",
    "ToolDenied",
    "ToolFailed",
    "ToolReturned",
    "VirtualPace",
    "WaitKind",
    "Waiting",
    "Waits",
    "answer_to",
    "asks_for_servers",
    "common_preload",
    "computes_servers",
    "content_blocks",
    "digest_of",
    "ended_as_bytes",
    "ended_from_bytes",
    "excess",
    "expose",
    "expose_server",
    "heavy",
    "install_checker",
    "isolate_declarations",
    "matches",
    "named_servers",
    "off_loop",
    "on_behalf_of",
    "only_fetches",
    "only_reads",
    "paused",
    "planned_answer",
    "planned_run",
    "refused",
    "returned",
    "well_formed",
    "work_for",
]
