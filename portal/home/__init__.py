"""The pages of a person: how to connect, which agents they have let in, and signing out.

Names are imported when they are used: a portal where nobody signs in has no agents, and the command line only prints
how to connect.
"""

from typing import TYPE_CHECKING

from portal.lazy import lazily

if TYPE_CHECKING:
    from portal.home.holdings import Ended, Holdings, held_since
    from portal.home.offer import AddressOffer, offered
    from portal.home.public import public_home
    from portal.home.routes import HomeRoutes, HomeSettings
    from portal.home.setups import CODE_MODE, ClientSetup, client_setups, server_name
    from portal.home.upstream_logins import EndedLogin, UpstreamLogins
else:
    __getattr__ = lazily(
        __name__,
        {
            "CODE_MODE": "setups",
            "AddressOffer": "offer",
            "ClientSetup": "setups",
            "Ended": "holdings",
            "EndedLogin": "upstream_logins",
            "Holdings": "holdings",
            "HomeRoutes": "routes",
            "HomeSettings": "routes",
            "UpstreamLogins": "upstream_logins",
            "client_setups": "setups",
            "held_since": "holdings",
            "offered": "offer",
            "public_home": "public",
            "server_name": "setups",
        },
    )

__all__ = [
    "CODE_MODE",
    "AddressOffer",
    "ClientSetup",
    "Ended",
    "EndedLogin",
    "Holdings",
    "HomeRoutes",
    "HomeSettings",
    "UpstreamLogins",
    "client_setups",
    "held_since",
    "offered",
    "public_home",
    "server_name",
]
