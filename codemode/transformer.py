"""What we change in `quickjs-rs`: its transformer is compiled once for a machine, not once for a process.

It compiles the WebAssembly of the transformer when it is first used, which takes a second and a half of a processor in
each process. Its table of compiled artifacts is private, so any release may move it: the version is pinned exactly, and
`tests/codemode/test_transformer.py` says what moved.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version

import wasmtime
from quickjs_rs import _transform, _wasmtime

from sandbox import CompiledCache

_KEY = "transform"


def prepare(cache: CompiledCache) -> None:
    """Load the compiled transformer into this process, or compile it and store it. Blocks for up to some seconds.

    Raises `wasmtime.WasmtimeError` or `OSError` when the package is damaged.
    """
    if _KEY in _wasmtime._SHARED_ARTIFACTS:
        return
    engine, code = _wasmtime.shared_wasmtime_engine(), _transform._read_transform_wasm()
    digest = hashlib.sha256(code).digest()
    name = f"transformer {version('wasmtime')} {digest.hex()}"
    module = _load(engine, cache.load(name))
    if module is None:
        module = wasmtime.Module(engine, code)
        cache.store(name, bytes(module.serialize()))
    linker = _wasmtime.default_wasi_linker(engine)
    # Another thread may have been quicker; one of two equal artifacts stays.
    _wasmtime._SHARED_ARTIFACTS.setdefault(_KEY, _wasmtime.SharedWasmArtifact(module, linker, digest))


def _load(engine: wasmtime.Engine, compiled: bytes | None) -> wasmtime.Module | None:
    """None when there is none, or when it was compiled for another processor."""
    if compiled is None:
        return None
    try:
        return wasmtime.Module.deserialize(engine, compiled)
    except wasmtime.WasmtimeError:
        return None
