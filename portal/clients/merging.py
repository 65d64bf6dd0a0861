"""Puts the servers of several clients together with those of our document. Pure.

The same server of several clients is there once. What has the name of another server gets a name of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from portal.clients.carrying import CarriedServer, identity_of
from portal.clients.reading import ClientServer
from portal.config import ENTRY_KEYS, EntryUnusable, Notes, ServerConfig, in_our_words, server_id
from portal.errors import ConfigError

MAX_NAME = 64
IsPortal = Callable[[ServerConfig], bool]


@dataclass(frozen=True, slots=True)
class Takeover:
    """What of the clients' servers comes into our document.

    `added` are the new entries, by their names. `names` say under which name each server is there now, also those that
    were there before. `itself` are entries that lead to this portal, `left` those that stay where they are, with the
    reason. `sentences` are for the person. `private`: a secret stands in one of the new entries.
    """

    added: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False)
    names: tuple[tuple[ClientServer, str], ...] = ()
    itself: tuple[ClientServer, ...] = ()
    left: tuple[tuple[ClientServer, str], ...] = ()
    sentences: tuple[str, ...] = ()
    private: bool = False

    @property
    def gone(self) -> tuple[ClientServer, ...]:
        """The servers that their clients need no more when the portal is in their place."""
        return (*(server for server, _ in self.names), *self.itself)


def take_over(existing: Mapping[str, object], carried: Iterable[CarriedServer], is_portal: IsPortal) -> Takeover:
    """Merge the servers into those of our document. `is_portal` says whether a server leads back to this portal."""
    ids = {server_id(name) for name in existing}
    known = _Known()
    for name, entry in _in_our_words(existing).items():
        known.add(name, entry)
    added: dict[str, Mapping[str, object]] = {}
    names: list[tuple[ClientServer, str]] = []
    itself: list[ClientServer] = []
    left: list[tuple[ClientServer, str]] = []
    sentences: list[str] = []
    private = False
    for one in carried:
        server, said = one.server, f"`{one.server.name}` of {one.server.title}"
        if one.entry is None or one.config is None:
            left.append((server, one.why))
            sentences.append(f"{said} is left out: {one.why}.")
        elif is_portal(one.config):
            itself.append(server)
            sentences.append(f"{said} is left out: it is this portal itself.")
        elif (there := known.name_of(one.entry)) is not None:
            names.append((server, there))
            if there != server.name:
                sentences.append(f"{said} is the same server as `{there}`, and is there once.")
            if (with_headers := known.with_headers(there, one.entry)) is not None:
                # Without them it would not be let in.
                written = added.get(there, existing.get(there))
                added[there] = {**(written if isinstance(written, dict) else {}), "headers": one.entry["headers"]}
                known.add(there, with_headers)
                private |= one.has_literal_secrets
                sentences.append(f"{said} has headers, which `{there}` gets.")
        else:
            name = _distinct(server, ids)
            ids.add(server_id(name))
            known.add(name, one.entry)
            added[name] = one.entry
            names.append((server, name))
            private |= one.has_literal_secrets
            if name != server.name:
                sentences.append(f"{said} is called `{name}` here: {_why_renamed(server)}.")
            sentences += [f"{said} {sentence}." for sentence in one.sentences]
    return Takeover(added, tuple(names), tuple(itself), tuple(left), tuple(sentences), private)


def _in_our_words(entries: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """The entries of our document as they are compared; what cannot be read is like nothing else."""
    found: dict[str, Mapping[str, object]] = {}
    for name, entry in entries.items():
        try:
            if isinstance(entry, dict):
                found[name] = in_our_words(entry, ENTRY_KEYS, name, "", {}, Notes())
        except (EntryUnusable, ConfigError, RecursionError):
            continue
    return found


class _Known:
    """The names of servers that are there, by what makes them the same."""

    def __init__(self) -> None:
        self._names: dict[tuple[object, ...], dict[str, Mapping[str, object]]] = {}

    def add(self, name: str, entry: Mapping[str, object]) -> None:
        self._names.setdefault(identity_of(entry), {})[name] = entry

    def name_of(self, entry: Mapping[str, object]) -> str | None:
        """The server that this entry is. With other headers a URL is used as somebody else: another server."""
        headers = _members(entry.get("headers"))
        for name, other in self._names.get(identity_of(entry), {}).items():
            theirs = _members(other.get("headers"))
            if not headers or not theirs or headers == theirs:
                return name
        return None

    def with_headers(self, name: str, entry: Mapping[str, object]) -> Mapping[str, object] | None:
        """The server of this name with the headers of an entry that is the same server; None if it needs none."""
        there = self._names[identity_of(entry)][name]
        if not entry.get("headers") or there.get("headers") or there.get("oauth"):
            return None
        return {**there, "headers": entry["headers"]}


def _members(headers: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(headers, dict):
        return ()
    return tuple(sorted((str(name).lower(), str(value)) for name, value in headers.items()))


def _distinct(server: ClientServer, ids: set[str]) -> str:
    """A name that makes an id which nobody has."""
    name = server.name if server_id(server.name) else "server"
    name = name if len(server_id(name)) <= MAX_NAME else name[: MAX_NAME - 20]
    if server_id(name) not in ids:
        return name
    with_client = f"{name[: MAX_NAME - 24]}-{server.file.client.id}"
    candidates = (with_client, *(f"{with_client}-{number}" for number in range(2, 10_000)))
    return next(one for one in candidates if server_id(one) not in ids)


def _why_renamed(server: ClientServer) -> str:
    if not server_id(server.name):
        return "names here have letters, digits and hyphens"
    if len(server_id(server.name)) > MAX_NAME:
        return f"names here have at most {MAX_NAME} characters"
    return "there is another server of that name"
