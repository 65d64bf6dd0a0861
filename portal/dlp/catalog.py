"""The catalog of kingfisher: some 490 rules for the credentials of services, matched in one pass, without any network.

Only the two modules that scan are imported. The package itself would import its validator and its revoker, which send
what was found to the services; `tests/portal/dlp/test_network.py` holds that they are never loaded.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from importlib import import_module, util
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Protocol, cast

from portal.dlp.findings import HOW_TO_INSTALL, Confidence, DetectionUnavailable
from portal.dlp.match import Match
from portal.dlp.names import CREDENTIALS

_PACKAGE = "kingfisher_sdk"
_importing = Lock()


class _Found(Protocol):
    @property
    def rule_id(self) -> str: ...

    @property
    def visible(self) -> bool: ...

    @property
    def confidence(self) -> str: ...

    @property
    def location(self) -> dict[str, int]: ...


class _Scanner(Protocol):
    def scan(self, data: bytes) -> list[_Found]: ...


class SecretCatalog:
    """Looks for the rules of kingfisher. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Takes some 4 s of a core the first time, then half a second: the compiled rules are kept in `folder`.

        Raises:
            DetectionUnavailable: the extra is not installed, or others may write into the folder.
        """
        if util.find_spec(_PACKAGE) is None:
            raise DetectionUnavailable(f"detection is not installed: {HOW_TO_INSTALL}")
        _make_private(folder)
        rules, scanner = _modules()
        catalog = rules.Rules(confidence="medium", cache_dir=folder)
        # Base64 is decoded by us, within our own bound. Without a policy, comments such as `kingfisher:ignore` do not
        # switch anything off.
        self.titles = {_name(rule["id"]): str(rule["name"]) for rule in catalog.metadata() if rule["visible"]}
        self.rules = frozenset(_name(rule["id"]) for rule in catalog.metadata())
        self._scanner = cast("_Scanner", scanner.Scanner(catalog, base64=False))

    def matches(self, text: bytes) -> Iterator[Match]:
        """The matches in a text of UTF-8. Rules that only help others, such as names of accounts, are left out."""
        for found in self._scanner.scan(text):
            if found.visible:
                where = found.location
                start, end = _without_quotes(text, where["start_offset"], where["end_offset"])
                confidence: Confidence = "high" if found.confidence == "high" else "medium"
                yield Match(CREDENTIALS, _name(found.rule_id), confidence, start, end, text[start:end])


def _make_private(folder: Path) -> None:
    """Compiled rules are read as they are, so nobody else may write them."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise DetectionUnavailable(f"{folder} is no folder of this user: name another one for the rules")
        if found.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise DetectionUnavailable(f"{folder} cannot keep the rules of detection: {error.strerror or error}") from error


def _modules() -> tuple[ModuleType, ModuleType]:
    """The modules `rules` and `scanner` of the package, whose `__init__` does not run."""
    with _importing:
        if _PACKAGE in sys.modules:
            return import_module(f"{_PACKAGE}.rules"), import_module(f"{_PACKAGE}.scanner")
        spec = util.find_spec(_PACKAGE)
        assert spec is not None
        bare = ModuleType(_PACKAGE)
        bare.__path__ = list(spec.submodule_search_locations or ())
        sys.modules[_PACKAGE] = bare
        try:
            return import_module(f"{_PACKAGE}.rules"), import_module(f"{_PACKAGE}.scanner")
        finally:
            # Whoever else imports the package gets all of it.
            del sys.modules[_PACKAGE]


def _name(rule: str) -> str:
    """`betterleaks.github-pat` is `github-pat`, and `veles.secrets/npmjsaccesstoken` is `npmjsaccesstoken`."""
    name = rule.removeprefix("betterleaks.").removeprefix("veles.secrets/")
    return "".join(sign if sign.isalnum() else "-" for sign in name.lower())[:64]


def _without_quotes(text: bytes, start: int, end: int) -> tuple[int, int]:
    while end - start > 2 and text[start] == text[end - 1] and text[start] in b"\"'`":
        start, end = start + 1, end - 1
    return start, end
