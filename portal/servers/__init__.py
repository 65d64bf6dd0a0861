"""The registry of upstream servers and the snapshot of what they offer."""

from portal.servers.listing_changes import SERVER_CHANGES, ChangedDefinition, ListingChange
from portal.servers.servers import Lease, Servers
from portal.servers.snapshot import ServerSnapshot, Snapshot, tools_by_server
from portal.servers.stored import Fault, History, StoredServers, server_config

__all__ = [
    "SERVER_CHANGES",
    "ChangedDefinition",
    "Fault",
    "History",
    "Lease",
    "ListingChange",
    "ServerSnapshot",
    "Servers",
    "Snapshot",
    "StoredServers",
    "server_config",
    "tools_by_server",
]
