"""Mocks in Python: the developer's own functions, which run in this process with all its rights.

    def shop__get_order(arguments): return {"id": arguments["id"]}       # shop.get_order; async works too
    MOCKS = {"shop.get-order": get_order, "shop.list_orders": {"result": []}}

The file runs again for every run of a program, so that no state is left from the last one.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType

from codemode import CallOutcome, ToolDenied, ToolFailed, ToolReturned
from portal.bench.mock_rules import tool_result
from portal.config import read_text
from portal.errors import InputError

MAPPING = "MOCKS"
TOOLS = "TOOLS"
# Errors that a mistake in a mock raises. Their messages get the place in the file.
_MISTAKES = (LookupError, TypeError, AttributeError, NameError, AssertionError)

Function = Callable[[dict[str, object]], object]


def compile_file(file: Path) -> CodeType:
    """The code of a file of mocks. Raises `InputError` if it is not Python."""
    try:
        return compile(read_text(file), str(file), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"{file}{f', line {line}' if line else ''} is not Python: {error}.") from error


def run_file(code: CodeType, file: Path) -> dict[str, object]:
    """The names that a file of mocks defines. The file runs. Raises `InputError` if it raises."""
    module: dict[str, object] = {"__name__": f"mocks_{file.stem}", "__file__": str(file)}
    try:
        exec(code, module)  # The developer's own file, named on their own command line.
    except Exception as error:  # The edge to the developer's code: its errors are reported with their place.
        raise InputError(f"{_place(error, file)}{type(error).__name__}: {error}") from error
    return module


def mocks_in(module: Mapping[str, object], file: Path) -> dict[str, object]:
    """The mocks by path: functions named `server__tool`, and the entries of `MOCKS`. Raises `InputError`."""
    mapping = module.get(MAPPING, {})
    if not isinstance(mapping, Mapping):
        raise InputError(f"{file}: {MAPPING} must be a mapping from paths to functions or rules.")
    functions = {
        name.replace("__", ".", 1): value
        for name, value in module.items()
        if inspect.isfunction(value) and "__" in name.strip("_") and not name.startswith("_")
    }
    return {**functions, **{str(path): value for path, value in mapping.items()}}


async def call_function(function: Function, arguments: dict[str, object], file: Path) -> CallOutcome:
    """The outcome of a call. An exception of the mock is the tool's error, with its `code` and `data` if any."""
    try:
        value = function(arguments)
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:  # The edge of the host call: the program can catch this as a tool's error.
        message = str(error) or type(error).__name__
        if isinstance(error, _MISTAKES):
            message = f"{_place(error, file)}{type(error).__name__}: {error}"
        code = getattr(error, "code", None)
        return ToolFailed(message, code if isinstance(code, int) else None, getattr(error, "data", None))
    if isinstance(value, ToolReturned | ToolFailed | ToolDenied):
        return value
    return tool_result(value)


def _place(error: BaseException, file: Path) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file.name}, line {frames[-1].lineno}: " if frames else f"{file.name}: "
