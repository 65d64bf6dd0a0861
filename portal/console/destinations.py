"""The kinds of destination of a Logpush job: the fields of a form, and the `destination_conf` that they make. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

Typed = Callable[[str], str]
"""What is typed in a field, by its name."""


@dataclass(frozen=True, slots=True)
class DestinationField:
    """A field of a destination. What is `secret` is never on a page again."""

    name: str
    label: str
    hint: str = ""
    required: bool = True
    secret: bool = False
    placeholder: str = ""


@dataclass(frozen=True, slots=True)
class DestinationKind:
    id: str
    title: str
    text: str
    fields: tuple[DestinationField, ...]
    written: Callable[[Typed], str]


def _with_header(address: str, typed: Typed, query: Mapping[str, str] | None = None) -> str:
    pairs = dict(query or {})
    if value := typed("header_value"):
        pairs[f"header_{typed('header_name') or 'Authorization'}"] = value
    if not pairs:
        return address
    return f"{address}{'&' if '?' in address else '?'}{urlencode(pairs, quote_via=quote)}"


def _https(typed: Typed) -> str:
    return _with_header(typed("url"), typed)


def _otlp(typed: Typed) -> str:
    address = f"otlp://{typed('receiver').removeprefix('otlp://')}"
    return _with_header(address, typed, {"insecure": "true"} if typed("insecure") else {})


def _s3(typed: Typed) -> str:
    pairs = {
        "region": typed("region"),
        "access-key-id": typed("access_key_id"),
        "secret-access-key": typed("secret_access_key"),
    }
    if endpoint := typed("endpoint"):
        pairs["endpoint"] = endpoint
    path = quote(typed("path").strip("/"), safe="/{}=")
    return f"s3://{typed('bucket')}{'/' if path else ''}{path}?{urlencode(pairs, quote_via=quote)}"


def _file(typed: Typed) -> str:
    return f"file://{quote(typed('folder'))}"


_HEADERS = (
    DestinationField(
        "header_name", "Header", "Authorization without one.", required=False, placeholder="Authorization"
    ),
    DestinationField(
        "header_value", "Value of the header", "For example: Bearer, a space, and a token.", required=False, secret=True
    ),
)
KINDS: Mapping[str, DestinationKind] = {
    one.id: one
    for one in (
        DestinationKind(
            "https",
            "HTTPS",
            "Each batch is a POST, compressed with gzip, to a collector such as that of a SIEM.",
            (DestinationField("url", "URL", placeholder="https://collector.example.com/logs"), *_HEADERS),
            _https,
        ),
        DestinationKind(
            "s3",
            "S3 or what speaks it",
            "Each batch is an object in a bucket, compressed with gzip.",
            (
                DestinationField("bucket", "Bucket"),
                DestinationField(
                    "path", "Path", "{DATE} in it is the day.", required=False, placeholder="portal/{DATE}"
                ),
                DestinationField("region", "Region", placeholder="eu-central-1"),
                DestinationField("access_key_id", "Access key ID"),
                DestinationField("secret_access_key", "Secret access key", secret=True),
                DestinationField(
                    "endpoint",
                    "Endpoint",
                    "For a service that is not Amazon's.",
                    required=False,
                    placeholder="https://storage.example.com",
                ),
            ),
            _s3,
        ),
        DestinationKind(
            "otlp",
            "OpenTelemetry",
            "Each batch is a POST of log records in OpenTelemetry's JSON.",
            (
                DestinationField(
                    "receiver",
                    "Receiver",
                    "Host and port. Records go to /v1/logs unless a path follows.",
                    placeholder="collector.example.com:4318",
                ),
                *_HEADERS,
            ),
            _otlp,
        ),
        DestinationKind(
            "file",
            "Files",
            "Lines at the end of a file of their day, in a folder of portal.exports.folders of the configuration.",
            (DestinationField("folder", "Folder", placeholder="/var/log/portal"),),
            _file,
        ),
        DestinationKind(
            "conf",
            "As destination_conf",
            "The destination as the API has it, for what the other forms do not have, such as several headers.",
            (DestinationField("conf", "destination_conf", "It is sealed and not shown again.", secret=True),),
            lambda typed: typed("conf"),
        ),
    )
}
