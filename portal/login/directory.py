"""The ways to sign in that the portal offers at this moment, read from the store, and the object that does each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from portal.login.oauth2 import OAuth2
from portal.login.oidc import Oidc
from portal.login.providers import OAuthProvider, OidcProvider, OneTimePin, Provider, ProviderInvalid, read_provider
from portal.objects import APP as APPLICATION
from portal.objects import CUSTOM_PAGE, IDENTITY_PROVIDER, AppDocument, Document
from portal.pages import APP, Block, LoginRules, RulesInvalid, block_of, read_rules, with_application
from portal.state import Broken, Kind, Store, Stored

Remote: TypeAlias = Oidc | OAuth2


class LoginSettings(Document):
    """The members that `read_rules` reads: their rules, and the words for what is wrong with them, are there."""


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
        """The id of the provider that a browser goes to without seeing the login page, or ""."""
        only = self.rules.instant and len(self.redirects) == 1 and self.pin is None
        return self.redirects[0].id if only else ""


async def stored_name(store: Store) -> str:
    """What the login settings call the document's own portal; "" if nothing, or if they cannot be used."""
    stored = await store.get(LOGIN_SETTINGS, LOGIN_SETTINGS_ID)
    document = dict(stored.document.model_extra or {}) if stored is not None else {}
    if not str(document.get("name") or "").strip():
        return ""
    try:
        return read_rules(document).design.name
    except RulesInvalid:
        return ""


class Directory:
    """Reads the store each time: logins are rare, and a change must hold at once."""

    def __init__(
        self,
        store: Store,
        configured: Sequence[Provider] = (),
        hostname: str = "localhost",
        name: str = "",
        *,
        renameable: bool = True,
    ) -> None:
        """`hostname` is the domain of the portal's application. `name` is what pages call the portal; with `renameable`
        the stored settings may call it something else."""
        self._store = store
        self._hostname = hostname
        self._name = name
        self._renameable = renameable
        self._configured = tuple(configured)
        self._remotes: dict[str, tuple[Provider, Remote]] = {}
        self._log = structlog.get_logger("portal.login")

    async def rules(self) -> LoginRules:
        """How this portal signs people in: the stored settings, and what its application says instead."""
        stored = await self._store.find(LOGIN_SETTINGS, LOGIN_SETTINGS_ID)
        document = dict(stored.document.model_extra or {}) if isinstance(stored, Stored) else {}
        if not self._renameable:
            document.pop("name", None)
        try:
            rules = read_rules(document, self._name)
        except RulesInvalid as error:
            self._log.error("the login settings cannot be used; the defaults are", reason=str(error))
            rules = read_rules({}, self._name)
        app = await self._application("")
        try:
            return rules if app is None else with_application(rules, app.document)
        except RulesInvalid as error:
            self._log.error("an application cannot be used; the login settings hold", reason=str(error))
            return rules

    async def block(self, place: str, *, person: bool) -> Block:
        """What a person is shown who may not use this place: a path of the portal, or `app:` and an application's id.

        `person`: they are refused for who they are, not for where or with what they come.
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
        """The object that signs people in at an offered provider. It stays the same while the configuration does."""
        offer = await self.offer(password=False)
        provider = next((provider for provider in offer.redirects if provider.id == id), None)
        if provider is None:
            return None
        configured, remote = self._remotes.get(id, (None, None))
        if remote is None or configured != provider:
            # A new one forgets what the provider's discovery document said under the former configuration.
            remote = Oidc(provider) if isinstance(provider, OidcProvider) else OAuth2(provider)
            self._remotes[id] = (provider, remote)
        return remote

    async def _application(self, place: str) -> Stored[AppDocument] | None:
        """The application of a place; that of the portal itself for "" and for its paths."""
        if place.startswith(APP):
            found = await self._store.find(APPLICATION, place.removeprefix(APP))
            return None if isinstance(found, Broken) else found
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
