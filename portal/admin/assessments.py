"""Assessments of people and their devices, pushed by other services: `access/assessments`.

This is ours: Cloudflare asks the vendors itself. Assessments are stored, so they outlast a restart and every process on
the database sees them. The configuration of a portal says how long they are valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from portal.admin.api.answers import ListAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Removed
from portal.admin.api.errors import conflict, in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import POSTURE
from portal.signals import ASSESSMENT, MAX_AGE, Assessment, AssessmentDocument, assessments_in, merged
from portal.state import Clock, Store, Stored, Transaction

PATH = "/access/assessments"
MAX_AT_ONCE = 100
MAX_SUBJECTS = 10_000


class PushBody(BaseModel):
    """Assessments, in the same form as in the answer of a posture source."""

    model_config = ConfigDict(extra="forbid")

    assessments: Annotated[tuple[Assessment, ...], Field(min_length=1, max_length=MAX_AT_ONCE)]


class Recorded(BaseModel):
    recorded: int


class Checked(BaseModel):
    """`at` is the time of the check, as the assessing service gives it."""

    passed: bool
    at: datetime


class Risk(BaseModel):
    level: str
    at: datetime


class ShownAssessment(BaseModel):
    subject: str
    device_posture: Mapping[str, Checked] = {}
    user_risk: Risk | None = None


class AssessmentApi:
    def __init__(self, store: Store, clock: Clock, settings: AdminSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings

    def operations(self) -> list[Operation]:
        item, answer, area = PATH + "/{id}", ShownAssessment, POSTURE
        return [
            Operation(
                "GET", PATH, "List assessments of people and their devices", self._list, answer, area, listed=True
            ),
            Operation("POST", PATH, "Record assessments", self._push, Recorded, area, PushBody),
            Operation("GET", item, "Show the assessments of a subject", self._get, answer, area),
            Operation("DELETE", item, "Delete the assessments of a subject", self._delete, Removed, area, status=202),
        ]

    async def _list(self, request: ApiRequest) -> ListAnswer[ShownAssessment]:
        search = request.paging.search.lower()
        scan = await self._store.scan(ASSESSMENT)
        return ListAnswer([_shown(one) for one in scan.stored if search in one.id], scan.broken)

    async def _get(self, request: ApiRequest) -> ShownAssessment:
        stored = await self._store.get(ASSESSMENT, request.path["id"].lower())
        if stored is None:
            raise not_found("assessment")
        return _shown(stored)

    async def _delete(self, request: ApiRequest) -> Removed:
        return Removed(id=(await self._store.delete(ASSESSMENT, request.path["id"].lower(), by=request.by)).id)

    async def _push(self, request: ApiRequest) -> Recorded:
        body = request.read(PushBody)
        integrations = self._settings.integrations
        if integrations is None:
            raise conflict("no posture is configured for this portal: set portal.identity.posture")
        for position, assessment in enumerate(body.assessments):
            if not integrations.issuperset(assessment.device_posture or ()):
                pointer = f"/assessments/{position}/device_posture"
                raise invalid("an integration is not one of portal.identity.posture.integrations", pointer)
        now = self._clock()
        async with self._store.transaction() as transaction:
            for assessment in body.assessments:
                await _record(transaction, assessment, now, request.by)
        return Recorded(recorded=len(body.assessments))


async def _record(transaction: Transaction, assessment: Assessment, now: datetime, by: str) -> None:
    subject = assessment.subject.lower()
    before = await transaction.find(ASSESSMENT, subject)
    # A stored document that cannot be read is replaced by the new facts alone; its other facts are lost.
    document = merged(before.document if isinstance(before, Stored) else AssessmentDocument(), assessment, now)
    if before is not None:
        await transaction.replace(ASSESSMENT, subject, document, by=by)
        return
    stored = await transaction.list(ASSESSMENT)
    if len(stored) >= MAX_SUBJECTS:
        expired = [one.id for one in stored if not assessments_in(one.id, one.document, now, MAX_AGE)]
        if not expired:
            raise in_use(f"there are already {MAX_SUBJECTS} subjects, the most allowed")
        for id in expired:
            await transaction.delete(ASSESSMENT, id, by=by)
    await transaction.create(ASSESSMENT, subject, document, by=by)


def _shown(stored: Stored[AssessmentDocument]) -> ShownAssessment:
    return ShownAssessment.model_validate({**ASSESSMENT.members(stored.document), "subject": stored.id})
