"""SIGKILL at any moment, fifty times (hundreds in the deep run): what was answered is there, and the database opens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from portal.state import KeyRing, Store, plain

KILLS = 25

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("databases", [2, pytest.param(8, marks=pytest.mark.deep)])
async def test_nothing_that_was_answered_is_lost_by_killing_the_process(tmp_path: Path, databases: int) -> None:
    command = [sys.executable, "-m", "tests.portal.state.killed", str(tmp_path), str(databases), str(KILLS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lives: dict[str, list[tuple[int, int, bool]]] = json.loads(done.stdout)
    assert sum(len(of_one) for of_one in lives.values()) == databases * KILLS
    assert sum(count for of_one in lives.values() for _, count, _ in of_one) >= 0.9 * databases * KILLS
    for number, of_one in lives.items():
        keys = KeyRing.open(tmp_path / f"{number}.key")
        async with Store.open(f"sqlite:///{tmp_path}/{number}.db", keys) as store:
            there = {stored.id: stored for stored in await store.list(plain("server"))}
            for life, count, _ in of_one:
                for index in range(count):
                    name = f"{life}-{index}"
                    assert there[name].document == {"n": index}
                    assert await store.secret(plain("server"), name) == name.encode()
                    token = await store.tokens.find(plain("code"), name)
                    assert token is not None and token.used_at is not None
            # One transaction is whole or not there: never the object without its token.
            tokens = len(await store.tokens.list(plain("code")))
            assert tokens == len(there)
