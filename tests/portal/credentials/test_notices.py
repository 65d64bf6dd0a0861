"""An administrator is told before and when a login of the portal ends: once, whatever number of processes look."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from portal.config import CredentialNoticesSection
from portal.credentials import OWN, CredentialNotices, OwnToken, ending, ends_at, save_login
from portal.credentials.grants import CREDENTIAL, CredentialDocument, SealedGrant
from portal.credentials.metadata import ServerMetadata
from portal.credentials.notices import CREDENTIAL_NOTICE, EVERY_SECONDS, MAX_TRIES, YOUNG
from portal.http import HttpSettings, running
from portal.state import CredentialKey, KeyRing, Store, StoredCredential
from tests.patience import PATIENCE
from tests.portal.state.databases import new_state

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SECRET = "the secret of the webhook, long enough"
TOKEN, REFRESH = "the access token", "the refresh token"
NAMES = {"ending": "a login of the portal is about to end", "ended": "a login of the portal has ended"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def login(life: timedelta | None = 40 * DAY, **changes: Any) -> CredentialDocument:
    document = CredentialDocument(
        state="ready",
        granted_at=START,
        granted_by="ada@example.com",
        issued_at=START,
        expires_at=None if life is None else START + life,
        refreshable=False,
    )
    return document.model_copy(update=changes)


def stored(document: CredentialDocument) -> StoredCredential[CredentialDocument]:
    key = CredentialKey(OWN, "up", "https://idp.example", "https://up.example/mcp", "us")
    return StoredCredential(key, 1, document, START, None)


@pytest.mark.parametrize(
    ("document", "after", "expected"),
    [
        # A refresh moves the end, so there is none.
        (login(HOUR, refreshable=True), 10 * DAY, "no"),
        (login(None), 900 * DAY, "no"),
        # Seven days before the end, or in the last quarter of a shorter life.
        (login(), 33 * DAY - HOUR, "no"),
        (login(), 33 * DAY, "soon"),
        (login(), 40 * DAY, "ended"),
        (login(4 * HOUR), 3 * HOUR - timedelta(seconds=1), "no"),
        (login(4 * HOUR), 3 * HOUR, "soon"),
        # A refresh has failed, and its token still lives.
        (login(HOUR, refreshable=True, state="needs_reauth"), timedelta(0), "soon"),
        (login(HOUR, refreshable=True, state="needs_reauth"), HOUR, "ended"),
        (login(None, refreshable=True, state="needs_reauth"), timedelta(0), "ended"),
        (login(HOUR, refreshable=True, state="misconfigured"), timedelta(0), "soon"),
        # An authorization server that does not answer may answer again before the end.
        (login(HOUR, refreshable=True, state="unknown"), HOUR / 2, "no"),
        (login(HOUR, refreshable=True, state="unknown"), HOUR * 3 / 4, "soon"),
        # Whoever was replacing it is gone.
        (login(HOUR, refreshable=True, state="refreshing"), HOUR, "ended"),
    ],
)
def test_how_near_the_end_is(document: CredentialDocument, after: timedelta, expected: str) -> None:
    assert ending(stored(document), START + after) == expected


def test_the_lead_is_configured_and_never_more_than_a_quarter_of_the_life() -> None:
    one = stored(login())
    assert ending(one, START + 39 * DAY, timedelta(hours=1)) == "no"
    assert ending(one, START + 30 * DAY, timedelta(days=300)) == "soon"
    assert ending(one, START + 30 * DAY - HOUR, timedelta(days=300)) == "no"
    assert ends_at(one, START) == START + 40 * DAY
    assert ends_at(stored(login(refreshable=True)), START) is None


@dataclass
class Hook:
    """A webhook. It answers with `status`; `taken` are the headers and the bodies that came."""

    url: str = ""
    status: int = 204
    taken: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    async def endpoint(self, request: Request) -> Response:
        self.taken.append((dict(request.headers), await request.body()))
        return Response(status_code=self.status)

    @property
    def events(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.taken]


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    found = Hook()
    async with running(
        Starlette(routes=[Route("/hook", found.endpoint, methods=["POST"])]), http=HttpSettings()
    ) as url:
        found.url = f"{url}/hook"
        yield found


class Place:
    """A database with logins, processes on it, and their clock."""

    def __init__(self, folder: Path, hook: Hook | None) -> None:
        self.url, self.keys = new_state(folder), KeyRing.in_memory()
        self.now = START
        self.settings = CredentialNoticesSection(webhook=hook.url if hook is not None else "", secret=SECRET)
        self.tokens: dict[str, OwnToken] = {}

    @asynccontextmanager
    async def process(self) -> AsyncIterator[tuple[Store, CredentialNotices]]:
        """One that looks when a test says so."""
        async with Store.open(self.url, self.keys, clock=lambda: self.now) as store:
            notices = CredentialNotices(
                store, lambda: self.settings, lambda: "Acme", lambda: self.tokens, now=lambda: self.now
            )
            try:
                yield store, notices
            finally:
                await notices.__aexit__(None, None, None)


async def log_in(store: Store, document: CredentialDocument, server: str = "up") -> CredentialKey:
    key = CredentialKey(OWN, server, "https://idp.example", f"https://{server}.example/mcp", "us")
    metadata = ServerMetadata(issuer="https://idp.example", token_endpoint="https://idp.example/t")
    await save_login(store, key, document, SealedGrant(access=TOKEN, refresh=REFRESH, server=metadata))
    return key


@pytest.mark.anyio
async def test_each_end_is_told_once_before_and_once_when_it_comes(tmp_path: Path, hook: Hook) -> None:
    place = Place(tmp_path, hook)
    async with place.process() as (store, notices), place.process() as (_, others):
        await log_in(store, login())
        with capture_logs() as lines:
            for day in range(0, 60):
                place.now = START + day * DAY
                await asyncio.gather(notices.look(), others.look(), notices.look())
        said = [line["event"] for line in lines if line["event"] in NAMES.values()]
        assert said == [NAMES["ending"], NAMES["ended"]]
        assert hook.events == ["credential.ending", "credential.ended"]


@pytest.mark.anyio
async def test_what_is_sent_is_signed_and_has_no_token_in_it(tmp_path: Path, hook: Hook) -> None:
    place = Place(tmp_path, hook)
    async with place.process() as (store, notices):
        await log_in(store, login(HOUR, refreshable=True, state="needs_reauth", reason="It was taken back."))
        with capture_logs() as lines:
            await notices.look()
    [(headers, body)] = hook.taken
    notice = json.loads(body)
    data = notice["data"]
    assert (notice["type"], data["portal"], data["server"], data["state"]) == (
        "credential.ending",
        "Acme",
        "up",
        "needs_reauth",
    )
    assert (data["reason"], data["granted_by"]) == ("It was taken back.", "ada@example.com")
    assert data["ends_at"] == (START + HOUR).isoformat()
    assert "cannot be renewed. It ends at 2026-01-01 01:00 UTC at the latest. Log in again." in data["text"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{b64encode(digest).decode()}"
    assert headers["webhook-timestamp"] == str(int(START.timestamp()))
    for secret in (TOKEN, REFRESH, SECRET):
        assert secret not in body.decode() and secret not in str(headers) and secret not in str(lines)


@pytest.mark.anyio
async def test_a_webhook_that_fails_is_asked_again_a_few_times_by_one_process_after_the_other(
    tmp_path: Path, hook: Hook
) -> None:
    place, hook.status = Place(tmp_path, hook), 500
    async with place.process() as (store, notices), place.process() as (_, others):
        await log_in(store, login(HOUR, state="needs_reauth", refreshable=True))
        place.now = START + HOUR
        with capture_logs() as lines:
            await notices.look()
            await others.look()
            assert len(hook.taken) == 1
            for _ in range(3 * MAX_TRIES):
                place.now += HOUR
                await others.look()
                await notices.look()
        assert len(hook.taken) == MAX_TRIES and len({headers["webhook-id"] for headers, _ in hook.taken}) == 1
        assert [line["event"] for line in lines].count(NAMES["ended"]) == 1
        failures = [line for line in lines if line["event"] == "the webhook did not take a notice"]
        assert [line["again"] for line in failures] == [True] * (MAX_TRIES - 1) + [False]
        assert all(hook.url not in str(line) for line in lines)


@pytest.mark.anyio
async def test_a_notice_whose_process_ended_is_told_by_another(tmp_path: Path, hook: Hook) -> None:
    place, hook.status = Place(tmp_path, hook), 503
    async with place.process() as (store, notices):
        await log_in(store, login(None, state="needs_reauth"))
        await notices.look()
    hook.status = 204
    async with place.process() as (_, notices):
        place.now += timedelta(minutes=2)
        await notices.look()
        place.now += HOUR
        await notices.look()
    assert hook.events == ["credential.ended"] * 2


@pytest.mark.anyio
async def test_a_login_that_is_well_again_is_told_of_again_when_it_ends_again(tmp_path: Path, hook: Hook) -> None:
    place = Place(tmp_path, hook)
    async with place.process() as (store, notices):
        key = await log_in(store, login(None, refreshable=True))
        for state in ("misconfigured", "ready", "misconfigured"):
            found = await store.credentials.get(CREDENTIAL, key)
            assert found is not None
            changed = found.document.model_copy(update={"state": state})
            await store.credentials.settle(CREDENTIAL, key, found.version, changed)
            place.now += YOUNG
            await notices.look()
            await notices.look()
        assert hook.events == ["credential.ended"] * 2
        await store.credentials.delete(CREDENTIAL, key)
        place.now += YOUNG
        # Somebody has logged out: there is nothing left to say, nor to keep.
        await log_in(store, login(None, refreshable=True), "another")
        await notices.look()
        assert len(hook.events) == 2


@pytest.mark.anyio
async def test_a_client_that_gets_no_token_is_told_of_by_the_process_that_asked(tmp_path: Path, hook: Hook) -> None:
    place = Place(tmp_path, hook)
    issuer, reason = "https://idp.example", "it refused a token with invalid_client."
    place.tokens = {"up": OwnToken("misconfigured", reason, issuer, "us", "", True)}
    async with place.process() as (store, notices):
        await notices.look()
        place.tokens = {"up": OwnToken("unknown", "no answer", issuer, "us", "", True)}
        await notices.look()
        assert hook.events == ["credential.ending"]
        # Another process has not asked yet: that is no reason to take the notice away.
        place.tokens, place.now = {}, place.now + YOUNG
        await notices.look()
        assert len(await store.list(CREDENTIAL_NOTICE)) == 1
        place.tokens = {"up": OwnToken("ready", "", issuer, "us", "", True)}
        await notices.look()
        assert await store.list(CREDENTIAL_NOTICE) == []
    data = json.loads(hook.taken[0][1])["data"]
    assert (data["grant"], data["reason"]) == ("client_credentials", reason)


@pytest.mark.anyio
async def test_without_a_webhook_the_log_has_it_and_a_webhook_that_comes_later_is_not_asked_for_what_is_past(
    tmp_path: Path, hook: Hook
) -> None:
    place = Place(tmp_path, None)
    place.settings = CredentialNoticesSection()
    async with place.process() as (store, notices):
        await log_in(store, login(None, state="needs_reauth"))
        with capture_logs() as lines:
            await notices.look()
        assert [line["event"] for line in lines] == [NAMES["ended"]]
        place.settings, place.now = CredentialNoticesSection(webhook=hook.url, secret=SECRET), START + DAY
        await notices.look()
        assert hook.taken == []


@pytest.mark.anyio
async def test_a_webhook_in_a_private_network_is_not_asked_unless_that_is_written(tmp_path: Path) -> None:
    place = Place(tmp_path, None)
    place.settings = CredentialNoticesSection(webhook="https://10.0.0.1/hook", secret=SECRET)
    async with place.process() as (store, notices):
        await log_in(store, login(None, state="needs_reauth"))
        with capture_logs() as lines:
            await notices.look()
    [failed] = [line for line in lines if line["event"] == "the webhook did not take a notice"]
    assert failed["reason"] == "its address is not a public one"


@pytest.mark.anyio
async def test_what_changes_is_looked_at_at_once(tmp_path: Path, hook: Hook) -> None:
    place, changed = Place(tmp_path, hook), asyncio.Event()
    async with Store.open(place.url, place.keys) as store:
        async with CredentialNotices(store, lambda: place.settings, lambda: "Acme", dict, every=EVERY_SECONDS):
            store.subscribe(lambda kinds: changed.set() if CREDENTIAL_NOTICE.name in kinds else None)
            await log_in(store, login(None, state="needs_reauth"))
            async with asyncio.timeout(PATIENCE):
                # The notice is stored when it is begun, and again when the webhook has it.
                while not any(one.document.told for one in await store.list(CREDENTIAL_NOTICE)):
                    await changed.wait()
                    changed.clear()
    assert hook.events == ["credential.ended"]
