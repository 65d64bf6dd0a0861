"""How logging in looks and goes: name, colours, methods offered, session duration, what the refused are shown. Pure.

The document is the store's `settings` object `login`, in the words of Cloudflare's organization and application:
`name`, `login_design {background_color, text_color, logo_path, header_text, footer_text}`, `session_duration`,
`allowed_idps`, `auto_redirect_to_identity`, `custom_deny_message`, `custom_deny_url`, `custom_deny_html`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from portal.config import read_duration

DENIED = "That account does not have access"
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")


class RulesInvalid(ValueError):
    """The document cannot be used; the text says which field and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What the pages look like. Colours are `#rrggbb`; `logo` is an https URL or "" """

    name: str = "Codemode Portal"
    logo: str = ""
    background: str = "#f4f4f1"
    text: str = "#1c1c1a"
    header: str = ""
    footer: str = ""

    @property
    def logo_origin(self) -> str:
        parts = urlsplit(self.logo)
        return f"{parts.scheme}://{parts.netloc}" if self.logo else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What somebody without access is shown: a page of their own, another site, or a sentence."""

    message: str = DENIED
    url: str = ""
    html: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRules:
    design: Design = Design()
    block: Block = Block()
    session_duration: timedelta = timedelta(hours=24)
    instant: bool = False
    providers: tuple[str, ...] = ()
    """Ids of the providers offered; empty offers all."""


def read_rules(document: Mapping[str, Any]) -> LoginRules:
    """
    Raises:
        RulesInvalid: a field is not what it must be.
    """
    looks = document.get("login_design") or {}
    if not isinstance(looks, Mapping):
        raise RulesInvalid("login_design must be an object")
    default = Design()
    design = Design(
        name=_text(document, "name", 100) or default.name,
        logo=_web(looks, "logo_path"),
        background=_colour(looks, "background_color") or default.background,
        text=_colour(looks, "text_color") or default.text,
        header=_text(looks, "header_text", 500),
        footer=_text(looks, "footer_text", 500),
    )
    block = Block(
        message=_text(document, "custom_deny_message", 2000) or DENIED,
        url=_web(document, "custom_deny_url"),
        html=_text(document, "custom_deny_html", 200_000),
    )
    try:
        lasts = read_duration(_text(document, "session_duration", 40) or "24h")
    except ValueError as error:
        raise RulesInvalid(f"session_duration {error}") from None
    if lasts < timedelta(minutes=1):
        raise RulesInvalid("session_duration must be at least one minute")
    offered = document.get("allowed_idps") or ()
    if not isinstance(offered, list | tuple) or not all(isinstance(entry, str) for entry in offered):
        raise RulesInvalid("allowed_idps must be a list of ids")
    return LoginRules(
        design=design,
        block=block,
        session_duration=lasts,
        instant=document.get("auto_redirect_to_identity") is True,
        providers=tuple(offered),
    )


def _text(document: Mapping[str, Any], name: str, longest: int) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise RulesInvalid(f"{name} must be text of at most {longest} characters")
    return value


def _colour(document: Mapping[str, Any], name: str) -> str:
    value = _text(document, name, 7)
    if value and not _COLOUR.fullmatch(value):
        raise RulesInvalid(f"{name} must be a colour such as #1c1c1a")
    return value


def _web(document: Mapping[str, Any], name: str) -> str:
    value = _text(document, name, 2048)
    parts = urlsplit(value)
    if value and (parts.scheme != "https" or not re.fullmatch(r"[A-Za-z0-9.-]+(:\d+)?", parts.netloc)):
        raise RulesInvalid(f"{name} must be an https:// URL")
    return value
