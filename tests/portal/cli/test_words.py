"""The words of the command line, for every command there is: help, examples, names of parameters, sections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from portal.cli.sections import SECTIONS, WORDS, WORDS_IN_GROUPS
from tests.house.source import ROOT
from tests.portal.cli.command import in_process as codemode
from tests.portal.cli.tree import NODES, CommandNode, accepted, invocations

every = pytest.mark.parametrize("node", NODES, ids=lambda node: node.name or "codemode")
TYPES = re.compile(r"\b(?:TEXT|INTEGER|FLOAT|PATH|BOOLEAN|UUID|FILENAME|DIRECTORY)\b|<[^>\n]+>|\blist\[|\bNone\b")
# Values that somebody invents or knows from elsewhere: there is nothing to complete.
FREE = {
    *("ADDRESS", "ARGUMENT", "EMAIL", "HEX", "HOST", "ID", "JSON", "KEY", "N", "NAME", "PORT", "QUERY", "ROWS", "RUN"),
    *("SCOPES", "TIME", "URL", "WHO", "WORDS", "VALUE", "COMMAND", "TEXT", "SECONDS", "NAME=VALUE", "KEY=VALUE"),
    *("NAME:VALUE", "SCHEME=VALUE", "[URL | -- COMMAND ARG...]"),
}
# Shells complete files themselves where a command completes nothing.
FILES = {"FILE", "DIR", "DIR|FILE", "FILE|URL", "FOLDER"}


@every
def test_every_command_has_an_example(node: CommandNode) -> None:
    own = [words for line in node.examples for words in invocations(line)]
    assert own, f"codemode {node.name}: write a \\b block with an example into its help"
    assert any(tuple(words[: len(node.words)]) == node.words for words in own)


@every
def test_every_example_is_a_line_that_the_command_takes(node: CommandNode) -> None:
    for line in node.examples:
        for words in invocations(line):
            assert accepted(words) or not words or words[0].startswith("-"), line


@every
def test_examples_fit_a_terminal_and_are_not_rewrapped(node: CommandNode, tmp_path: Path) -> None:
    text = codemode(tmp_path, *node.words, "--help", columns=80).stdout
    for line in node.examples:
        assert line in text


@every
def test_names_of_values_are_words_and_no_types(node: CommandNode, tmp_path: Path) -> None:
    text = codemode(tmp_path, *node.words, "--help", columns=80).stdout
    without_examples = "\n".join(line for line in text.splitlines() if "codemode " not in line)
    assert TYPES.findall(without_examples) == []


@every
def test_every_argument_and_option_is_explained(node: CommandNode) -> None:
    silent = [one.name for one in node.parameters if not (one.help or "").strip().endswith((".", "...", "?"))]
    assert silent == [], f"codemode {node.name}: a sentence about each"


@every
def test_every_value_is_completed_or_free(node: CommandNode) -> None:
    left: list[str] = []
    for one in node.parameters:
        if takes_no_value(one):
            continue
        completes = one._custom_shell_complete is not None or one.type_descriptor.is_choice
        if not completes and one.metavar not in FREE | FILES:
            left.append(f"{one.name}: {one.metavar}")
    assert left == []


def takes_no_value(one: Any) -> bool:
    return bool(getattr(one, "is_flag", False) or getattr(one, "count", False) or one.name in ("help", "version"))


@pytest.mark.parametrize("columns", [40, 80])
def test_no_summary_in_a_list_of_commands_is_cut(columns: int, tmp_path: Path) -> None:
    for node in NODES:
        if not node.is_group:
            continue
        text = codemode(tmp_path, *node.words, "--help", columns=columns).stdout
        rows = [line for line in text.partition("-h, --help")[2].splitlines() if re.match(r"  [a-z]", line)]
        assert len(rows) >= len(node.command.commands)
        assert [line for line in rows if line.endswith("...")] == []
        words = " ".join(text.split())
        for name, one in node.command.commands.items():
            assert one.get_short_help_str(), f"codemode {node.name} {name} has no summary"
            assert " ".join(one.get_short_help_str().split()) in words


def test_a_summary_is_one_line_of_a_terminal_of_80_columns() -> None:
    long = [node.name for node in NODES if node.words and len(node.command.get_short_help_str()) > 62]
    assert long == []


def test_every_command_at_the_top_is_in_a_section() -> None:
    placed = [name for names in SECTIONS.values() for name in names]
    assert len(placed) == len(set(placed))
    top = [node.words[0] for node in NODES if len(node.words) == 1]
    assert [name for name in top if name not in placed] == [], "put it into SECTIONS of portal/cli/sections.py"


def test_words_of_other_tools_are_no_commands_and_lead_to_commands() -> None:
    commands = {node.name for node in NODES}
    coming = {name for names in SECTIONS.values() for name in names}
    for group, table in {"": WORDS, **WORDS_IN_GROUPS}.items():
        for word, targets in table.items():
            assert f"{group} {word}".strip() not in commands, f"{word} is a command: take it out of the table"
            for target in targets:
                words = target.split()
                if words[0] in coming and words[0] not in {name.split(" ")[0] for name in commands if name}:
                    continue
                accepted_as_far_as_it_goes(words)


def accepted_as_far_as_it_goes(words: list[str]) -> None:
    """The command and its options are there; arguments that are missing are the reader's."""
    if words[0].startswith("-"):
        assert words[0] in {*NODES[0].options, "--help"}, words
        return
    try:
        accepted(words)
    except typer.TyperException as error:
        said = error.format_message()
        assert not re.search("No such option|There is no command|unexpected extra", said), f"{' '.join(words)}: {said}"
    except (typer.Exit, AssertionError):  # --help; a group without the command that it needs
        pass


CHAPTERS = [
    path
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "portal").rglob("*.md"), *(ROOT / "codemode").rglob("*.md")])
    if path.name != "CHANGELOG.md"
]


def lines_of(chapter: Path) -> list[str]:
    """The commands of a chapter: lines of its shell blocks, and code within its sentences."""
    text = chapter.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.S | re.M)
    joined = [re.sub(r"\\\n\s*", " ", block) for block in blocks]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    spans = [" ".join(span.split()) for span in re.findall(r"(?<!`)`(codemode [^`]+)`(?!`)", prose)]
    return [line for line in [*"\n".join(joined).splitlines(), *spans] if re.search(r"(?:^|[|;&/(] ?)codemode ", line)]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_chapter_is_one(chapter: Path) -> None:
    for line in lines_of(chapter):
        for words in invocations(re.sub(r"\S*/codemode ", "codemode ", line)):
            if words and not set("[{<|") & set("".join(words)) and words[0].islower() and "..." not in words:
                accepted_as_far_as_it_goes(words)


def test_the_chapter_has_the_exit_codes_of_every_command() -> None:
    chapter = (ROOT / "portal" / "cli" / "README.md").read_text(encoding="utf-8").partition("| command | 1 |")[2]
    listed = re.findall(r"^\| `([a-z -]+)` \|", chapter, re.M)
    assert listed == sorted(listed)
    assert set(listed) == {node.name for node in NODES if node.words and node.runs}


def test_the_chapter_and_the_tests_agree_on_what_has_no_json() -> None:
    chapter = (ROOT / "portal" / "cli" / "README.md").read_text(encoding="utf-8").partition("| command | 1 |")[2]
    rows = re.findall(r"^\| `([a-z -]+)` \|.*\| *([^|]*) \|$", chapter, re.M)
    without = {node.name for node in NODES if node.words and node.runs and "--json" not in node.options}
    assert {name for name, reason in rows if reason.strip()} == without


def test_every_command_that_a_message_names_is_one() -> None:
    tops = {node.words[0] for node in NODES if node.words} | {name for names in SECTIONS.values() for name in names}
    unknown = [
        f"{path.relative_to(ROOT)}: codemode {word}"
        for path in sorted((ROOT / "portal").rglob("*.py"))
        for word in re.findall(r"`codemode ([a-z][\w-]*)", path.read_text(encoding="utf-8"))
        if word not in tops
    ]
    assert unknown == []
