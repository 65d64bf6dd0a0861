"""Identity providers, service tokens and custom pages: `access/identity_providers` and so on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, Field

from portal.admin.api.answers import ListAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Collection, Guard, Removed, unguarded
from portal.admin.api.errors import invalid, not_found
from portal.admin.api.operations import ApiRequest, NoBody, Operation
from portal.admin.api.permissions import CUSTOM_PAGES, ORGANIZATION, SERVICE_TOKENS
from portal.admin.api.revisions import whole
from portal.admin.policies import Name
from portal.http import is_loopback
from portal.login import CALLBACK_PATH, ProviderInvalid, check_provider, places, read_provider
from portal.oauth import DEFAULT_DURATION, SERVICE_TOKEN, ServiceTokenDocument, ServiceTokens, shown_document
from portal.objects import CUSTOM_PAGE, IDENTITY_PROVIDER, PORTAL, PageDocument, ProviderDocument
from portal.state import KEEP, Keep, Store, Stored

SECRET = "client_secret"
MAX_PAGE = 512 * 1024
MAX_TESTS = 4
"""Tests of identity providers at once."""
MAX_URLS = 200
_MEMBER = re.compile(r"config\.(\w+) ")


class ProviderBody(BaseModel):
    """`config.client_secret` is never shown. Left out of a PUT, it stays."""

    name: Annotated[str, Field(max_length=255)] = ""
    type: Annotated[str, Field(min_length=1, max_length=64)]
    config: Annotated[dict[str, object], Field(max_length=64)] = Field(default_factory=dict, repr=False)


class ShownProvider(BaseModel):
    id: str
    name: str
    type: str
    config: Mapping[str, object]
    created_at: datetime
    updated_at: datetime


class ProviderStep(BaseModel):
    """One check of a sign-in. `ok` is null for what cannot be tested from here; `to_do` says what to do about it."""

    name: str
    ok: bool | None
    words: str
    to_do: str = ""


class ProviderTested(BaseModel):
    """`ok` is whether no step failed. `redirect_urls` are those to register at the provider."""

    ok: bool
    redirect_urls: tuple[str, ...]
    steps: tuple[ProviderStep, ...]


class IdentityProviders(Collection[ProviderBody, ProviderDocument]):
    kind, path, noun = IDENTITY_PROVIDER, "/access/identity_providers", "identity provider"
    area, body, answer = ORGANIZATION, ProviderBody, ShownProvider

    def __init__(self, store: Store, settings: AdminSettings, guard: Guard = unguarded) -> None:
        super().__init__(store, guard=guard)
        self._settings = settings
        self._testing = asyncio.Semaphore(MAX_TESTS)

    def operations(self) -> list[Operation]:
        path, words = f"{self.path}/{{id}}/test", "Test what a sign-in at an identity provider would find"
        test = Operation(
            "POST", path, words, self._test, ProviderTested, ORGANIZATION, NoBody, reading=True, body_required=False
        )
        return [*super().operations(), test]

    def document(self, body: ProviderBody, before: ProviderDocument | None) -> ProviderDocument:
        config = {name: value for name, value in body.config.items() if name != SECRET}
        document = ProviderDocument(name=body.name, type=body.type, config=config)
        try:
            read_provider("new", document)
        except (ProviderInvalid, ValueError, TypeError) as error:
            raise invalid(str(error), _place_of(str(error))) from None
        return document

    async def create(self, request: ApiRequest) -> BaseModel:
        body = request.read(ProviderBody)
        document, secret = self.document(body, None), _secret(body)
        return self.show(await self.store(request, document, None if isinstance(secret, Keep) else secret))

    async def replace(self, request: ApiRequest) -> BaseModel:
        body = request.read(ProviderBody)
        document, secret = self.document(body, None), _secret(body)
        async with request.transaction(self._store) as transaction:
            existing = await transaction.find(self.kind, request.path["id"])
            await self._guard(transaction, request, self.kind.name, request.path["id"])
            # If the stored provider cannot be read, it is unknown where its secret was sent.
            may_have_moved = existing is not None and (
                not isinstance(existing, Stored) or _moved(existing.document, document)
            )
            if may_have_moved and isinstance(secret, Keep) and await transaction.secret(self.kind, request.path["id"]):
                # Otherwise a caller who may change a provider, but not read its secret,
                # could redirect the secret to a server of their own.
                raise invalid("must be sent again when an address of the provider changes", f"/config/{SECRET}")
            replaced = await transaction.replace(self.kind, request.path["id"], document, by=request.by, secret=secret)
        return self.show(replaced)

    async def _test(self, request: ApiRequest) -> ProviderTested:
        stored = await self._store.get(self.kind, request.path["id"])
        if stored is None:
            raise not_found(self.noun)
        secret = await self._store.secret(self.kind, stored.id) if stored.has_secret else None
        urls = await self._redirect_urls()
        try:
            provider = read_provider(stored.id, stored.document, (secret or b"").decode())
        except ProviderInvalid as error:
            step = ProviderStep(name="config", ok=False, words=f"{error}.", to_do="Send the provider again with PUT.")
            return ProviderTested(ok=False, redirect_urls=urls, steps=(step,))
        async with self._testing:
            found = await check_provider(provider, urls, has_mail=self._settings.delivery.mail is not None)
        steps = [ProviderStep(name=one.name, ok=one.ok, words=one.words, to_do=one.to_do) for one in found]
        return ProviderTested(ok=all(step.ok is not False for step in steps), redirect_urls=urls, steps=tuple(steps))

    async def _redirect_urls(self) -> tuple[str, ...]:
        """Where a provider sends people back: at the document's own portal, and at each stored one."""
        origin = self._settings.delivery.origin
        if not origin:
            return ()
        urls = [origin + CALLBACK_PATH]
        for portal in await self._store.list(PORTAL):
            if portal.document.hostname == self._settings.hostname:
                continue
            urls.append(f"{origin}/{portal.id}{CALLBACK_PATH}")
            if not is_loopback(portal.document.hostname):
                port = urlsplit(origin).port
                urls.append(f"https://{portal.document.hostname}{f':{port}' if port else ''}{CALLBACK_PATH}")
        return tuple(dict.fromkeys(urls))[:MAX_URLS]


def _place_of(problem: str) -> str:
    """The pointer to the member of the body that a problem with a provider names."""
    named = _MEMBER.match(problem)
    return f"/config/{named[1]}" if named else "/config"


def _moved(before: ProviderDocument, document: ProviderDocument) -> bool:
    """Whether `document` sends the client secret to other addresses than `before`."""
    try:
        return bool(places(before)) and places(before) != places(document)
    except ProviderInvalid:
        return True


def _secret(body: ProviderBody) -> bytes | Keep:
    secret = body.config.get(SECRET)
    if secret is None:
        return KEEP
    if not isinstance(secret, str) or not secret or not secret.isprintable() or len(secret) > 4096:
        raise invalid("client_secret must be one line of text", f"/config/{SECRET}")
    return secret.encode()


class PageBody(BaseModel):
    name: Name
    type: Literal["identity_denied", "forbidden", "login", "interstitial"]
    custom_html: Annotated[str, Field(min_length=1, max_length=MAX_PAGE)]
    contract_version: Annotated[int, Field(ge=1, le=100)] | None = None


class ShownPage(PageBody):
    uid: str
    created_at: datetime
    updated_at: datetime


class CustomPages(Collection[PageBody, PageDocument]):
    kind, path, noun, area = CUSTOM_PAGE, "/access/custom_pages", "custom page", CUSTOM_PAGES
    body, answer = PageBody, ShownPage

    def document(self, body: PageBody, before: PageDocument | None) -> PageDocument:
        return PageDocument(
            name=body.name, type=body.type, custom_html=body.custom_html, contract_version=body.contract_version
        )

    def show(self, stored: Stored[PageDocument]) -> ShownPage:
        dates = {"created_at": stored.created_at, "updated_at": stored.modified_at}
        return ShownPage.model_validate({**CUSTOM_PAGE.members(stored.document), "uid": stored.id, **dates})


class ServiceTokenBody(BaseModel):
    name: Name
    duration: Annotated[str, Field(max_length=32)] = DEFAULT_DURATION


class ServiceTokenChange(BaseModel):
    name: Name | None = None
    duration: Annotated[str, Field(max_length=32)] | None = None


class RotationBody(BaseModel):
    previous_client_secret_expires_at: AwareDatetime | None = None


class ShownServiceToken(BaseModel):
    id: str
    name: str
    client_id: str
    duration: str
    enabled: bool = True
    expires_at: datetime | None = None
    client_secret_version: int
    created_at: datetime
    updated_at: datetime


class NewServiceTokenAnswer(ShownServiceToken):
    """`client_secret` is shown only here."""

    client_secret: str


class ServiceTokenApi:
    def __init__(self, store: Store, tokens: ServiceTokens) -> None:
        self._store = store
        self._tokens = tokens

    def operations(self) -> list[Operation]:
        path, area = "/access/service_tokens", SERVICE_TOKENS
        item, answer, new = path + "/{id}", ShownServiceToken, NewServiceTokenAnswer
        rotate, refresh = f"{item}/rotate", f"{item}/refresh"
        of = whole(self._store, SERVICE_TOKEN, "service token")
        return [
            Operation("GET", path, "List service tokens", self._list, answer, area, listed=True),
            Operation("POST", path, "Make a service token", self._create, new, area, ServiceTokenBody, status=201),
            Operation("GET", item, "Show a service token", self._get, answer, area, of=of),
            Operation("PUT", item, "Change a service token", self._replace, answer, area, ServiceTokenChange, of=of),
            Operation("DELETE", item, "Revoke a service token", self._delete, answer, area, of=of),
            Operation(
                "POST",
                rotate,
                "Give a service token a new secret",
                self._rotate,
                new,
                area,
                RotationBody,
                body_required=False,
            ),
            Operation(
                "POST",
                refresh,
                "Renew a service token for its duration",
                self._refresh,
                answer,
                area,
                NoBody,
                body_required=False,
            ),
        ]

    async def _list(self, request: ApiRequest) -> ListAnswer[ShownServiceToken]:
        search = request.paging.search.lower()
        scan = await self._store.scan(SERVICE_TOKEN)
        tokens = [_shown(stored) for stored in scan.stored if search in stored.document.name.lower()]
        return ListAnswer(tokens, scan.broken)

    async def _get(self, request: ApiRequest) -> ShownServiceToken:
        return _shown(_required(await self._store.get(SERVICE_TOKEN, request.path["id"])))

    async def _create(self, request: ApiRequest) -> NewServiceTokenAnswer:
        body = request.read(ServiceTokenBody)
        try:
            new = await self._tokens.create(body.name, by=request.by, duration=body.duration)
        except (ValueError, OverflowError):
            raise invalid("must be a duration such as 8760h, or forever", "/duration") from None
        return _new(new.stored, new.client_secret)

    async def _replace(self, request: ApiRequest) -> ShownServiceToken:
        body = request.read(ServiceTokenChange)
        async with request.transaction(self._store) as transaction:
            try:
                changed = await self._tokens.change(
                    transaction, request.path["id"], by=request.by, name=body.name, duration=body.duration
                )
            except (ValueError, OverflowError):
                raise invalid("must be a duration such as 8760h, or forever", "/duration") from None
        return _shown(_required(changed))

    async def _delete(self, request: ApiRequest) -> ShownServiceToken | Removed:
        async with request.transaction(self._store) as transaction:
            deleted = await transaction.delete(SERVICE_TOKEN, request.path["id"], by=request.by)
        return _shown(deleted) if isinstance(deleted, Stored) else Removed(id=deleted.id)

    async def _rotate(self, request: ApiRequest) -> NewServiceTokenAnswer:
        until = request.read(RotationBody).previous_client_secret_expires_at
        new = await self._tokens.rotate(request.path["id"], by=request.by, previous_until=until)
        if new is None:
            raise not_found("service token")
        return _new(new.stored, new.client_secret)

    async def _refresh(self, request: ApiRequest) -> ShownServiceToken:
        return _shown(_required(await self._tokens.refresh(request.path["id"], by=request.by)))


def _required(stored: Stored[ServiceTokenDocument] | None) -> Stored[ServiceTokenDocument]:
    if stored is None:
        raise not_found("service token")
    return stored


def _shown(stored: Stored[ServiceTokenDocument]) -> ShownServiceToken:
    dates = {"created_at": stored.created_at, "updated_at": stored.modified_at}
    return ShownServiceToken.model_validate({**shown_document(stored), **dates})


def _new(stored: Stored[ServiceTokenDocument], secret: str) -> NewServiceTokenAnswer:
    return NewServiceTokenAnswer(**_shown(stored).model_dump(), client_secret=secret)
