"""The version of the portal, as it is installed."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


# Each portal says it, and reading it takes as long as a tenth of a portal's start.
@cache
def portal_version() -> str:
    """The version of the installed distribution, or 0.0.0 in a checkout that is not installed."""
    try:
        return version("codemode-portal")
    except PackageNotFoundError:
        return "0.0.0"
