"""Writes new expectations into a test's file, without changing the rest of the file."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from portal.bench.cases import Case
from portal.config import YAML, read_document, read_text
from portal.errors import InputError
from portal.yaml_text import yaml_text

if TYPE_CHECKING:
    import yaml


def write_expectations(case: Case, expect: dict[str, object]) -> None:
    """Replace `expect` of one case. Comments and order outside `expect` stay.

    Raises:
        InputError: the file cannot be read or written.
    """
    text = read_text(case.file)
    if case.file.suffix in YAML:
        text = rewrite_yaml(text, case.name, expect)
    else:
        document = read_document(case.file)
        _case_of(document, case.name)["expect"] = expect
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        case.file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write {case.file}: {error.strerror or error}.") from error


def _case_of(document: object, name: str | None) -> dict[str, object]:
    cases = document.get("cases") if isinstance(document, dict) and name is not None else None
    case = cases.get(name) if isinstance(cases, dict) else document
    if not isinstance(case, dict):
        raise InputError("The test is not an object.")
    return case


def rewrite_yaml(text: str, name: str | None, expect: dict[str, object]) -> str:
    """YAML text with a new `expect`: that of the case `name`, or of the file if `name` is None."""
    import yaml  # noqa: PLC0415  only where there is YAML

    root = yaml.compose(text, yaml.SafeLoader)
    if root is None:
        raise InputError("The test is empty.")
    node = root if name is None else _member(_member(root, "cases"), name)
    inside = 0 if name is None else int(node.start_mark.column)
    dumped = yaml_text({"expect": expect}, width=100)
    block = textwrap.indent(dumped, " " * inside)
    place = _key(node, "expect")
    if place is None:
        end = _end(text, node)
        before = text[:end].rstrip("\n")
        return f"{before}\n{block}{text[end:].lstrip(chr(10)) if text[end:].strip() else ''}"
    key, value = place
    if isinstance(node, yaml.CollectionNode) and node.flow_style:
        # In flow style the new value is written in flow style too.
        return text[: value.start_mark.index] + json.dumps(expect, ensure_ascii=False) + text[value.end_mark.index :]
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    end = _end(text, value)
    return f"{text[:start]}{block}{text[end:].removeprefix(chr(10))}"


def _end(text: str, node: yaml.Node) -> int:
    """The index of the end of a node's last line.

    The end mark of a block is at the next node, after the comments that belong to that one.
    """
    lines = text[: node.end_mark.index].split("\n")
    if node.end_mark.column == 0 or not lines[-1].strip():
        lines.pop()
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    end = len("\n".join(lines))
    rest = text[end:].split("\n", 1)[0]
    return end + (len(rest) if rest.lstrip().startswith("#") else 0)


def _member(node: yaml.Node, name: str) -> yaml.Node:
    entry = _key(node, name)
    if entry is None:
        raise InputError(f"The test has no {name!r} to be updated.")
    return entry[1]


def _key(node: yaml.Node, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    for key, value in getattr(node, "value", None) or ():
        if key.value == name:
            return key, value
    return None
