"""What the admin API was told of people and their devices, taken up by a portal that runs until it is stale."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog

from portal.signals.assessments import Assessment, Assessments
from portal.state import Clock, StateError, Store, beside_changes

SHORTEST_WAIT = 0.1


@asynccontextmanager
async def pushed_followed(
    store: Store, assessments: Assessments, changed: Callable[[], None], now: Clock
) -> AsyncIterator[None]:
    """While the block lasts, `assessments` knows what is stored; `changed` is called when that, or its staleness, makes
    a difference."""
    known: set[str] = set()

    async def take_up() -> None:
        stored = await store.list(KIND)
        there = {one.id for one in stored}
        for subject in known - there:
            assessments.forget(subject)
        known.clear()
        known.update(there)
        lately = timedelta(seconds=assessments.fresh_for)
        for one in stored:
            for told in told_of(one.id, one.document, now(), lately):
                assessments.record(told)

    async def follow(outdated: asyncio.Event) -> None:
        while True:
            try:
                left = assessments.until_stale()
                async with asyncio.timeout(None if left is None else max(left, SHORTEST_WAIT)):
                    await outdated.wait()
                outdated.clear()
                await take_up()
            except TimeoutError:
                # Something went stale: who was let in by it hears that the lists are others now.
                pass
            except StateError as error:
                structlog.get_logger("portal.access").error("assessments cannot be read", reason=str(error))
            changed()

    await take_up()
    async with beside_changes(store, {KIND}, follow):
        yield


KIND = "assessment"


KEPT = timedelta(days=1)
"""No portal believes anything longer than this."""


def merged(before: Mapping[str, Any], told: Assessment, now: datetime) -> dict[str, Any]:
    """What is stored once this was said: of each fact what was found out last."""
    at = (now - timedelta(seconds=min(told.age, KEPT.total_seconds() * 2))).isoformat()
    posture = dict(before.get("device_posture", {}))
    for integration, passed in (told.device_posture or {}).items():
        if integration not in posture or not _later(posture[integration]["at"], at):
            posture[integration] = {"passed": passed, "at": at}
    risk = before.get("user_risk")
    if told.user_risk is not None and (risk is None or not _later(risk["at"], at)):
        risk = {"level": told.user_risk, "at": at}
    return {"device_posture": posture, "user_risk": risk}


def told_of(subject: str, document: Mapping[str, Any], now: datetime, lately: timedelta) -> list[Assessment]:
    """What a stored document says, as if it were said now: each fact with its age, as far as it is that young."""
    told = [
        Assessment(subject=subject, device_posture={integration: entry["passed"]}, age=_age(entry, now))
        for integration, entry in document["device_posture"].items()
    ]
    if (risk := document["user_risk"]) is not None:
        told.append(Assessment(subject=subject, user_risk=risk["level"], age=_age(risk, now)))
    return [one for one in told if one.age <= lately.total_seconds()]


def _age(entry: Mapping[str, Any], now: datetime) -> float:
    return max(0.0, (now - datetime.fromisoformat(entry["at"])).total_seconds())


def _later(one: str, other: str) -> bool:
    return datetime.fromisoformat(one) > datetime.fromisoformat(other)
