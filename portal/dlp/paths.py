"""The path of a place in a JSON value, for people, without the names that were found to be secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from portal.dlp.findings import Leaf

LONGEST_NAME = 64
LONGEST_PATH = 400
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]{0,63}", re.ASCII)

Steps = tuple[int, ...]


class Paths:
    """Of one value. `hidden` gives the rule of each name that has a finding, by its steps."""

    def __init__(self, value: object, root: str, hidden: Mapping[Steps, str]) -> None:
        self._root = root
        self._hidden = hidden
        self._names: dict[Steps, list[str] | None] = {}
        self._members: dict[Steps, list[object]] = {}
        self._value = value

    def of(self, leaf: Leaf) -> str:
        """As `result.items[3].token`. A long path lacks its middle, a long name its end."""
        parts = [self._root]
        value = self._value
        for depth, step in enumerate(leaf.steps):
            steps = leaf.steps[:depth]
            if steps not in self._members:
                self._read(steps, value)
            parts.append(self._part(leaf.steps[: depth + 1], self._names[steps], step))
            value = self._members[steps][step]
        path = "".join(parts) + ("#" if leaf.is_name else "")
        half = LONGEST_PATH // 2
        return path if len(path) <= LONGEST_PATH else f"{path[:half]}...{path[-half:]}"

    def _read(self, steps: Steps, container: object) -> None:
        if isinstance(container, dict):
            self._names[steps] = [str(name) for name in container]
            self._members[steps] = list(container.values())
        else:
            self._names[steps] = None
            self._members[steps] = list(container) if isinstance(container, list | tuple) else []

    def _part(self, steps: Steps, names: list[str] | None, step: int) -> str:
        if names is None:
            return f"[{step}]"
        if (rule := self._hidden.get(steps)) is not None:
            return f'["[redacted:{rule}]"]'
        name = names[step]
        if _IDENTIFIER.fullmatch(name):
            return f".{name}"
        return f"[{json.dumps(name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + '...')}]"
