"""Builds `guest.wasm`: QuickJS-ng, a URL parser and our own C, compiled to one WebAssembly module without imports.

It has the tables of `Intl` (intl_tables.py) as a passive data segment.

    python sandbox/guest/build.py [--force | --is-cached]

The third-party sources and data are five source distributions. pip downloads them from the index of its own
configuration, and they are checked against the hashes below before they are unpacked. The compiler is `python -m
ziglang`. The module is cached by the hash of all its inputs, so a second build takes seconds. Runs alone, and from
`hatch_build.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType

HERE = Path(__file__).resolve().parent
ZIGLANG = "ziglang==0.17.0"


class BuildError(Exception):
    """The guest cannot be built; the message says what to do."""


@dataclass(frozen=True)
class Sdist:
    """One pinned source distribution, and the folder in it that is compiled."""

    name: str
    version: str
    sha256: str
    folder: str
    units: tuple[str, ...] = ()
    licence: str = "../LICENSE"

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


QUICKJS = Sdist(
    name="quickjs-ng",
    version="0.17.0.2",
    sha256="43d2e48272208721a7aaea8e3f02d4b9318f12ef20cc4f5421b59d9a470706ef",
    folder="upstream-quickjs",
    units=("quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"),
    licence="quickjs.h",  # the sdist's LICENSE is the Python wrapper's; the engine's is at the top of its header
)
ADA = Sdist(
    name="ada-url",
    version="4.0.0",
    sha256="9f399ec867349800a4c2d3aa8df8c533c340494b04d34b1f082b97d9a8b76a07",
    folder="ada_url",
    units=("ada.cpp",),
)
# The data of `Intl`: locales, time zones, and the order of characters.
BABEL = Sdist(
    name="babel",
    version="2.18.0",
    sha256="b80b99a14bd085fcacfa15c9165f651fbb3406e66cc603abf11c5750937c992d",
    folder="babel",
)
TZDATA = Sdist(
    name="tzdata",
    version="2026.6",
    sha256="85d2cd9c09f81f0bb29db27759fc83af4f1e620efb814f8c5bf8b4cc4feece6d",
    folder="src/tzdata",
    licence="../../LICENSE",
)
PYUCA = Sdist(
    name="pyuca",
    version="1.2",
    sha256="8a382fe74627f08c0d18908c0713ca4a20aad5385f077579e56208beea2893b2",
    folder="pyuca",
    licence="../LICENSE-allkeys",
)

# Edits of the engine's source, whose hash is checked; each matches exactly once. In the two places where the engine
# runs out of memory or stack it reports the error object that it throws, so that no program can pass off its own as it.
EDITS = (
    (
        'JS_ThrowInternalError(ctx, "out of memory");\n        rt->in_out_of_memory = false;',
        'guest_limit_begin();\n        JS_ThrowInternalError(ctx, "out of memory");\n'
        "        guest_limit_end(ctx, 0);\n        rt->in_out_of_memory = false;",
    ),
    (
        'return JS_ThrowRangeError(ctx, "Maximum call stack size exceeded");',
        'JS_ThrowRangeError(ctx, "Maximum call stack size exceeded");\n'
        "    guest_limit_end(ctx, 1);\n    return JS_EXCEPTION;",
    ),
    # The engine's other ways to run out of memory: one that throws null, one that forgets to throw, and two that throw
    # an error of another kind.
    (
        "/* out of memory: throw JS_NULL to avoid recursing */\n",
        "if (JS_HasException(ctx)) return JS_EXCEPTION;\n",
    ),
    (
        "    if (out_len < 0)\n        return JS_EXCEPTION;\n    val = JS_NewUTF32String",
        "    if (out_len < 0)\n        return JS_ThrowOutOfMemory(ctx);\n    val = JS_NewUTF32String",
    ),
    *(
        (
            f'{indent}JS_ThrowInternalError(ctx, "out of memory in regexp execution");',
            f"{indent}JS_ThrowOutOfMemory(ctx);",
        )
        for indent in ("MEMORY_ERROR:\n                ", "MEMORY_ERROR:\n                    ")
    ),
    # The next collection must come before the limit is reached, however much memory is alive.
    (
        "rt->malloc_gc_threshold = rt->malloc_state.malloc_size +\n            (rt->malloc_state.malloc_size >> 1);",
        "rt->malloc_gc_threshold = guest_gc_threshold(rt->malloc_state.malloc_size);",
    ),
    # The name of the zone, as other engines write it: an isolate's clock shows UTC, always.
    (
        "    char buf[64];\n    double fields[9];\n    int res, fmt, part, pos;",
        "    char buf[96];\n    double fields[9];\n    int res, fmt, part, pos;",
    ),
    (
        "/* XXX: tack the time zone code? */",
        'pos += snprintf(buf + pos, sizeof(buf) - pos, " (Coordinated Universal Time)");',
    ),
    # The stack of an error has the program's own frames: those of our scripts, which have no file name, are left out.
    (
        "            backtrace_barrier = b->backtrace_barrier;\n        }",
        "            backtrace_barrier = b->backtrace_barrier;\n            if (!b->filename) continue;\n        }",
    ),
    # What is taken apart has a place of its own, that of the pattern, and an error names the value.
    (
        "    if (s->token.val == '{') {\n        if (next_token(s))\n            return -1;\n"
        "        /* throw an exception if",
        "    if (s->token.val == '{') {\n        emit_source_loc(s);\n"
        "        if (next_token(s))\n            return -1;\n        /* throw an exception if",
    ),
    (
        "        block_env.has_iterator = true;\n        emit_op(s, OP_for_of_start);\n        has_spread = false;",
        "        block_env.has_iterator = true;\n        emit_source_loc_at(s, source_line_num, source_col_num);\n"
        "        emit_op(s, OP_for_of_start);\n        has_spread = false;",
    ),
    (
        "                sf->cur_pc = pc;\n                ret_val = JS_ToObject(ctx, sp[-1]);",
        "                sf->cur_pc = pc;\n                if (JS_IsNull(sp[-1]) || JS_IsUndefined(sp[-1])) {\n"
        '                    JS_ThrowTypeError(ctx, "cannot destructure %s",\n'
        '                                      JS_IsNull(sp[-1]) ? "null" : "undefined");\n'
        "                    goto exception;\n                }\n"
        "                ret_val = JS_ToObject(ctx, sp[-1]);",
    ),
    (
        "    JSValue method, ret, sync_iter;\n\n    if (is_async) {",
        "    JSValue method, ret, sync_iter;\n\n    if (JS_IsNull(obj) || JS_IsUndefined(obj))\n"
        '        return JS_ThrowTypeError(ctx, "%s is not iterable", JS_IsNull(obj) ? "null" : "undefined");\n'
        "    if (is_async) {",
    ),
    (
        "            sync_iter = JS_GetIterator2(ctx, obj, method);",
        "            if (!JS_IsFunction(ctx, method)) {\n                JS_FreeValue(ctx, method);\n"
        '                return JS_ThrowTypeError(ctx, "value is not iterable");\n            }\n'
        "            sync_iter = JS_GetIterator2(ctx, obj, method);",
    ),
    # Half the arena, and so half the unused cells: the image is copied for every isolate.
    ("#define JS_ARENA_SIZE              4096", "#define JS_ARENA_SIZE              2048"),
    (
        '#include "quickjs.h"\n',
        '#include "quickjs.h"\nvoid guest_limit_begin(void);\nvoid guest_limit_end(JSContext *ctx, int which);\n'
        "size_t guest_gc_threshold(size_t size);\n",
    ),
)

TOOLCHAIN_LICENCES = (
    ("Zig, its compiler-rt and C library", "LICENSE"),
    ("wasi-libc", "lib/libc/wasi/LICENSE-MIT"),
    ("musl", "lib/libc/musl/COPYRIGHT"),
    ("libc++", "lib/libcxx/LICENSE.TXT"),
)

# Only these: the engine that runs the module has every other WebAssembly feature switched off.
FEATURES = ("-mcpu=mvp+bulk_memory+bulk_memory_opt+mutable_globals+nontrapping_fptoint+sign_ext",)
COMPILE = (
    "-target", "wasm32-wasi", "-O2", "-DNDEBUG", "-D_GNU_SOURCE", "-fno-sanitize=all", "-fvisibility=hidden",
    "-w", *FEATURES,
)  # fmt: skip
COMPILE_CXX = ("-std=c++20", "-fno-exceptions", "-fno-rtti", "-DADA_INCLUDE_URL_PATTERN=0")
LINK = (
    "-target", "wasm32-wasi", "-mexec-model=reactor", "-O2", *FEATURES,
    "-Wl,-z,stack-size=327680", "-Wl,--strip-all", "-Wl,--gc-sections",
)  # fmt: skip
EXPORTS = {
    "memory", "_initialize", "initialize", "layout", "reserve", "compile", "compile_preload", "prelude", "preload",
    "start", "resume", "pending", "difference", "patch",
}  # fmt: skip


def cache_home() -> Path:
    """The private folder of this user for finished builds (XDG base directories)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "codemode-portal" / "guest"


def own_units() -> list[Path]:
    return sorted([*HERE.glob("*.c"), *HERE.glob("*.cpp")])


def content_hash() -> str:
    """The hash of everything that decides the bytes of the module."""
    digest = hashlib.sha256()
    for path in sorted([Path(__file__).resolve(), HERE / "intl_tables.py", *own_units(), *HERE.glob("*.h")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_cached() -> bool:
    """Whether `build` has nothing to download and nothing to compile."""
    return (cache_home() / content_hash() / "guest.wasm").exists()


def build(*, force: bool = False) -> Path:
    """Writes `guest.wasm` and `NOTICE` next to this file and returns the path of the module.

    Raises BuildError when a download fails, a hash differs, or compiling fails.
    """
    key = content_hash()
    cached = cache_home() / key
    if force or not (cached / "guest.wasm").exists():
        started = time.monotonic()
        say("building the guest (about a minute the first time, cached after that)")
        with tempfile.TemporaryDirectory(prefix="codemode-guest-") as scratch:
            _build_into(Path(scratch), cached)
        say(f"guest built in {time.monotonic() - started:.0f} s")
    for name in ("guest.wasm", "NOTICE"):
        _install(cached / name, HERE / name)
    return HERE / "guest.wasm"


def say(text: str) -> None:
    print(f"[guest] {text}", file=sys.stderr, flush=True)


def _install(source: Path, target: Path) -> None:
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    shutil.copyfile(source, partial)
    os.replace(partial, target)


def _build_into(scratch: Path, cached: Path) -> None:
    quickjs = _obtain(QUICKJS, scratch)
    ada = _obtain(ADA, scratch)
    data = {sdist.name: _obtain(sdist, scratch) for sdist in (BABEL, TZDATA, PYUCA)}
    _require_compiler()
    _edit(quickjs / "quickjs.c")
    out = scratch / "out"
    out.mkdir()
    includes = [f"-I{quickjs}", f"-I{ada}", f"-I{HERE}"]
    units = [quickjs / name for name in QUICKJS.units] + own_units()
    if any(path.name.startswith("web") for path in own_units()):
        units += [ada / name for name in ADA.units]
    objects = _compile_all(units, includes, out)
    say("linking")
    module = out / "guest.wasm"
    _zig(["cc", *LINK, *map(str, objects), "-o", str(module)], "link")
    say("making the tables of Intl")
    tables = _intl_tables().tables(data["babel"], data["tzdata"] / "zoneinfo", data["pyuca"] / "allkeys-10.0.0.txt")
    module.write_bytes(_with_passive_segments(module.read_bytes(), [tables, NO_SCRIPTS, NO_MEMORY]))
    _check_module(module)
    (out / "NOTICE").write_text(_notice(quickjs, ada, data), encoding="utf-8")
    cached.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("NOTICE", "guest.wasm"):
        _install(out / name, cached / name)


def _intl_tables() -> ModuleType:
    """The module next to this file, which may itself run from a path that is in no package."""
    spec = importlib.util.spec_from_file_location("codemode_guest_intl_tables", HERE / "intl_tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Segment 1, for the scripts of `Intl`: `size u32 | how many u32`. The engine puts them in, compiled.
NO_SCRIPTS = bytes([8, 0, 0, 0, 0, 0, 0, 0])
# Segment 2, for the initial memory: `size u32 | bytes`. The engine puts it in.
NO_MEMORY = bytes(4)


def _with_passive_segments(wasm: bytes, segments: list[bytes]) -> bytes:
    """The module with passive data segments before its own. Those are active: nothing names them by a number.

    The number of all must stand in front of the code (WebAssembly core specification 2.0, binary format 5.5.16)."""
    out, at = bytearray(wasm[:8]), 8
    passive = b"".join(b"\x01" + _unsigned(len(data)) + data for data in segments)
    content, count = _data_section(wasm)
    while at < len(wasm):
        kind = wasm[at]
        size, begin = _leb(wasm, at + 1)
        section = wasm[at : begin + size]
        if kind == _CODE:
            number = _unsigned(len(segments) + count)
            out += bytes([_DATA_COUNT]) + _unsigned(len(number)) + number
        if kind == _DATA:
            data = _unsigned(len(segments) + count) + passive + content
            section = bytes([_DATA]) + _unsigned(len(data)) + data
        if kind != _DATA_COUNT:
            out += section
        at = begin + size
    return bytes(out)


_CODE, _DATA, _DATA_COUNT = 10, 11, 12


def _data_section(wasm: bytes) -> tuple[bytes, int]:
    """The segments of the data section, and how many."""
    at = 8
    while at < len(wasm):
        kind = wasm[at]
        size, at = _leb(wasm, at + 1)
        if kind == _DATA:
            count, begin = _leb(wasm, at)
            return wasm[begin : at + size], count
        at += size
    raise BuildError("the module has no data")


def _unsigned(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _require_compiler() -> None:
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError(f"the compiler is missing: pip install {ZIGLANG}")


def _obtain(sdist: Sdist, scratch: Path) -> Path:
    """Downloads, verifies and unpacks one source distribution. Returns the folder with its sources."""
    archive = _archive(sdist, scratch)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != sdist.sha256:
        raise BuildError(f"{archive.name} has SHA-256 {digest}, expected {sdist.sha256}: not unpacking it")
    unpacked = scratch / sdist.name
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.isdir()):
                raise BuildError(f"{archive.name} holds an unsafe entry {member.name!r}")
            # Not extractall: its safe filter is missing from the first 3.11 releases.
            target = unpacked.joinpath(*path.parts[1:])
            if member.isreg():
                target.parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as stream, target.open("wb") as out:  # type: ignore[union-attr]
                    shutil.copyfileobj(stream, out)
    return unpacked / sdist.folder


def _archive(sdist: Sdist, scratch: Path) -> Path:
    cached = cache_home() / "sdist" / f"{sdist.sha256}.tar.gz"
    if cached.exists() and hashlib.sha256(cached.read_bytes()).hexdigest() == sdist.sha256:
        return cached
    say(f"downloading {sdist.name} {sdist.version} with pip")
    downloads = scratch / f"{sdist.name}-download"
    downloads.mkdir()
    requirements = downloads / "requirements.txt"
    requirements.write_text(sdist.requirement + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--no-binary", ":all:", "--dest", str(downloads), "-r", str(requirements)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = list(downloads.glob("*.tar.gz"))
    if result.returncode or len(archives) != 1:
        raise BuildError(
            f"pip could not download the source of {sdist.name} {sdist.version}. Building the guest needs a package "
            f"index once; offline, put the archive at {cached}.\n{(result.stderr or result.stdout).strip()[-2000:]}"
        )
    cached.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _install(archives[0], cached)
    return cached


def _edit(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for before, after in EDITS:
        if text.count(before) != 1:
            raise BuildError(f"the engine source holds {before[:60]!r} {text.count(before)} times, expected once")
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")


def _compile_all(units: list[Path], includes: list[str], out: Path) -> list[Path]:
    objects = [out / f"{unit.parent.name}-{unit.name}.o" for unit in units]
    finished = 0

    def compile_one(unit: Path, target: Path) -> str:
        nonlocal finished
        tool, extra = ("c++", COMPILE_CXX) if unit.suffix == ".cpp" else ("cc", ())
        cached = _object_cache(unit)
        if not cached.exists():
            _zig([tool, *COMPILE, *extra, *includes, "-c", str(unit), "-o", str(target)], unit.name)
            cached.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _install(target, cached)
        shutil.copyfile(cached, target)
        finished += 1
        say(f"compiled {unit.name} ({finished}/{len(units)})")
        return unit.name

    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        # Largest first: the engine itself takes longest, and must not start last.
        order = sorted(range(len(units)), key=lambda i: -units[i].stat().st_size)
        list(pool.map(lambda i: compile_one(units[i], objects[i]), order))
    return objects


def _object_cache(unit: Path) -> Path:
    """The path for the object of one translation unit. A change of our own C then does not compile the engine again."""
    digest = hashlib.sha256("\0".join([ZIGLANG, *COMPILE, *COMPILE_CXX, QUICKJS.sha256, ADA.sha256]).encode())
    own_headers = sorted(HERE.glob("*.h")) if unit.parent == HERE else []
    for path in [unit, *own_headers]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return cache_home() / "objects" / f"{digest.hexdigest()}.o"


def _zig(arguments: Iterable[str], what: str) -> None:
    command = [sys.executable, "-m", "ziglang", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BuildError(f"compiling failed at {what}:\n{(result.stderr or result.stdout).strip()[-8000:]}")


def _check_module(path: Path) -> None:
    """What the sandbox rests on: the module has no imports, and exactly the exports below."""
    imports, exports = module_interface(path.read_bytes())
    if imports:
        raise BuildError(f"the guest has imports, it must have none: {', '.join(imports)}")
    if set(exports) != EXPORTS:
        raise BuildError(f"the guest exports {sorted(exports)}, expected {sorted(EXPORTS)}")


def module_interface(wasm: bytes) -> tuple[list[str], list[str]]:
    """The import and export names of a module (WebAssembly core specification 2.0, binary format 5.5)."""
    imports: list[str] = []
    exports: list[str] = []
    at = 8
    while at < len(wasm):
        section = wasm[at]
        size, at = _leb(wasm, at + 1)
        if section == 2:
            imports = _import_names(wasm, at)
        elif section == 7:
            exports = _export_names(wasm, at)
        at += size
    return imports, exports


def _import_names(wasm: bytes, at: int) -> list[str]:
    names = []
    count, at = _leb(wasm, at)
    for _ in range(count):
        parts = []
        for _ in range(2):
            length, at = _leb(wasm, at)
            parts.append(wasm[at : at + length].decode())
            at += length
        names.append(".".join(parts))
        if wasm[at] != 0:
            return [*names, "and others that are not functions"]
        _, at = _leb(wasm, at + 1)
    return names


def _export_names(wasm: bytes, at: int) -> list[str]:
    names = []
    count, at = _leb(wasm, at)
    for _ in range(count):
        length, at = _leb(wasm, at)
        names.append(wasm[at : at + length].decode())
        _, at = _leb(wasm, at + length + 1)
    return names


def _leb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def _notice(quickjs: Path, ada: Path, data: dict[str, Path]) -> str:
    header = (quickjs / QUICKJS.licence).read_text(encoding="utf-8").split("*/", 1)[0]
    engine = "\n".join(line.lstrip("/* ").rstrip() for line in header.splitlines())
    parts = [
        "guest.wasm contains the following software.",
        f"QuickJS-ng (from the source distribution {QUICKJS.name} {QUICKJS.version})\n\n{engine.strip()}",
        f"Ada URL parser (from the source distribution {ADA.name} {ADA.version})\n\n"
        + (ada / ADA.licence).read_text(encoding="utf-8").strip(),
        "Tables made from the Unicode CLDR (as in the source distribution "
        f"{BABEL.name} {BABEL.version}) and from the default table of the Unicode Collation Algorithm (as in "
        f"{PYUCA.name} {PYUCA.version})\n\n" + (data["pyuca"] / PYUCA.licence).read_text(encoding="utf-8").strip(),
        "Babel's own licence\n\n" + (data["babel"] / BABEL.licence).read_text(encoding="utf-8").strip(),
        f"The IANA time zone database, which is in the public domain (as in the source distribution {TZDATA.name} "
        f"{TZDATA.version})",
        *(f"{title} (from the Zig toolchain)\n\n{_toolchain_text(path)}" for title, path in TOOLCHAIN_LICENCES),
    ]
    return f"\n\n{'-' * 80}\n\n".join(parts) + "\n"


def _toolchain_text(path: str) -> str:
    spec = importlib.util.find_spec("ziglang")
    assert spec is not None and spec.submodule_search_locations
    return (Path(next(iter(spec.submodule_search_locations))) / path).read_text(encoding="utf-8").strip()


def main() -> int:
    parser = argparse.ArgumentParser(description="Build guest.wasm.")
    parser.add_argument("--force", action="store_true", help="compile even when the cache holds this build")
    parser.add_argument(
        "--is-cached",
        action="store_true",
        help="build nothing; the exit code is 0 when the cache holds this build",
    )
    options = parser.parse_args()
    if options.is_cached:
        return 0 if is_cached() else 1
    try:
        say(f"ready: {build(force=options.force)}")
    except BuildError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
