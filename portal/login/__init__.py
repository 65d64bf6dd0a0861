"""Signing people in: identity providers, browser sessions, and the pages a person sees on the way."""

from portal.login.administrators import IDP, KIND, Administrators
from portal.login.directory import Directory
from portal.login.mail import Console, Mail, Smtp
from portal.login.passwords import Passwords
from portal.login.pin import Pins, normal_email
from portal.login.providers import OneTimePin, Provider, ProviderInvalid, places, read_provider
from portal.login.routes import STALE_FORM, Login
from portal.login.sessions import EVERYWHERE, Sessions

__all__ = [
    "EVERYWHERE",
    "IDP",
    "KIND",
    "STALE_FORM",
    "Administrators",
    "Console",
    "Directory",
    "Login",
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
