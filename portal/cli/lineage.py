"""Which documents the programs above this one serve: a portal must not start itself as one of its own servers.

What a command comes to cannot always be seen from the document (a wrapper, a script). So each portal leaves the mark of
its document in its environment, which its child processes get (`portal.upstream`), and serves none whose mark is there.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from portal.cli.exits import CommandError
from portal.upstream import LINEAGE

MAX_DEPTH = 8


def begin_serving(file: Path) -> None:
    """Note that this process serves a document.

    Raises:
        CommandError: a program that started this one does, or there are too many.
    """
    above = [mark for mark in os.environ.get(LINEAGE, "").split(",") if mark]
    own = _mark(file)
    if own in above:
        raise CommandError(
            f"{file} is served already by the portal that has started this program as one of its servers: "
            "it would start itself without end. Remove that server from the document."
        )
    if len(above) >= MAX_DEPTH:
        raise CommandError(f"{MAX_DEPTH} portals have started one another; this one is not started.")
    os.environ[LINEAGE] = ",".join([*above, own])


def _mark(file: Path) -> str:
    return hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]
