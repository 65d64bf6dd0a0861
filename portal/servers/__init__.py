"""The registry of upstream servers and the snapshot of what they offer."""

from portal.servers.credentials import CredentialsInvalid, json_of, parsed, read_headers
from portal.servers.differences import Change
from portal.servers.servers import Lease, Servers
from portal.servers.snapshot import ServerSnapshot, Snapshot
from portal.servers.stored import SERVER, History, StoredServers

__all__ = [
    "SERVER",
    "Change",
    "CredentialsInvalid",
    "History",
    "Lease",
    "ServerSnapshot",
    "Servers",
    "Snapshot",
    "StoredServers",
    "json_of",
    "parsed",
    "read_headers",
]
