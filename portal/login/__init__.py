"""Signing people in: identity providers, browser sessions, and the pages a person sees on the way."""

from portal.login.administrators import ADMINISTRATOR, IDP, Administrators
from portal.login.attempts import Attempts
from portal.login.directory import Directory
from portal.login.mail import Console, Mail, Smtp
from portal.login.passwords import Passwords
from portal.login.pin import Pins, normal_email
from portal.login.providers import OneTimePin, Provider, ProviderInvalid, places, read_provider
from portal.login.routes import LoginRoutes
from portal.login.sessions import EVERYWHERE, SESSION, Sessions
from portal.login.sign_in import STALE_FORM, Login

__all__ = [
    "ADMINISTRATOR",
    "EVERYWHERE",
    "IDP",
    "SESSION",
    "STALE_FORM",
    "Administrators",
    "Attempts",
    "Console",
    "Directory",
    "Login",
    "LoginRoutes",
    "Mail",
    "OneTimePin",
    "Passwords",
    "Pins",
    "Provider",
    "ProviderInvalid",
    "Sessions",
    "Smtp",
    "normal_email",
    "places",
    "read_provider",
]
