"""The registry of upstream servers and the snapshot of what they offer."""

from portal.servers.credentials import CredentialsInvalid, json_of, open_secret, parsed, read_headers
from portal.servers.differences import Change
from portal.servers.servers import Lease, Servers
from portal.servers.snapshot import ServerSnapshot, Snapshot
from portal.servers.stored import History, StoredServers

__all__ = [
    "Change",
    "CredentialsInvalid",
    "History",
    "Lease",
    "ServerSnapshot",
    "Servers",
    "Snapshot",
    "StoredServers",
    "json_of",
    "open_secret",
    "parsed",
    "read_headers",
]
