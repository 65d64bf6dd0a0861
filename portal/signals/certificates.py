"""Client certificates that a trusted TLS proxy has verified and passes on as `Client-Cert` (RFC 9440)."""

from __future__ import annotations

import binascii
import ipaddress
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from cryptography import x509
from cryptography.x509.oid import NameOID
from starlette.types import Scope

from portal.identity import Identity

HEADER = b"client-cert"
MAX_HEADER = 32 * 1024
MAX_COMMON_NAME = 255


class ClientCertificates:
    """Adds the client certificate of the connection to an identity. The header counts only from a configured proxy."""

    def __init__(self, proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._proxies = tuple(proxies)

    def __call__(self, identity: Identity, scope: Scope) -> Identity:
        fields = [value for name, value in scope["headers"] if name == HEADER]
        if len(fields) != 1 or not self._trusts(scope):
            return identity
        name = common_name_in(fields[0])
        return identity if name is None else replace(identity, certificate=True, common_name=name)

    def _trusts(self, scope: Scope) -> bool:
        client = scope.get("client")
        try:
            peer = ipaddress.ip_address(client[0]) if client else None
        except ValueError:
            return False
        return peer is not None and any(peer in proxy for proxy in self._proxies)


@lru_cache(maxsize=1024)
def common_name_in(header: bytes) -> str | None:
    """The common name in a `Client-Cert` field, or None if it is not a certificate.

    "" if it has none, or one that is no printable text of at most `MAX_COMMON_NAME` characters: calls and records know
    the caller by it.
    """
    value = header.strip()
    if len(value) > MAX_HEADER or not value.startswith(b":") or not value.endswith(b":") or len(value) < 3:
        return None
    try:
        certificate = x509.load_der_x509_certificate(b64decode(value[1:-1], validate=True))
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (binascii.Error, ValueError):
        return None
    name = str(names[0].value) if len(names) == 1 else ""
    return name if len(name) <= MAX_COMMON_NAME and name.isprintable() else ""
