"""The version of the portal, as it is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def portal_version() -> str:
    """The version of the installed distribution, or 0.0.0 in a checkout that is not installed."""
    try:
        return version("codemode-portal")
    except PackageNotFoundError:
        return "0.0.0"
