"""Logging in to upstream servers in the browser: the link that an agent shows, and the page that it leads to."""

from portal.elicitation.choices import Choices
from portal.elicitation.elicitations import Elicitation, Elicitations, elicitation_url
from portal.elicitation.offered import Offered, OfferedServer, ServerOnPage
from portal.elicitation.people import PeoplesLogins
from portal.elicitation.portal_logins import PORTAL_LOGIN_PATH
from portal.elicitation.routes import FORMS, ServerRoutes
from portal.elicitation.servers import PeoplesServers

__all__ = [
    "FORMS",
    "PORTAL_LOGIN_PATH",
    "Choices",
    "Elicitation",
    "Elicitations",
    "Offered",
    "OfferedServer",
    "PeoplesLogins",
    "PeoplesServers",
    "ServerOnPage",
    "ServerRoutes",
    "elicitation_url",
]
