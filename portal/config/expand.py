"""`${VAR}` and `${VAR:-default}` in configuration strings. Pure: the environment comes in as a mapping.

`${env:VAR}` (the spelling of VS Code, Cursor and Windsurf) means the same as `${VAR}`. `$${` stands for a literal `${`.
Their `${workspaceFolder}` and the like, VS Code's `${input:id}` and Windsurf's `${file:path}` come in as well.
A variable that only another client can fill in makes a server of its document unusable. Elsewhere it is a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from portal.config.clients import EntryUnusable, input_variable
from portal.errors import ConfigError

_REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<body>[^}]*)(?P<end>\}?)")
_BODY = re.compile(r"(?P<theirs>env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>:-(?P<default>[^{]*))?", re.DOTALL)

# VS Code's `${config:key}` and `${command:id}`, a desktop extension's `${user_config.key}`, a workflow's `${{ x }}`.
_THEIRS = re.compile(r"(?!input:|env:)(?:\{|[A-Za-z_][A-Za-z0-9_-]*(?::(?!-)|\.)).+", re.DOTALL)
# https://code.visualstudio.com/docs/reference/variables-reference
_EDITORS = frozenset(
    "userHome workspaceFolder workspaceFolderBasename workspaceRoot file fileWorkspaceFolder relativeFile "
    "relativeFileDirname fileBasename fileBasenameNoExtension fileExtname fileDirname fileDirnameBasename cwd "
    "lineNumber columnNumber selectedText execPath defaultBuildTask pathSeparator".split()
)
_QUOTED = 60

# Blotting these out of a message would hide the path it is about.
_NO_SECRETS = {"HOME", "USER", "LOGNAME", "PWD", "PATH", "SHELL", "TMPDIR", "LANG", "HOSTNAME", "USERPROFILE"}


class Expansion:
    """Expands one document and remembers the values it put in: they are secrets until proven otherwise.

    `of_client`: the text may come from another client, whose variables the portal cannot fill in.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        file: str,
        editor: Mapping[str, str] | None = None,
        inputs: Mapping[str, str | None] | None = None,
        read_file: Callable[[str], str | None] | None = None,
        of_client: bool = False,
    ) -> None:
        self._environment = environment
        self._editor = editor or {}
        self._inputs = inputs or {}
        self._read_file = read_file
        self._file = file
        self._of_client = of_client
        self.values: set[str] = set()

    def expand(self, value: object, key: str) -> object:
        """`value` with every string in it expanded; `key` is its path in the document.

        Raises:
            ConfigError: a variable is missing, or `${...}` is not a variable.
            EntryUnusable: an input has no value, a file cannot be read, or another client's variable has no value here.
        """
        if isinstance(value, str):
            return _REFERENCE.sub(lambda found: self._replace(found, key), value) if "$" in value else value
        if isinstance(value, list):
            return [self.expand(item, f"{key}[{position}]") for position, item in enumerate(value)]
        return self.expand_members(value, key) if isinstance(value, dict) else value

    def expand_members(self, value: Mapping[str, object], key: str) -> dict[str, object]:
        """`value` with every string in its members expanded. Raises what `expand` raises."""
        return {name: self.expand(item, f"{key}.{name}") for name, item in value.items()}

    def _replace(self, found: re.Match[str], key: str) -> str:
        if found["escaped"]:
            return "${"
        if found["end"] and (ready := self._editor.get(found["body"])) and found["body"] not in self._environment:
            return ready
        if found["end"] and (id := found["body"].removeprefix("input:")) != found["body"] and id in self._inputs:
            return self._input(id)
        if found["end"] and self._read_file and (path := found["body"].removeprefix("file:")) != found["body"]:
            return self._content(self._read_file(path))
        body = _BODY.fullmatch(found["body"])
        if not found["end"] or body is None:
            if found["end"] and self._of_client and _THEIRS.fullmatch(found["body"]):
                raise _unfilled(found[0])
            raise ConfigError(
                f"has `{found[0][:_QUOTED]}`, which is not a variable.",
                file=self._file,
                key=key,
                fix="Write ${NAME} or ${NAME:-default}; a literal ${ is written $${.",
            )
        name = body["name"]
        # As in a shell, `:-` also replaces a variable that is set but empty.
        value = self._environment.get(name) or body["default"]
        if value is None:
            value = self._environment.get(name)
        if value is None and self._of_client and body["theirs"]:
            variable = name[:_QUOTED]
            raise EntryUnusable(f"it needs the environment variable {variable}, which is not set; set {variable}")
        if value is None and self._of_client and name in _EDITORS:
            raise _unfilled(found[0])
        if value is None:
            raise ConfigError(
                f"needs the environment variable {name}, which is not set.",
                file=self._file,
                key=key,
                fix=f"Set {name}, or write ${{{name}:-default}}.",
            )
        if name not in _NO_SECRETS:
            self.values.add(value)
        return value

    def _input(self, id: str) -> str:
        value = self._inputs[id]
        if value is None:
            raise EntryUnusable(f"it needs the input `{id}`; set the environment variable {input_variable(id)}")
        self.values.add(value)
        return value

    def _content(self, text: str | None) -> str:
        if text is None:
            raise EntryUnusable("it needs the text of a file that cannot be read")
        self.values.add(text)
        return text


def _unfilled(reference: str) -> EntryUnusable:
    fix = "write the value, or ${NAME} and set that environment variable"
    return EntryUnusable(f"it needs `{reference[:_QUOTED]}`, which only another client can fill in; {fix}")
