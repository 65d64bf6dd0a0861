"""Sends a notice to the webhook of an administrator, signed as in Standard Webhooks.

Source: https://www.standardwebhooks.com, "Specification": the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature`, the last with an HMAC-SHA256 over the first two and the body.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode

from portal.config import WebhookSection
from portal.egress import AddressRule, Fetcher, FetchFailed, Wish, Wisher

MAX_ANSWER = 64 * 1024
SEND_SECONDS = 10.0


class WebhookFailed(Exception):
    """A notice was not taken. The text has nothing of the URL or of the answer in it."""


class Webhook:
    """Sends notices to the webhook of the settings, which come with each notice. Its maker closes it."""

    def __init__(self) -> None:
        # Wherever it may be, an administrator named it.
        wish = Wish(Wisher.ADMINISTRATOR)
        self._fetchers = {
            rule: Fetcher(rule, limit=MAX_ANSWER, seconds=SEND_SECONDS, wish=wish, keep_alive=False)
            for rule in AddressRule
        }

    async def aclose(self) -> None:
        for fetcher in self._fetchers.values():
            await fetcher.aclose()

    async def send(self, settings: WebhookSection, id: str, at: int, body: bytes) -> None:
        """Send a body of JSON once. `at` is a Unix time; the receiver knows by `id` what it has had already.

        Raises:
            WebhookFailed: it was not taken.
        """
        private = settings.allow_private or settings.on_this_machine
        fetcher = self._fetchers[AddressRule.NOT_LINK_LOCAL if private else AddressRule.PUBLIC_ONLY]
        headers = {
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(at),
            "webhook-signature": signature(settings.key, id, at, body),
        }
        try:
            await fetcher.fetch(settings.webhook, method="POST", headers=headers, body=body, statuses=range(200, 300))
        except FetchFailed as failure:
            raise WebhookFailed(str(failure)) from failure


def signature(key: bytes, id: str, at: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    digest = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{b64encode(digest).decode()}"
