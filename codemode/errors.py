"""Errors of this floor. What a program does wrong never raises: it is part of the answer.

CodemodeError
└── CatalogError   the caller asked a catalog for something it does not have: unknown path or server, wrong limit
"""


class CodemodeError(Exception):
    """The root of what this package raises."""


class CatalogError(CodemodeError):
    """A question to a catalog that has no answer. The message is one that repairs: it names what is there."""
