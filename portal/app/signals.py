"""What an instance knows of callers besides their login: opened as the configuration says, and opened again when it
says something else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from portal.config import IdentitySection
from portal.signals import Assessments, Countries, Evaluations, KnownSignals, PostureFeed, PushedAssessments, Sign
from portal.state import Clock, Store, utc_now


class SignalSources:
    """The configured sources. `changed` is called when one of them has another answer."""

    def __init__(self, store: Store, sign: Sign, changed: Callable[[], None], now: Clock = utc_now) -> None:
        """`sign` makes the JWTs that external evaluations are asked with. `store` has what was pushed."""
        self._sources: tuple[Countries | None, Assessments | None, Evaluations | None] = (None, None, None)
        self._store = store
        self._sign = sign
        self._changed = changed
        self._now = now
        self._settings: tuple[object, ...] | None = None
        self._open = AsyncExitStack()

    async def apply(self, section: IdentitySection) -> bool:
        """Whether anything changed.

        Raises:
            PolicyError: the country database cannot be used. The former sources stay.
        """
        settings = (section.posture, section.countries, section.external_evaluation)
        if settings == self._settings:
            return False
        async with AsyncExitStack() as stack:
            sources = await self._opened(section, stack)
            former, self._open = self._open, stack.pop_all()
        self._sources, self._settings = sources, settings
        await former.aclose()
        return True

    def known(self) -> KnownSignals:
        """What is known of the callers of one portal. Each portal has its own, because each asks other evaluations."""
        countries, assessments, evaluations = self._sources
        return KnownSignals(countries=countries, assessments=assessments, evaluations=evaluations)

    async def aclose(self) -> None:
        await self._open.aclose()

    async def _opened(
        self, section: IdentitySection, stack: AsyncExitStack
    ) -> tuple[Countries | None, Assessments | None, Evaluations | None]:
        assessments = None
        if (posture := section.posture) is not None:
            # By the wall clock, not a monotonic one: what was pushed outlives this process.
            assessments = Assessments(posture.fresh_for, lambda: self._now().timestamp())
            if posture.url:
                feed = PostureFeed(
                    posture.url, assessments, headers=posture.headers, every=posture.every, changed=self._changed
                )
                await stack.enter_async_context(feed)
            await stack.enter_async_context(PushedAssessments(self._store, assessments, self._changed, self._now))
        evaluations = None
        if section.external_evaluation:
            evaluations = Evaluations(self._sign)
            stack.push_async_callback(evaluations.aclose)
        countries = Countries.open(section.countries) if section.countries is not None else None
        return countries, assessments, evaluations
