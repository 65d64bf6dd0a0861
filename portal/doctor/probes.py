"""Small looks at the network: does something listen there, which certificate has it, what time is it there.

Nothing secret is sent: a probe asks for `/` without credentials. Places are those that an administrator named.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from portal.egress import AddressRule, connected

PROBE_SECONDS = 6.0
_MOST_BYTES = 64 * 1024
_SHOWN = 80

# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The certificate of a server. `wrong` is why it is not taken, "" if it is."""

    wrong: str = ""
    issuer: str = ""
    names: tuple[str, ...] = ()
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class HttpFacts:
    """The answer of a server to a request for a path. `problem` says why there is none. `ahead` is by how many seconds
    its clock is ahead of ours, None if it does not say."""

    status: int | None = None
    body: bytes = b""
    ahead: float | None = None
    problem: str = ""
    certificate: CertificateFacts | None = None


async def probe(url: str, path: str = "/", *, proxy: str = "", seconds: float = PROBE_SECONDS) -> HttpFacts:
    """Ask for a path at the host of a URL, through a proxy if one is named."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    try:
        async with asyncio.timeout(seconds):
            try:
                async with _opened(url, proxy, ssl.create_default_context()) as (reader, writer):
                    der = _der(writer)
                    return await _asked(reader, writer, host, path, read_certificate(der) if der else None)
            except ssl.SSLCertVerificationError as error:
                certificate = await _certificate_anyway(url, proxy, what_is_wrong(error.verify_code))
                return HttpFacts(problem=certificate.wrong, certificate=certificate)
    except TimeoutError:
        return HttpFacts(problem=f"no answer within {seconds:g} s")
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        return HttpFacts(problem=reason_of_failure(error))


def reason_of_failure(error: Exception) -> str:
    """Why a connection failed, in a few words without names or addresses."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({(error.reason or 'unknown reason').lower().replace('_', ' ')})"
    if isinstance(error, OSError):
        # The numbers of names that are not found are none of the system's, and negative.
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        return (error.strerror or str(error) or "it cannot be reached")[:_SHOWN]
    return "its answer is not HTTP"


async def reachable(host: str, port: int, seconds: float = PROBE_SECONDS) -> str:
    """ "" if something listens there, else why not."""
    try:
        async with asyncio.timeout(seconds):
            (await connected(host, port, AddressRule.NOT_LINK_LOCAL)).close()
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except OSError as error:
        return reason_of_failure(error)
    return ""


@asynccontextmanager
async def _opened(
    url: str, proxy: str, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the host of a URL, with TLS if it is https."""
    parts = urlsplit(url)
    secure, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    via = urlsplit(proxy if "//" in proxy else f"//{proxy}") if proxy else None
    there = (via.hostname or "", via.port or 80) if via is not None else (host, port)
    reader, writer = await asyncio.open_connection(
        sock=await connected(*there, AddressRule.NOT_LINK_LOCAL), limit=_MOST_BYTES
    )
    try:
        if via is not None:
            target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.split(b"\r\n", 1)[0].split(b" ")[1:2] == [b"200"]:
                raise OSError(0, "the proxy refuses to connect")
        if secure:
            await writer.start_tls(context, server_hostname=host)
        yield reader, writer
    finally:
        writer.transport.abort()


async def _certificate_anyway(url: str, proxy: str, wrong: str) -> CertificateFacts:
    """What is in a certificate that is not taken. Nothing is sent over this connection."""
    look = ssl.create_default_context()
    look.check_hostname, look.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError):
        async with _opened(url, proxy, look) as (_, writer):
            return read_certificate(_der(writer), wrong)
    return CertificateFacts(wrong)


def _der(writer: asyncio.StreamWriter) -> bytes:
    secured: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    return (secured.getpeercert(binary_form=True) if secured is not None else None) or b""


def what_is_wrong(code: int) -> str:
    """Why a certificate is not taken, from OpenSSL's number."""
    if code == _EXPIRED:
        return "expired"
    if code == _NOT_YET:
        return "not yet valid"
    if code in _UNKNOWN_AUTHORITY:
        return "of an unknown authority"
    if code in _OTHER_NAME:
        return "for another name"
    return "not valid"


def read_certificate(der: bytes, wrong: str = "") -> CertificateFacts:
    """What a certificate says of itself."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        issuer = certificate.issuer
        found = issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) or issuer.get_attributes_for_oid(
            NameOID.COMMON_NAME
        )
        ends = certificate.not_valid_after_utc
    except ValueError:
        return CertificateFacts(wrong)
    names: tuple[str, ...] = ()
    with suppress(x509.ExtensionNotFound, ValueError):
        there = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(name[:_SHOWN] for name in there.get_values_for_type(x509.DNSName)[:3])
    return CertificateFacts(wrong, str(found[0].value)[:_SHOWN] if found else "", names, ends)


async def _asked(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    path: str,
    certificate: CertificateFacts | None,
) -> HttpFacts:
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: codemode-doctor\r\nConnection: close\r\n\r\n"
    writer.write(request.encode("ascii", "replace"))
    head = await reader.readuntil(b"\r\n\r\n")
    now = datetime.now(UTC)
    first, *lines = head.decode("latin-1").split("\r\n")
    status = first.split(" ")[1:2]
    if not first.startswith("HTTP/") or not status or not status[0].isdigit():
        return HttpFacts(problem="its answer is not HTTP", certificate=certificate)
    body = b""
    while len(body) < _MOST_BYTES and (chunk := await reader.read(_MOST_BYTES - len(body))):
        body += chunk
    return HttpFacts(int(status[0]), body, seconds_ahead(lines, now), certificate=certificate)


def seconds_ahead(lines: list[str], now: datetime) -> float | None:
    """By how much the `Date` among the lines of a head is ahead of `now`. It has whole seconds (RFC 9110 6.6.1)."""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "date":
            with suppress(ValueError, TypeError, OverflowError):
                said = parsedate_to_datetime(value.strip())
                return ((said if said.tzinfo is not None else said.replace(tzinfo=UTC)) - now).total_seconds()
    return None
