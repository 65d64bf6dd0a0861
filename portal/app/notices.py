"""How the people of an instance are told that calls wait for them: over its portals, by the mail server in force."""

from __future__ import annotations

from collections.abc import Mapping

from portal.app.portal import Portal
from portal.app.shared import Shared
from portal.approvals import ApprovalNotices, NoticePlace
from portal.config import IdentitySection
from portal.notices import Mail, Smtp


class NoticeMail:
    """The mail server of the configuration in force. It has threads of its own, so that no PIN waits for a notice."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._section: IdentitySection | None = None
        self._mail: Mail | None = None

    def __call__(self) -> Mail | None:
        section = self._shared.config.portal.identity
        if section is not self._section:
            self._section, self._mail = section, Smtp.of(section)
        return self._mail


def approval_notices(shared: Shared, portals: Mapping[str, Portal]) -> ApprovalNotices:
    """What tells people of the approvals of these portals, to be entered."""
    assert shared.approvals is not None, "approvals are there where there is a store"

    def places() -> dict[str, NoticePlace]:
        # Where nobody signs in there are no pages, and before it listens a portal may not know its address.
        return {
            id: NoticePlace(portal.definition.name, portal.address)
            for id, portal in portals.items()
            if portal.identity is not None and portal.address
        }

    async def client_name(portal: str, client: str) -> str:
        found = portals.get(portal)
        return await found.identity.client_name(client) if found is not None and found.identity is not None else ""

    return ApprovalNotices(
        shared.require_store(),
        shared.approvals,
        lambda: shared.config.portal.approval_notices,
        NoticeMail(shared),
        places,
        client_name,
        shared.events,
        shared.parts.now,
    )
