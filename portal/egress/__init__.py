"""Requests to the outside world, within bounds: which addresses, how many bytes, how many seconds."""

from portal.egress.addresses import AddressRule, address_of, checked_connector, is_loopback_host
from portal.egress.fetch import JSON, Answer, Fetcher, FetchFailed, FetchProblem

__all__ = [
    "JSON",
    "AddressRule",
    "Answer",
    "FetchFailed",
    "FetchProblem",
    "Fetcher",
    "address_of",
    "checked_connector",
    "is_loopback_host",
]
