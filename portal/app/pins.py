"""Where an instance keeps what was approved of its pinned servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portal.config import Config
from portal.pins import ApprovalStore, FileApprovals, StoredApprovals

if TYPE_CHECKING:
    from portal.state import Store


def place_of(config: Config, store: Store | None) -> ApprovalStore | None:
    """The file of the configuration, or the database, or None if there is neither."""
    if config.portal.pinned is not None:
        return FileApprovals(config.portal.pinned)
    return StoredApprovals(store) if store is not None else None
