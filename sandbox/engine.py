"""The engine: compiles the guest once, initialises its memory once, and makes isolates from both."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self, TypeAlias

from sandbox import frozen, pages
from sandbox.batch import decode_outcome
from sandbox.compiled import CompiledCache, default_cache
from sandbox.epoch import Ticker, TimeBudget
from sandbox.errors import EngineError, ForeignImage, GuestAbiError, LocalStateError
from sandbox.events import Failed
from sandbox.isolate import Home, Isolate, difference
from sandbox.limits import Limits, MiB
from sandbox.snapshot import WASM_PAGE, passive_segments, with_memory
from sandbox.wasm import Layout, Settings, Trap, WasmEngine, WasmInstance, WasmModule

_Runs: TypeAlias = tuple[int, Iterable[tuple[int, bytes]]]  # the size of the memory, and (address, bytes) pairs
_MOST_IMAGES = 64
ABI = 4
_SETUP = Limits(cpu_time=60.0, wall_time=600.0)


@dataclass(frozen=True, slots=True)
class Image:
    """The memory that a preload leaves. `data` can be stored and used by another engine of the same build."""

    id: str
    data: bytes

    @classmethod
    def of(cls, data: bytes) -> Image:
        return cls(hashlib.sha256(data).hexdigest(), data)


@dataclass(frozen=True, slots=True)
class _Guest:
    wasm: bytes
    preludes: tuple[tuple[str, bytes], ...]
    parts: tuple[tuple[str, bytes], ...]  # the scripts of what is made at its first touch

    @classmethod
    def load(cls) -> _Guest:
        folder = Path(__file__).resolve().parent / "guest"
        try:
            wasm = (folder / "guest.wasm").read_bytes()
        except FileNotFoundError:
            raise EngineError("guest.wasm is missing: run `python sandbox/guest/build.py`") from None

        def scripts(name: str) -> tuple[tuple[str, bytes], ...]:
            return tuple((f.name, f.read_bytes()) for f in sorted((folder / name).glob("*.js")))

        return cls(wasm, scripts("prelude"), scripts("intl"))

    def build_id(self, settings: Settings) -> str:
        digest = hashlib.sha256(settings.name.encode() + b"\0" + self.wasm)
        for name, text in self.preludes + self.parts:
            digest.update(b"\0" + name.encode() + b"\0" + text)
        return digest.hexdigest()


def _largest_memory(limits: Limits) -> int:
    """Bytes of linear memory for a heap of `limits.memory`, with the guest's stack and data and fragmentation."""
    room = limits.memory + limits.memory // 8 + 4 * MiB
    return -(-room // WASM_PAGE) * WASM_PAGE


def _scripts(parts: list[bytes]) -> bytes:
    """A passive segment as `intl.c` reads it: `size u32 | how many u32`, then each script as `size u32 | bytecode`."""
    content = b"".join(struct.pack("<I", len(part)) + part for part in parts)
    return struct.pack("<II", 8 + len(content), len(parts)) + content


class Engine:
    """Makes isolates that all have the same limits. Thread-safe; close it when every isolate is closed.

    `slots` is how many isolates may be open at once, `cache` the private folder for the compiled guest (None: no
    cache). `common` is trusted JavaScript as for `image`, which most images begin with: frozen programs refer to the
    memory that it leaves, and do not repeat it. It is part of the build.

    Raises EngineError when the guest is missing or cannot be compiled, or `common` throws.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        slots: int = 256,
        cache: Path | None | str = "default",
        common: str = "",
    ) -> None:
        self.limits = limits or Limits()
        folder = default_cache() if cache == "default" else Path(cache) if cache is not None else None
        guest = _Guest.load()
        settings = Settings(memory=_largest_memory(self.limits), slots=slots)
        self.build_id = guest.build_id(settings)
        self._wasm = WasmEngine(settings, lambda: self._ticker.is_over())
        self._ticker = Ticker(self._wasm.tick)
        self._lock = Lock()
        self._live: set[Isolate] = set()
        self._closed = False
        self._images: dict[str, _Runs] = {}
        self._module = self._prepare(guest, CompiledCache(folder))
        self._home = self._inspect()
        if common:
            known = frozen.KnownPages(self._left_by(common))
            self.build_id = hashlib.sha256(f"{self.build_id}\0{known.digest}".encode()).hexdigest()
            self._home = replace(self._home, build=self.build_id, known=known)

    @property
    def live_isolates(self) -> int:
        """How many isolates are open."""
        return len(self._live)

    def isolate(self, image: Image | None = None) -> Isolate:
        """A fresh isolate. Raises Overloaded when every slot is taken, ForeignImage for an image of another build."""
        runs = self._image_runs(image) if image is not None else None
        instance = self._instance()
        if runs is not None:
            self._write(instance, runs)
        return self._isolate(instance, None)

    def image(self, preload: str) -> Image:
        """Runs trusted JavaScript, the body of `function (host) { ... }`, and returns the memory it leaves.

        The preload makes host calls with `host.call(name, argument)`; programs of this image have no global `host`. A
        function that it sets as `host.begin` is called with the text that `Isolate.start` is given as `begin`.
        Raises EngineError when the preload throws.
        """
        return Image.of(frozen.pack(frozen.Header(self.build_id, "image"), self._left_by(preload)))

    def _left_by(self, preload: str) -> bytes:
        """The memory that a preload leaves, as its difference from the initial one."""
        compiler = self._instance()
        try:
            bytecode = self._setup(compiler, b"compile_preload", "preload.js", preload.encode())
        finally:
            compiler.close()
        instance = self._instance()
        try:
            self._setup(instance, b"preload", "preload.js", bytecode)
            with self._ticker.running(TimeBudget(_SETUP.cpu_time, _SETUP.wall_time)):
                return difference(instance, self._home, instance.memory_size())
        finally:
            instance.close()

    def thaw(self, data: bytes) -> Isolate:
        """The suspended program of an `Isolate.freeze`. Raises ForeignImage for damage and for another build."""
        header, patch = self._read(data, "program")
        instance = self._instance()
        self._patch(instance, patch)
        return self._isolate(instance, header)

    def close(self) -> None:
        """Frees the engine. Raises LocalStateError while isolates are open. Idempotent."""
        with self._lock:
            if self._closed:
                return
            if self._live:
                raise LocalStateError(f"{len(self._live)} isolates are still open")
            self._closed = True
        self._ticker.close()
        self._module.close()
        self._wasm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, guest: _Guest, cache: CompiledCache) -> WasmModule:
        compiled = cache.load(self.build_id)
        if compiled is not None:
            return WasmModule.load(self._wasm, compiled)
        raw = WasmModule.compile(self._wasm, guest.wasm)
        memory, scripts = self._initialised(raw, guest)
        raw.close()
        initial = struct.pack("<I", len(memory)) + memory
        passive = [*passive_segments(guest.wasm)[:1], scripts, initial] if guest.parts else []
        module = WasmModule.compile(self._wasm, with_memory(guest.wasm, memory, passive))
        cache.store(self.build_id, module.save())
        return module

    def _initialised(self, raw: WasmModule, guest: _Guest) -> tuple[bytes, bytes]:
        """The memory in which the preludes have run, and the segment with the compiled scripts of the parts. All are
        compiled in another instance, because every isolate would inherit the garbage that compiling leaves."""
        with self._bare(raw) as compiler:
            preludes = [(name, self._setup(compiler, b"compile", name, text)) for name, text in guest.preludes]
            parts = [self._setup(compiler, b"compile", name, text) for name, text in guest.parts]
        with self._bare(raw) as instance:
            for name, bytecode in preludes:
                self._setup(instance, b"prelude", name, bytecode)
            return instance.read(0, instance.memory_size()), _scripts(parts)

    @contextmanager
    def _bare(self, raw: WasmModule) -> Iterator[WasmInstance]:
        instance = WasmInstance(raw)
        try:
            self._guarded(instance, b"_initialize", 0)
            if self._guarded(instance, b"initialize", 0):
                raise EngineError("the guest could not be initialised")
            yield instance
        finally:
            instance.close()

    def _setup(self, instance: WasmInstance, export: bytes, name: str, content: bytes) -> bytes:
        """Runs an export on one file and returns the guest's output. Raises EngineError when the file throws."""
        batch = b"".join((struct.pack("<I", len(name)), name.encode(), struct.pack("<I", len(content)), content))
        layout = instance.view(Layout, self._guarded(instance, b"layout", 0))
        at = layout.input if len(batch) <= layout.input_size else self._guarded(instance, b"reserve", len(batch))
        instance.write(at, batch)
        failed = self._guarded(instance, export, len(batch))
        output = instance.read(layout.output, layout.output_size)
        if failed:
            outcome = decode_outcome(output, _SETUP)
            reason = outcome.error if isinstance(outcome, Failed) else "no reason given"
            raise EngineError(f"{name} threw: {reason}")
        return output

    def _guarded(self, instance: WasmInstance, export: bytes, argument: int) -> int:
        budget = TimeBudget(_SETUP.cpu_time, _SETUP.wall_time)
        self._ticker.enter(budget)
        try:
            return instance.call(export, argument)
        except Trap as trap:
            raise EngineError(f"the guest could not be set up: {trap}") from None
        finally:
            self._ticker.leave(budget)

    def _inspect(self) -> Home:
        """What is the same in every instance: the places of layout and input buffer, and the initial memory."""
        instance = WasmInstance(self._module)
        try:
            layout_at = self._guarded(instance, b"layout", 0)
            layout = instance.view(Layout, layout_at)
            if layout.abi != ABI:
                raise GuestAbiError(f"the guest speaks version {layout.abi} of the batch format, this is version {ABI}")
            return Home(
                build=self.build_id,
                limits=self.limits,
                ticker=self._ticker,
                layout_at=layout_at,
                input_at=layout.input,
                input_size=layout.input_size,
                base=instance.read(0, instance.memory_size()),
                on_close=self._live.discard,
            )
        finally:
            instance.close()

    def _instance(self) -> WasmInstance:
        if self._closed:
            raise LocalStateError("the engine is closed")
        return WasmInstance(self._module)

    def _image_runs(self, image: Image) -> _Runs:
        runs = self._images.get(image.id)
        if runs is None:
            _, patch = self._read(image.data, "image")
            runs = (patch.size, pages.written(patch, self._home.base))
            with self._lock:
                while len(self._images) >= _MOST_IMAGES:
                    del self._images[next(iter(self._images))]  # the oldest; `data` can be read again
                self._images[image.id] = runs
        return runs

    def _write(self, instance: WasmInstance, runs: _Runs) -> None:
        """Copies an image into a fresh instance from the host: fast for a few long runs."""
        try:
            instance.grow_to(runs[0])
            for at, data in runs[1]:
                instance.write(at, data)
        except EngineError as error:
            instance.close()
            raise ForeignImage(f"the image does not fit this engine: {error}") from None

    def _read(self, data: bytes, kind: str) -> tuple[frozen.Header, pages.Patch]:
        largest, home = self._wasm.settings.memory, self._home
        known = home.known if kind == "program" else None
        header, content = frozen.unpack(data, build=self.build_id, kind=kind, largest=largest, known=known)
        return header, pages.parse(content, initial=len(home.base), largest=largest, part=home.input_size)

    def _patch(self, instance: WasmInstance, patch: pages.Patch) -> None:
        """Turns a fresh instance into a frozen program: the guest changes its initial memory, and the host copies what
        lies behind it."""
        try:
            with self._ticker.running(TimeBudget(_SETUP.cpu_time, _SETUP.wall_time)):
                for part in patch.parts:
                    instance.write(self._home.input_at, part)
                    instance.call(b"patch", len(part))
            instance.grow_to(patch.size)
            for at, data in patch.pieces:
                instance.write(at, data)
        except (EngineError, Trap) as error:
            instance.close()
            raise ForeignImage(f"the frozen program does not fit this engine: {error}") from None

    def _isolate(self, instance: WasmInstance, header: frozen.Header | None) -> Isolate:
        isolate = Isolate(instance, self._home, header)
        self._live.add(isolate)
        return isolate
