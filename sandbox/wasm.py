"""The WebAssembly engine through its C API: the only module that touches ctypes and wasmtime.

A call into the guest takes about 1 us this way, and 13 us or more through wasmtime's Python objects. Four rules hold
here: every pointer and length from the guest is checked against its memory before use; the only callback (the epoch's)
never raises; a store is used by one thread at a time and deleted by its owner; after a trap a store is only read and
deleted.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from sandbox.errors import EngineError, GuestAbiError, Overloaded
from sandbox.stack import MAX_WASM_STACK, require_deep_stack

WASM_PAGE = 65536
STACK_OVERFLOW = 0
_RESIDENT, _MOST_RESIDENT = 1 << 20, 1 << 30  # bytes of one free slot, and of all
_FEATURES_OFF = (
    "wasm_threads", "wasm_tail_call", "wasm_reference_types", "wasm_function_references", "wasm_gc",
    "wasm_relaxed_simd",
    "wasm_simd", "wasm_multi_value", "wasm_multi_memory", "wasm_memory64", "wasm_wide_arithmetic", "wasm_exceptions",
    "wasm_custom_page_sizes", "wasm_stack_switching", "wasm_component_model", "wasm_component_model_async",
    "wasm_component_model_map", "wasm_component_model_implements", "wasm_component_model_more_async_builtins",
    "wasm_component_model_async_stackful", "wasm_component_model_canonical_names", "wasm_component_model_accessors",
)  # fmt: skip


def _installed() -> tuple[Path, str]:
    """The path of wasmtime's shared library, and its version. Its Python layer is not imported, which saves most of the
    import time."""
    spec = find_spec("wasmtime")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("wasmtime is not installed")
    folder = Path(next(iter(spec.submodule_search_locations)))
    name = "_libwasmtime.dylib" if sys.platform == "darwin" else "_libwasmtime.so"
    machine = {"arm64": "aarch64"}.get(os.uname().machine, os.uname().machine)
    versions = [path.name.split("-")[1] for path in folder.parent.glob("wasmtime-*.dist-info")]
    return folder / f"{sys.platform}-{machine}" / name, versions[0] if len(versions) == 1 else "unknown"


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_library, name)
    function.restype = result
    function.argtypes = arguments
    return function


_path, WASMTIME = _installed()
_library = ctypes.CDLL(str(_path))
_P = c_void_p


class _Instance(ctypes.Structure):  # wasmtime_instance_t
    _fields_ = (("store", c_uint64), ("index", c_size_t))


class _Extern(ctypes.Structure):  # wasmtime_extern_t: its kind, then a union of handles of at most 24 bytes
    _fields_ = (("kind", c_uint8), ("handle", c_uint64 * 3))


class _Vec(ctypes.Structure):
    _fields_ = (("size", c_size_t), ("data", c_void_p))


_config_new = _function("wasm_config_new", _P)
_engine_new = _function("wasm_engine_new_with_config", _P, _P)
_engine_delete = _function("wasm_engine_delete", None, _P)
_increment_epoch = _function("wasmtime_engine_increment_epoch", None, _P)
_pool_new = _function("wasmtime_pooling_allocation_config_new", _P)
_pool_delete = _function("wasmtime_pooling_allocation_config_delete", None, _P)
_pool_use = _function("wasmtime_pooling_allocation_strategy_set", None, _P, _P)
_module_new = _function("wasmtime_module_new", _P, _P, c_char_p, c_size_t, _P)
_module_load = _function("wasmtime_module_deserialize", _P, _P, c_char_p, c_size_t, _P)
_module_save = _function("wasmtime_module_serialize", _P, _P, _P)
_module_delete = _function("wasmtime_module_delete", None, _P)
_bytes_delete = _function("wasm_byte_vec_delete", None, _P)
_linker_new = _function("wasmtime_linker_new", _P, _P)
_linker_delete = _function("wasmtime_linker_delete", None, _P)
_prepare = _function("wasmtime_linker_instantiate_pre", _P, _P, _P, _P)
_prepared_delete = _function("wasmtime_instance_pre_delete", None, _P)
_instantiate = _function("wasmtime_instance_pre_instantiate", _P, _P, _P, _P, _P)
_store_new = _function("wasmtime_store_new", _P, _P, _P, _P)
_store_delete = _function("wasmtime_store_delete", None, _P)
_store_context = _function("wasmtime_store_context", _P, _P)
_store_limiter = _function("wasmtime_store_limiter", None, _P, c_int64, c_int64, c_int64, c_int64, c_int64)
_set_deadline = _function("wasmtime_context_set_epoch_deadline", None, _P, c_uint64)
_export = _function("wasmtime_instance_export_get", c_bool, _P, _P, c_char_p, c_size_t, _P)
_call = _function("wasmtime_func_call_unchecked", _P, _P, _P, _P, c_size_t, _P)
_memory_data = _function("wasmtime_memory_data", _P, _P, _P)
_memory_size = _function("wasmtime_memory_data_size", c_size_t, _P, _P)
_memory_grow = _function("wasmtime_memory_grow", _P, _P, _P, c_uint64, _P)
_error_new = _function("wasmtime_error_new", _P, c_char_p)
_error_message = _function("wasmtime_error_message", None, _P, _P)
_error_delete = _function("wasmtime_error_delete", None, _P)
_trap_code = _function("wasmtime_trap_code", c_bool, _P, _P)
_trap_delete = _function("wasm_trap_delete", None, _P)
_Callback = ctypes.CFUNCTYPE(c_size_t, _P, _P, ctypes.POINTER(c_uint64), ctypes.POINTER(c_uint8))
_set_callback = _function("wasmtime_store_epoch_deadline_callback", None, _P, _P, _P, _P)


def _take_error(error: int) -> str:
    """The message of a wasmtime error. Frees the error."""
    text = _Vec()
    _error_message(error, ctypes.byref(text))
    message = ctypes.string_at(text.data, text.size).decode(errors="replace")
    _bytes_delete(ctypes.byref(text))
    _error_delete(error)
    return message


def _checked(error: int | None, doing: str) -> None:
    if error:
        raise EngineError(f"{doing}: {_take_error(error)}")


def _set(prefix: str, config: int, **values: int) -> None:
    for name, value in values.items():
        kind = c_bool if isinstance(value, bool) else c_size_t
        _function(f"{prefix}_{name}_set", None, _P, kind)(config, value)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of an engine. `memory`: the largest linear memory, in bytes; `slots`: instances at a time."""

    memory: int
    slots: int

    @property
    def keep_resident(self) -> int:
        """Bytes of a free slot's memory that stay resident: more than the image, because page faults would be most of
        the time a fresh instance takes. 0 for very many slots, whose memory would all stay resident."""
        return _RESIDENT if self.slots * _RESIDENT <= _MOST_RESIDENT else 0

    @property
    def name(self) -> str:
        """Names all that must be equal for a compiled module to load."""
        return f"wasmtime-{WASMTIME} stack-{MAX_WASM_STACK} off-{','.join(_FEATURES_OFF)}"


class WasmEngine:
    """One engine: its configuration, its pool of instances, its epoch. Close it after its last store."""

    def __init__(self, settings: Settings, over: Callable[[], bool]) -> None:
        """`over` says whether the guest must stop. It is called at every tick, in the guest's thread."""
        self.settings = settings
        self.pointer: int | None = _engine_new(_config(settings))
        if not self.pointer:
            raise EngineError("the WebAssembly engine could not be made")

        def on_epoch(_context: Any, _data: Any, delta: Any, kind: Any) -> int:
            try:
                if not over():
                    delta[0] = 1
                    kind[0] = 0
                    return 0
            except BaseException:  # no exception may reach the engine: stop the guest instead
                pass
            return int(_error_new(b"stopped"))

        self._callback = _Callback(on_epoch)  # a reference for the garbage collector: the engine has only the address
        self.callback = ctypes.cast(self._callback, c_void_p).value

    def tick(self) -> None:
        if self.pointer:
            _increment_epoch(self.pointer)

    def close(self) -> None:
        if self.pointer:
            _engine_delete(self.pointer)
            self.pointer = None


def _config(settings: Settings) -> int:
    config = int(_config_new())
    _set(
        "wasmtime_config",
        config,
        native_unwind_info=False,
        epoch_interruption=True,
        memory_init_cow=True,
        memory_may_move=False,
    )
    # The asynchronous stack is never used, but the engine aborts unless it is larger than the synchronous one.
    _set("wasmtime_config", config, max_wasm_stack=MAX_WASM_STACK, async_stack_size=2 * MAX_WASM_STACK)
    _set("wasmtime_config", config, **dict.fromkeys(_FEATURES_OFF, False))
    pool = int(_pool_new())
    _set(
        "wasmtime_pooling_allocation_config",
        pool,
        total_core_instances=settings.slots,
        total_memories=settings.slots,
        total_tables=settings.slots,
        max_memory_size=settings.memory,
        max_core_instance_size=1 << 20,
        table_elements=20000,
        linear_memory_keep_resident=settings.keep_resident,
        table_keep_resident=65536,
    )
    _pool_use(config, pool)
    _pool_delete(pool)
    return config


class WasmModule:
    """A compiled module without imports, ready to be instantiated."""

    def __init__(self, engine: WasmEngine, module: int) -> None:
        self.engine = engine
        self.pointer = module
        linker, prepared = _linker_new(engine.pointer), c_void_p()
        try:
            _checked(_prepare(linker, module, ctypes.byref(prepared)), "cannot link the guest")
        finally:
            _linker_delete(linker)
        self.prepared = prepared.value

    @classmethod
    def compile(cls, engine: WasmEngine, wasm: bytes) -> WasmModule:
        module = c_void_p()
        _checked(_module_new(engine.pointer, wasm, len(wasm), ctypes.byref(module)), "cannot compile the guest")
        return cls(engine, module.value or 0)

    @classmethod
    def load(cls, engine: WasmEngine, compiled: bytes) -> WasmModule:
        """`compiled` is machine code: pass only bytes from `save` that nobody else can have changed."""
        module = c_void_p()
        _checked(_module_load(engine.pointer, compiled, len(compiled), ctypes.byref(module)), "cannot load the guest")
        return cls(engine, module.value or 0)

    def save(self) -> bytes:
        data = _Vec()
        _checked(_module_save(self.pointer, ctypes.byref(data)), "cannot serialise the guest")
        saved = ctypes.string_at(data.data, data.size)
        _bytes_delete(ctypes.byref(data))
        return saved

    def close(self) -> None:
        if self.prepared:
            _prepared_delete(self.prepared)
            _module_delete(self.pointer)
            self.prepared = None


class Layout(ctypes.Structure):
    """The words that the guest publishes (`struct layout` in guest.h). Every field is hostile."""

    _fields_ = tuple(
        (name, c_uint32)
        for name in (
            "abi",
            "input",
            "input_size",
            "output",
            "output_size",
            "logs",
            "logs_size",
            "stopped",
            "heap",
            "end",
        )
    )
    abi: int
    input: int
    input_size: int
    output: int
    output_size: int
    logs: int
    logs_size: int
    stopped: int
    heap: int
    end: int


class Trap(Exception):
    """The guest did not return. `code` is the code of the trap, None when the epoch callback stopped it."""

    def __init__(self, code: int | None, message: str) -> None:
        super().__init__(message)
        self.code = code


class WasmInstance:
    """One store with one instance in it. Not thread-safe; `close` is idempotent."""

    __slots__ = ("_base", "_context", "_exports", "_instance", "_memory_ref", "_raw", "_store", "_trap", "_trap_ref")

    def __init__(self, module: WasmModule) -> None:
        engine = module.engine
        self._store = _store_new(engine.pointer, None, None)
        self._context = _store_context(self._store)
        _store_limiter(self._store, engine.settings.memory, -1, 1, 1, 1)
        _set_callback(self._store, engine.callback, None, None)
        self._instance = _Instance()
        self._trap = c_void_p()
        self._trap_ref = ctypes.byref(self._trap)
        error = _instantiate(module.prepared, self._context, ctypes.byref(self._instance), self._trap_ref)
        if error or self._trap:
            message = _take_error(error) if error else "the guest trapped at its start"
            self.close()
            raise Overloaded(f"no isolate is free: {message}")
        self._raw = _RawValues()
        self._exports: dict[bytes, Any] = {}
        self._memory_ref = self._find(b"memory")
        self._base = _memory_data(self._context, self._memory_ref)  # does not change: memory_may_move is off

    def _find(self, name: bytes) -> Any:
        """A reference to the handle of an export. It keeps the handle alive."""
        extern = _Extern()
        if not _export(self._context, ctypes.byref(self._instance), name, len(name), ctypes.byref(extern)):
            raise GuestAbiError(f"the guest has no export {name.decode()}")
        return ctypes.byref(extern, _HANDLE)

    def call(self, name: bytes, argument: int = 0) -> int:
        """Calls an export with one i32 at most and returns its i32. Raises Trap; then the instance can only be read."""
        require_deep_stack()
        function = self._exports.get(name)
        if function is None:
            function = self._exports[name] = self._find(name)
        raw = self._raw
        raw[0] = argument
        _set_deadline(self._context, 1)
        error = _call(self._context, function, raw, 2, self._trap_ref)
        if error:
            raise Trap(None, _take_error(error))
        if self._trap:
            raise self._take_trap()
        return raw[0] & 0xFFFFFFFF

    def _take_trap(self) -> Trap:
        code = c_uint8()
        known = _trap_code(self._trap, ctypes.byref(code))
        _trap_delete(self._trap)
        self._trap.value = None
        return Trap(code.value if known else None, f"the guest trapped (code {code.value if known else 'none'})")

    def view(self, kind: type[_View], at: int) -> _View:
        """Guest memory at `at` as a live structure with hostile fields. It must not be used after `close`."""
        if at < 0 or at + ctypes.sizeof(kind) > _memory_size(self._context, self._memory_ref):
            raise GuestAbiError(f"the guest's structure at {at} lies outside its memory")
        return kind.from_address(self._base + at)

    def memory_size(self) -> int:
        return int(_memory_size(self._context, self._memory_ref))

    def read(self, at: int, size: int) -> bytes:
        """Copies guest memory out. Raises GuestAbiError for bytes outside it."""
        if at < 0 or size < 0 or at + size > _memory_size(self._context, self._memory_ref):
            raise GuestAbiError(f"the guest named {size} bytes at {at}, outside its memory")
        return ctypes.string_at(self._base + at, size)

    def write(self, at: int, data: bytes) -> None:
        """Copies into guest memory. Raises GuestAbiError for bytes outside it."""
        if at < 0 or at + len(data) > _memory_size(self._context, self._memory_ref):
            raise GuestAbiError(f"the guest wants {len(data)} bytes at {at}, outside its memory")
        ctypes.memmove(self._base + at, data, len(data))

    def grow_to(self, size: int) -> None:
        missing = size - self.memory_size()
        if missing > 0:
            pages = -(-missing // WASM_PAGE)
            error = _memory_grow(self._context, self._memory_ref, pages, ctypes.byref(c_uint64()))
            _checked(error, "cannot grow the guest's memory")

    def close(self) -> None:
        if self._store:
            _store_delete(self._store)
            self._store = None


_HANDLE = 8  # the offset of the handle in a wasmtime_extern_t
_View = TypeVar("_View", bound=ctypes.Structure)
_RawValues = c_uint64 * 4  # two values of 16 bytes
