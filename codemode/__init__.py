"""The `code` tool: a catalog of tools, search over it, the driver of a program and its calls. Transport-free."""

from codemode.caller import CallOutcome, ToolCall, ToolCaller, ToolDenied, ToolFailed, ToolReturned
from codemode.catalog import Catalog
from codemode.errors import CatalogError, CodemodeError
from codemode.expose import Exposed, expose, expose_server
from codemode.pace import Flight, Pace, RealPace
from codemode.outcome import returned
from codemode.tool import CodeTool

__all__ = [
    "CallOutcome",
    "Catalog",
    "CatalogError",
    "CodeTool",
    "CodemodeError",
    "Exposed",
    "Flight",
    "Pace",
    "RealPace",
    "ToolCall",
    "ToolCaller",
    "ToolDenied",
    "ToolFailed",
    "ToolReturned",
    "expose",
    "expose_server",
    "returned",
]
