"""Where a job sends its batches: `destination_conf`, read and shown without its secrets. Pure.

    https://collector.example.com/logs?header_Authorization=Bearer%20...
    s3://bucket/portal/{DATE}?region=eu-central-1&access-key-id=...&secret-access-key=...&endpoint=https://...
    otlp://collector.example.com:4318?header_x-api-key=...
    file:///var/log/portal

Source: https://developers.cloudflare.com/logs/logpush/logpush-job/enable-destinations/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlsplit

MAX_DESTINATION = 4096
"""Characters."""
MASKED = "***"
_HEADER = "header_"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
# What the request says itself, or what would change how it is read.
_OURS = {
    *("host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection"),
    *("idempotency-key", "expect", "te", "trailer", "upgrade", "accept-encoding", "user-agent"),
}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_KEY = re.compile(r"[A-Za-z0-9._=/-]*")
_NO_PARTS = ("", ".", "..")
_REGION = re.compile(r"[a-z0-9-]{1,64}")


class DestinationInvalid(ValueError):
    """It is no place that a job can send to. The message says why, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class HttpsDestination:
    """Each batch is a POST to `url`."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_encrypted(self) -> bool:
        return self.url.startswith("https:")


@dataclass(frozen=True, slots=True)
class OtlpDestination:
    """Each batch is a POST of log records in OpenTelemetry's JSON to `url`."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_encrypted(self) -> bool:
        return self.url.startswith("https:")


@dataclass(frozen=True, slots=True)
class S3Destination:
    """Each batch is an object in a bucket, under `path`, where `{DATE}` is the day."""

    bucket: str
    path: str
    region: str
    endpoint: str
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)

    @property
    def is_encrypted(self) -> bool:
        return self.endpoint.startswith("https:")


@dataclass(frozen=True, slots=True)
class FileDestination:
    """Batches are appended to a file of each day in this folder."""

    folder: Path

    @property
    def is_encrypted(self) -> bool:
        return True


ExportDestination: TypeAlias = HttpsDestination | OtlpDestination | S3Destination | FileDestination


def read_destination(text: str) -> ExportDestination:
    """The destination in a `destination_conf`.

    Raises:
        DestinationInvalid: it is none.
    """
    if len(text) > MAX_DESTINATION or not text.isprintable() or " " in text or "\\" in text:
        raise DestinationInvalid(f"must be a URL of at most {MAX_DESTINATION} characters, without spaces")
    try:
        parts = urlsplit(text)
        host, user = parts.hostname or "", parts.username
        _ = parts.port
    except ValueError:
        raise DestinationInvalid("must be a URL") from None
    if user is not None or parts.fragment:
        raise DestinationInvalid("must have no user, password or fragment; write header_Authorization=Basic%20...")
    match parts.scheme:
        case "https" | "http":
            _require_host(host)
            query, headers = _split_query(parts.query)
            url = f"{parts.scheme}://{parts.netloc}{parts.path or '/'}{'?' if query else ''}{query}"
            return HttpsDestination(url, headers)
        case "otlp":
            _require_host(host)
            return _otlp(parts.netloc, parts.path, parts.query)
        case "s3":
            return _s3(parts.netloc, parts.path, parts.query)
        case "file":
            return _file(host, unquote(parts.path), parts.query)
    raise DestinationInvalid("must begin with https://, s3://, otlp:// or file://")


def shown_destination(text: str) -> str:
    """A destination for everybody who may see the job: without its secrets. Paths and queries of HTTP may be secrets
    as a whole, so of them only the names of headers are shown."""
    try:
        parts = urlsplit(text)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return MASKED
    path = parts.path
    if parts.scheme in ("https", "http", "otlp"):
        path = path if path in ("", "/", "/v1/logs") else f"/{MASKED}"
    query = "&".join(dict.fromkeys(_shown_pair(name, value) for name, value in pairs))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}{'?' if query else ''}{query}"


_HARMLESS = ("region", "endpoint", "insecure")


def _shown_pair(name: str, value: str) -> str:
    if name in _HARMLESS:
        return f"{name}={quote(value, safe=':/-.[]') if '@' not in value else MASKED}"
    return f"{quote(name)}={MASKED}" if name.startswith(_HEADER) or name in _S3_NAMES else MASKED


def _require_host(host: str) -> None:
    if not host:
        raise DestinationInvalid("must have a host")


def _split_query(query: str) -> tuple[str, dict[str, str]]:
    """A query without the parameters that are headers, as it was written, and these headers."""
    headers: dict[str, str] = {}
    kept: list[str] = []
    for part in query.split("&") if query else []:
        name, _, value = part.partition("=")
        if not unquote(name).startswith(_HEADER):
            kept.append(part)
            continue
        header, text = unquote(name).removeprefix(_HEADER), unquote(value)
        if not _NAME.fullmatch(header) or header.lower() in _OURS:
            raise DestinationInvalid("has a header that a request cannot have, or that the portal sets itself")
        if not text.isascii() or not text.isprintable() or header.lower() in {one.lower() for one in headers}:
            raise DestinationInvalid(f"header_{header} must be one line of ASCII, once")
        headers[header] = text
    return "&".join(kept), headers


def _otlp(netloc: str, path: str, query: str) -> OtlpDestination:
    rest, headers = _split_query(query)
    if rest not in ("", "insecure=true", "insecure=false"):
        raise DestinationInvalid("takes header_NAME=VALUE and insecure=true, and nothing else")
    scheme = "http" if rest == "insecure=true" else "https"
    return OtlpDestination(f"{scheme}://{netloc}{path if path not in ('', '/') else '/v1/logs'}", headers)


def _s3(bucket: str, path: str, query: str) -> S3Destination:
    values: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in values or name not in _S3_NAMES:
            raise DestinationInvalid(f"takes {', '.join(_S3_NAMES)}, each once, and nothing else")
        # A `+` of a key that nobody escaped is read as a space by the rules of forms.
        values[name] = value.replace(" ", "+")
    missing = [name for name in ("region", "access-key-id", "secret-access-key") if not values.get(name)]
    if missing:
        raise DestinationInvalid(f"must have {', '.join(missing)}: the portal's own credentials are not used")
    if not _BUCKET.fullmatch(bucket) or not _REGION.fullmatch(values["region"]):
        raise DestinationInvalid("must have the name of a bucket, and of a region")
    path = unquote(path).strip("/")
    if not _KEY.fullmatch(path.replace("{DATE}", "")) or (path and any(part in _NO_PARTS for part in path.split("/"))):
        raise DestinationInvalid("must have a path of letters, digits, - _ . = and {DATE}, without empty parts")
    endpoint = values.get("endpoint") or f"https://s3.{values['region']}.amazonaws.com"
    endpoint = endpoint if "://" in endpoint else f"https://{endpoint}"
    parts = urlsplit(endpoint)
    usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and not parts.query
    if not usable or parts.path not in ("", "/") or parts.fragment:
        raise DestinationInvalid("must have an endpoint that is an https:// URL of a host alone")
    keys = values["access-key-id"], values["secret-access-key"]
    return S3Destination(bucket, path, values["region"], endpoint.rstrip("/"), *keys)


_S3_NAMES = ("region", "access-key-id", "secret-access-key", "endpoint")


def _file(host: str, path: str, query: str) -> FileDestination:
    if host or query:
        raise DestinationInvalid("must be file:/// and the path of a folder, and nothing else")
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or len(pure.parts) < 2 or "\0" in path:
        raise DestinationInvalid("must be file:/// and the whole path of a folder")
    return FileDestination(Path(pure))
