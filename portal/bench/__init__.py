"""The bench: programs run against live servers, mocks or a recording, in the same isolates as a portal's.

Nothing is imported here, so that the pytest plugin costs nothing where it is not used. Its rooms:

    session, backend     run a program and say what happened
    mocks, virtual       answers that are written down, in time that is made up
    recording, replay    what happened, to be repeated exactly
    tool_lists, changes  saved tools, and what changed between two of them
    cases, verdict, suite, junit, pytest_plugin    programs with expectations beside them
"""
