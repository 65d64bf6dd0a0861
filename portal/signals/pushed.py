"""Assessments pushed through the admin API: their stored form, and how a running portal loads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import TracebackType

import structlog
from pydantic import AwareDatetime

from portal.objects import Document
from portal.signals.assessments import Assessment, Assessments, Level
from portal.state import Clock, Follower, Kind, StateUnavailable, Store


class Check(Document):
    """The result of one check of a device, and the time of the check."""

    passed: bool
    at: AwareDatetime


class RiskFound(Document):
    """The risk score of a person, and the time of its assessment."""

    level: Level
    at: AwareDatetime


class AssessmentDocument(Document):
    """The latest facts about one caller. Checks are by integration."""

    device_posture: Mapping[str, Check] = {}
    user_risk: RiskFound | None = None


ASSESSMENT = Kind("assessment", AssessmentDocument)
MAX_AGE = timedelta(days=1)
"""An older assessment counts at no portal."""
SHORTEST_WAIT = 0.1


class PushedAssessments:
    """Keeps `assessments` equal to the stored ones, from entering to leaving.

    `changed` is called after each change in the store, and when an assessment becomes stale.

    Entering raises:
        StateUnavailable: the stored assessments cannot be read.
    """

    def __init__(self, store: Store, assessments: Assessments, changed: Callable[[], None], now: Clock) -> None:
        self._store = store
        self._assessments = assessments
        self._changed = changed
        self._now = now
        self._subjects: frozenset[str] = frozenset()
        self._stale: asyncio.TimerHandle | None = None
        self._follower: Follower | None = None
        self._log = structlog.get_logger("portal.access")

    async def __aenter__(self) -> PushedAssessments:
        # Before the first read, so that a change during the read triggers another.
        self._follower = Follower(self._store, {ASSESSMENT.name}, self._follow, self._not_read)
        try:
            await self._load()
        except BaseException:
            await self._follower.aclose()
            raise
        self._wait_until_stale()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._follower is not None:
            await self._follower.aclose()
        if self._stale is not None:
            self._stale.cancel()

    async def _follow(self) -> None:
        await self._load()
        self._notify()

    async def _load(self) -> None:
        stored = await self._store.list(ASSESSMENT)
        listed = frozenset(entry.id for entry in stored)
        for subject in self._subjects - listed:
            self._assessments.forget(subject)
        self._subjects = listed
        max_age = timedelta(seconds=self._assessments.fresh_for)
        for entry in stored:
            for assessment in assessments_in(entry.id, entry.document, self._now(), max_age):
                self._assessments.record(assessment)

    def _notify(self) -> None:
        self._changed()
        self._wait_until_stale()

    def _wait_until_stale(self) -> None:
        if self._stale is not None:
            self._stale.cancel()
        left = self._assessments.until_stale()
        loop = asyncio.get_running_loop()
        self._stale = None if left is None else loop.call_later(max(left, SHORTEST_WAIT), self._notify)

    def _not_read(self, error: StateUnavailable) -> None:
        self._log.debug("assessments cannot be read; those known hold until they are stale", reason=str(error))


def merged(before: AssessmentDocument, assessment: Assessment, now: datetime) -> AssessmentDocument:
    """The document to store in place of `before`: the latest value of each fact."""
    at = now - timedelta(seconds=min(assessment.age, MAX_AGE.total_seconds() * 2))
    posture = dict(before.device_posture)
    for integration, passed in (assessment.device_posture or {}).items():
        if integration not in posture or posture[integration].at <= at:
            posture[integration] = Check(passed=passed, at=at)
    risk = before.user_risk
    if assessment.user_risk is not None and (risk is None or risk.at <= at):
        risk = RiskFound(level=assessment.user_risk, at=at)
    return before.model_copy(update={"device_posture": posture, "user_risk": risk})


def assessments_in(subject: str, document: AssessmentDocument, now: datetime, max_age: timedelta) -> list[Assessment]:
    """The assessments in a stored document, one for each fact with its age, without those older than `max_age`."""
    assessments = [
        Assessment(subject=subject, device_posture={integration: check.passed}, age=_age(check.at, now))
        for integration, check in document.device_posture.items()
    ]
    if (risk := document.user_risk) is not None:
        assessments.append(Assessment(subject=subject, user_risk=risk.level, age=_age(risk.at, now)))
    return [assessment for assessment in assessments if assessment.age <= max_age.total_seconds()]


def _age(at: datetime, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds())
