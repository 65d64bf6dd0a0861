"""Requests to the outside world, within bounds: which addresses, how much, how long."""

from portal.egress.addresses import CheckedResolver, forbidden, loopback
from portal.egress.fetch import NoAnswer, fetch, open_session
from portal.egress.public import FetchRefused, PublicWeb
from portal.egress.remote import TIMEOUT_SECONDS, Bounded, LoginFailed, fetch_json, http_client

__all__ = [
    "TIMEOUT_SECONDS",
    "Bounded",
    "CheckedResolver",
    "FetchRefused",
    "LoginFailed",
    "NoAnswer",
    "PublicWeb",
    "fetch",
    "fetch_json",
    "forbidden",
    "http_client",
    "loopback",
    "open_session",
]
