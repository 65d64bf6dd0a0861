"""Reading JSON and YAML files, bounded, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from portal.errors import InputError

LARGEST = 64 * 1024 * 1024


YAML = (".yaml", ".yml")


def read_text(path: Path, *, largest: int = LARGEST) -> str:
    """The text of a file. Raises InputError."""
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    if len(data) > largest:
        raise InputError(f"{path} has more than {largest:,} bytes.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text.") from error


def read_document(path: Path, *, largest: int = LARGEST) -> Any:
    """The value in a JSON or YAML file, told by its name. Raises InputError."""
    text = read_text(path, largest=largest)
    if path.suffix in YAML:
        return _yaml(text, path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}.") from error


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
        raise InputError(f"{path} is not YAML: {str(error).splitlines()[0] if str(error) else error}.") from error
