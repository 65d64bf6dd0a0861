"""What was found out of people and their devices, pushed: `access/assessments`. Ours; Cloudflare asks vendors itself.

It is stored, so that a restart forgets nothing and every process on the database knows it. How long it is believed, a
portal's own configuration says.
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
    """The same entries as those of a posture source's answer."""

    model_config = ConfigDict(extra="forbid")

    assessments: Annotated[tuple[Assessment, ...], Field(min_length=1, max_length=MAX_AT_ONCE)]


class Recorded(BaseModel):
    recorded: int


class Checked(BaseModel):
    """`at` is when the one who assesses found out."""

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
        one, shown, area = PATH + "/{id}", ShownAssessment, POSTURE
        return [
            Operation(
                "GET", PATH, "List what is known of people and their devices", self._list, shown, area, listed=True
            ),
            Operation("POST", PATH, "Say what was found out of some", self._push, Recorded, area, PushBody),
            Operation("GET", one, "Show what is known of one", self._get, shown, area),
            Operation("DELETE", one, "Forget what is known of one", self._delete, Removed, area, status=202),
        ]

    async def _list(self, asked: ApiRequest) -> ListAnswer[ShownAssessment]:
        wanted = asked.paging.search.lower()
        found = await self._store.scan(ASSESSMENT)
        return ListAnswer([_shown(one) for one in found.stored if wanted in one.id], found.broken)

    async def _get(self, asked: ApiRequest) -> ShownAssessment:
        stored = await self._store.get(ASSESSMENT, asked.path["id"].lower())
        if stored is None:
            raise not_found("assessment")
        return _shown(stored)

    async def _delete(self, asked: ApiRequest) -> Removed:
        return Removed(id=(await self._store.delete(ASSESSMENT, asked.path["id"].lower(), by=asked.by)).id)

    async def _push(self, asked: ApiRequest) -> Recorded:
        body = asked.read(PushBody)
        integrations = self._settings.integrations
        if integrations is None:
            raise conflict("no posture is configured for this portal: set portal.identity.posture")
        for position, one in enumerate(body.assessments):
            if not integrations.issuperset(one.device_posture or ()):
                pointer = f"/assessments/{position}/device_posture"
                raise invalid("an integration is not one of portal.identity.posture.integrations", pointer)
        now = self._clock()
        async with self._store.transaction() as transaction:
            for one in body.assessments:
                await _record(transaction, one, now, asked.by)
        return Recorded(recorded=len(body.assessments))


async def _record(transaction: Transaction, told: Assessment, now: datetime, by: str) -> None:
    subject = told.subject.lower()
    before = await transaction.find(ASSESSMENT, subject)
    # In the place of one that cannot be read come the new facts alone: the others are unknown then.
    document = merged(before.document if isinstance(before, Stored) else AssessmentDocument(), told, now)
    if before is not None:
        await transaction.replace(ASSESSMENT, subject, document, by=by)
        return
    known = await transaction.list(ASSESSMENT)
    if len(known) >= MAX_SUBJECTS:
        over = [one.id for one in known if not assessments_in(one.id, one.document, now, MAX_AGE)]
        if not over:
            raise in_use(f"there are {MAX_SUBJECTS} of them already")
        for id in over:
            await transaction.delete(ASSESSMENT, id, by=by)
    await transaction.create(ASSESSMENT, subject, document, by=by)


def _shown(stored: Stored[AssessmentDocument]) -> ShownAssessment:
    return ShownAssessment.model_validate({**ASSESSMENT.members(stored.document), "subject": stored.id})
