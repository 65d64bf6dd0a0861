"""Assessments pushed through the admin API: how they are stored, and how a running portal takes them up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

import structlog

from portal.signals.assessments import Assessment, Assessments
from portal.state import Clock, Follower, StateUnavailable, Store

ASSESSMENT = "assessment"
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
        self._follower = Follower(self._store, {ASSESSMENT}, self._follow, self._not_read)
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


def merged(before: Mapping[str, Any], assessment: Assessment, now: datetime) -> dict[str, Any]:
    """The document to store in place of `before`: of each fact the latest."""
    at = (now - timedelta(seconds=min(assessment.age, MAX_AGE.total_seconds() * 2))).isoformat()
    posture = dict(before.get("device_posture", {}))
    for integration, passed in (assessment.device_posture or {}).items():
        if integration not in posture or not _is_later(posture[integration]["at"], at):
            posture[integration] = {"passed": passed, "at": at}
    risk = before.get("user_risk")
    if assessment.user_risk is not None and (risk is None or not _is_later(risk["at"], at)):
        risk = {"level": assessment.user_risk, "at": at}
    return {"device_posture": posture, "user_risk": risk}


def assessments_in(subject: str, document: Mapping[str, Any], now: datetime, max_age: timedelta) -> list[Assessment]:
    """The assessments in a stored document, one for each fact with its age, without those older than `max_age`."""
    found = [
        Assessment(subject=subject, device_posture={integration: entry["passed"]}, age=_age(entry, now))
        for integration, entry in document["device_posture"].items()
    ]
    if (risk := document["user_risk"]) is not None:
        found.append(Assessment(subject=subject, user_risk=risk["level"], age=_age(risk, now)))
    return [assessment for assessment in found if assessment.age <= max_age.total_seconds()]


def _age(entry: Mapping[str, Any], now: datetime) -> float:
    return max(0.0, (now - datetime.fromisoformat(entry["at"])).total_seconds())


def _is_later(one: str, other: str) -> bool:
    return datetime.fromisoformat(one) > datetime.fromisoformat(other)
