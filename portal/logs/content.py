"""Which arguments and results of calls, which programs and recordings are kept: none, but where the operator says so.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol

from portal.logs.masking import Masks

MOST_FAILURE = 2_000
"""Characters of how a run failed. The rest is cut."""


class Wanted(NamedTuple):
    """What of a call is kept."""

    arguments: bool
    results: bool


@dataclass(frozen=True, slots=True)
class ContentRule:
    """Of the tools of a server, which and what is kept. `server` and `tools` may have `*` and `?`."""

    server: str
    tools: Sequence[str] = ("*",)
    arguments: bool = False
    results: bool = False

    def covers(self, server: str, tool: str) -> bool:
        return fnmatchcase(server, self.server) and any(fnmatchcase(tool, one) for one in self.tools)


@dataclass(frozen=True, slots=True)
class ContentSettings:
    """What is kept of which calls. No rules: nothing. `programs`: the text of each program. `most` is the largest
    content in bytes."""

    rules: Sequence[ContentRule] = ()
    masks: Masks = Masks.of()
    most: int = 65_536
    programs: bool = False

    def wants(self, server: str, tool: str) -> Wanted:
        """What of the calls of a tool is kept."""
        arguments = results = False
        for rule in self.rules:
            if rule.covers(server, tool):
                arguments, results = arguments or rule.arguments, results or rule.results
        return Wanted(arguments, results)


class Recordable(Protocol):
    """A recorded run (`codemode.RunRecording`). `size` is about how many bytes it has in memory."""

    @property
    def size(self) -> int: ...

    def as_bytes(self) -> bytes: ...


class KeptRecording(NamedTuple):
    """What is kept of a recorded run: its bytes, or else `why` there are none, in a clause that begins with "it"."""

    data: bytes | None
    why: str = ""


class Content(NamedTuple):
    """The arguments and the result of a call as they were when they went out and came back, or the program of a run and
    the words in which its agent read how it failed; None: not kept."""

    arguments: Mapping[str, object] | None = None
    result: Mapping[str, object] | None = None
    program: str | None = None
    failure: str | None = None
