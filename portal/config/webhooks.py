"""What every section has that tells a webhook something: where it is, and with which secret it is signed."""

from __future__ import annotations

import base64
import ipaddress
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from portal.config.section import Section, http_url

# HMAC-SHA256 with a shorter key is weaker than its output.
MIN_SECRET = 24
_PREFIX = "whsec_"


def _webhook(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(http_url(value))
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must be a URL without user, password and fragment")
    if parts.scheme != "https" and not _is_this_machine(parts.hostname or ""):
        raise ValueError("must be an https:// URL")
    return value


def _is_this_machine(host: str) -> bool:
    """Whether a host of a URL is the machine of the portal, by its name."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class WebhookSection(Section):
    """`webhook` gets each notice in a POST that is signed with `secret`; "" for none. `allow_private` lets it be at an
    address of a private network.
    """

    webhook: Annotated[str, AfterValidator(_webhook)] = Field(default="", max_length=2048, repr=False)
    secret: str = Field(default="", max_length=1024, repr=False)
    allow_private: bool = False

    @model_validator(mode="after")
    def _is_signed(self) -> Self:
        if self.webhook and len(self.secret) < MIN_SECRET:
            raise ValueError(f"needs a `secret` of at least {MIN_SECRET} characters, with which notices are signed")
        try:
            _ = self.key
        except ValueError:
            raise ValueError("has a `secret` that begins with whsec_ and does not go on in base64") from None
        return self

    @property
    def key(self) -> bytes:
        """What notices are signed with: the secret, decoded if it has the form of Standard Webhooks."""
        if self.secret.startswith(_PREFIX):
            return base64.b64decode(self.secret.removeprefix(_PREFIX), validate=True)
        return self.secret.encode()

    @property
    def on_this_machine(self) -> bool:
        """Whether the webhook is on the machine of the portal."""
        return _is_this_machine(urlsplit(self.webhook).hostname or "")
