"""Mocks in Python: the developer's own functions, in this process, with all it may do.

    def shop__get_order(arguments): return {"id": arguments["id"]}       # shop.get_order; async works too
    MOCKS = {"shop.get-order": get_order, "shop.list_orders": {"result": []}}

The file is run anew for every run of a program, so that no state is left from the last one.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType

from codemode import CallOutcome, ToolDenied, ToolFailed, ToolReturned
from portal.bench.mock_rules import returned
from portal.config import read_text
from portal.errors import InputError

MAPPING = "MOCKS"
TOOLS = "TOOLS"
# What a mistake in the mock itself raises: there the place is worth more than the words.
_MISTAKES = (LookupError, TypeError, AttributeError, NameError, AssertionError)

Function = Callable[[dict[str, object]], object]


def compiled(file: Path) -> CodeType:
    """The code of a file of mocks. Raises InputError."""
    try:
        return compile(read_text(file), str(file), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"{file}{f', line {line}' if line else ''} is not Python: {error}.") from error


def evaluated(code: CodeType, file: Path) -> dict[str, object]:
    """The names a file of mocks defines, after it has run. Raises InputError."""
    module: dict[str, object] = {"__name__": f"mocks_{file.stem}", "__file__": str(file)}
    try:
        exec(code, module)  # the developer's own file, named on their own command line
    except Exception as error:  # the edge to the developer's code: whatever it raises is told with its place
        raise InputError(f"{_place(error, file)}{type(error).__name__}: {error}") from error
    return module


def defined(module: Mapping[str, object], file: Path) -> dict[str, object]:
    """By path: the functions named `server__tool`, and what the mapping `MOCKS` holds. Raises InputError."""
    mapping = module.get(MAPPING, {})
    if not isinstance(mapping, Mapping):
        raise InputError(f"{file}: {MAPPING} must be a mapping from paths to functions or rules.")
    found = {
        name.replace("__", ".", 1): value
        for name, value in module.items()
        if inspect.isfunction(value) and "__" in name.strip("_") and not name.startswith("_")
    }
    return {**found, **{str(path): value for path, value in mapping.items()}}


async def call(function: Function, arguments: dict[str, object], file: Path) -> CallOutcome:
    """What a mock makes of a call. What it raises is the tool's error: with `code` and `data` when it has them."""
    try:
        value = function(arguments)
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:  # the host call edge: what the developer's function raises is the program's to catch
        message = str(error) or type(error).__name__
        if isinstance(error, _MISTAKES):
            message = f"{_place(error, file)}{type(error).__name__}: {error}"
        code = getattr(error, "code", None)
        return ToolFailed(message, code if isinstance(code, int) else None, getattr(error, "data", None))
    if isinstance(value, ToolReturned | ToolFailed | ToolDenied):
        return value
    return returned(value)


def _place(error: BaseException, file: Path) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file.name}, line {frames[-1].lineno}: " if frames else f"{file.name}: "
