"""The admin API in Cloudflare's shapes, over the state. Its chapter is `README.md`."""

from portal.admin.application import PREFIX
from portal.admin.build import Admin, create_admin
from portal.admin.decisions import following_access
from portal.admin.errors import AdminError
from portal.admin.running import RunningServers
from portal.admin.upstreams import ErrorDetails, NotRunning, Observed, Upstreams

__all__ = [
    "PREFIX",
    "Admin",
    "AdminError",
    "ErrorDetails",
    "NotRunning",
    "Observed",
    "RunningServers",
    "Upstreams",
    "create_admin",
    "following_access",
]
