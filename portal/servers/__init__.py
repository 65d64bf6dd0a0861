"""The registry of upstream servers and the snapshot of what they offer."""

from portal.servers.listing_changes import ListingChange
from portal.servers.servers import Lease, Servers
from portal.servers.snapshot import ServerSnapshot, Snapshot, tools_by_server
from portal.servers.stored import History, StoredServers, server_config

__all__ = [
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
