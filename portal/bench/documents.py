"""Reading what developers write and save: JSON and YAML files, bounded, with errors that name the file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from portal.bench.errors import BenchError

LARGEST = 64 * 1024 * 1024
YAML = (".yaml", ".yml")


def read_text(path: Path, *, largest: int = LARGEST) -> str:
    """The text of a file. Raises BenchError."""
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise BenchError(f"Cannot read {path}: {error.strerror or error}.") from error
    if len(data) > largest:
        raise BenchError(f"{path} has more than {largest:,} bytes.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is not UTF-8 text.") from error


def read_document(path: Path, *, largest: int = LARGEST) -> Any:
    """The value in a JSON or YAML file, told by its name. Raises BenchError."""
    text = read_text(path, largest=largest)
    if path.suffix in YAML:
        return _yaml(text, path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path} is not JSON: {error}.") from error


def _yaml(text: str, path: Path) -> Any:
    import yaml  # noqa: PLC0415  only where there is YAML

    class Loader(yaml.SafeLoader):
        """Without aliases, which make a small text large, and without dates, which are text in JSON."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not allowed here")
            return super().compose_node(parent, index)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BenchError(f"{path} is not YAML: {str(error).splitlines()[0] if str(error) else error}.") from error


def only_known(value: Any, known: Collection[str], where: str) -> dict[str, Any]:
    """`value` as an object with no other keys than these. Raises BenchError naming the nearest."""
    if not isinstance(value, Mapping):
        raise BenchError(f"{where} must be an object, not {kind_of(value)}.")
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else f" It may have: {', '.join(known)}."
            raise BenchError(f"{where} has an unknown key {str(key)[:60]!r}.{meant}")
    return dict(value)


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
