"""What a served portal knows of callers besides their login, as its configuration says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network

from portal.access import Sources
from portal.config import IdentitySection
from portal.signals import (
    Assessments,
    ClientCertificates,
    Countries,
    Evaluations,
    KnownSignals,
    PostureFeed,
    PushedAssessments,
    Sign,
)
from portal.state import Clock, Store, utc_now


@asynccontextmanager
async def signals_of(
    section: IdentitySection,
    sign: Sign,
    changed: Callable[[], None],
    store: Store | None = None,
    now: Clock = utc_now,
) -> AsyncIterator[KnownSignals]:
    """The configured sources, open until the block ends. `sign` makes the JWTs that ask external evaluations; in
    `store` is what was pushed.

    Raises:
        PolicyError: the country database cannot be used.
    """
    async with AsyncExitStack() as stack:
        assessments = None
        if (posture := section.posture) is not None:
            # By the clock on the wall: what was pushed outlives this process.
            assessments = Assessments(posture.fresh_for, lambda: now().timestamp())
            if posture.url:
                headers, every = posture.headers, posture.every
                feed = PostureFeed(posture.url, assessments, headers=headers, every=every, changed=changed)
                await stack.enter_async_context(feed)
            if store is not None:
                await stack.enter_async_context(PushedAssessments(store, assessments, changed, now))
        evaluations = None
        if section.external_evaluation:
            evaluations = Evaluations(sign)
            stack.push_async_callback(evaluations.aclose)
        yield KnownSignals(
            countries=Countries.open(section.countries) if section.countries is not None else None,
            assessments=assessments,
            evaluations=evaluations,
        )


def with_sources(section: IdentitySection, sources: Sources) -> Sources:
    """What policies may ask for, with what the section configures."""
    return replace(
        sources,
        certificates=section.client_certificates and bool(section.trusted_proxies),
        geo=section.countries is not None,
        device_posture=frozenset(section.posture.integrations) if section.posture is not None else frozenset(),
        user_risk=section.posture is not None,
        external_evaluation=section.external_evaluation,
    )


def enrich_of(section: IdentitySection) -> ClientCertificates | None:
    """What adds the certificate of a connection to its caller."""
    if not section.client_certificates:
        return None
    return ClientCertificates([ip_network(proxy) for proxy in section.trusted_proxies])
