"""Reads the documents of clients, which others wrote, and finds the servers in them.

Only a regular file of a bounded size is read, once: what is parsed, shown, kept and compared later are the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portal.clients.known import CLIENTS, ClientFile, Machine, McpClient, project_file, traces_of, user_file
from portal.config import DocumentFile, open_document, parse_document
from portal.errors import ConfigError

LARGEST = 32 * 1024 * 1024
"""Of a client's document: some keep their history in it too."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """A document as it was read, and what is in it: {} if the file is not there or empty."""

    file: DocumentFile = field(repr=False)
    document: Mapping[str, object] = field(repr=False)

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def there(self) -> bool:
        return self.file.data is not None

    def members(self, section: tuple[str, ...]) -> Mapping[str, object]:
        """The members of a section, {} if there is none."""
        value: object = self.document
        for name in section:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class ClientServer:
    """A server in the document of a client, as it is written there.

    `section` leads to the servers in the document. `folder` is the one in which its client uses it; `everywhere` says
    that it is any, and then it is the folder of the command. `inputs` are those of VS Code.
    """

    file: ClientFile
    section: tuple[str, ...]
    name: str
    entry: object = field(repr=False)
    folder: Path
    everywhere: bool
    inputs: object = field(default=None, repr=False)

    @property
    def title(self) -> str:
        return self.file.client.title


@dataclass(frozen=True, slots=True)
class FoundClient:
    """What is known of a client on this machine. `problem` says why its document cannot be used, "" if it can."""

    client: McpClient
    file: ClientFile
    there: bool
    servers: tuple[ClientServer, ...] = ()
    problem: str = ""


def read_client_file(file: ClientFile, machine: Machine) -> FileContent:
    """The document of a client, {} if it is not there or has nothing in it.

    Raises:
        ConfigError: it is no document that could be changed.
    """
    if file.scope == "project" and not _lies_in(file.path, machine.folder):
        # A folder that somebody else wrote must not lead to another file of this person.
        raise ConfigError("is a link out of this folder.", file=str(file.path), fix="Replace it with a file.")
    return read_content(file.path)


def read_content(path: Path) -> FileContent:
    """The JSON or TOML document in a file, {} if it is not there or has nothing in it.

    Raises:
        ConfigError: it cannot be read, is no regular file, too large, no text, or no object.
    """
    try:
        file = open_document(path, largest=LARGEST)
    except ValueError:
        raise ConfigError("is no name of a file.", file=str(path)) from None
    text = file.text.removeprefix("\ufeff")
    return FileContent(file, parse_document(text, path.suffix, file=str(path)) if text.strip() else {})


def servers_in(file: ClientFile, content: FileContent, machine: Machine) -> tuple[ClientServer, ...]:
    """The servers in the document of a client, and of `~/.claude.json` also those of the folder of the command."""
    document, inputs = content.document, content.document.get("inputs")
    own = file.scope == "user"
    found = [
        ClientServer(file, (file.client.section,), name, entry, machine.folder, own, inputs)
        for name, entry in _members(document.get(file.client.section))
    ]
    if own and file.client.id == "claude-code":
        for folder, servers in _projects(document):
            if Path(folder) == machine.folder:
                section = ("projects", folder, "mcpServers")
                found += [
                    ClientServer(file, section, name, entry, machine.folder, False) for name, entry in _members(servers)
                ]
    return tuple(found)


def servers_elsewhere(content: FileContent, machine: Machine) -> tuple[str, ...]:
    """The other folders for which Claude Code has servers of their own."""
    return tuple(
        folder for folder, servers in _projects(content.document) if servers and Path(folder) != machine.folder
    )


def find_clients(machine: Machine) -> tuple[FoundClient, ...]:
    """Every client with a trace on this machine or a document in this folder; a client with both appears twice."""
    return tuple(found for client in CLIENTS for found in _found(client, machine))


def _found(client: McpClient, machine: Machine) -> Iterator[FoundClient]:
    if any(map(_exists, traces_of(client, machine))):
        yield look_at(user_file(client, machine), machine)
    in_folder = project_file(client, machine)
    if in_folder is not None and _exists(in_folder.path) and in_folder.path != user_file(client, machine).path:
        yield look_at(in_folder, machine)


def look_at(file: ClientFile, machine: Machine) -> FoundClient:
    """The client of this file, with its servers or what is wrong with its document."""
    try:
        content = read_client_file(file, machine)
    except ConfigError as error:
        return FoundClient(file.client, file, there=True, problem=str(error))
    return FoundClient(file.client, file, content.there, servers_in(file, content, machine))


def _lies_in(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # Somebody forbids to look: then it is there.
        return True


def _members(servers: object) -> Iterator[tuple[str, object]]:
    return iter(servers.items() if isinstance(servers, dict) else ())


def _projects(document: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    projects = document.get("projects")
    for folder, project in projects.items() if isinstance(projects, dict) else ():
        servers = project.get("mcpServers") if isinstance(project, dict) else None
        if isinstance(servers, dict):
            yield folder, servers
