"""The `portal.credentialNotices` section: when an administrator is told that a login of the portal ends, and where."""

from __future__ import annotations

from pydantic import Field

from portal.config.webhooks import WebhookSection

WEEK = 7 * 86_400.0


class CredentialNoticesSection(WebhookSection):
    """`lead` is how many seconds before its end a login is announced, and at most a quarter of its life. Without a
    `webhook` the portal only logs it."""

    lead: float = Field(default=WEEK, ge=0, le=366 * 86_400, allow_inf_nan=False)
