"""People: who has signed in or has an account, what they have begun, and its end: `access/users`.

People are those of `portal.login.People`; nothing here reads the log. What ends, ends as it does when the person
signs out everywhere (`portal.home.Holdings`): at once, at every portal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, overload

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from portal.admin.api.answers import DoneAnswer, ListAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.errors import forbidden, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import API_TOKENS, ORGANIZATION
from portal.admin.tokens import PATH as TOKENS
from portal.admin.tokens import ApiTokens, ShownToken
from portal.home import Ended, Holdings, held_since
from portal.identity import Identity
from portal.login import HeldSession, People, Person, person_id
from portal.logs import event
from portal.oauth import HeldGrant
from portal.state import Store

PATH = "/access/users"
REVOKE = "/access/organizations/revoke_user"
Email = Annotated[str, Field(max_length=254)]


class UserQuery(BaseModel):
    """Which people. An e-mail address and a name are found by a part of them."""

    email: Email = ""
    name: Annotated[str, Field(max_length=256)] = ""


class ShownIdp(BaseModel):
    id: str
    type: str


class ShownUser(BaseModel):
    """`identity` is what the log calls this person. `created_at` is the first sign-in that is known, or when the
    account was made."""

    id: str
    uid: str
    email: str
    name: str
    identity: str
    idp: ShownIdp
    created_at: datetime
    updated_at: datetime
    last_successful_login: datetime | None = None


class SessionPlace(BaseModel):
    """The portal of a session: `uid` is its id, `_` that of the operator's document."""

    uid: str
    type: Literal["mcp_portal"] = "mcp_portal"


class SessionMetadata(BaseModel):
    apps: Mapping[str, SessionPlace]
    expires: int
    iat: int
    nonce: str
    ttl: int


class ShownSession(BaseModel):
    """A browser that is signed in. `groups` are those of this sign-in. Times of Cloudflare's members are seconds since
    1970. `id`, the `nonce`, is "" for a session of before it had one: that ends by itself, or with all others."""

    id: str
    expiration: int
    metadata: SessionMetadata
    portal: str
    ip: str
    user_agent: str
    since: datetime
    until: datetime
    groups: tuple[str, ...]


class SessionDetails(ShownSession):
    """One session, with the members that Cloudflare shows."""

    account_id: str
    email: str
    iat: int
    idp: ShownIdp
    is_active: Annotated[Literal[True], Field(serialization_alias="isActive")] = True
    user_uuid: str


class ShownAgent(BaseModel):
    """An agent that a person has let in. `vouched` says who vouches for its name: the document at `publisher`, an
    administrator, or nobody."""

    id: str
    client: str
    name: str
    publisher: str
    vouched: Literal["document", "administrator", "nobody"]
    portal: str
    since: datetime
    last_used: datetime
    until: datetime


class RevokeBody(BaseModel):
    """Whose access ends: of everybody with the address, or of the one person with the id. What this portal has not
    cannot be asked for. With `api_tokens` (ours) the API tokens whose values they know end too."""

    email: Email = ""
    user_uid: Annotated[str, Field(max_length=64)] = ""
    api_tokens: bool = False
    devices: Literal[False] = False
    warp_session_reauth: Literal[False] = False

    @model_validator(mode="after")
    def _says_who(self) -> RevokeBody:
        if not self.email.strip() and not self.user_uid:
            raise ValueError("must say who: email or user_uid")
        return self


class RevokeQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    devices: Literal["false", "False"] = "false"


class Revoked(RootModel[bool]):
    """Whether it was done."""


class RevokedCounts(BaseModel):
    """What has ended. `logins` are those at servers; of these `logins_kept` could not be ended. `programs` were under
    way in this process. `api_tokens` have ended; of `api_tokens_kept`, which are there, they know the
    value."""

    users: int
    sessions: int
    agents: int
    logins: int
    logins_kept: int
    programs: int
    api_tokens: int
    api_tokens_kept: int


class _ShownPeople(Sequence[ShownUser]):
    """People as they are shown, made when they are asked for: of thousands, those of one page."""

    def __init__(self, people: Sequence[Person]) -> None:
        self._people = people

    def __len__(self) -> int:
        return len(self._people)

    @overload
    def __getitem__(self, place: int) -> ShownUser: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ShownUser]: ...
    def __getitem__(self, place: int | slice) -> ShownUser | Sequence[ShownUser]:
        if isinstance(place, slice):
            return [_shown(person) for person in self._people[place]]
        return _shown(self._people[place])


class UserOperations:
    def __init__(
        self, store: Store, people: People, holdings: Holdings, tokens: ApiTokens, settings: AdminSettings
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._people = people
        self._holdings = holdings
        self._settings = settings

    def operations(self) -> list[Operation]:
        area, item = ORGANIZATION, PATH + "/{id}"
        sessions, agents = f"{item}/active_sessions", f"{item}/agents"
        session, agent = sessions + "/{nonce}", agents + "/{agent}"
        return [
            Operation("GET", PATH, "List people", self._list, ShownUser, area, listed=True, query=UserQuery),
            Operation("GET", item, "Show a person", self._get, ShownUser, area),
            Operation(
                "GET", sessions, "List a person's browsers", self._sessions, ShownSession, area, listed=True, whole=True
            ),
            Operation("GET", session, "Show a browser that is signed in", self._session, SessionDetails, area),
            Operation("DELETE", session, "Sign a browser out", self._end_session, ShownSession, area),
            Operation("GET", agents, "List a person's agents", self._agents, ShownAgent, area, listed=True, whole=True),
            Operation("DELETE", agent, "End an agent's access", self._end_agent, ShownAgent, area),
            Operation(
                "GET",
                f"{item}/api_tokens",
                "List the API tokens whose value a person knows",
                self._api_tokens,
                ShownToken,
                API_TOKENS,
                listed=True,
                whole=True,
            ),
            Operation(
                "POST",
                REVOKE,
                "End all that a person has begun",
                self._revoke,
                Revoked,
                area,
                RevokeBody,
                query=RevokeQuery,
                info=RevokedCounts,
                single=True,
            ),
        ]

    async def _list(self, request: ApiRequest) -> ListAnswer[ShownUser]:
        asked, search = request.asked(UserQuery), request.paging.search.lower()
        email, name = asked.email.lower(), asked.name.lower()
        found: list[Person] = []
        for person in await self._people.list():
            its_email, its_name = person.identity.email.lower(), person.identity.name.lower()
            if email in its_email and name in its_name and any(search in text for text in (its_email, its_name)):
                found.append(person)
        return ListAnswer(_ShownPeople(found))

    async def _get(self, request: ApiRequest) -> ShownUser:
        return _shown(await self._person(request))

    async def _sessions(self, request: ApiRequest) -> list[ShownSession]:
        person = await self._person(request)
        return [ShownSession.model_validate(_session(one)) for one in await self._holdings.sessions.of(person.identity)]

    async def _session(self, request: ApiRequest) -> SessionDetails:
        person, nonce = await self._person(request), request.path["nonce"]
        held = await self._holdings.sessions.of(person.identity)
        found = next((one for one in held if one.id == nonce), None)
        if found is None:
            raise not_found("session")
        identity = person.identity
        return SessionDetails.model_validate(
            {
                **_session(found),
                "account_id": request.account_id,
                "email": identity.email,
                "iat": int(found.since.timestamp()),
                "idp": ShownIdp(id=identity.idp_id, type=identity.idp_type),
                "user_uuid": person.id,
            }
        )

    async def _end_session(self, request: ApiRequest) -> ShownSession:
        person = await self._person(request)
        ended = await self._holdings.sessions.end_one(person.identity, request.path["nonce"])
        if ended is None:
            raise not_found("session")
        return ShownSession.model_validate(_session(ended))

    async def _agents(self, request: ApiRequest) -> list[ShownAgent]:
        person = await self._person(request)
        return [_agent(one) for one in await self._holdings.agents.of(person.identity, everywhere=True)]

    async def _end_agent(self, request: ApiRequest) -> ShownAgent:
        person = await self._person(request)
        ended = await self._holdings.agents.end(person.identity, request.path["agent"], everywhere=True)
        if ended is None:
            raise not_found("agent")
        await self._holdings.sessions.settled()
        client, reason = ended.client_name, "an administrator has ended it"
        row = event("consent", "revoke", who=person.identity, name=ended.client, client=client, reason=reason)
        self._settings.events.write(row)
        return _agent(ended)

    async def _api_tokens(self, request: ApiRequest) -> list[ShownToken]:
        return await self._tokens.known_to((await self._person(request)).identity.key)

    async def _revoke(self, request: ApiRequest) -> DoneAnswer:
        body = request.read(RevokeBody)
        if body.api_tokens and not API_TOKENS.allows(request.caller.permissions, writing=True):
            raise forbidden(f"ending API tokens takes the permission `{API_TOKENS.write}`; nothing was ended")
        people = await self._meant(body)
        if not people:
            raise not_found("user")
        ended = [await self._holdings.end(identity) for identity in people]
        # Those that are the person themselves end like their browsers, whatever is asked for.
        own = await self._tokens.standing_for({identity.key for identity in people})
        gone = sum([await self._end_token(request, id) for id in own])
        # The last, because the caller's own may be one of them.
        known = await self._known_tokens(people)
        # Again: until the last of them is gone, a program can make another with it.
        while body.api_tokens and known:
            gone += sum([await self._end_token(request, id) for id in known])
            known = await self._known_tokens(people)
        kept = sum(status != "expired" for status in known.values())
        return DoneAnswer(Revoked(True), _counts(ended, gone, kept), ",".join(map(person_id, people)))

    async def _known_tokens(self, people: Sequence[Identity]) -> Mapping[str, str]:
        """The ids of the API tokens whose value these people know, each with its status."""
        return {token.id: token.status for one in people for token in await self._tokens.known_to(one.key)}

    async def _end_token(self, request: ApiRequest, id: str) -> bool:
        """Take back an API token that somebody knows whose access ends. False if it is gone already."""
        if not await self._tokens.end(id, request.by):
            return False
        reason = "who knows its value was offboarded"
        row = event("change", "DELETE", name=f"{TOKENS}/{id}", client=request.caller.name, reason=reason)
        self._settings.events.write(row._replace(identity=request.by))
        return True

    async def _meant(self, body: RevokeBody) -> Sequence[Identity]:
        """The people that the body is about: several identities may have one address."""
        email = body.email.strip().lower()
        if body.user_uid:
            person = await self._people.find(body.user_uid)
            if person is None or (email and person.identity.email.lower() != email):
                return ()
            return (person.identity,)
        known = {one.identity.id: one.identity for one in await self._people.list()}
        # Whoever is known no more as one who has signed in may still hold something.
        known |= {one.id: one for one, _ in await held_since(self._store) if one.id not in known}
        return [one for one in known.values() if one.email.lower() == email]

    async def _person(self, request: ApiRequest) -> Person:
        person = await self._people.find(request.path["id"])
        if person is None:
            raise not_found("user")
        return person


def _shown(person: Person) -> ShownUser:
    identity = person.identity
    return ShownUser(
        id=person.id,
        uid=person.id,
        email=identity.email,
        name=identity.name,
        identity=identity.key,
        idp=ShownIdp(id=identity.idp_id, type=identity.idp_type),
        created_at=person.since,
        updated_at=person.last or person.since,
        last_successful_login=person.last,
    )


def _session(held: HeldSession) -> dict[str, object]:
    portal, since, until = held.portal or "_", int(held.since.timestamp()), int(held.until.timestamp())
    apps = {portal: SessionPlace(uid=portal)}
    return {
        "id": held.id,
        "expiration": until,
        "metadata": SessionMetadata(apps=apps, expires=until, iat=since, nonce=held.id, ttl=until - since),
        "portal": portal,
        "ip": held.ip,
        "user_agent": held.agent,
        "since": held.since,
        "until": held.until,
        "groups": held.groups,
    }


def _agent(held: HeldGrant) -> ShownAgent:
    return ShownAgent(
        id=held.family,
        client=held.client,
        name=held.client_name,
        publisher=held.publisher,
        vouched=held.vouched,
        portal=held.portal or "_",
        since=held.since,
        last_used=held.last_used,
        until=held.until,
    )


def _counts(ended: Sequence[Ended], tokens: int, tokens_kept: int) -> RevokedCounts:
    """What has ended of all of them together."""
    return RevokedCounts(
        users=len(ended),
        sessions=sum(one.browsers for one in ended),
        agents=sum(len(one.agents) for one in ended),
        logins=sum(one.logins for one in ended),
        logins_kept=sum(len(one.servers) - one.logins for one in ended),
        programs=sum(one.programs for one in ended),
        api_tokens=tokens,
        api_tokens_kept=tokens_kept,
    )
