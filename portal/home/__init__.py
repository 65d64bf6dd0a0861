"""The pages of a person: how to connect, which agents they have let in, and signing out.

Names are imported when they are used: a portal where nobody signs in has no agents, and the command line only prints
how to connect.
"""

from typing import TYPE_CHECKING

from portal.lazy import lazily

if TYPE_CHECKING:
    from portal.home.approval_views import (
        MAX_USES,
        approval_view,
        call_lines,
        drawing_of,
        grant_view,
        remember_choices,
        remember_of,
    )
    from portal.home.approvals import APPROVAL_FORMS, ApprovalPages
    from portal.home.holdings import Ended, Holdings, held_since
    from portal.home.moments import ago, ahead
    from portal.home.offer import AddressOffer, Connecting, connecting, offered
    from portal.home.public import public_home
    from portal.home.routes import HomeRoutes, HomeSettings, no_console
    from portal.home.runs import RUN_FORMS, PersonRunPages
    from portal.home.setups import CODE_MODE, ClientSetup, client_setups, server_name
    from portal.home.upstream_logins import EndedLogin, UpstreamLogins
else:
    __getattr__ = lazily(
        __name__,
        {
            "APPROVAL_FORMS": "approvals",
            "MAX_USES": "approval_views",
            "approval_view": "approval_views",
            "call_lines": "approval_views",
            "drawing_of": "approval_views",
            "grant_view": "approval_views",
            "remember_choices": "approval_views",
            "remember_of": "approval_views",
            "ApprovalPages": "approvals",
            "CODE_MODE": "setups",
            "AddressOffer": "offer",
            "ClientSetup": "setups",
            "Connecting": "offer",
            "connecting": "offer",
            "Ended": "holdings",
            "EndedLogin": "upstream_logins",
            "Holdings": "holdings",
            "HomeRoutes": "routes",
            "HomeSettings": "routes",
            "PersonRunPages": "runs",
            "RUN_FORMS": "runs",
            "UpstreamLogins": "upstream_logins",
            "ago": "moments",
            "ahead": "moments",
            "client_setups": "setups",
            "no_console": "routes",
            "held_since": "holdings",
            "offered": "offer",
            "public_home": "public",
            "server_name": "setups",
        },
    )

__all__ = [
    "APPROVAL_FORMS",
    "CODE_MODE",
    "MAX_USES",
    "RUN_FORMS",
    "AddressOffer",
    "ApprovalPages",
    "ClientSetup",
    "Connecting",
    "Ended",
    "EndedLogin",
    "Holdings",
    "HomeRoutes",
    "HomeSettings",
    "PersonRunPages",
    "UpstreamLogins",
    "ago",
    "ahead",
    "approval_view",
    "call_lines",
    "client_setups",
    "connecting",
    "drawing_of",
    "grant_view",
    "held_since",
    "no_console",
    "offered",
    "public_home",
    "remember_choices",
    "remember_of",
    "server_name",
]
