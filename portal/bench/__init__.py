"""The bench: programs run against live servers, mocks or a recording, in the same isolates as a portal's.

Names are imported when they are used, so that the pytest plugin costs nothing where it is not used. The modules:

    session, backend     run a program and say what happened
    mocks, virtual       answers that are written down, in time that is made up
    recording, replay    what happened, to be repeated exactly
    tool_lists, changes  saved tools, and what changed between two of them
    cases, verdict, suite, junit, pytest_plugin    programs with expectations beside them
"""

from typing import TYPE_CHECKING

from portal.lazy import lazily

if TYPE_CHECKING:
    from portal.bench.backend import Backend
    from portal.bench.cases import Case, find_cases
    from portal.bench.changes import Change, breaking, changes_between
    from portal.bench.junit import junit_xml
    from portal.bench.mocks import open_mocks
    from portal.bench.recording import Recording, read_recording, write_recording
    from portal.bench.replay import Replay
    from portal.bench.rewrite import write_expectations
    from portal.bench.session import NO_INPUT, Bench, Ran
    from portal.bench.suite import Result, Suite, selected
    from portal.bench.tool_lists import as_document, declaration_file, is_configuration, servers_of
    from portal.bench.verdict import updated
else:
    __getattr__ = lazily(
        __name__,
        {
            "Backend": "backend",
            "Bench": "session",
            "Case": "cases",
            "Change": "changes",
            "NO_INPUT": "session",
            "Ran": "session",
            "Recording": "recording",
            "Replay": "replay",
            "Result": "suite",
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
            "selected": "suite",
            "servers_of": "tool_lists",
            "updated": "verdict",
            "write_expectations": "rewrite",
            "write_recording": "recording",
        },
    )

__all__ = [
    "NO_INPUT",
    "Backend",
    "Bench",
    "Case",
    "Change",
    "Ran",
    "Recording",
    "Replay",
    "Result",
    "Suite",
    "as_document",
    "breaking",
    "changes_between",
    "declaration_file",
    "find_cases",
    "is_configuration",
    "junit_xml",
    "open_mocks",
    "read_recording",
    "selected",
    "servers_of",
    "updated",
    "write_expectations",
    "write_recording",
]
