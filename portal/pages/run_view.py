"""A run as its page shows it: figures, the program beside the waterfall, and the calls as a table. Pure.

The console and the page of a person show the same of it, from values that each of them has in another shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from portal.pages.charts import Drawing
from portal.pages.scales import duration_words, number_words
from portal.pages.timeline import (
    MAX_CALLS,
    CallOutcome,
    ProgramTimeline,
    TimelineCall,
    listing,
    margins,
    waterfall,
)
from portal.unseen import seen_words, short_words

MOST_WORDS = 200
RUN_TONES: Mapping[str, str] = {
    "ok": "good",
    "running": "warn",
    "parked": "warn",
    "ready": "warn",
    "denied": "warn",
    "cancelled": "off",
    "unknown": "off",
}
"""The tone of each outcome of a run or call; of every other it is bad."""
FAILURES: Mapping[str, str] = {
    "syntax": "syntax: it is neither JavaScript nor TypeScript",
    "type": "type: the check before the run refused it, and nothing ran",
    "exception": "exception: it threw something, or its result is not data",
    "deadlock": "deadlock: it awaited what nothing can settle",
    "cpu_time": "cpu_time: it took more processor time than a program may",
    "wall_time": "wall_time: it took longer than a program may",
    "memory": "memory: it took more memory than a program may",
    "stack": "stack: its own calls nest deeper than they may",
    "calls": "calls: it made more calls than a program may",
    "size": "size: it is larger than it may be, or its result is",
    "cancelled": "cancelled: it was ended before its end",
    "engine": "engine: the portal itself failed",
    "lost": "lost: it was parked and could not go on",
    "expired": "expired: what it waited for had not come when its time was over",
    "denied": "denied: it may not run, or not go on",
}
"""The kinds of errors of a run (`codemode`), with their words."""
WAITS: Mapping[str, str] = {
    "approval": "somebody who approves a call",
    "login": "its person, who logs in to a server",
    "question": "its person, who answers a question",
    "timer": "its own timer",
    "sleep": "its own timer",
    "drain": "a process that takes it up again",
    "uncertain": "somebody who says what became of a call",
}
"""What runs wait for, in words: by the kind of a wait, and by the reason why one is parked."""
MOST_MESSAGE = 600
UNSEEN_HINT = "What calls received, less what the run answered"
_OUTCOMES: Mapping[str, CallOutcome] = {
    "ok": CallOutcome.OK,
    "pending": CallOutcome.RUNNING,
    "denied": CallOutcome.DENIED,
    "cancelled": CallOutcome.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCallView:
    """A call of a run; times in ms from the start of the run, `duration_ms` so far if its `outcome` is `pending`.
    `line` is that of the program, 0 where it is not known; `log_id` is the id of its row, None without one."""

    number: int
    server: str
    tool: str
    start_ms: float
    duration_ms: float
    outcome: str
    line: int
    policy: str
    reason: str
    bytes_in: int
    bytes_out: int
    labels: tuple[str, ...]
    findings: tuple[Mapping[str, object], ...]
    log_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run. `made` is how many calls it has made, None where that is not known; `more` says that some of them are
    left out. `bytes_unseen` is None until there is an answer, `program` where it is not to be shown. `message` is how
    it failed, as its agent read it, "" where that is not to be shown. `parked` says what a parked run waits
    for, and `expires_at` when one that is kept in the database ends if it has not gone on; "" for all others."""

    id: str
    outcome: str
    reason: str
    policy: str
    started_at: str
    duration_ms: float
    bytes_in: int
    bytes_out: int
    tokens_saved: int
    calls: tuple[RunCallView, ...]
    made: int | None
    more: bool
    width: int
    bytes_unseen: int | None
    program: str | None = None
    message: str = ""
    parked: str = ""
    expires_at: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended, as far as that is known."""
        return self.outcome in ("running", "parked", "ready")


@dataclass(frozen=True, slots=True)
class RunTile:
    """A figure of a run. `tone` is that of an outcome, "" for a number; `hint` says more, `message` in words that are
    not ours."""

    name: str
    figure: str
    hint: str = ""
    tone: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunTableRow:
    """A call in the table; `href` leads to its row of the log, "" for nowhere."""

    number: int
    name: str
    line: int
    began: str
    took: str
    outcome: str
    tone: str
    why: str
    received: str
    labels: tuple[str, ...]
    findings: tuple[str, ...]
    href: str


@dataclass(frozen=True, slots=True)
class RunWait:
    """What a run waits for a person for. `url` is where they let it go on, "" where that is not to be shown, or their
    client asks them."""

    run: str
    tool: str
    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class RunPicture:
    """What the templates of `run_parts.html` take. `has_lines`: the lines of the program are on the page, so that calls
    link to them. `margins` are what stands beside those lines by now."""

    run: RunView
    tiles: tuple[RunTile, ...]
    waterfall: Drawing
    rows: tuple[RunTableRow, ...]
    left_out: int
    labels: tuple[str, ...]
    findings: tuple[str, ...]
    has_lines: bool
    listing: Drawing | None = None
    margins: Drawing | None = None


@dataclass(frozen=True, slots=True)
class RunPart:
    """The part of a page that is about a run. `poll` is the path, below the prefix, where what changes is read again,
    `end` that of the form which ends the run, "" for nowhere."""

    picture: RunPicture
    waits: Sequence[RunWait]
    poll: str
    end: str


def run_picture(
    run: RunView, *, lines: bool | None = None, row_link: Callable[[int], str] = lambda id: ""
) -> RunPicture:
    """What the page of a run shows. `lines`: the program is on the page already, and not to be drawn again; by default
    it is where there is one. `row_link` is where the row of the log with an id is, "" for nowhere."""
    has_lines = run.program is not None if lines is None else lines
    shown = run.calls[:MAX_CALLS]
    timeline = [_timeline_call(call, linked=has_lines, row_link=row_link) for call in run.calls]
    return RunPicture(
        run=run,
        tiles=run_tiles(run),
        waterfall=waterfall(ProgramTimeline(tuple(timeline), run.duration_ms, ended=not run.goes_on)),
        rows=tuple(_row(call, row_link) for call in shown),
        left_out=max(0, (run.made or len(run.calls)) - len(shown)),
        labels=labels_on_the_way(run),
        findings=tuple(dict.fromkeys(words for call in run.calls for words in findings_in_words(call)))[:MOST_WORDS],
        has_lines=has_lines,
        listing=None if run.program is None else listing(run.program, timeline),
        margins=margins(timeline) if has_lines else None,
    )


def run_part(
    run: RunView,
    here: str,
    waits: Sequence[RunWait],
    *,
    lines: bool,
    may_end: bool = True,
    row_link: Callable[[int], str] = lambda id: "",
) -> RunPart:
    """The part of the page of a run that has the path `here`; the others are those of `run_picture`."""
    poll = f"{here}/live" + ("?program=on" if lines else "")
    picture = run_picture(run, lines=lines, row_link=row_link)
    return RunPart(picture, waits, poll, f"{here}/end" if may_end else "")


def run_tiles(run: RunView) -> tuple[RunTile, ...]:
    """The figures of a run, the outcome first."""
    failed = sum(call.outcome not in ("ok", "pending") for call in run.calls)
    under_way = sum(call.outcome == "pending" for call in run.calls)
    notes = [f"{failed} not ok"] if failed else []
    notes += [f"{under_way} under way"] if under_way else []
    unseen = "not yet" if run.bytes_unseen is None else f"{number_words(run.bytes_unseen)} B"
    return (
        RunTile(
            "Outcome",
            outcome_words(run.outcome),
            _why(FAILURES.get(run.reason, run.reason), run.policy),
            tone_of(run.outcome),
            short_words(run.message, MOST_MESSAGE),
        ),
        RunTile("Calls", number_words(run.made if run.made is not None else len(run.calls)), ", ".join(notes)),
        RunTile("Duration so far" if run.goes_on else "Duration", duration_words(run.duration_ms)),
        RunTile("Parallel width", number_words(run.width), "The most calls that were open at once"),
        RunTile("Bytes the model never saw", unseen, UNSEEN_HINT),
        RunTile(
            "Tokens saved", "not yet" if run.goes_on else number_words(run.tokens_saved), "The same, four bytes each"
        ),
    )


def labels_on_the_way(run: RunView) -> tuple[str, ...]:
    """The labels of what was called, in the order in which they came."""
    return tuple(dict.fromkeys(short_words(label, MOST_WORDS) for call in run.calls for label in call.labels))


def outcome_words(outcome: str) -> str:
    """`tool_error` as `Tool error`."""
    if outcome in ("running", "pending"):
        return "Under way"
    if outcome == "ready":
        return "Goes on next"
    return outcome.replace("_", " ").capitalize()


def tone_of(outcome: str) -> str:
    """The class of a state in the style sheet."""
    return "warn" if outcome == "pending" else RUN_TONES.get(outcome, "bad")


def findings_in_words(call: RunCallView) -> list[str]:
    """What screenings found in a call; never what it was."""
    return [_finding(one) for one in call.findings]


def _finding(noted: Mapping[str, object]) -> str:
    """A rule that matched, in words."""
    found = noted.get("findings")
    profiles = (
        [str(one.get("profile", "")) for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    )
    words = f"{noted.get('action', 'found')} by the rule {noted.get('name') or noted.get('rule') or '?'}"
    words += f", {noted['direction']}" if noted.get("direction") else ""
    words += f", {noted['why']}" if noted.get("why") else ""
    words += f": {', '.join(dict.fromkeys(profiles))} ({len(profiles)})" if profiles else ""
    return short_words(words[:1].upper() + words[1:], MOST_WORDS)


def _timeline_call(call: RunCallView, *, linked: bool, row_link: Callable[[int], str]) -> TimelineCall:
    return TimelineCall(
        call.number,
        _name(call),
        call.start_ms,
        None if call.outcome == "pending" else call.duration_ms,
        _OUTCOMES.get(call.outcome, CallOutcome.ERROR),
        call.line if linked else 0,
        call.labels,
        "" if call.log_id is None else row_link(call.log_id),
    )


def _row(call: RunCallView, row_link: Callable[[int], str]) -> RunTableRow:
    pending = call.outcome == "pending"
    return RunTableRow(
        number=call.number,
        name=short_words(_name(call), MOST_WORDS),
        line=call.line,
        began=duration_words(call.start_ms),
        took=duration_words(call.duration_ms) + (" so far" if pending else ""),
        outcome=outcome_words(call.outcome),
        tone=tone_of(call.outcome),
        why=_why(call.reason, call.policy),
        received="" if pending else f"{number_words(call.bytes_out)} B",
        labels=tuple(short_words(label, MOST_WORDS) for label in call.labels),
        findings=tuple(findings_in_words(call)),
        href="" if call.log_id is None else row_link(call.log_id),
    )


def _name(call: RunCallView) -> str:
    return f"{call.server}.{call.tool}"


def _why(reason: str, policy: str) -> str:
    words = [seen_words(reason)] if reason else []
    words += [f"by {seen_words(policy)}"] if policy else []
    return ", ".join(words)
