"""Who signs in and how: `access/identity_providers`, `access/service_tokens` and `access/custom_pages`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from portal.admin.api.answers import ListAnswer
from portal.admin.api.collection import Collection, Removed
from portal.admin.api.errors import invalid, not_found
from portal.admin.api.operations import ApiRequest, NoBody, Operation
from portal.admin.api.permissions import CUSTOM_PAGES, ORGANIZATION, SERVICE_TOKENS
from portal.admin.policies import Name
from portal.login import ProviderInvalid, places, read_provider
from portal.oauth import DEFAULT_DURATION, SERVICE_TOKEN, ServiceTokenDocument, ServiceTokens, shown_document
from portal.objects import CUSTOM_PAGE, IDENTITY_PROVIDER, PageDocument, ProviderDocument
from portal.state import KEEP, Keep, Store, Stored

SECRET = "client_secret"
MAX_PAGE = 512 * 1024


class ProviderBody(BaseModel):
    """`config.client_secret` is written and never read; left out, it stays."""

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


class IdentityProviders(Collection[ProviderBody, ProviderDocument]):
    kind, path, noun = IDENTITY_PROVIDER, "/access/identity_providers", "identity provider"
    area, body, shown = ORGANIZATION, ProviderBody, ShownProvider

    def document(self, body: ProviderBody, before: ProviderDocument | None) -> ProviderDocument:
        config = {name: value for name, value in body.config.items() if name != SECRET}
        document = ProviderDocument(name=body.name, type=body.type, config=config)
        try:
            read_provider("new", document)
        except (ProviderInvalid, ValueError, TypeError) as error:
            raise invalid(str(error), "/config") from None
        return document

    async def create(self, asked: ApiRequest) -> BaseModel:
        body = asked.read(ProviderBody)
        document, secret = self.document(body, None), _secret(body)
        return self.show(await self.store(asked, document, None if isinstance(secret, Keep) else secret))

    async def replace(self, asked: ApiRequest) -> BaseModel:
        body = asked.read(ProviderBody)
        document, secret = self.document(body, None), _secret(body)
        async with self._store.transaction() as transaction:
            there = await transaction.find(self.kind, asked.path["id"])
            # Of one that cannot be read nobody knows where its secret was sent.
            moved = there is not None and (not isinstance(there, Stored) or _moved(there.document, document))
            if moved and isinstance(secret, Keep) and await transaction.secret(self.kind, asked.path["id"]):
                # Else whoever may write a provider, but not read its secret, could have it sent to himself.
                raise invalid("must be given again with another address of the provider", f"/config/{SECRET}")
            replaced = await transaction.replace(self.kind, asked.path["id"], document, by=asked.by, secret=secret)
        return self.show(replaced)


def _moved(before: ProviderDocument, document: ProviderDocument) -> bool:
    """Whether what was sent to the one provider would be sent elsewhere by the other."""
    try:
        return bool(places(before)) and places(before) != places(document)
    except ProviderInvalid:
        return True


def _secret(body: ProviderBody) -> bytes | Keep:
    given = body.config.get(SECRET)
    if given is None:
        return KEEP
    if not isinstance(given, str) or not given or not given.isprintable() or len(given) > 4096:
        raise invalid("client_secret must be one line of text", f"/config/{SECRET}")
    return given.encode()


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
    body, shown = PageBody, ShownPage

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
    """`client_secret` is shown this once."""

    client_secret: str


class ServiceTokenApi:
    def __init__(self, store: Store, tokens: ServiceTokens) -> None:
        self._store = store
        self._tokens = tokens

    def operations(self) -> list[Operation]:
        path, area = "/access/service_tokens", SERVICE_TOKENS
        one, shown, new = path + "/{id}", ShownServiceToken, NewServiceTokenAnswer
        rotate, refresh = f"{one}/rotate", f"{one}/refresh"
        return [
            Operation("GET", path, "List service tokens", self._list, shown, area, listed=True),
            Operation("POST", path, "Make a service token", self._create, new, area, ServiceTokenBody, status=201),
            Operation("GET", one, "Show a service token", self._get, shown, area),
            Operation("PUT", one, "Change a service token", self._replace, shown, area, ServiceTokenChange),
            Operation("DELETE", one, "Take back a service token", self._delete, shown, area),
            Operation(
                "POST", rotate, "Give it a new secret", self._rotate, new, area, RotationBody, body_required=False
            ),
            Operation(
                "POST", refresh, "Give it its duration again", self._refresh, shown, area, NoBody, body_required=False
            ),
        ]

    async def _list(self, asked: ApiRequest) -> ListAnswer[ShownServiceToken]:
        wanted = asked.paging.search.lower()
        found = await self._store.scan(SERVICE_TOKEN)
        shown = [_shown(stored) for stored in found.stored if wanted in stored.document.name.lower()]
        return ListAnswer(shown, found.broken)

    async def _get(self, asked: ApiRequest) -> ShownServiceToken:
        return _shown(_there(await self._store.get(SERVICE_TOKEN, asked.path["id"])))

    async def _create(self, asked: ApiRequest) -> NewServiceTokenAnswer:
        body = asked.read(ServiceTokenBody)
        try:
            made = await self._tokens.create(body.name, by=asked.by, duration=body.duration)
        except (ValueError, OverflowError):
            raise invalid("must be a duration such as 8760h, or forever", "/duration") from None
        return _new(made.stored, made.client_secret)

    async def _replace(self, asked: ApiRequest) -> ShownServiceToken:
        body = asked.read(ServiceTokenChange)
        stored = _there(await self._store.get(SERVICE_TOKEN, asked.path["id"]))
        document = stored.document.model_copy(
            update={"name": body.name or stored.document.name, "duration": body.duration or stored.document.duration}
        )
        await self._store.replace(SERVICE_TOKEN, stored.id, document, by=asked.by, revision=stored.revision)
        if body.duration:
            try:
                await self._tokens.refresh(stored.id, by=asked.by)
            except (ValueError, OverflowError):
                await self._store.replace(SERVICE_TOKEN, stored.id, stored.document, by=asked.by)
                raise invalid("must be a duration such as 8760h, or forever", "/duration") from None
        return await self._get(asked)

    async def _delete(self, asked: ApiRequest) -> ShownServiceToken | Removed:
        gone = await self._store.delete(SERVICE_TOKEN, asked.path["id"], by=asked.by)
        return _shown(gone) if isinstance(gone, Stored) else Removed(id=gone.id)

    async def _rotate(self, asked: ApiRequest) -> NewServiceTokenAnswer:
        until = asked.read(RotationBody).previous_client_secret_expires_at
        made = await self._tokens.rotate(asked.path["id"], by=asked.by, previous_until=until)
        if made is None:
            raise not_found("service token")
        return _new(made.stored, made.client_secret)

    async def _refresh(self, asked: ApiRequest) -> ShownServiceToken:
        return _shown(_there(await self._tokens.refresh(asked.path["id"], by=asked.by)))


def _there(stored: Stored[ServiceTokenDocument] | None) -> Stored[ServiceTokenDocument]:
    if stored is None:
        raise not_found("service token")
    return stored


def _shown(stored: Stored[ServiceTokenDocument]) -> ShownServiceToken:
    dates = {"created_at": stored.created_at, "updated_at": stored.modified_at}
    return ShownServiceToken.model_validate({**shown_document(stored), **dates})


def _new(stored: Stored[ServiceTokenDocument], secret: str) -> NewServiceTokenAnswer:
    return NewServiceTokenAnswer(**_shown(stored).model_dump(), client_secret=secret)
