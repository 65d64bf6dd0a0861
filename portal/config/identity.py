"""The `portal.identity` section: who may sign in, under which public name, and what the portal tells its servers."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from portal.config.section import Section


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None
    return value


class MailServer(Section):
    """Where PINs are handed over for delivery; `sender` is their From address."""

    host: str = Field(min_length=1)
    sender: str = Field(min_length=3)
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: str = Field(default="", repr=False)


class PostureSource(Section):
    """How devices and people are doing: pushed through the admin API, and read from a URL (`{"assessments": [...]}`)
    every so many seconds where there is one. `integrations` are the checks that policies may ask for."""

    url: str = Field(default="", pattern=r"^(https?://[^\s/]+(/\S*)?)?$")
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)
    integrations: tuple[str, ...] = Field(default=(), max_length=100)
    every: float = Field(default=60.0, ge=1, le=86_400)
    fresh_for: float = Field(default=600.0, ge=1, le=86_400)


class IdentitySection(Section):
    """`public_url` is the https origin people and agents reach the portal by; without one it stays on loopback.

    `policies` are Access policies for the portal; without any its local administrators may use it and nobody else.
    `server_policies` are those of single servers, by id (without any, a configured server is for whoever may use the
    portal), `tool_policies` those of tools; `groups` and `lists` are what they refer to.
    `organization` is how signing in looks and goes, in the names of Cloudflare's organizations; what is stored wins.
    `contact` is whom those are told to ask who are refused: an e-mail address, a URL, or words.
    `pin` offers one-time PINs by e-mail. `oauth` is Cloudflare's `oauth_configuration`. `trusted_proxies` are the
    addresses whose `X-Forwarded-For` is believed, and with `client_certificates` their `Client-Cert` (RFC 9440).
    `countries` is a MaxMind file, `posture` says where device posture and risk scores come from;
    `external_evaluation` lets policies ask services they name.
    """

    public_url: str = ""
    policies: tuple[Mapping[str, object], ...] = Field(default=(), max_length=200)
    server_policies: Mapping[str, tuple[Mapping[str, object], ...]] = Field(default_factory=dict)
    tool_policies: tuple[Mapping[str, object], ...] = Field(default=(), max_length=200)
    groups: tuple[Mapping[str, object], ...] = Field(default=(), max_length=200)
    lists: tuple[Mapping[str, object], ...] = Field(default=(), max_length=200)
    contact: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f]*$")
    organization: Mapping[str, object] = Field(default_factory=dict, repr=False)
    pin: bool = False
    smtp: MailServer | None = None
    oauth: Mapping[str, object] = Field(default_factory=dict)
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    client_certificates: bool = False
    countries: Path | None = None
    posture: PostureSource | None = None
    external_evaluation: bool = False
