"""Logging in to upstream servers in the browser: the link that an agent shows, and the page that it leads to."""

from portal.elicitation.choices import Choices
from portal.elicitation.elicitations import Elicitation, Elicitations, elicitation_url
from portal.elicitation.offered import Offered, OfferedServer, shown_servers
from portal.elicitation.people import PeoplesLogins
from portal.elicitation.routes import FORMS, ServerRoutes

__all__ = [
    "FORMS",
    "Choices",
    "Elicitation",
    "Elicitations",
    "Offered",
    "OfferedServer",
    "PeoplesLogins",
    "ServerRoutes",
    "elicitation_url",
    "shown_servers",
]
