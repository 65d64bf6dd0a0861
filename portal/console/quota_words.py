"""Quotas in words, those of the store and those of the operator's document. Pure."""

from __future__ import annotations

from datetime import timedelta

from portal.admin import ConfiguredQuota, ShownQuota
from portal.config import say_duration
from portal.console.visit import OWN_PORTAL_NAME


def lasting(seconds: int) -> str:
    return say_duration(timedelta(seconds=seconds))


def quota_words(quota: ShownQuota | ConfiguredQuota) -> str:
    """What a quota allows."""
    per = " and ".join(quota.per)
    whom = f"for each {per}" if per else "for all together"
    return f"{quota.calls:,} calls in {lasting(quota.period)}, {whom}"


def about_words(quota: ShownQuota | ConfiguredQuota) -> str:
    """What a quota is about."""
    portals = [id or OWN_PORTAL_NAME.lower() for id in quota.portals]
    named = (("portals", portals), ("servers", quota.servers), ("tools", quota.tools))
    return "; ".join(f"{noun}: {', '.join(ids)}" for noun, ids in named if ids) or "Every call"
