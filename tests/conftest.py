"""For all tests: none is timed, and what is collected stays, so the garbage collector need not look at it."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import httpcore2
import pytest
import starlette.routing
import structlog
import typer.main
import typer.testing
import uvicorn.server
from hypothesis import settings

from portal.cli.process import collect_garbage_seldom
from tests.deep import DEEP, ORDINARY, register_profiles
from tests.home import HomeWatch, move_back, move_out

_WATCH = pytest.StashKey[HomeWatch]()
ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    # Before anything is started, pytest's workers among it.
    if (made := move_out(os.environ)) is not None:
        config.add_cleanup(lambda: move_back(made, os.environ))
    config.stash[_WATCH] = watch = HomeWatch.of(os.environ, ROOT)
    watch.start()
    # What tests log is seldom read. Frames with their variables take a second to draw.
    structlog.get_config()["processors"][-1].exception_formatter = structlog.dev.plain_traceback
    # A portal of a test would load a model of 23 MB. The tests of search by meaning turn it on.
    os.environ.setdefault("CODEMODE_SEMANTIC", "off")
    # Before the tests are imported, whose decorators ask for it.
    register_profiles()
    settings.load_profile(ORDINARY if "not deep" in config.option.markexpr else DEEP)


def pytest_sessionstart() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    collect_garbage_seldom()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """A test fails if it would have left something in the real home directory: what was refused may have hidden it."""
    found = item.config.stash[_WATCH].found
    told, found[:] = "\n".join(found), []
    assert not told, told


@pytest.fixture(scope="session", autouse=True)
def _one_tls_context() -> Iterator[None]:
    """HTTP clients that name no TLS context share one: reading the certificates takes longer than their requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _routes_compiled_once() -> Iterator[None]:
    """Portals share the expressions of their routes: compiling them takes as long as the rest of a portal's start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starlette.routing, "compile_path", cache(starlette.routing.compile_path))
        yield


@pytest.fixture(scope="session", autouse=True)
def _commands_built_once() -> Iterator[None]:
    """Calls of the command in this process share its commands and options: reading them takes 0.1 s each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def _servers_end_soon() -> Iterator[None]:
    """A server looks ten times as often whether it is to end: most tests start two, and each took 0.2 s to do so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.server, "asyncio", _Hurried("asyncio"))
        yield


class _Hurried(ModuleType):
    """asyncio, with shorter sleeps. What uvicorn waits for with a timeout keeps its time."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)
