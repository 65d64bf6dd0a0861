"""What a home page says of connecting: the text for each client, and the address to give it. Pure.

The address depends on what the portal's owner has decided about code mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from portal.config import CodeModePolicy
from portal.home.setups import CODE_MODE, ClientSetup, client_setups

WITHOUT_CODE_MODE = "?codemode=off"


@dataclass(frozen=True, slots=True)
class AddressOffer:
    """`url` is the address to give to clients; `code_mode` says whether they see one tool `code` there. `other` is the
    address of the same portal where they see all tools, "" if there is none or it is `url`."""

    url: str
    code_mode: bool
    other: str = ""


def offered(endpoint: str, policy: CodeModePolicy) -> AddressOffer:
    """The address to offer for the MCP endpoint of a portal."""
    match policy:
        case CodeModePolicy.OPT_IN:
            return AddressOffer(endpoint + CODE_MODE, True, endpoint)
        case CodeModePolicy.DEFAULT_ON:
            return AddressOffer(endpoint, True, endpoint + WITHOUT_CODE_MODE)
        case CodeModePolicy.ENFORCED:
            return AddressOffer(endpoint, True)
        case CodeModePolicy.OFF:
            return AddressOffer(endpoint, False)


@dataclass(frozen=True, slots=True)
class Connecting:
    """What a home page says of connecting to a portal."""

    offer: AddressOffer
    setups: tuple[ClientSetup, ...]


def connecting(
    endpoint: str, policy: CodeModePolicy, name: str, allows: Callable[[str], bool] = lambda redirect: True
) -> Connecting:
    """How to connect to an MCP endpoint; see `offered` and `client_setups`."""
    offer = offered(endpoint, policy)
    return Connecting(offer, client_setups(offer.url, name, allows))
