"""Gives a client's document back as it was before it was connected, and ours if its servers had moved there.

A file that nobody has changed since is given back byte for byte. In another one only what we wrote is taken out, and
what we had taken out is put back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from portal.clients.kept import ChangeRecord, FormerFile, KeptChanges, digest
from portal.clients.known import ClientFile, Machine
from portal.clients.reading import FileContent, read_client_file, read_content
from portal.config import DocumentFile, remove_document, replace_document, with_member, without_member
from portal.errors import ConfigError, InputError


@dataclass(frozen=True, slots=True)
class Restoring:
    """A file and its text from before; None if there was no file."""

    file: DocumentFile
    text: str | None = field(repr=False)

    @property
    def changes(self) -> bool:
        return self.text != self.file.text or (self.text is None) != (self.file.data is None)


@dataclass(frozen=True, slots=True)
class PreparedUndo:
    """What giving back would write. `exact`: byte for byte."""

    file: ClientFile
    restoring: tuple[Restoring, ...]
    exact: bool
    sentences: tuple[str, ...] = ()


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
    restoring: list[Restoring] = []
    exact = record.file.exact and now in (record.file.after, record.file.before)
    if exact:
        restoring.append(_as_before(content.file, record.file, file, kept, "before"))
    else:
        sentences.append(
            f"{file.path} was changed since: only the portal is taken out of it, and nothing else is changed."
        )
        restoring.append(_taken_out(content, record, sentences))
    if record.document is not None:
        document = read_content(Path(record.document.path)).file
        if digest(document.data) in (record.document.after, record.document.before):
            restoring.append(_as_before(document, record.document, file, kept, "document"))
        else:
            sentences.append(f"{record.document.path} was changed since, and stays as it is.")
    return PreparedUndo(file, tuple(restoring), exact, tuple(sentences))


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


def _as_before(now: DocumentFile, former: FormerFile, file: ClientFile, kept: KeptChanges, part: str) -> Restoring:
    if digest(now.data) == former.before:
        return Restoring(now, None if now.data is None else now.text)
    if not former.before:
        return Restoring(now, None)
    data = kept.former(file, part)
    if digest(data) != former.before:
        raise InputError(f"The copy of {former.path} is damaged, so it is not given back.")
    return Restoring(now, data.decode())


def _taken_out(content: FileContent, record: ChangeRecord, sentences: list[str]) -> Restoring:
    text, suffix, path = content.file.text, content.path.suffix, str(content.path)
    there = content.members(record.section)
    if record.name in there and there[record.name] == record.entry:
        text = without_member(text, suffix, (*record.section, record.name), file=path)
    elif record.name in there:
        sentences.append(f"`{record.name}` is another entry now, and stays.")
    for member in record.removed:
        if member.name in content.members(member.section) and member.name != record.name:
            sentences.append(f"`{member.name}` is there again already, and stays as it is.")
            continue
        try:
            text = with_member(text, suffix, (*member.section, member.name), member.entry, file=path)
        except ConfigError as error:
            sentences.append(f"`{member.name}` could not be put back: {error.problem}")
    return Restoring(content.file, text)
