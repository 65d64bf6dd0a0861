"""Runs programs to their end for the tests, with the host's part played by a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sandbox import Completed, Engine, Failed, HostCall, Image, LogLine, Outcome, Settlement, Suspended

SEED = bytes(range(32))
NOW = 1_700_000_000_000.0
Answer = Callable[[HostCall], Settlement]


def echo(call: HostCall) -> Settlement:
    return Settlement.value(call.id, call.arguments)


class Programs:
    """`run` goes to the end: calls are answered at once, in order; when none is left, time jumps to the next timer."""

    def __init__(self, engine: Engine, on_thread: Callable[..., Any]) -> None:
        self.engine = engine
        self.on_thread = on_thread

    def run(
        self, source: str, *, answer: Answer = echo, image: Image | None = None, seed: bytes = SEED, begin: str = ""
    ) -> Outcome:
        """The last outcome, with the log lines of all of them."""
        outcome: Outcome = self.on_thread(self._run, source, answer, image, seed, begin)
        return outcome

    def value(self, source: str, **options: Any) -> Any:
        outcome = self.run(source, **options)
        assert isinstance(outcome, Completed), outcome
        return outcome.value

    def failure(self, source: str, **options: Any) -> Any:
        """The error of a program that fails."""
        outcome = self.run(source, **options)
        assert isinstance(outcome, Failed), outcome
        return outcome.error

    def logs(self, source: str, **options: Any) -> list[tuple[str, str]]:
        outcome = self.run(source, **options)
        assert not isinstance(outcome, Suspended)
        return [(line.level, line.text) for line in outcome.logs]

    def _run(self, source: str, answer: Answer, image: Image | None, seed: bytes, begin: str) -> Outcome:
        with self.engine.isolate(image) as isolate:
            now = NOW
            logs: list[LogLine] = []
            outcome = isolate.start(source, now, seed, begin)
            while isinstance(outcome, Suspended):
                logs += outcome.logs
                settlements: Sequence[Settlement] = [answer(call) for call in outcome.calls]
                if not settlements:
                    assert outcome.wake_at is not None, "the program waits for a call that was not answered"
                    now = max(now, outcome.wake_at)
                outcome = isolate.resume(settlements, now)
            if isinstance(outcome, Completed):
                return Completed(outcome.value, (*logs, *outcome.logs), outcome.has_value, outcome.calls)
            return Failed(outcome.error, (*logs, *outcome.logs), outcome.calls)
