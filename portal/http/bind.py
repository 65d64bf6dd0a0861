"""Which address the portal may listen on: loopback always, anything else only once it knows who is calling."""

import ipaddress

from portal.errors import PortalError


class UnsafeBind(PortalError):
    """The portal was asked to listen where strangers can reach it, and it has no way to tell who they are."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`: `localhost`, 127.0.0.0/8, ::1, no name that may resolve there."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def require_safe_bind(host: str, *, identity: bool) -> None:
    """Refuse to listen beyond loopback without identity configured.

    Raises `UnsafeBind` with the sentence for the operator.
    """
    if identity or is_loopback(host):
        return
    raise UnsafeBind(
        f"Refused to listen on {host!r}: no identity is configured, so anyone who can reach that address could use "
        "every upstream server with your credentials. Listen on 127.0.0.1 (the default) and let a proxy that signs "
        "people in stand in front, or configure identity for this portal."
    )
