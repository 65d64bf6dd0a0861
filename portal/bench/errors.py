"""The one error of the bench: something the developer wrote or saved cannot be used."""

from __future__ import annotations

from portal.errors import PortalError


class BenchError(PortalError):
    """A file of mocks, tools, expectations or a recording is not what it must be. The message names it and says why."""
