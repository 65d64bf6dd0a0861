"""The portal's MCP endpoint: what clients of both protocol generations see, and how their requests reach upstreams."""

from portal.endpoint.endpoint import Endpoint
from portal.endpoint.health import health

__all__ = ["Endpoint", "health"]
