"""The one place where everything is put together: an instance and its portals."""

from portal.app.code import checker_for, limits_of
from portal.app.instance import Instance, serving
from portal.app.shared import Parts
from portal.app.store import open_store, store_of_pins
from portal.app.upstreams import open_upstreams

__all__ = ["Instance", "Parts", "checker_for", "limits_of", "open_store", "open_upstreams", "serving", "store_of_pins"]
