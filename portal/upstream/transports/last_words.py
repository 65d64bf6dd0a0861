"""What a process that ended, or does not answer, has said last: the lines that matter of what it wrote.

A trace says in a hundred lines where, and in one what. A package manager says in one line what, and in five where to
read more. Pure, but for the lines that are kept.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence

from portal.upstream.transports.duplex import TooLarge
from portal.upstream.transports.wire import first_words, redact, redact_cut, tail, without_escapes

# Characters. With them a reason still fits where reasons are cut to 300, as in `/healthz`.
WORDS = 200
_KEPT_LINES = 200
_LINE = 2_000
# In front of the lines of an exception group.
_GROUP = re.compile(r"^ *(?:[|+] ?)+")
# Looked ahead for, so that a long line is not tried at each of its places.
_GROUP_END = re.compile(r"(?=[|+\- ]*\+-)[|+\-\d ]*")
# Lines that say where, but not what: they would push the error out of the last words.
_FRAME = re.compile(r'at\s.*|File ".*", line \d.*|\.\.\. \d+ .*|Node\.js v[\d.]+|[\^~{}\[\],\s]+|\[Previous line .*')
_PLACE = re.compile(r"(?:node:|file:|/|[A-Za-z]:\\)\S*:\d+")
_CARET = re.compile(r"\s*[\^~]+\s*")
_SAYS_NOTHING = re.compile(
    r"(?:Exception Group )?Traceback \(most recent call last\):"
    r"|During handling of the above exception, another exception occurred:"
    r"|The above exception was the direct cause of the following exception:"
    r"|Require stack:|- /\S+\.[cm]?[jt]s|code: '[A-Z_]+',?|requireStack: \[.*|'/\S+\.[cm]?[jt]s',?"
    r"|npm (?:error|ERR!|notice|warn|WARN)(?: \d+)?|npm (?:notice|warn|WARN) .*"
    r"|npm (?:error|ERR!) (?:A complete log of this run can be found in:.*|\s+/\S+-debug-\d+\.log)"
    r"|npm (?:error|ERR!) 404 (?:Note that you can also install from a|tarball, folder, http url, or git \w+\.)"
    r"|Trace(?:back)? written to .*"
)
_ERROR = re.compile(
    r"(?:uncaught )?(?:[A-Za-z_][\w.]*\.)?[A-Za-z_]*(?:Error|Exception|Failure|Panic)\b(?: \[\w+\])?(?::.*|$)"
    r"|(?:error|fatal(?: error)?|panic|critical)\b\W.*|thread '.*' panicked at .*|.*\bNo module named .*",
    re.IGNORECASE,
)
_NPM = re.compile(r"npm (?:error|ERR!) ")


class LastWords:
    """The last lines of a process that are no messages, in the order they were read, without secrets."""

    def __init__(self) -> None:
        self._secrets: Sequence[str] = ()
        self._lines: deque[bytes | TooLarge] = deque(maxlen=_KEPT_LINES)

    def begin(self, secrets: Sequence[str]) -> None:
        """Forget those of an earlier process. The lines of the next are kept without `secrets`."""
        self._secrets = secrets
        self._lines.clear()

    def __str__(self) -> str:
        """What matters of them on one line, "" if there are none."""
        # Secrets go first: a secret that is cut is not found any more.
        return telling([self._text(line)[-_LINE:] for line in self._lines])

    def add(self, *lines: bytes | TooLarge) -> None:
        self._lines.extend(lines[-_KEPT_LINES:])

    def _text(self, line: bytes | TooLarge) -> str:
        if isinstance(line, TooLarge):
            end = without_escapes(line.end.decode("utf-8", "replace"))
            return redact_cut(end, self._secrets, at_start=True)
        # As it was written, and as it reads: colours may stand between the letters of a secret.
        return redact(without_escapes(redact(line.decode("utf-8", "replace"), self._secrets)), self._secrets)


def telling(lines: Sequence[str], length: int = WORDS) -> str:
    """What matters of the lines that a program wrote before it ended, on one line: their end, and in any case the last
    error in them."""
    kept: list[str] = []
    error = None
    for line, is_error in _without_frames(lines):
        # The lines of npm belong together, and the first says the most.
        if is_error and not (_NPM.match(line) and kept and _NPM.match(kept[-1])):
            error = len(kept)
        kept.append(line)
    if error is not None:
        what = " | ".join(kept[error:])
        if len(what) > length:
            return first_words(_NPM.sub("", what), length)
    return tail(" | ".join(kept), length)


def _without_frames(lines: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The lines that say something, each with whether it says what went wrong."""
    below_frame = in_trace = False
    for number, written in enumerate(lines):
        if _GROUP_END.fullmatch(written.strip()):
            continue
        bare = _GROUP.sub("", written) if in_trace or "Traceback" in written else written
        line = bare.strip()
        # The line of the source under a frame of Python, which stands deeper than any message.
        source = below_frame and bare.startswith("    ")
        below_frame = line.startswith('File "')
        if not line or _FRAME.fullmatch(line) or source or _shows_source(lines, number):
            continue
        if _SAYS_NOTHING.fullmatch(line):
            in_trace = in_trace or "Traceback" in line
            continue
        ends_trace = in_trace and not bare[:1].isspace()
        in_trace = in_trace and not ends_trace
        yield line, ends_trace or _ERROR.fullmatch(line) is not None or _NPM.match(line) is not None


def _shows_source(lines: Sequence[str], number: int) -> bool:
    """Whether this is the place, or the line of the source, that Node shows above a caret."""
    following = lines[number + 1 : number + 3]
    if _PLACE.fullmatch(lines[number].strip()):
        return any(_CARET.fullmatch(line) for line in following)
    return bool(number and following and _CARET.fullmatch(following[0]) and _PLACE.fullmatch(lines[number - 1].strip()))
