"""Signing people in: identity providers, browser sessions, and the pages a person sees on the way."""

from portal.login.administrators import (
    ADMINISTRATOR,
    IDP,
    INVITATION,
    ROLES,
    AccountError,
    AddressTaken,
    Administrator,
    Administrators,
    LastAdministrator,
    ResetLink,
    Role,
    TooManyAccounts,
    role_of_account,
)
from portal.login.attempts import Attempts
from portal.login.checks import ProviderCheck, check_provider
from portal.login.directory import (
    LOGIN_SETTINGS,
    LOGIN_SETTINGS_ID,
    Directory,
    LoginSettings,
    stored_name,
    stored_provider,
)
from portal.login.id_tokens import claims_of_verified, end_of, read_renewed_id_token
from portal.login.invitations import (
    RESET_PATH,
    AddressInvalid,
    Delivery,
    Invitation,
    Invitations,
    NewInvitation,
    link_path,
)
from portal.login.oidc import Oidc, same_issuer
from portal.login.passwords import Passwords, why_unfit
from portal.login.people import People, Person, person_id
from portal.login.pin import Pins
from portal.login.providers import OidcProvider, OneTimePin, Provider, ProviderInvalid, places, read_provider
from portal.login.remote import LoginFailed, ProviderTokens, SignedIn, authorization_url
from portal.login.routes import CALLBACK_PATH, CHOOSE, LoginRoutes
from portal.login.sessions import EVERYWHERE, PERSON, SESSION, HeldSession, LoginSession, LoginSessions
from portal.login.sign_in import STALE_FORM, Login, form_endpoint, see_other

__all__ = [
    "ADMINISTRATOR",
    "CALLBACK_PATH",
    "CHOOSE",
    "EVERYWHERE",
    "IDP",
    "INVITATION",
    "LOGIN_SETTINGS",
    "LOGIN_SETTINGS_ID",
    "PERSON",
    "RESET_PATH",
    "ROLES",
    "SESSION",
    "STALE_FORM",
    "AccountError",
    "AddressInvalid",
    "AddressTaken",
    "Administrator",
    "Administrators",
    "Attempts",
    "Delivery",
    "Directory",
    "HeldSession",
    "Invitation",
    "Invitations",
    "LastAdministrator",
    "Login",
    "LoginFailed",
    "LoginRoutes",
    "LoginSession",
    "LoginSessions",
    "LoginSettings",
    "NewInvitation",
    "Oidc",
    "OidcProvider",
    "OneTimePin",
    "Passwords",
    "People",
    "Person",
    "Pins",
    "Provider",
    "ProviderCheck",
    "ProviderInvalid",
    "ProviderTokens",
    "ResetLink",
    "Role",
    "SignedIn",
    "TooManyAccounts",
    "authorization_url",
    "check_provider",
    "claims_of_verified",
    "end_of",
    "form_endpoint",
    "link_path",
    "person_id",
    "places",
    "read_provider",
    "read_renewed_id_token",
    "role_of_account",
    "same_issuer",
    "see_other",
    "stored_name",
    "stored_provider",
    "why_unfit",
]
