"""Device posture and risk scores: pushed through an API or read from a URL, valid as long as they are fresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Annotated, Literal

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from portal.bounded import Bounded
from portal.egress import AddressRule, Fetcher, FetchFailed
from portal.identity import Identity
from portal.misfits import fitted

MAX_SUBJECTS = 100_000
MAX_BYTES = 32 * 1024 * 1024
SECONDS = 15.0
FRESH_SECONDS = 600.0
log = structlog.get_logger("portal.access")

Text = Annotated[str, Field(min_length=1, max_length=512)]
Level = Literal["low", "medium", "high", "unscored"]


class Assessment(BaseModel):
    """Facts about one caller, whose id or e-mail address is `subject`. Facts that are missing stay as they were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Text
    device_posture: Annotated[Mapping[Text, bool], Field(max_length=100)] | None = None
    user_risk: Level | None = None
    age: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Seconds since the source checked the facts."""


class AssessmentList(BaseModel):
    """The answer of a posture source: `{"assessments": [...]}`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    assessments: Annotated[tuple[Assessment, ...], Field(max_length=MAX_SUBJECTS)]


@dataclass(slots=True)
class _Facts:
    """Each fact with the time of its check, by the clock."""

    posture: dict[str, tuple[bool, float]] = field(default_factory=dict)
    risk: tuple[str, float] | None = None


class Assessments:
    """The facts about callers. A fact is fresh for `fresh_for` seconds of `clock` after its check.

    Of more than `MAX_SUBJECTS` subjects, those used least recently are forgotten.
    """

    def __init__(self, fresh_for: float = FRESH_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.fresh_for = fresh_for
        self._clock = clock
        self._facts: Bounded[str, _Facts] = Bounded(MAX_SUBJECTS)

    def record(self, assessment: Assessment) -> None:
        """Add an assessment. The latest of each fact replaces the others."""
        subject = assessment.subject.lower()
        facts = self._facts.get(subject)
        if facts is None:
            facts = self._facts[subject] = _Facts()
        at = self._clock() - assessment.age
        for integration, passed in (assessment.device_posture or {}).items():
            if integration not in facts.posture or facts.posture[integration][1] <= at:
                facts.posture[integration] = (passed, at)
        if assessment.user_risk is not None and (facts.risk is None or facts.risk[1] <= at):
            facts.risk = (assessment.user_risk, at)

    def forget(self, subject: str) -> None:
        self._facts.pop(subject.lower())

    def until_stale(self) -> float | None:
        """Seconds until the next fresh fact becomes stale, or None if no fact is fresh."""
        oldest = self._clock() - self.fresh_for
        times = (
            at
            for facts in self._facts.values()
            for _, at in (*facts.posture.values(), *((facts.risk,) if facts.risk is not None else ()))
            if at >= oldest
        )
        first = min(times, default=None)
        return None if first is None else first - oldest

    def of(self, identity: Identity) -> tuple[Mapping[str, bool], str]:
        """The fresh device posture and risk of a caller. Facts about the id override facts about the e-mail address."""
        oldest = self._clock() - self.fresh_for
        posture: dict[str, bool] = {}
        risk = ""
        for subject in (identity.email.lower(), identity.key.lower()):
            facts = self._facts.get(subject) if subject else None
            if facts is None:
                continue
            posture.update({name: passed for name, (passed, at) in facts.posture.items() if at >= oldest})
            if facts.risk is not None and facts.risk[1] >= oldest:
                risk = facts.risk[0]
        return posture, risk


class PostureFeed:
    """Reads a URL every `every` seconds, from entering to leaving, and calls `changed` after each success.

    The source answers with `{"assessments": [{"subject", "device_posture"?, "user_risk"?, "age"?}, ...]}`. While it
    does not answer, its facts become stale, and the policies treat them as unknown.
    """

    def __init__(
        self,
        url: str,
        assessments: Assessments,
        *,
        headers: Mapping[str, str] | None = None,
        every: float = 60.0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._url = url
        self._assessments = assessments
        self._headers = headers or {}
        self._every = every
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._fetcher = Fetcher(AddressRule.NOT_LINK_LOCAL, limit=MAX_BYTES, seconds=SECONDS)

    async def __aenter__(self) -> PostureFeed:
        await self.read()
        self._task = asyncio.create_task(self._repeat(), name="posture feed")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._fetcher.aclose()

    async def read(self) -> bool:
        """Read the source once. Returns whether its answer could be used; never raises."""
        try:
            answer = await self._fetcher.fetch(self._url, headers=self._headers)
            received = fitted(AssessmentList, orjson.loads(answer.body))
        except FetchFailed as error:
            log.warning("posture_source_failed", problem=str(error))
            return False
        except ValidationError as error:
            log.warning("posture_source_not_understood", problems=error.error_count())
            return False
        except orjson.JSONDecodeError:
            log.warning("posture_source_not_understood", problems=1)
            return False
        for assessment in received.assessments:
            self._assessments.record(assessment)
        self._changed()
        return True

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.read()
