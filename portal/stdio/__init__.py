"""MCP over standard input and output, for clients that only start programs: lines in, requests of streamable HTTP out.

Names are imported when they are used: a portal of this process needs none of what signs in at one elsewhere.
"""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.stdio.exchange import Exchange
from portal.stdio.in_process import InProcess
from portal.stdio.messages import MAX_BYTES
from portal.stdio.pipes import InputPipe, OutputPipe, standard_streams
from portal.stdio.relay import Relay

if TYPE_CHECKING:
    from portal.stdio.remote import Remote
    from portal.stdio.sign_in import Browser, PortalSignIn, sign_in_id
else:
    __getattr__ = lazily(
        __name__, {"Browser": "sign_in", "PortalSignIn": "sign_in", "Remote": "remote", "sign_in_id": "sign_in"}
    )

__all__ = [
    "MAX_BYTES",
    "Browser",
    "Exchange",
    "InProcess",
    "InputPipe",
    "OutputPipe",
    "PortalSignIn",
    "Relay",
    "Remote",
    "sign_in_id",
    "standard_streams",
]
