"""Gives a client's document back as it was before it was connected, and ours if its servers had moved there.

A file that nobody has changed since is given back byte for byte. In another one only what we wrote is taken out, and
what we had taken out is put back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from portal.clients.kept import ChangeRecord, FormerFile, KeptChanges, digest
from portal.clients.known import ClientFile, Machine, client_named
from portal.clients.plan import section_of
from portal.clients.reading import FileContent, read_client_file, read_content
from portal.config import DocumentFile, parse_document, remove_document, replace_document, with_member, without_member
from portal.errors import ConfigError, InputError

_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class RestoredFile:
    """A file and its text from before; None if there was no file."""

    file: DocumentFile
    text: str | None = field(repr=False)

    @property
    def changes(self) -> bool:
        return self.text != self.file.text or (self.text is None) != (self.file.data is None)


@dataclass(frozen=True, slots=True)
class PreparedUndo:
    """What giving back would write. `exact`: byte for byte. `staying` is the name of the portal if it is not taken out,
    because its entry is another one now."""

    file: ClientFile
    restoring: tuple[RestoredFile, ...]
    exact: bool
    sentences: tuple[str, ...] = ()
    staying: str = ""


def prepare_undo(file: ClientFile, machine: Machine, kept: KeptChanges) -> PreparedUndo:
    """What would be given back.

    Raises:
        InputError: nothing is kept for this client, or what is kept cannot be read.
        ConfigError: a document cannot be read or changed.
    """
    record = kept.record_of(file)
    if record is None:
        raise InputError(f"There is nothing to undo: `codemode connect` has not changed {file.path}.")
    content = read_client_file(file, machine)
    now, sentences = digest(content.file.data), list[str]()
    restoring: list[RestoredFile] = []
    staying = ""
    exact = record.file.exact and now in (record.file.after, record.file.before)
    if exact:
        restoring.append(_as_before(content.file, record.file, file, kept, "before"))
    else:
        sentences.append(
            f"{file.path} was changed since: only the portal is taken out of it, and nothing else is changed."
        )
        there = content.members(record.section)
        if record.name in there and not record.has_written(record.section, record.name, there[record.name]):
            staying = record.name
        restoring.append(_taken_out(content, record, sentences))
    if record.document is not None:
        restoring += _document_before(record.document, file, kept, sentences)
    return PreparedUndo(file, tuple(restoring), exact, tuple(sentences), staying)


def write_undo(prepared: PreparedUndo, kept: KeptChanges) -> None:
    """Give the files back, the client's first.

    Raises:
        ConfigError: one cannot be written, or was changed meanwhile.
    """
    for one in prepared.restoring:
        if one.text is None:
            remove_document(one.file)
        elif one.changes:
            replace_document(one.file, one.text)
    kept.forget(prepared.file, keep_copies=not prepared.exact)


def _document_before(
    former: FormerFile, file: ClientFile, kept: KeptChanges, sentences: list[str]
) -> list[RestoredFile]:
    """Our document as it was, unless somebody has changed it, or another client would lose a server."""
    path = Path(former.path)
    now = read_content(path)
    if digest(now.file.data) not in (former.after, former.before):
        sentences.append(f"{path} was changed since, and stays as it is.")
        return []
    before = _as_before(now.file, former, file, kept, "document")
    lost = _servers(now.file.text, path) - _servers(before.text or "", path)
    for other in kept.others(file):
        if other.served_in == former.path and (needed := lost.intersection(other.served)):
            client = client_named(other.client)
            title = client.title if client is not None else other.client
            names = ", ".join(f"`{name}`" for name in sorted(needed)[:_MOST_NAMED])
            sentences.append(f"{path} stays as it is: {title} has {names} by it.")
            return []
    return [before]


def _servers(text: str, path: Path) -> set[str]:
    """The names of the servers in a text of our document."""
    file = DocumentFile(path, text.encode(), text)
    text = text.removeprefix("\ufeff")
    content = FileContent(file, parse_document(text, path.suffix, file=str(path)) if text.strip() else {})
    return set(content.members(section_of(content)))


def _as_before(now: DocumentFile, former: FormerFile, file: ClientFile, kept: KeptChanges, part: str) -> RestoredFile:
    if digest(now.data) == former.before:
        return RestoredFile(now, None if now.data is None else now.text)
    if not former.before:
        return RestoredFile(now, None)
    data = kept.former(file, part)
    if digest(data) != former.before:
        raise InputError(f"The copy of {former.path} is damaged, so it is not given back.")
    return RestoredFile(now, data.decode())


def _taken_out(content: FileContent, record: ChangeRecord, sentences: list[str]) -> RestoredFile:
    text, suffix, path = content.file.text, content.path.suffix, str(content.path)
    there = content.members(record.section)
    taken = record.name in there and record.has_written(record.section, record.name, there[record.name])
    if taken:
        text = without_member(text, suffix, (*record.section, record.name), file=path)
    elif record.name in there:
        sentences.append(f"`{record.name}` is another entry now, and stays.")
    for member in record.removed:
        is_portal = taken and (member.section, member.name) == (record.section, record.name)
        if member.name in content.members(member.section) and not is_portal:
            sentences.append(f"`{member.name}` is there again already, and stays as it is.")
            continue
        try:
            text = with_member(text, suffix, (*member.section, member.name), member.entry, file=path)
        except ConfigError as error:
            sentences.append(f"`{member.name}` could not be put back: {error.problem}")
    return RestoredFile(content.file, text if text or content.there else None)
