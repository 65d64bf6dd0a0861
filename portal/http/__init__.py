"""The HTTP edge of the portal: who may connect, how much they may send, how long they may take, how refusals look."""

from portal.http.bind import UnsafeBind, is_loopback, require_safe_bind
from portal.http.browsers import BrowserPages, ErrorPage
from portal.http.cookies import cookie_name, drop_cookie, read_cookie, write_cookie
from portal.http.cors import Cors
from portal.http.edge import Edge, HttpSettings, normal_origin, split_host
from portal.http.guard import BODY, Guard, replay
from portal.http.mode_query import CODEMODE, OPTIMIZE_CONTEXT, ModeRefused, is_mode_query, read_mode_query
from portal.http.origin import Origins, PortalAddress, hostname_of, path_within
from portal.http.rates import Rate
from portal.http.refusal import NO_STORE, Refusal, no_room, refuse, refuse_oauth, unavailable, unrouted
from portal.http.server import running
from portal.http.urls import normal_url

__all__ = [
    "BODY",
    "CODEMODE",
    "NO_STORE",
    "OPTIMIZE_CONTEXT",
    "BrowserPages",
    "Cors",
    "Edge",
    "ErrorPage",
    "Guard",
    "HttpSettings",
    "ModeRefused",
    "Origins",
    "PortalAddress",
    "Rate",
    "Refusal",
    "UnsafeBind",
    "cookie_name",
    "drop_cookie",
    "hostname_of",
    "is_loopback",
    "is_mode_query",
    "no_room",
    "normal_origin",
    "normal_url",
    "path_within",
    "read_cookie",
    "read_mode_query",
    "refuse",
    "refuse_oauth",
    "replay",
    "require_safe_bind",
    "running",
    "split_host",
    "unavailable",
    "unrouted",
    "write_cookie",
]
