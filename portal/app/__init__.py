"""The one place where a whole portal is put together."""

from portal.app.asgi import running
from portal.app.code import checker_for, limits_of
from portal.app.pins import pinning_of
from portal.app.portal import Assembly, assemble
from portal.app.store import open_store

__all__ = ["Assembly", "assemble", "checker_for", "limits_of", "open_store", "pinning_of", "running"]
