"""Requests to the outside world, within bounds: which addresses, how many bytes, how many seconds."""

from portal.egress.addresses import (
    AddressRefused,
    AddressRule,
    address_of,
    checked_connector,
    connected,
    is_loopback_host,
)
from portal.egress.fetch import JSON, Answer, Fetcher, FetchFailed, FetchProblem
from portal.egress.flights import Flights
from portal.egress.names import NameFailed, NameResolver, Wish, Wisher, resolver_here, resolving_by
from portal.egress.threads import Threads

__all__ = [
    "JSON",
    "AddressRefused",
    "AddressRule",
    "Answer",
    "FetchFailed",
    "FetchProblem",
    "Fetcher",
    "Flights",
    "NameFailed",
    "NameResolver",
    "Threads",
    "Wish",
    "Wisher",
    "address_of",
    "checked_connector",
    "connected",
    "is_loopback_host",
    "resolver_here",
    "resolving_by",
]
