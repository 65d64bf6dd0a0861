"""Assessments pushed through the admin API: how they are stored, and how a running portal takes them up."""

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
    """What one check said of a device, and when that was found out."""

    passed: bool
    at: AwareDatetime


class RiskFound(Document):
    """The risk score of a person, and when that was found out."""

    level: Level
    at: AwareDatetime


class AssessmentDocument(Document):
    """The latest facts about one caller; the checks by integration."""

    device_posture: Mapping[str, Check] = {}
    user_risk: RiskFound | None = None


ASSESSMENT = Kind("assessment", AssessmentDocument)
MAX_AGE = timedelta(days=1)
"""No portal believes an assessment that is older."""
SHORTEST_WAIT = 0.1


class PushedAssessments:
    """Keeps `assessments` in step with what is stored, from entering to leaving.

    `changed` is called after each change of what is stored, and when an assessment becomes stale.

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
        # Before the first reading: what changes during it is read again.
        self._follower = Follower(self._store, {ASSESSMENT.name}, self._follow, self._not_read)
        try:
            await self._take_up()
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
        await self._take_up()
        self._tell()

    async def _take_up(self) -> None:
        stored = await self._store.list(ASSESSMENT)
        listed = frozenset(one.id for one in stored)
        for subject in self._subjects - listed:
            self._assessments.forget(subject)
        self._subjects = listed
        max_age = timedelta(seconds=self._assessments.fresh_for)
        for one in stored:
            for assessment in assessments_in(one.id, one.document, self._now(), max_age):
                self._assessments.record(assessment)

    def _tell(self) -> None:
        self._changed()
        self._wait_until_stale()

    def _wait_until_stale(self) -> None:
        if self._stale is not None:
            self._stale.cancel()
        left = self._assessments.until_stale()
        loop = asyncio.get_running_loop()
        self._stale = None if left is None else loop.call_later(max(left, SHORTEST_WAIT), self._tell)

    def _not_read(self, error: StateUnavailable) -> None:
        self._log.error("assessments cannot be read; those known hold until they are stale", reason=str(error))


def merged(before: AssessmentDocument, assessment: Assessment, now: datetime) -> AssessmentDocument:
    """The document to store in place of `before`: of each fact the latest."""
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
    found = [
        Assessment(subject=subject, device_posture={integration: check.passed}, age=_age(check.at, now))
        for integration, check in document.device_posture.items()
    ]
    if (risk := document.user_risk) is not None:
        found.append(Assessment(subject=subject, user_risk=risk.level, age=_age(risk.at, now)))
    return [assessment for assessment in found if assessment.age <= max_age.total_seconds()]


def _age(at: datetime, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds())
