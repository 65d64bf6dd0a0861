"""The definitions of all portals, from the document and from the database. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from portal.config import (
    RESERVED_IDS,
    CapabilityOverride,
    CodeModePolicy,
    Config,
    PortalEntry,
    PortalServerEntry,
)
from portal.http import hostname_of, is_loopback
from portal.objects import CapabilitySetting, PortalDocument, PortalServer

if TYPE_CHECKING:
    from portal.state import Stored

OWN = ""
"""The id of the document's own portal, which every instance has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalDefinition:
    """The definition of one portal.

    `hostname` is its own host name, or "" if it has only a path. `servers` are its servers; None for the document's own
    portal, which has every server. `name` is shown on pages and in mails and clients. With `renameable`, pages and
    mails use the name in the stored login settings, as soon as there is one. `from_store` marks a stored portal.
    """

    id: str
    name: str
    hostname: str = ""
    description: str | None = None
    instructions: str | None = None
    code_mode: CodeModePolicy = CodeModePolicy.OPT_IN
    secure_web_gateway: bool = False
    servers: tuple[PortalServer, ...] | None = None
    policies: tuple[Mapping[str, object], ...] = ()
    tool_policies: tuple[Mapping[str, object], ...] = ()
    renameable: bool = False
    from_store: bool = False

    @property
    def prefix(self) -> str:
        """The prefix of its paths on the instance's address."""
        return f"/{self.id}" if self.id and self.id.lower() not in RESERVED_IDS else ""


def own_hostname(config: Config) -> str:
    """The host name of the document's own portal. A stored portal with this host name has its settings."""
    section = config.portal.identity
    return hostname_of(section.public_url if section is not None else "")


def definitions(
    config: Config, stored: Sequence[Stored[PortalDocument]] = (), login_name: str = ""
) -> dict[str, PortalDefinition]:
    """The portals by id: the document's own, its further ones, then those of the database.

    The document's own portal takes its name from the stored portal of its host name, otherwise from the login settings
    (`login_name`), otherwise from the document.
    An id or a host name belongs to the first portal that has it. A stored portal whose host name is taken keeps its
    path.
    """
    own_host = own_hostname(config)
    own = next((one.document for one in stored if one.document.hostname == own_host), None)
    portals = {OWN: _own(config, own, login_name)}
    hosts = {own_host}
    for entry in (*map(_of_document, config.portals.values()), *map(_of_store, stored)):
        if entry.id in portals:
            continue
        if entry.hostname in hosts:
            entry = replace(entry, hostname="")
        hosts.add(entry.hostname)
        portals[entry.id] = entry
    return portals


def _own(config: Config, stored: PortalDocument | None, login_name: str) -> PortalDefinition:
    section, settings = config.portal.identity, config.portal
    stored_name = _line(stored.name) if stored is not None else ""
    return PortalDefinition(
        id=OWN,
        name=stored_name or login_name or settings.name,
        renameable=not stored_name,
        hostname=own_hostname(config),
        instructions=settings.instructions,
        code_mode=stored.code_mode if stored is not None else settings.code_mode,
        # The operator's document cannot be undone from the store.
        secure_web_gateway=settings.secure_web_gateway or (stored is not None and stored.secure_web_gateway),
        policies=tuple(section.policies) if section is not None else (),
    )


def _of_document(entry: PortalEntry) -> PortalDefinition:
    return PortalDefinition(
        id=entry.id,
        name=entry.name or entry.id,
        hostname=entry.hostname,
        description=entry.description,
        instructions=entry.instructions,
        code_mode=entry.code_mode,
        secure_web_gateway=entry.secure_web_gateway,
        servers=tuple(map(_server_of_document, entry.servers)),
        policies=tuple(entry.policies),
        tool_policies=tuple(entry.tool_policies),
    )


def _server_of_document(entry: PortalServerEntry) -> PortalServer:
    return PortalServer(
        server_id=entry.server_id,
        default_disabled=entry.default_disabled,
        on_behalf=entry.on_behalf,
        updated_tools=tuple(map(_setting, entry.updated_tools)),
        updated_prompts=tuple(map(_setting, entry.updated_prompts)),
    )


def _setting(override: CapabilityOverride) -> CapabilitySetting:
    return CapabilitySetting.model_validate(override.model_dump())


def _of_store(stored: Stored[PortalDocument]) -> PortalDefinition:
    document = stored.document
    return PortalDefinition(
        id=stored.id,
        name=_line(document.name) or stored.id,
        hostname=document.hostname,
        description=document.description,
        instructions=document.instructions,
        code_mode=document.code_mode,
        secure_web_gateway=document.secure_web_gateway,
        servers=document.servers,
        from_store=True,
    )


def _line(text: str) -> str:
    """The text in one line, for pages and the subjects of mails: a stored name may be any text."""
    return " ".join(text.split())


def host_url(definition: PortalDefinition, public_url: str) -> str:
    """The origin of a portal's own host name, with the scheme and port of the instance; "" if it has none.

    Also "" for a loopback name without a public URL: the port may be unknown before the portal listens, so the
    request's own origin is used.
    """
    if not definition.id or not definition.hostname:
        return ""
    if not public_url:
        return "" if is_loopback(definition.hostname) else f"https://{definition.hostname}"
    parts = urlsplit(public_url)
    return f"{parts.scheme}://{definition.hostname}" + (f":{parts.port}" if parts.port else "")
