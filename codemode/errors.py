"""Errors of this floor. What a program does wrong never raises: it is part of the answer.

CodemodeError
├── CatalogError      the caller asked a catalog for something it does not have: unknown path or server, wrong limit
└── CheckUnavailable  types cannot be checked here, or the compiler that would is not to be had
"""


class CodemodeError(Exception):
    """The root of what this package raises."""


class CatalogError(CodemodeError):
    """A question to a catalog that has no answer. The message is one that repairs: it names what is there."""


class CheckUnavailable(CodemodeError):
    """Types could not be checked, or the compiler not installed. The message says why, and what would help."""
