"""How signing in looks and goes: name, colours, methods offered, session duration, pages for the refused. Pure.

Documents say so, in Cloudflare's names. The store's `settings` object `login`, for all portals of an instance, and
below it `organization` in the configuration, have what Cloudflare's organization and application have: `name`,
`login_design {background_color, text_color, logo_path, header_text, footer_text}`, `session_duration`, `allowed_idps`,
`auto_redirect_to_identity`, `custom_deny_message`, `custom_deny_url`, `custom_deny_html`. The application of type
`mcp_portal` of one portal has `logo_url`, `session_duration`, `allowed_idps` and `auto_redirect_to_identity`; its pages
for the refused are in `blocks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import urlsplit

from portal.config import read_duration
from portal.objects import AppDocument

DENIED = "That account does not have access"
DURATION = timedelta(hours=24)
"""How long a session lasts where nothing else is said; so long, too, in every application that says nothing else."""
SHORTEST = timedelta(minutes=1)
_LOOKS = frozenset({"background_color", "text_color", "logo_path", "header_text", "footer_text"})
_SETTINGS = frozenset(
    {"login_design", "session_duration", "allowed_idps", "auto_redirect_to_identity"}
    | {"custom_deny_message", "custom_deny_url", "custom_deny_html"}
)
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")


class RulesInvalid(ValueError):
    """The document cannot be used; the text says which field and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What the pages look like. Colours are `#rrggbb`; `logo` is an https URL or ""."""

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
    """The answer to somebody without access: a page of their own, another site, or a sentence."""

    message: str = DENIED
    url: str = ""
    html: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRules:
    """How one portal signs people in. With `instant` the login page is skipped if one provider is the only way in."""

    design: Design = Design()
    block: Block = Block()
    session_duration: timedelta = DURATION
    instant: bool = False
    providers: tuple[str, ...] = ()
    """Ids of the providers that are offered; empty offers all."""


def read_rules(document: Mapping[str, object], name: str = "") -> LoginRules:
    """The rules of the login settings. `name` is what the portal is called if they do not name it.

    Raises:
        RulesInvalid: a field is not what it must be.
    """
    looks = document.get("login_design") or {}
    if not isinstance(looks, Mapping):
        raise RulesInvalid("login_design must be an object")
    default = Design()
    design = Design(
        name=_line(_text(document, "name", 100)) or _line(name) or default.name,
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
    lasts = _duration(document)
    if lasts < SHORTEST:
        raise RulesInvalid("session_duration must be at least one minute")
    return LoginRules(
        design=design,
        block=block,
        session_duration=lasts,
        instant=document.get("auto_redirect_to_identity") is True,
        providers=_providers(document),
    )


def read_defaults(document: Mapping[str, object]) -> Mapping[str, object]:
    """The login settings in a configuration, checked: those that hold where the store says nothing else.

    Raises:
        RulesInvalid: a field is not what it must be, or there is no such field.
    """
    if "name" in document:
        raise RulesInvalid("name is that of the portal: write it into `portal`")
    looks = document.get("login_design") or {}
    unknown = [*(set(document) - _SETTINGS), *(set(looks) - _LOOKS if isinstance(looks, Mapping) else ())]
    if unknown:
        known = ", ".join([*sorted(_SETTINGS), *sorted(_LOOKS)])
        raise RulesInvalid(f"{min(unknown)[:64]!r} is no setting of the login; there are: {known}")
    if not isinstance(document.get("auto_redirect_to_identity", False), bool):
        raise RulesInvalid("auto_redirect_to_identity must be true or false")
    read_rules(document)
    return document


def over(defaults: Mapping[str, object], stored: Mapping[str, object]) -> dict[str, object]:
    """The login settings of a configuration, with those that the store has in their place. An empty one says nothing.
    `login_design` is one setting."""
    return {**defaults, **{name: value for name, value in stored.items() if value not in ("", None, {}, [], ())}}


def with_application(rules: LoginRules, app: AppDocument) -> LoginRules:
    """The rules of a portal that has this application of type `mcp_portal`: what it names replaces theirs.

    Every application has a `session_duration`, of 24 hours if nobody wrote one. So another one holds, and at 24 hours
    the shorter of the two.

    Raises:
        RulesInvalid: a field is not what it must be.
    """
    lasts = max(_lasts(app.session_duration), SHORTEST)
    return replace(
        rules,
        design=replace(rules.design, logo=_logo(app) or rules.design.logo),
        session_duration=lasts if lasts != DURATION else min(lasts, rules.session_duration),
        instant=rules.instant or app.auto_redirect_to_identity,
        providers=app.allowed_idps or rules.providers,
    )


def _duration(document: Mapping[str, object]) -> timedelta:
    return _lasts(_text(document, "session_duration", 40))


def _lasts(text: str) -> timedelta:
    try:
        return read_duration(text) if text else DURATION
    except ValueError as error:
        raise RulesInvalid(f"session_duration {error}") from None


def _logo(app: AppDocument) -> str:
    """The application's logo, "" where it has none or only one in clear: a page loads nothing without TLS."""
    try:
        return _web({"logo_url": app.logo_url}, "logo_url")
    except RulesInvalid:
        return ""


def _providers(document: Mapping[str, object]) -> tuple[str, ...]:
    offered = document.get("allowed_idps") or ()
    if not isinstance(offered, list | tuple) or not all(isinstance(entry, str) for entry in offered):
        raise RulesInvalid("allowed_idps must be a list of ids")
    return tuple(offered)


def _line(text: str) -> str:
    """The text in one line: a name is part of the subject of a mail, which has no second one (RFC 5322 section 2.2)."""
    return " ".join(text.split())


def _text(document: Mapping[str, object], name: str, longest: int) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise RulesInvalid(f"{name} must be text of at most {longest} characters")
    return value


def _colour(document: Mapping[str, object], name: str) -> str:
    value = _text(document, name, 7)
    if value and not _COLOUR.fullmatch(value):
        raise RulesInvalid(f"{name} must be a colour such as #1c1c1a")
    return value


def _web(document: Mapping[str, object], name: str) -> str:
    value = _text(document, name, 2048)
    parts = urlsplit(value)
    if value and (parts.scheme != "https" or not re.fullmatch(r"[A-Za-z0-9.-]+(:\d+)?", parts.netloc)):
        raise RulesInvalid(f"{name} must be an https:// URL")
    return value
