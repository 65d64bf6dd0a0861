"""The transformer is compiled once for a machine: other processes load what the first has stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from quickjs_rs import _transform, _wasmtime

from tests.patience import PATIENCE

PROGRAM = """
import sys
from pathlib import Path

import wasmtime
from quickjs_rs import transform_source

from codemode import transformer
from sandbox import CompiledCache

compiled = []
compile = wasmtime.Module.__init__
wasmtime.Module.__init__ = lambda *arguments: (compiled.append(1), compile(*arguments))[1]
transformer.prepare(CompiledCache(Path(sys.argv[1])))
print(transform_source("program.ts", "const x: number = 1").strip(), len(compiled))
"""


def transform(folder: Path) -> str:
    """What a new process makes of a typed line, and how many modules it compiles for it."""
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.stdout.strip() or done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "compiled"


def test_the_second_process_compiles_nothing(folder: Path) -> None:
    assert transform(folder) == "const x = 1; 1"
    assert transform(folder) == "const x = 1; 0"


def test_a_stored_transformer_that_was_changed_is_not_used(folder: Path) -> None:
    transform(folder)
    (stored,) = folder.glob("*.cwasm")
    code = bytearray(stored.read_bytes())
    code[len(code) // 2] ^= 1
    stored.write_bytes(code)
    assert transform(folder) == "const x = 1; 1"
    assert transform(folder) == "const x = 1; 0"


def test_the_library_keeps_its_artifacts_where_the_compiled_one_is_put() -> None:
    _transform._transform_artifact()
    artifact = _wasmtime._SHARED_ARTIFACTS["transform"]
    assert artifact is _transform._transform_artifact()
