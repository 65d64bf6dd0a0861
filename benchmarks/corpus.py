"""What the search benchmarks run over: 2,747 operations of a large API, and eight servers that run."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from benchmarks.cases import Unavailable
from codemode import Catalog
from tests.corpus import cloudflare
from tests.corpus.real_servers import demo_servers, published_servers

SERVER = cloudflare.SERVER


def catalog() -> Catalog:
    """A new catalog of the operations."""
    return Catalog.build([cloudflare.server()])


def real_servers() -> Catalog:
    """The demo's servers and five published ones. Raises Unavailable where those cannot be had."""

    async def listed() -> Catalog:
        with tempfile.TemporaryDirectory() as folder:
            return Catalog.build([*await published_servers(Path(folder)), *await demo_servers()])

    try:
        return asyncio.run(listed())
    except pytest.skip.Exception as error:
        raise Unavailable(str(error)) from error
