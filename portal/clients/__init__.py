"""MCP clients of this machine: connected to the portal in their own documents, and their servers taken over."""

from portal.clients.carrying import CarriedServer, carry
from portal.clients.connecting import (
    PreparedConnection,
    PreparedImport,
    prepare_connection,
    prepare_import,
    write_connection,
    write_import,
)
from portal.clients.entries import PortalEndpoint, entry_of
from portal.clients.kept import KeptChanges
from portal.clients.known import CLIENTS, ClientFile, Machine, McpClient, client_named, project_file, user_file
from portal.clients.merging import IsPortal, Takeover
from portal.clients.plan import FileEdit, leading_here, plan_document
from portal.clients.reading import (
    ClientServer,
    FoundClient,
    find_clients,
    look_at,
    read_client_file,
    servers_elsewhere,
    servers_in,
)
from portal.clients.shown import shown_diff
from portal.clients.undoing import PreparedUndo, Restoring, prepare_undo, write_undo

__all__ = [
    "CLIENTS",
    "CarriedServer",
    "ClientFile",
    "ClientServer",
    "FileEdit",
    "FoundClient",
    "IsPortal",
    "KeptChanges",
    "Machine",
    "McpClient",
    "PortalEndpoint",
    "PreparedConnection",
    "PreparedImport",
    "PreparedUndo",
    "Restoring",
    "Takeover",
    "carry",
    "client_named",
    "entry_of",
    "find_clients",
    "leading_here",
    "look_at",
    "plan_document",
    "prepare_connection",
    "prepare_import",
    "prepare_undo",
    "project_file",
    "read_client_file",
    "servers_elsewhere",
    "servers_in",
    "shown_diff",
    "user_file",
    "write_connection",
    "write_import",
    "write_undo",
]
