"""The bench: runs programs against live servers, mocks or a recording, in the same isolates as a portal.

Names are imported when they are used, so that the pytest plugin costs nothing in suites without it. The modules:

    session, backend      run a program, with its calls and its answer
    mocks, virtual_time   prepared answers, in virtual time
    recording, replay     a run that can be repeated exactly
    tool_lists, changes   saved tools, and the changes between two lists of them
    cases, verdict, suite, junit, pytest_plugin    programs with expected results
"""

from typing import TYPE_CHECKING

from portal.lazy import lazily

if TYPE_CHECKING:
    from portal.bench.backend import Backend
    from portal.bench.cases import Case, find_cases
    from portal.bench.changes import ToolChange, breaking, changes_between
    from portal.bench.expectations_file import write_expectations
    from portal.bench.junit import junit_xml
    from portal.bench.mocks import open_mocks
    from portal.bench.recording import Recording, read_recording, write_recording
    from portal.bench.replay import Replay
    from portal.bench.session import NO_INPUT, Bench, ProgramRun
    from portal.bench.suite import CaseResult, Suite, select_cases
    from portal.bench.tool_lists import as_document, declaration_file, is_configuration, servers_of
    from portal.bench.verdict import updated_expectations
else:
    __getattr__ = lazily(
        __name__,
        {
            "Backend": "backend",
            "Bench": "session",
            "Case": "cases",
            "ToolChange": "changes",
            "NO_INPUT": "session",
            "ProgramRun": "session",
            "Recording": "recording",
            "Replay": "replay",
            "CaseResult": "suite",
            "Suite": "suite",
            "as_document": "tool_lists",
            "breaking": "changes",
            "changes_between": "changes",
            "declaration_file": "tool_lists",
            "find_cases": "cases",
            "is_configuration": "tool_lists",
            "junit_xml": "junit",
            "open_mocks": "mocks",
            "read_recording": "recording",
            "select_cases": "suite",
            "servers_of": "tool_lists",
            "updated_expectations": "verdict",
            "write_expectations": "expectations_file",
            "write_recording": "recording",
        },
    )

__all__ = [
    "NO_INPUT",
    "Backend",
    "Bench",
    "Case",
    "CaseResult",
    "ProgramRun",
    "Recording",
    "Replay",
    "Suite",
    "ToolChange",
    "as_document",
    "breaking",
    "changes_between",
    "declaration_file",
    "find_cases",
    "is_configuration",
    "junit_xml",
    "open_mocks",
    "read_recording",
    "select_cases",
    "servers_of",
    "updated_expectations",
    "write_expectations",
    "write_recording",
]
