"""Transforms TypeScript to JavaScript on the program's own lines, off the event loop and within bounds.

The transformer (OXC, from `quickjs-rs`) runs inside this process and cannot be interrupted, and a few hundred hostile
characters can make it try exponentially many parses. Three bounds hold it: sources may nest only as deep as takes 0.1 s
in our experience; a caller waits at most `seconds` once its turn has come; and at most `THREADS` threads are busy, of
which one identity's programs keep at most all but one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from quickjs_rs import transform_source

from codemode import transformer
from codemode.awaits import around
from codemode.check.brackets import brackets
from codemode.erasure import RETURN_MARK, blank, lay_out, same_program
from codemode.threads import whose
from codemode.tokens import SourceToken, tokenize
from sandbox import CompiledCache, FairQueue, default_cache

THREADS = 2
# The longest wait for a turn. The first on a machine also waits until the transformer is compiled.
_TURN_SECONDS = 30.0
_SHORT = 0.01  # seconds that a program is assumed to take until it is transformed
MAX_BRACKETS = 30
MAX_TYPE_ARGUMENTS = 6
_BEFORE_FIELD = frozenset("{ } ; static public private protected override readonly abstract declare".split())
MAX_PLACED_CHARS = 64 * 1024  # errors of larger programs have no line: finding it, in Python, would take too long
# Words of the transformer's errors: it gives no codes.
_RETURN_OUTSIDE = "'return' statement"
_RETURN = "return"
_MARKED = re.compile(r"\$ret\$\s*([,;])")
_NAMESPACE = re.compile(r"(?:namespace|module)\s+[\w$.]+\s*\{")
_STOP = "\x01"
_REACHED_STOP = "Invalid Character"
# `f<Type>(x)` is valid JavaScript, two comparisons, so no syntax error ever sends it here.
_TYPE_CALL = re.compile(r"[\w$]<\s*[A-Z{][\w$.,|&{}:; \[\]]*>\(")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JavaScript:
    """A program without its types.

    `own_lines`: each token is on the line that it has in the source. `returns`: the program is the body of a function,
    with a `return` of its own.
    """

    text: str
    own_lines: bool
    returns: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class TypeScriptError:
    """Why a program is not TypeScript. The position is 1-based, and None when the parser does not tell it."""

    message: str
    line: int | None = None
    column: int | None = None


class TypeScript:
    """Transforms programs on threads of its own."""

    def __init__(self, *, seconds: float = 2.0, cache: CompiledCache | None = None) -> None:
        self._seconds = seconds
        self._cache = cache
        self._jobs = _Jobs()
        self._threads: list[threading.Thread] = []
        self._compiled = threading.Event()

    def warm(self) -> None:
        """Load the transformer in the background. The first process of a machine compiles it, for a second or more."""
        self._submit(self._compiled.is_set)

    async def javascript(self, source: str) -> JavaScript | TypeScriptError:
        """`source` without its types, or the reason why that is impossible, such as a lack of time."""
        result = await self.run(lambda: javascript(source))
        return result or TypeScriptError(f"the TypeScript transformer took longer than {self._seconds:g} s")

    async def run(self, work: Callable[[], T]) -> T | None:
        """The result of `work` on one of these threads; None when the time is over first. `work` must not raise.

        The time begins when a thread takes up the work: waiting for others does not count."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T) -> None:
            if not done.done():
                done.set_result(result)

        def begun() -> None:
            if not done.done():
                limit.reschedule(loop.time() + self._seconds)

        def job() -> None:
            # The loop may be closed when a thread ends whose caller no longer waits.
            with contextlib.suppress(RuntimeError):
                if done.done():
                    return
                loop.call_soon_threadsafe(begun)
                loop.call_soon_threadsafe(settle, work())

        limit = asyncio.timeout(_TURN_SECONDS)
        self._submit(job)
        try:
            async with limit:
                return await done
        except TimeoutError:
            return None

    def _submit(self, job: Callable[[], object]) -> None:
        self._jobs.put(job)
        if len(self._threads) < THREADS:
            # A daemon, because a transformer that never returns must not keep the process from ending.
            thread = threading.Thread(
                target=_work, args=(self._jobs, self._compiled, self._cache), name="typescript", daemon=True
            )
            self._threads.append(thread)
            thread.start()


class _Jobs:
    """The programs that wait to be transformed, in fair order between identities. One thread stays free for others."""

    def __init__(self) -> None:
        self._queue: FairQueue[tuple[str, Callable[[], object]]] = FairQueue(_SHORT)
        self._busy: Counter[str] = Counter()
        self._changed = threading.Condition()

    def put(self, job: Callable[[], object]) -> None:
        identity = whose()
        with self._changed:
            self._queue.push(identity, (identity, job))
            self._changed.notify()

    def carry_out(self) -> None:
        """Carry out the next one. Waits for it."""
        with self._changed:
            while (taken := self._queue.pop(lambda _: True, self._is_busy)) is None:
                self._changed.wait()
            identity, job = taken
            self._busy[identity] += 1
        began = time.perf_counter()
        try:
            job()
        finally:
            with self._changed:
                self._queue.settle(identity, time.perf_counter() - began)
                self._busy[identity] -= 1
                if not self._busy[identity]:
                    del self._busy[identity]
                self._changed.notify_all()

    def _is_busy(self, identity: str) -> bool:
        """Whether an identity has as many threads as it may."""
        return self._busy[identity] >= THREADS - 1


def _work(jobs: _Jobs, compiled: threading.Event, cache: CompiledCache | None) -> None:
    transformer.prepare(cache or CompiledCache(default_cache()))
    javascript("1")
    compiled.set()
    while True:
        jobs.carry_out()


def looks_typed(source: str) -> bool:
    """Whether a program may be valid JavaScript and still mean TypeScript: it has a call with type arguments."""
    return ">(" in source and _TYPE_CALL.search(source) is not None


def javascript(source: str) -> JavaScript | TypeScriptError:
    """`source` without its types, or why it is not TypeScript. Blocks for milliseconds; `TypeScript` adds bounds."""
    tokens = tokenize(source)
    if _nests_too_deep(tokens):
        return TypeScriptError("brackets or type arguments are nested too deep for the TypeScript transformer")
    source = _plainer(source, tokens)
    prefix, suffix = "", ""
    output = _transform(source)
    if isinstance(output, TypeScriptError) and _RETURN_OUTSIDE in output.message:
        # Only outside of functions the transformer takes a namespace.
        if _NAMESPACE.search(source) and (marked := _with_marks(source)) is not None:
            transformed = javascript(marked)
            if isinstance(transformed, JavaScript):
                text = _MARKED.sub(lambda mark: _RETURN if mark[1] == "," else f"{_RETURN};", transformed.text)
                return JavaScript(text, transformed.own_lines, returns=True)
        prefix, suffix = "async () => {", "\n};"
        output = _transform(prefix + source + suffix)
    if isinstance(output, TypeScriptError):
        return _located(source, tokens, output)

    def is_same(candidate: str | None) -> bool:
        again = None if candidate is None else _transform(prefix + candidate + suffix)
        return isinstance(again, str) and same_program(again, output)

    body = _unwrapped(output) if prefix else output
    for place in (blank, lay_out) if len(source) <= MAX_PLACED_CHARS else ():
        if is_same(candidate := place(source, body)):
            return JavaScript(candidate or "", own_lines=True, returns=bool(prefix))
    return JavaScript(body, own_lines=False, returns=bool(prefix))


def _plainer(source: str, tokens: list[SourceToken]) -> str:
    """The source with blanks for what the transformer leaves to an engine that does not know it: `accessor` of a field,
    which stays a field, and `declare` of an enum with values, which stays one."""
    if "accessor" not in source and "declare" not in source:
        return source
    keys = ["", *(token.key for token in tokens), "", ""]
    spans: list[tuple[int, int]] = []
    for before, token, after, second in zip(keys, tokens, keys[2:], keys[3:], strict=False):
        is_field = (
            token.key == "accessor" and before in _BEFORE_FIELD and (after[:1].isidentifier() or after[:1] in '#["$')
        )
        is_enum = token.key == "declare" and (after == "enum" or (after == "const" and second == "enum"))
        if is_field or is_enum:
            spans.append((token.start, token.end))
    for start, end in spans:
        source = source[:start] + " " * (end - start) + source[end:]
    return source


def _with_marks(source: str) -> str | None:
    """The source with a mark for each `return` outside a function; None where that cannot be told."""
    text = brackets(source) if RETURN_MARK not in source else None
    if text is None or text.cut is not None:
        return None
    pieces: list[str] = []
    position = 0
    for at, function in around(source, text, _RETURN):
        if function is None:
            token, after = text.tokens[at], text.key(at + 1)
            is_bare = after in ("", ";", "}") or "\n" in source[token.end : text.tokens[at + 1].start]
            pieces += (source[position : token.start], RETURN_MARK, ";" if is_bare else ",")
            position = token.end
    return "".join((*pieces, source[position:]))


def printed(source: str) -> str | None:
    """`source` as the transformer prints it, without types, comments and its own line breaks; None when it has a syntax
    error or nests too deep. Blocks for a millisecond."""
    if _nests_too_deep(tokenize(source)):
        return None
    output = _transform(source)
    if isinstance(output, TypeScriptError) and _RETURN_OUTSIDE in output.message:
        output = _transform("async () => {" + source + "\n};")
    return output if isinstance(output, str) else None


def _transform(source: str) -> str | TypeScriptError:
    try:
        return transform_source("program.ts", source)
    except Exception as error:  # a trap or a parse error of the transformer: hostile input may cause any
        message = str(error).split("\n")[0].removeprefix("source parse error in program.ts: ")
        return TypeScriptError(message if type(error).__name__ == "TransformError" else "too complex to parse")


def _unwrapped(output: str) -> str:
    """The body of the arrow function around a program, which makes its top-level `return` legal."""
    return output[output.index("{") + 1 : output.rindex("}")]


def _located(source: str, tokens: list[SourceToken], error: TypeScriptError) -> TypeScriptError:
    """The error with its place, which the parser does not tell.

    It does tell whether it got as far as a character that it cannot read. With that character put after each token in
    turn, a bisection finds the first token that the parser does not get past.
    """
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high) // 2
        output = _transform(source[: tokens[middle].end] + " " + _STOP)
        if isinstance(output, TypeScriptError) and _REACHED_STOP in output.message:
            low = middle + 1
        else:
            high = middle
    message = error.message.split(";")[0]
    if low >= len(tokens) and "EOF" not in message:
        return TypeScriptError(message)
    offset = tokens[low].start if low < len(tokens) else len(source.rstrip())
    line = source.count("\n", 0, offset) + 1
    return TypeScriptError(message, line, offset - source.rfind("\n", 0, offset))


def _nests_too_deep(tokens: list[SourceToken]) -> bool:
    stack: list[str] = []
    before = ""
    for token in tokens:
        key = token.key[-1] if token.key.endswith("${") else token.key[0]
        if key in "([{":
            stack.append(key)
        elif key == "<":
            stack.append(key)
            if stack.count("<") > MAX_TYPE_ARGUMENTS:
                return True
        elif key == ">" and before != "=":
            if stack and stack[-1] == "<":
                stack.pop()
        elif key in ")]};":
            while stack and stack[-1] == "<":
                stack.pop()
            if stack and key != ";":
                stack.pop()
        if len(stack) > MAX_BRACKETS:
            return True
        before = token.key
    return False
