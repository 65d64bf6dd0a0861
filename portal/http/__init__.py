"""The HTTP edge of the portal: who may connect, how much they may send, how long they may take, how refusals look."""

from portal.http.bind import UnsafeBind, is_loopback, require_safe_bind
from portal.http.bodies import ClientGone, RequestBody, body_of, body_read
from portal.http.browsers import BrowserPages, ErrorPage
from portal.http.client_ip import Proxies, client_ip
from portal.http.cookies import cookie_name, drop_cookie, read_cookie, write_cookie
from portal.http.cors import Cors
from portal.http.edge import Edge, HttpSettings, normal_origin, split_host
from portal.http.guard import Guard
from portal.http.mode_query import CODEMODE, OPTIMIZE_CONTEXT, ModeRefused, is_mode_query, read_mode_query
from portal.http.origin import Origins, PortalAddress, hostname_of, path_within
from portal.http.rates import Rate
from portal.http.refusal import NO_STORE, Refusal, answer_to, no_room, refuse, unavailable, unrouted
from portal.http.server import running
from portal.http.urls import normal_url

__all__ = [
    "CODEMODE",
    "NO_STORE",
    "OPTIMIZE_CONTEXT",
    "BrowserPages",
    "ClientGone",
    "Cors",
    "Edge",
    "ErrorPage",
    "Guard",
    "HttpSettings",
    "ModeRefused",
    "Origins",
    "PortalAddress",
    "Proxies",
    "Rate",
    "Refusal",
    "RequestBody",
    "UnsafeBind",
    "answer_to",
    "body_of",
    "body_read",
    "client_ip",
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
    "require_safe_bind",
    "running",
    "split_host",
    "unavailable",
    "unrouted",
    "write_cookie",
]
