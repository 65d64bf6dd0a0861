"""Pinned servers: their first listing is approved, and definitions that are new or change later wait for approval."""

from portal.pins.approvals import ApprovalStore, PinsUnusable
from portal.pins.definitions import PendingDefinition, approve_all, canonical, digest, judge
from portal.pins.file_approvals import FileApprovals
from portal.pins.pinning import Pinning, ScreenedListing, screen
from portal.pins.schema_changes import Level, SchemaChange, Side, schema_changes
from portal.pins.selection import NotPending, select_pending
from portal.pins.stored_approvals import StoredApprovals
from portal.pins.wording import describe_changes

__all__ = [
    "ApprovalStore",
    "FileApprovals",
    "Level",
    "NotPending",
    "PendingDefinition",
    "Pinning",
    "PinsUnusable",
    "SchemaChange",
    "ScreenedListing",
    "Side",
    "StoredApprovals",
    "approve_all",
    "canonical",
    "describe_changes",
    "digest",
    "judge",
    "schema_changes",
    "screen",
    "select_pending",
]
