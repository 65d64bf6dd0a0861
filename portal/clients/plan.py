"""What is to be written, before anything is: the text of a client's document and of ours. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from portal.clients.carrying import CarriedServer
from portal.clients.entries import PortalEndpoint
from portal.clients.known import McpClient
from portal.clients.merging import IsPortal
from portal.clients.reading import ClientServer, FileContent
from portal.config import (
    HttpServer,
    StdioServer,
    parse_config,
    parse_document,
    server_place,
    with_member,
    without_member,
)
from portal.errors import ConfigError

DEFAULT_NAME = "codemode"


@dataclass(frozen=True, slots=True)
class FileEdit:
    """The new text of a file. `private`: it is to be readable by its owner alone."""

    content: FileContent
    text: str = field(repr=False)
    private: bool = False

    @property
    def changes(self) -> bool:
        return self.text != self.content.file.text

    @property
    def data(self) -> bytes:
        return self.text.encode()


@dataclass(frozen=True, slots=True)
class ConnectionPlan:
    """A client's document with the portal in it, as `name`. `removed` are the servers that it is in the place of."""

    edit: FileEdit
    section: tuple[str, ...]
    name: str
    entry: Mapping[str, object]
    removed: tuple[ClientServer, ...] = ()
    sentences: tuple[str, ...] = ()


def leading_here(carried: Iterable[CarriedServer], is_portal: IsPortal) -> tuple[CarriedServer, ...]:
    """The servers of a client that are this portal itself, or a bridge to it."""
    return tuple(one for one in carried if one.config is not None and is_portal(one.config))


def plan_connection(
    content: FileContent,
    client: McpClient,
    entry: Mapping[str, object],
    endpoint: PortalEndpoint,
    here: Collection[CarriedServer],
    *,
    name: str | None = None,
    gone: Collection[ClientServer] = (),
) -> ConnectionPlan:
    """The client's document with `entry`, and without the servers in `gone`.

    `here` are its servers that are this portal already: the first of them is changed where that is needed, unless
    `name` asks for an entry of another name. One that says the same in other words stays as it is.

    Raises:
        ConfigError: another server has the name, or the text cannot be changed.
    """
    section, file = (client.section,), str(content.path)
    own = {one.server.name: one for one in here if one.server.section == section}
    key = name or next(iter(own), DEFAULT_NAME)
    existing = content.members(section).get(key)
    if key in content.members(section) and key not in own:
        fix = "Name the entry of the portal otherwise, with --name NAME."
        raise ConfigError("is another server already.", file=file, key=f"{client.section}.{key}", fix=fix)
    text, suffix = content.file.text, content.path.suffix
    if key in own and _says_the_same(own[key], entry, endpoint):
        entry = existing if isinstance(existing, dict) else entry
    else:
        text = with_member(text, suffix, (*section, key), _with_what_was_there(existing, entry), file=file)
    removed: list[ClientServer] = []
    for server in gone:
        if server.section != section or server.name != key:
            text = without_member(text, suffix, (*server.section, server.name), file=file)
            removed.append(server)
    twice = [other for other in own if other != key and other not in {one.name for one in removed}]
    sentences = tuple(f"`{other}` leads to this portal too: remove one of the two." for other in twice)
    return ConnectionPlan(FileEdit(content, text), section, key, entry, tuple(removed), sentences)


def plan_document(
    content: FileContent,
    added: Mapping[str, Mapping[str, object]],
    environment: Mapping[str, str],
    *,
    private: bool = False,
) -> FileEdit:
    """Our document with these servers added. `private`: a secret stands in one of them.

    Raises:
        ConfigError: it would be no configuration.
    """
    file, suffix, text = str(content.path), content.path.suffix, content.file.text
    section = section_of(content)
    for name, entry in added.items():
        text = with_member(text, suffix, (*section, name), entry, file=file)
    if text != content.file.text:
        document = parse_document(text.removeprefix("\ufeff"), suffix, file=file)
        parse_config(document, file=file, env=environment, folder=content.path.parent)
    return FileEdit(content, text, private and text != content.file.text)


def section_of(content: FileContent) -> tuple[str, ...]:
    """Where our document has its servers.

    Raises:
        ConfigError: it has them as the settings of an editor do.
    """
    place = server_place(content.document, content.path)
    if place.path[0] == "mcp":
        problem = "has servers as the settings of an editor have them."
        raise ConfigError(problem, file=str(content.path), key="mcp", fix="Name another file with --to.")
    return place.path


def _says_the_same(there: CarriedServer, entry: Mapping[str, object], endpoint: PortalEndpoint) -> bool:
    config = there.config
    if isinstance(config, HttpServer):
        return "command" not in entry and config.url == endpoint.url
    assert isinstance(config, StdioServer)
    if "command" in entry:
        return [config.command, *config.args] == [entry["command"], *_list(entry.get("args"))]
    # By a bridge.
    return endpoint.url in config.args


def _with_what_was_there(existing: object, entry: Mapping[str, object]) -> Mapping[str, object]:
    """The entry with the other members of the one that it replaces, such as what a person allowed, if both are URLs."""
    if not isinstance(existing, dict) or "command" in existing or "command" in entry:
        return entry
    return {**existing, **entry}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
