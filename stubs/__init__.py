"""Turns tools with JSON Schemas into TypeScript text. Pure functions: deterministic, without I/O."""

from stubs.declarations import declarations
from stubs.defaults import without_defaulted
from stubs.identifiers import CODEMODE_FUNCTIONS, PROTOCOL_PROPERTIES
from stubs.inference import Seen
from stubs.literals import SHOWN
from stubs.names import Names, ServerNames, ToolKey, assign_names
from stubs.signature import signature, type_of
from stubs.tools import Schema, Server, Tool

__all__ = [
    "CODEMODE_FUNCTIONS",
    "PROTOCOL_PROPERTIES",
    "SHOWN",
    "Names",
    "Schema",
    "Seen",
    "Server",
    "ServerNames",
    "Tool",
    "ToolKey",
    "assign_names",
    "declarations",
    "signature",
    "type_of",
    "without_defaulted",
]
