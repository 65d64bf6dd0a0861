"""What the portal shows its upstream servers to be let in: access tokens and where they come from, stored headers."""

from portal.credentials.client_credentials import ClientCredentials
from portal.credentials.credentials import credential_of
from portal.credentials.headers import CredentialsInvalid, open_secret, parse_as, parse_json, read_headers
from portal.credentials.outbound import Outbound

__all__ = [
    "ClientCredentials",
    "CredentialsInvalid",
    "Outbound",
    "credential_of",
    "open_secret",
    "parse_as",
    "parse_json",
    "read_headers",
]
