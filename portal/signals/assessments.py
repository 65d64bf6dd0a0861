"""Device posture and risk scores: pushed by an API or read from a URL, believed for as long as they are fresh."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Annotated, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from portal.egress import AddressRule, Fetcher, FetchFailed
from portal.identity import Identity

MAX_SUBJECTS = 100_000
MAX_BYTES = 32 * 1024 * 1024
SECONDS = 15.0
FRESH_SECONDS = 600.0
log = structlog.get_logger("portal.access")

Text = Annotated[str, Field(min_length=1, max_length=512)]


class Assessment(BaseModel):
    """What a source says of one caller; what it does not mention stays as it was. `subject` is an id or an e-mail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Text
    device_posture: Annotated[Mapping[Text, bool], Field(max_length=100)] | None = None
    user_risk: Literal["low", "medium", "high", "unscored"] | None = None
    age: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Seconds since the source found out."""


class AssessmentList(BaseModel):
    """What a posture source answers with: `{"assessments": [...]}`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    assessments: Annotated[tuple[Assessment, ...], Field(max_length=MAX_SUBJECTS)]


@dataclass(slots=True)
class _Known:
    posture: dict[str, tuple[bool, float]] = field(default_factory=dict)
    risk: tuple[str, float] | None = None


class Assessments:
    """What is known now. `fresh_for` is how many seconds something said is believed, by `clock`."""

    def __init__(self, fresh_for: float = FRESH_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.fresh_for = fresh_for
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def record(self, assessment: Assessment) -> None:
        """Of each fact what was found out last is kept."""
        subject = assessment.subject.lower()
        known = self._known.setdefault(subject, _Known())
        self._known.move_to_end(subject)
        said = self._clock() - assessment.age
        for integration, passed in (assessment.device_posture or {}).items():
            if integration not in known.posture or known.posture[integration][1] <= said:
                known.posture[integration] = (passed, said)
        if assessment.user_risk is not None and (known.risk is None or known.risk[1] <= said):
            known.risk = (assessment.user_risk, said)
        while len(self._known) > MAX_SUBJECTS:
            self._known.popitem(last=False)

    def forget(self, subject: str) -> None:
        self._known.pop(subject.lower(), None)

    def until_stale(self) -> float | None:
        """Seconds until the next of what is believed now is no longer; None when there is none."""
        oldest = self._clock() - self.fresh_for
        said = (
            moment
            for known in self._known.values()
            for _, moment in (*known.posture.values(), *((known.risk,) if known.risk is not None else ()))
            if moment >= oldest
        )
        first = min(said, default=None)
        return None if first is None else first - oldest

    def of(self, identity: Identity) -> tuple[Mapping[str, bool], str]:
        """(device posture, risk) of a caller, as far as it is fresh. What is said of the id goes before the e-mail."""
        oldest = self._clock() - self.fresh_for
        posture: dict[str, bool] = {}
        risk = ""
        for subject in (identity.email.lower(), identity.key.lower()):
            known = self._known.get(subject) if subject else None
            if known is None:
                continue
            posture.update({name: passed for name, (passed, said) in known.posture.items() if said >= oldest})
            if known.risk is not None and known.risk[1] >= oldest:
                risk = known.risk[0]
        return posture, risk


class PostureFeed:
    """Reads a URL again and again while it is open (an async context manager), and tells `changed` each time it has.

    The source answers with `{"assessments": [{"subject", "device_posture"?, "user_risk"?, "age"?}, ...]}`. While it
    does not answer, what it said goes stale, and the policies treat it as unknown.
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
        self._task = asyncio.create_task(self._again(), name="posture feed")
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
            received = AssessmentList.model_validate_json(answer.body)
        except FetchFailed as error:
            log.warning("posture_source_failed", problem=str(error))
            return False
        except ValidationError as error:
            log.warning("posture_source_not_understood", problems=error.error_count())
            return False
        for assessment in received.assessments:
            self._assessments.record(assessment)
        self._changed()
        return True

    async def _again(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.read()
