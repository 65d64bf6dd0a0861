"""The registry of upstream servers and the snapshot of what they offer."""

from portal.servers.credentials import CredentialsInvalid, open_secret, parse_as, parse_json, read_headers
from portal.servers.listing_changes import ListingChange
from portal.servers.servers import Lease, Servers
from portal.servers.snapshot import ServerSnapshot, Snapshot, tools_by_server
from portal.servers.stored import History, StoredServers

__all__ = [
    "CredentialsInvalid",
    "History",
    "Lease",
    "ListingChange",
    "ServerSnapshot",
    "Servers",
    "Snapshot",
    "StoredServers",
    "open_secret",
    "parse_as",
    "parse_json",
    "read_headers",
    "tools_by_server",
]
