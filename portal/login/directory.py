"""The ways to sign in that a portal offers now, read from the store, and the object that implements each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import structlog

from portal.login.oauth2 import OAuth2
from portal.login.oidc import Oidc
from portal.login.providers import OAuthProvider, OidcProvider, OneTimePin, Provider, ProviderInvalid, read_provider
from portal.objects import APP as APPLICATION
from portal.objects import CUSTOM_PAGE, IDENTITY_PROVIDER, AppDocument, Document
from portal.pages import APP, Block, LoginRules, RulesInvalid, block_of, over, read_rules, with_application
from portal.state import Broken, Kind, Store, Stored

Remote: TypeAlias = Oidc | OAuth2


class LoginSettings(Document):
    """The login settings, as unchecked members: `read_rules` validates them."""


LOGIN_SETTINGS = Kind("settings", LoginSettings)
LOGIN_SETTINGS_ID = "login"


@dataclass(frozen=True, slots=True)
class Offer:
    """What the login page offers: providers to be redirected to, PINs, local accounts; and how the page looks."""

    rules: LoginRules
    redirects: tuple[OidcProvider | OAuthProvider, ...]
    pin: OneTimePin | None
    password: bool

    @property
    def straight_to(self) -> str:
        """The id of the provider to redirect a browser to without a login page, or ""."""
        only = self.rules.instant and len(self.redirects) == 1 and self.pin is None
        return self.redirects[0].id if only else ""


async def stored_name(store: Store) -> str:
    """The name of the document's own portal in the login settings; "" if there is none or they cannot be used."""
    stored = await store.get(LOGIN_SETTINGS, LOGIN_SETTINGS_ID)
    document = dict(stored.document.model_extra or {}) if stored is not None else {}
    if not str(document.get("name") or "").strip():
        return ""
    try:
        return read_rules(document).design.name
    except RulesInvalid:
        return ""


async def stored_provider(store: Store, id: str) -> Provider | None:
    """The identity provider of this id as it is stored now; None if there is none, or it cannot be used."""
    stored = await store.find(IDENTITY_PROVIDER, id)
    if not isinstance(stored, Stored):
        return None
    secret = await store.secret(IDENTITY_PROVIDER, id) if stored.has_secret else None
    try:
        return read_provider(id, stored.document, (secret or b"").decode())
    except ProviderInvalid:
        return None


class Directory:
    """The ways to sign in at one portal. Reads the store each time: logins are rare, and changes must apply at once."""

    def __init__(
        self,
        store: Store,
        configured: Sequence[Provider] = (),
        hostname: str = "localhost",
        name: str = "",
        *,
        renameable: bool = True,
        defaults: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """`hostname` is the domain of the portal's application. `name` is the portal's name on pages. With
        `renameable` the stored settings may override it. `defaults` are settings that hold where the store says nothing
        else."""
        self._store = store
        self._hostname = hostname
        self._name = name
        self._renameable = renameable
        self._defaults = defaults
        self._configured = tuple(configured)
        self._remotes: dict[str, tuple[Provider, Remote]] = {}
        self._log = structlog.get_logger("portal.login")

    async def rules(self) -> LoginRules:
        """The login rules of this portal: the stored settings, overridden by its application."""
        stored = await self._store.find(LOGIN_SETTINGS, LOGIN_SETTINGS_ID)
        document = dict(stored.document.model_extra or {}) if isinstance(stored, Stored) else {}
        if not self._renameable:
            document.pop("name", None)
        try:
            rules = read_rules(over(self._defaults, document), self._name)
        except RulesInvalid as error:
            self._log.error("the login settings cannot be used; the defaults are", reason=str(error))
            rules = read_rules(self._defaults, self._name)
        app = await self._application("")
        try:
            return rules if app is None else with_application(rules, app.document)
        except RulesInvalid as error:
            self._log.error("an application cannot be used; the login settings hold", reason=str(error))
            return rules

    async def block(self, place: str, *, person: bool) -> Block:
        """The page for a person who may not use `place`: a path of the portal, or `app:` and an application's id.

        `person` says that they are denied because of their identity, not their network or device.
        """
        rules, app = await self.rules(), await self._application(place)
        if app is None:
            return rules.block
        pages = {one.id: one.document for one in await self._store.list(CUSTOM_PAGE)}
        return block_of(app.document, pages, rules.block, person=person)

    async def offer(self, *, password: bool) -> Offer:
        rules = await self.rules()
        providers = [*self._configured, *await self._stored()]
        if rules.providers:
            providers = [provider for provider in providers if provider.id in rules.providers]
        redirects = tuple(provider for provider in providers if not isinstance(provider, OneTimePin))
        pins = [provider for provider in providers if isinstance(provider, OneTimePin)]
        return Offer(rules, redirects, pins[0] if pins else None, password)

    async def remote(self, id: str) -> Remote | None:
        """The object that signs people in at an offered provider, or None. It stays while the configuration does."""
        offer = await self.offer(password=False)
        provider = next((provider for provider in offer.redirects if provider.id == id), None)
        if provider is None:
            return None
        configured, remote = self._remotes.get(id, (None, None))
        if remote is None or configured != provider:
            # A new object, because the old one caches the discovery document of the former configuration.
            remote = Oidc(provider) if isinstance(provider, OidcProvider) else OAuth2(provider)
            self._remotes[id] = (provider, remote)
        return remote

    async def _application(self, place: str) -> Stored[AppDocument] | None:
        """The application of a place; the portal's own for "" and for its paths."""
        if place.startswith(APP):
            entry = await self._store.find(APPLICATION, place.removeprefix(APP))
            return None if isinstance(entry, Broken) else entry
        apps = await self._store.list(APPLICATION)
        return next((app for app in apps if app.document.is_for_portal(self._hostname)), None)

    async def _stored(self) -> list[Provider]:
        providers: list[Provider] = []
        for stored in await self._store.list(IDENTITY_PROVIDER):
            secret = await self._store.secret(IDENTITY_PROVIDER, stored.id) if stored.has_secret else None
            try:
                providers.append(read_provider(stored.id, stored.document, (secret or b"").decode()))
            except ProviderInvalid as error:
                self._log.error("an identity provider cannot be used", id=stored.id, reason=str(error))
        return providers
