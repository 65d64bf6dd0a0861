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
    # The lock of the library: of two threads that begin at once, one compiles and the other waits.
    with _wasmtime._SHARED_ARTIFACTS_LOCK:
        if _KEY not in _wasmtime._SHARED_ARTIFACTS:
            _wasmtime._SHARED_ARTIFACTS[_KEY] = _artifact(cache)


def _artifact(cache: CompiledCache) -> _wasmtime.SharedWasmArtifact:
    engine, code = _wasmtime.shared_wasmtime_engine(), _transform._read_transform_wasm()
    digest = hashlib.sha256(code).digest()
    name = f"transformer {version('wasmtime')} {digest.hex()}"
    module = _load(engine, cache.load(name))
    if module is None:
        module = wasmtime.Module(engine, code)
        cache.store(name, bytes(module.serialize()))
    return _wasmtime.SharedWasmArtifact(module, _wasmtime.default_wasi_linker(engine), digest)


def _load(engine: wasmtime.Engine, compiled: bytes | None) -> wasmtime.Module | None:
    """None when there is none, or when it was compiled for another processor."""
    if compiled is None:
        return None
    try:
        return wasmtime.Module.deserialize(engine, compiled)
    except wasmtime.WasmtimeError:
        return None
