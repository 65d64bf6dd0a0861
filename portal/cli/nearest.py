"""What somebody meant who wrote a word that is not there: the nearest words, files and commands. Nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from portal.cli.exits import CommandError
from portal.cli.sections import WORDS, WORDS_IN_GROUPS

MOST_NAMES = 10_000
LONGEST = 128
LISTED = 20
# Two wrong letters of five are 0.6, which a cutoff of 0.6 refuses: it is compared after rounding.
ALIKE = 0.599


def nearest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The words of `known` that `word` is most like, the nearest first; none if it is like none."""
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import extract

    written = word[:LONGEST].casefold()
    names = [name for name in islice(known, MOST_NAMES) if len(name) <= 2 * LONGEST]
    begun = [name for name in names if len(written) > 1 and name.casefold().startswith(written)]
    alike = extract(
        written, names, scorer=OSA.normalized_similarity, processor=str.casefold, score_cutoff=ALIKE, limit=most
    )
    found = [name for name, _, _ in alike]
    # What only begins with it comes after what is nearly it: `tool` is `tools`, and not `toolshed-of-others`.
    return list(dict.fromkeys([*found, *sorted(begun, key=len)]))[:most]


def meant(word: str, known: Collection[str], *, quote: str = "") -> str:
    """A sentence with the nearest words, else with those there are. `quote` stands on both sides of each."""
    if near := nearest(word, known):
        return f"Did you mean {_or([f'{quote}{name}{quote}' for name in near])}?"
    if not known:
        return "There are none."
    listed = ", ".join(islice(known, LISTED))
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"There are: {listed}{more}."


def no_file(path: str | Path, what: str = "file") -> str:
    """That there is no such file, and the one beside it that is nearly called so."""
    near = nearest_file(Path(path))
    return f"There is no {what} {path}." + (f" Did you mean {near}?" if near is not None else "")


def must_exist(*paths: Path | None, what: str = "file") -> None:
    """Raises `CommandError` for the first of these that is not there."""
    for path in paths:
        if path is not None and not _is_there(path):
            raise CommandError(no_file(path, what))


def nearest_file(path: Path) -> Path | None:
    """The file that is there and whose path is most like this one in the first part that is not there."""
    there = Path(path.anchor) if path.is_absolute() else Path()
    parts = path.parts[1:] if path.is_absolute() else path.parts
    for number, part in enumerate(parts):
        if _is_there(there / part):
            there /= part
            continue
        last = number == len(parts) - 1
        if part.startswith("."):
            names = [name for name, _ in _entries(there) if name.startswith(".")]
        else:
            names = [name for name, folder in _entries(there) if not name.startswith(".") and (last or folder)]
        for name in nearest(part, names):
            found = there.joinpath(name, *parts[number + 1 :])
            if _is_there(found):
                return found
        return None
    return None


def unknown_command(word: str, group: Sequence[str], tree: Mapping[str, Collection[str]]) -> str:
    """That there is no such command in a group (`()`: at the top), and which it may be.

    `tree` has the commands by the words of their group; commands that others have in their tools are looked up first.
    """
    within = " ".join(group)
    where = f" in `codemode {within}`" if group else ""
    commands = [_joined(path, name) for path, names in tree.items() for name in names]
    foreign = (WORDS_IN_GROUPS.get(within, {}) if group else WORDS).get(word.casefold(), ())
    found = [target for target in foreign if _is_command(target, commands)]
    if not found:
        found = [command for command in commands if command.rpartition(" ")[2] == word.casefold()]
    if not found:
        found = [_joined(within, name) for name in nearest(word, tree.get(within, ()))]
    if not found and group:
        found = [target for target in WORDS.get(word.casefold(), ()) if _is_command(target, commands)]
    if not found:
        found = nearest(word, tree.get("", ()))
    shown = _or([f"`codemode {command}`" for command in found])
    more = f"`codemode {within} --help` lists them" if group else "`codemode --help` lists them"
    said = word if len(word) <= LONGEST else f"{word[:LONGEST]}..."
    return f"There is no command {said!r}{where}. " + (f"Did you mean {shown}?" if shown else f"{more}.")


def _is_command(target: str, commands: Collection[str]) -> bool:
    """Whether a target of the tables is there: a command, perhaps with words or options after it, or an option."""
    return target.startswith("--") or any(target == name or target.startswith(f"{name} ") for name in commands)


def _joined(group: str, name: str) -> str:
    return f"{group} {name}" if group else name


def _or(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, MOST_NAMES):
                yield entry.name, entry.is_dir()
    except OSError:
        return
