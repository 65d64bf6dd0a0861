"""Connects one client: reads its document and ours, says what would be written, and writes it.

The record of the former file is kept before anything is written. Our document is written first: a client never loses a
server that the portal does not have yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from portal.clients.carrying import CarriedServer, carry
from portal.clients.entries import PortalEndpoint, entry_of
from portal.clients.kept import ChangeRecord, FormerFile, FormerMember, KeptChanges, digest
from portal.clients.known import ClientFile, Machine
from portal.clients.merging import IsPortal, Takeover, take_over
from portal.clients.plan import ConnectionPlan, FileEdit, leading_here, plan_connection, plan_document, section_of
from portal.clients.reading import ClientServer, read_client_file, read_content, servers_elsewhere, servers_in
from portal.config import replace_document


@dataclass(frozen=True, slots=True)
class PreparedConnection:
    """A client's document with the portal in it, and ours with the client's servers if they move: `served` are the
    names that they have in ours, which is `served_in`."""

    file: ClientFile
    plan: ConnectionPlan
    document: FileEdit | None = None
    sentences: tuple[str, ...] = ()
    served_in: str = ""
    served: tuple[str, ...] = ()

    @property
    def edits(self) -> tuple[FileEdit, ...]:
        """What is to be written, in that order."""
        both = (self.document, self.plan.edit) if self.document is not None else (self.plan.edit,)
        return tuple(edit for edit in both if edit.changes)


@dataclass(frozen=True, slots=True)
class PreparedImport:
    """Our document with the servers of clients."""

    takeover: Takeover
    edit: FileEdit


def prepare_connection(
    file: ClientFile,
    machine: Machine,
    endpoint: PortalEndpoint,
    is_portal: IsPortal,
    *,
    name: str | None = None,
    stdio: bool = False,
    moved: Takeover | None = None,
    document: FileEdit | None = None,
    into: Path | None = None,
) -> PreparedConnection:
    """What connecting this client would write: under `name` if one is given, and with `stdio` as a program to start.

    `moved` are the servers that our document has now, which the portal is in the place of. `document` is the change of
    our document that belongs to this one; `into` is where it is if it is written by itself.

    Raises:
        ConfigError: the document cannot be read or changed.
    """
    content = read_client_file(file, machine)
    carried = [carry(server, machine) for server in servers_in(file, content, machine)]
    plan = plan_connection(
        content,
        file.client,
        entry_of(file.client, endpoint, stdio=stdio),
        endpoint,
        leading_here(carried, is_portal),
        name=name,
        gone=[server for server in moved.gone if server.file == file] if moved is not None else (),
    )
    sentences = list(plan.sentences)
    if moved is not None:
        sentences += [f"`{server.name}` stays in {server.title}." for server, _ in moved.left if server.file == file]
        if others := servers_elsewhere(content, machine):
            folders = "another folder" if len(others) == 1 else f"{len(others)} other folders"
            sentences.append(f"{file.client.title} has servers for {folders}, which stay as they are.")
    served = [name for server, name in moved.names if server.file == file] if moved is not None else []
    into = document.content.path if document is not None else into
    served_in = str(into.absolute()) if into is not None and served else ""
    return PreparedConnection(file, plan, document, tuple(sentences), served_in, tuple(served))


def prepare_import(
    carried: Iterable[CarriedServer], into: Path, machine: Machine, is_portal: IsPortal
) -> PreparedImport:
    """Our document at `into` with these servers.

    Raises:
        ConfigError: it cannot be read or changed.
    """
    content = read_content(into)
    takeover = take_over(content.members(section_of(content)), carried, is_portal)
    return PreparedImport(
        takeover, plan_document(content, takeover.added, machine.environment, private=takeover.private)
    )


def write_import(prepared: PreparedImport) -> Path | None:
    """Write our document. Returns where the copy of the former one is, None if there was none.

    Raises:
        ConfigError: it cannot be written, or was changed meanwhile.
    """
    edit = prepared.edit
    return replace_document(edit.content.file, edit.text, keep_copy=True, private=edit.private)


def write_connection(prepared: PreparedConnection, kept: KeptChanges) -> Path | None:
    """Keep what was there, and write. Returns where the copy of the client's former document is, if there was one.

    Raises:
        ConfigError: a file cannot be written, or was changed meanwhile.
        InputError: the former file cannot be kept.
    """
    plan, document = prepared.plan, prepared.document
    if not plan.edit.changes:
        if document is not None and document.changes:
            replace_document(document.content.file, document.text, keep_copy=True, private=document.private)
        return None
    record, before = _record(prepared, kept.record_of(prepared.file))
    ours = document.content.file.data if document is not None and document.changes else None
    copy = kept.keep(prepared.file, record, before, ours)
    if document is not None and document.changes:
        replace_document(document.content.file, document.text, private=document.private)
    replace_document(plan.edit.content.file, plan.edit.text)
    return copy if record.file.exact and record.file.before else None


def _record(prepared: PreparedConnection, earlier: ChangeRecord | None) -> tuple[ChangeRecord, bytes | None]:
    """The record of this change, and the bytes to keep: None if those of an earlier change stay."""
    plan, document = prepared.plan, prepared.document
    now, after = plan.edit.content.file.data, digest(plan.edit.data)
    removed = tuple(_former(server) for server in plan.removed)
    first = earlier if earlier is not None and earlier.file.after == digest(now) and earlier.file.exact else None
    changed_since = earlier is not None and first is None and earlier.file.before != digest(now)
    if first is not None:
        # Nobody has changed the file between our two changes: what is given back is what was there before the first.
        file, before = first.file.model_copy(update={"after": after}), None
    else:
        entry_gone = plan.name not in plan.edit.content.members(plan.section)
        exact = not changed_since or (earlier is not None and entry_gone and not earlier.removed)
        file = FormerFile(path=str(plan.edit.content.path), before=digest(now), after=after, exact=exact)
        before = now
    goes_on = earlier if first is not None or changed_since else None
    existing = plan.edit.content.members(plan.section).get(plan.name)
    if existing is not None and (goes_on is None or not goes_on.has_written(plan.section, plan.name, existing)):
        removed = (FormerMember(section=plan.section, name=plan.name, entry=existing), *removed)
    if goes_on is not None:
        removed = (*goes_on.removed, *removed)
    # A change that broke off has written our document, and not the client's.
    broke_off = earlier if earlier is not None and earlier.file.before == digest(now) else None
    documented = goes_on or broke_off
    record = ChangeRecord(
        client=prepared.file.client.id,
        file=file,
        section=plan.section,
        name=plan.name,
        entry=plan.entry,
        removed=removed,
        document=_former_document(document) or (documented.document if documented is not None else None),
        served_in=prepared.served_in or (goes_on.served_in if goes_on is not None else ""),
        served=prepared.served or (goes_on.served if goes_on is not None else ()),
    )
    return record, before


def _former_document(edit: FileEdit | None) -> FormerFile | None:
    if edit is None or not edit.changes:
        return None
    path = str(edit.content.path.absolute())
    return FormerFile(path=path, before=digest(edit.content.file.data), after=digest(edit.data))


def _former(server: ClientServer) -> FormerMember:
    return FormerMember(section=server.section, name=server.name, entry=server.entry)
