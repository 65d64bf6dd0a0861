"""The HTTP edge of the portal: who may connect, how much they may send, how long they may take, how refusals look."""

from portal.http.bind import UnsafeBind, is_loopback, require_safe_bind
from portal.http.cors import Cors
from portal.http.guard import BODY, Guard
from portal.http.refusal import Refusal, refuse
from portal.http.server import running, serve
from portal.http.settings import HttpSettings

__all__ = [
    "BODY",
    "Cors",
    "Guard",
    "HttpSettings",
    "Refusal",
    "UnsafeBind",
    "is_loopback",
    "refuse",
    "require_safe_bind",
    "running",
    "serve",
]
