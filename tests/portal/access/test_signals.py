"""Countries, posture, risk, external evaluations: from real files and services, and gone when they are stale."""

from __future__ import annotations

import asyncio
import gzip
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from portal.access import Access, LiveAccess, PolicyError, Sources, read_document
from portal.app.access import with_signals
from portal.app.signals import SignalSources
from portal.config.identity import IdentitySection
from portal.identity import Identity, evaluation_key
from portal.signals import Assessments, ClientCertificates, Countries, Evaluations, KnownSignals, PostureFeed
from portal.signals.assessments import Assessment
from portal.state import KeyRing, Store
from tests.portal.access.mmdb import database
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import _Server
from tests.portal.upstreams.server import listen

ADA = Identity(id="ada", email="ada@example.com", ip="192.0.2.1")
OURS = ec.generate_private_key(ec.SECP256R1())
THEIRS = ec.generate_private_key(ec.SECP256R1())


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def ours(claims: Mapping[str, Any]) -> str:
    return jwt.encode(dict(claims), OURS, algorithm="ES256", headers={"kid": "portal"})


@asynccontextmanager
async def service(app: Starlette) -> AsyncIterator[str]:
    listening = listen(0)
    server = _Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=0))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task


# Countries


def test_an_address_is_in_the_country_of_its_longest_network(tmp_path: Path) -> None:
    file = tmp_path / "countries.mmdb"
    file.write_bytes(database({"192.0.2.0/24": "DE", "2001:db8::/32": "FR", "198.51.100.128/25": "SE"}))
    countries = Countries.open(file)
    expected = {
        "192.0.2.200": "DE",
        "2001:db8:1::5": "FR",
        "198.51.100.129": "SE",
        "198.51.100.1": "XX",
        "10.0.0.1": "XX",
        "no address": "",
    }
    assert {address: countries.of(address) for address in expected} == expected
    signals = KnownSignals(countries=countries)
    found = signals.current(ADA)
    assert found is not None and found.country == "DE"
    assert signals.current(ADA) is found
    told = Identity(id="x", ip="192.0.2.1", country="US")
    assert signals.current(told) is told


def test_a_file_that_is_no_database_is_refused_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "countries.mmdb"
    for content in (b"", b"not a database", database({"192.0.2.0/24": "DE"})[:50]):
        file.write_bytes(content)
        with pytest.raises(PolicyError, match=r"countries\.mmdb: is no MaxMind database"):
            Countries.open(file)
    with pytest.raises(PolicyError, match="missing"):
        Countries.open(tmp_path / "missing.mmdb")


# Posture and risk


def test_what_was_said_is_believed_for_as_long_as_it_is_fresh() -> None:
    clock = Clock()
    known = Assessments(fresh_for=60, clock=clock)
    known.record(Assessment(subject="ADA@example.com", device_posture={"disk": True}, user_risk="low"))
    clock.now += 30
    known.record(Assessment(subject="ada", device_posture={"firewall": False}, age=10))
    assert known.of(ADA) == ({"disk": True, "firewall": False}, "low")
    clock.now += 31
    assert known.of(ADA) == ({"firewall": False}, "")
    clock.now += 20
    assert known.of(ADA) == ({}, "")
    known.record(Assessment(subject="ada", user_risk="high"))
    known.forget("ADA")
    assert known.of(ADA) == ({}, "")
    assert known.of(Identity()) == ({}, "")


@pytest.mark.anyio
async def test_a_posture_source_is_read_and_what_it_cannot_say_changes_nothing() -> None:
    answers: list[Callable[[], Response]] = [
        lambda: JSONResponse(
            {"assessments": [{"subject": "ada", "device_posture": {"disk": True}, "user_risk": "low"}]}
        ),
        lambda: JSONResponse({"assessments": [{"subject": "ada", "user_risk": "enormous"}]}),
        lambda: Response("<html>", 200),
        lambda: JSONResponse({"assessments": []}, 500),
        lambda: Response(status_code=302, headers={"location": "/elsewhere"}),
    ]
    seen: list[str] = []
    told: list[int] = []

    async def answer(request: Request) -> Response:
        seen.append(request.headers["authorization"])
        return answers[len(seen) - 1]()

    async def elsewhere(request: Request) -> Response:
        return JSONResponse({"assessments": [{"subject": "ada", "user_risk": "high"}]})

    async with service(Starlette(routes=[Route("/posture", answer), Route("/elsewhere", elsewhere)])) as url:
        known = Assessments()
        feed = PostureFeed(
            f"{url}/posture",
            known,
            headers={"authorization": "Bearer x"},
            every=3600,
            changed=lambda: told.append(1),
        )
        async with feed:
            assert known.of(ADA) == ({"disk": True}, "low")
            assert [await feed.read() for _ in answers[1:]] == [False] * 4
            assert known.of(ADA) == ({"disk": True}, "low")
        assert (len(told), set(seen)) == (1, {"Bearer x"})
    async with PostureFeed("http://169.254.169.254/latest", Assessments(), every=3600) as away:
        assert not await away.read()


# External evaluation


class Evaluator:
    """The service of the test: it decides by e-mail, and can be told to misbehave."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Any] = lambda claims: signed(claims, success=True)
        self.kid = "theirs"
        self.keys_read = 0
        routes = [
            Route("/evaluate", self._evaluate, methods=["POST"]),
            Route("/elsewhere", self._elsewhere, methods=["POST"]),
            Route("/keys", self._keys, methods=["GET"]),
        ]
        self.app = Starlette(routes=routes)

    async def _evaluate(self, request: Request) -> Response:
        token = (await request.json())["token"]
        claims = jwt.decode(token, OURS.public_key(), algorithms=["ES256"])
        self.asked.append(claims)
        answer = self.answer(claims)
        return answer if isinstance(answer, Response) else JSONResponse(answer)

    async def _elsewhere(self, request: Request) -> Response:
        token = (await request.json())["token"]
        return JSONResponse(signed(jwt.decode(token, OURS.public_key(), algorithms=["ES256"]), success=True))

    async def _keys(self, request: Request) -> Response:
        self.keys_read += 1
        key = jwt.algorithms.ECAlgorithm.to_jwk(THEIRS.public_key(), as_dict=True)
        return JSONResponse({"keys": [{**key, "kid": self.kid, "alg": "ES256", "use": "sig"}]})


def signed(claims: Mapping[str, Any], key: Any = THEIRS, kid: str = "theirs", **changes: Any) -> dict[str, str]:
    told = {"nonce": claims["nonce"], "iat": int(time.time()), "exp": int(time.time()) + 60, **changes}
    return {"token": jwt.encode(told, key, algorithm="ES256", headers={"kid": kid})}


def nested(claims: Mapping[str, Any]) -> str:
    header = b'{"alg":"ES256","kid":"theirs","deep":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    return ".".join([urlsafe_b64encode(header).decode().rstrip("="), *signed(claims)["token"].split(".")[1:]])


@pytest.mark.anyio
async def test_a_service_is_asked_once_for_as_long_as_its_answer_is_fresh_and_both_ways_are_signed() -> None:
    evaluator, clock = Evaluator(), Clock()
    evaluator.answer = lambda claims: signed(claims, success=claims["identity"]["email"].startswith("ada@"))
    async with service(evaluator.app) as url:
        asked = [(f"{url}/evaluate", f"{url}/keys")]
        key = evaluation_key(*asked[0])
        evaluations = Evaluations(ours, fresh_for=30, clock=clock)
        try:
            assert evaluations.of(ADA, asked) == {}
            await evaluations.prepare(ADA, asked)
            await evaluations.prepare(ADA, asked)
            bob = Identity(id="bob", email="bob@example.com")
            await evaluations.prepare(bob, asked)
            assert (evaluations.of(ADA, asked), evaluations.of(bob, asked)) == ({key: True}, {key: False})
            assert [claims["identity"]["id"] for claims in evaluator.asked] == ["ada", "bob"]
            clock.now += 31
            assert evaluations.of(ADA, asked) == {}
            await evaluations.prepare(ADA, asked)
            assert (evaluations.of(ADA, asked), len(evaluator.asked)) == ({key: True}, 3)
        finally:
            await evaluations.aclose()


@pytest.mark.anyio
async def test_keys_of_a_service_are_read_once_and_again_when_it_signs_with_another() -> None:
    evaluator, clock = Evaluator(), Clock()
    async with service(evaluator.app) as url:
        asked = [(f"{url}/evaluate", f"{url}/keys")]
        evaluations = Evaluations(ours, fresh_for=30, clock=clock)
        try:
            for kid, keys_read in (("theirs", 1), ("theirs", 1), ("next", 2), ("next", 2)):
                evaluator.kid = kid
                evaluator.answer = lambda claims: signed(claims, kid=evaluator.kid, success=True)
                await evaluations.prepare(ADA, asked)
                assert evaluations.of(ADA, asked) == {evaluation_key(*asked[0]): True}
                assert evaluator.keys_read == keys_read
                clock.now += 31
        finally:
            await evaluations.aclose()


ANSWERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "signed by somebody else": lambda claims: signed(claims, key=OURS, success=True),
    "signed by a key that is not listed": lambda claims: signed(claims, kid="another", success=True),
    "not signed at all": lambda claims: {"token": jwt.encode({"success": True}, "", algorithm="none")},
    "signed with the public key as a secret": lambda claims: {
        "token": jwt.encode({"success": True, "nonce": claims["nonce"]}, "x" * 32, headers={"kid": "theirs"})
    },
    "an answer to another question": lambda claims: signed(claims, nonce="x", success=True),
    "expired": lambda claims: signed(claims, exp=1, success=True),
    "without an end": lambda claims: signed({**claims}, exp=None, success=True),
    "for ever, in words": lambda claims: signed(claims, exp="9999999999", success=True),
    "for ever": lambda claims: signed(claims, exp=10**400, success=True),
    "for longer than any clock": lambda claims: signed(claims, exp=float("inf"), success=True),
    "with a demand nobody knows": lambda claims: {
        "token": jwt.encode({**claims, "success": True}, THEIRS, "ES256", headers={"kid": "theirs", "crit": ["bork"]})
    },
    "our own question back": lambda claims: {"token": jwt.encode({**claims, "success": True}, OURS, "ES256")},
    "elsewhere": lambda claims: Response(status_code=307, headers={"location": "/elsewhere"}),
    "small, and large when unpacked": lambda claims: Response(
        gzip.compress(orjson.dumps(signed(claims, success=True, padding="x" * 2**22))),
        headers={"content-encoding": "gzip"},
    ),
    "nested deeper than anybody reads": lambda claims: {"token": nested(claims)},
    "yes in words": lambda claims: signed(claims, success="true"),
    "nothing": lambda claims: {},
    "no JSON": lambda claims: Response("yes"),
    "a failure": lambda claims: JSONResponse(signed(claims, success=True), 500),
    "too much": lambda claims: Response(b"x" * 100_000),
}


@pytest.mark.anyio
async def test_an_answer_that_is_not_the_services_own_is_none() -> None:
    evaluator, clock = Evaluator(), Clock()
    async with service(evaluator.app) as url:
        asked = [(f"{url}/evaluate", f"{url}/keys")]
        evaluations = Evaluations(ours, clock=clock)
        try:
            for name, answer in ANSWERS.items():
                evaluator.answer = answer
                before = len(evaluator.asked)
                await evaluations.prepare(ADA, asked)
                await evaluations.prepare(ADA, asked)
                assert (evaluations.of(ADA, asked), len(evaluator.asked)) == ({}, before + 1), name
                clock.now += 11  # It is asked again after a while, not with every request.
        finally:
            await evaluations.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("away", ["http://169.254.169.254/", "http://[::ffff:a9fe:a9fe]/", "http://[fd00:ec2::254]/"])
async def test_no_service_is_at_an_address_of_clouds_own(away: str) -> None:
    async with service(Evaluator().app) as url:
        evaluations = Evaluations(ours)
        asked = [(away, f"{url}/keys"), (f"{url}/evaluate", away)]
        try:
            # What other tests have made of the logging of this process does not matter.
            with capture_logs() as logged:
                await evaluations.prepare(ADA, asked)
            assert evaluations.of(ADA, asked) == {}
            assert str(logged).count("its address is one no service may have") == 2
        finally:
            await evaluations.aclose()


@pytest.mark.anyio
async def test_a_policy_asks_the_service_and_holds_while_the_answer_does() -> None:
    evaluator, clock = Evaluator(), Clock()
    async with service(evaluator.app) as url:
        rule = {"external_evaluation": {"evaluate_url": f"{url}/evaluate", "keys_url": f"{url}/keys"}}
        document = {"portal": {"policies": [{"id": "asked", "decision": "allow", "include": [rule]}]}}
        access = Access(read_document(document), Sources(external_evaluation=True))
        evaluations = Evaluations(ours, fresh_for=30, clock=clock)
        live = LiveAccess(access, KnownSignals(evaluations=evaluations))
        try:
            before = live.standing(ADA)
            assert before is not None and not before.portal.allowed
            await live.prepare(ADA)
            after = live.standing(ADA)
            assert after is not None and after.portal.policy == "asked" and after.portal.allowed
            clock.now += 31
            stale = live.standing(ADA)
            assert stale is not None and not stale.portal.allowed
        finally:
            await evaluations.aclose()


@pytest.mark.anyio
async def test_an_application_that_asks_another_service_takes_nothing_from_the_portals_policies() -> None:
    evaluator = Evaluator()
    async with service(evaluator.app) as url:
        rules = [
            {"external_evaluation": {"evaluate_url": f"{url}/evaluate", "keys_url": f"{url}/keys?{place}"}}
            for place in ("portal", "application")
        ]
        portal, application = (
            Access(
                read_document({"portal": {"policies": [{"id": "asked", "decision": "allow", "include": [rule]}]}}),
                Sources(external_evaluation=True),
            )
            for rule in rules
        )
        evaluations = Evaluations(ours)
        signals = KnownSignals(evaluations=evaluations)
        try:
            for access in (portal, application):
                await signals.prepare(ADA, access)
            known = signals.current(ADA)
            assert known is not None
            assert [access.portal(known).effect for access in (portal, application)] == ["allow", "allow"]
        finally:
            await evaluations.aclose()


def test_a_login_that_no_longer_holds_is_nobody() -> None:
    gone: set[str] = set()
    signals = KnownSignals(holds=lambda identity: identity.id not in gone)
    assert signals.current(ADA) is ADA
    gone.add("ada")
    assert signals.current(ADA) is None


# Client certificates


def certificate(*names: str) -> bytes:
    """A `Client-Cert` field."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(THEIRS.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(THEIRS, hashes.SHA256())
    )
    return b":" + b64encode(made.public_bytes(serialization.Encoding.DER)) + b":"


def test_a_certificate_counts_when_a_configured_proxy_passes_it_on() -> None:
    added = ClientCertificates([ip_network("10.0.0.0/8")])
    field = certificate("build-server")

    def seen(peer: str, *fields: bytes) -> tuple[bool, str]:
        scope = {"client": (peer, 1), "headers": [(b"client-cert", one) for one in fields]}
        found = added(ADA, scope)
        return found.certificate, found.common_name

    assert seen("10.1.2.3", field) == (True, "build-server")
    assert seen("10.1.2.3", certificate()) == (True, "")
    assert seen("10.1.2.3", certificate("a", "b")) == (True, "")
    nothing = (False, "")
    assert seen("192.0.2.1", field) == nothing
    assert seen("not an address", field) == nothing
    assert seen("10.1.2.3") == seen("10.1.2.3", field, field) == nothing
    for wrong in (
        b"",
        b"::",
        b":x:",
        field[1:],
        b":" + b64encode(b"no certificate") + b":",
        b":" + b"A" * 40_000 + b":",
    ):
        assert seen("10.1.2.3", wrong) == nothing


@pytest.mark.anyio
async def test_a_configuration_opens_its_sources(tmp_path: Path) -> None:
    file = tmp_path / "countries.mmdb"
    file.write_bytes(database({"192.0.2.0/24": "DE"}))

    async def answer(request: Request) -> Response:
        return JSONResponse({"assessments": [{"subject": "ada", "user_risk": "medium"}]})

    async with service(Starlette(routes=[Route("/", answer)])) as url:
        given = {
            "countries": str(file),
            "posture": {"url": f"{url}/", "integrations": ["disk"]},
            "externalEvaluation": True,
            "clientCertificates": True,
            "trustedProxies": ["10.0.0.0/8"],
        }
        section = IdentitySection.model_validate(given)
        async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
            signals = SignalSources(store, ours, lambda: None)
            assert await signals.apply(section) and not await signals.apply(section)
            found = signals.known().current(ADA)
            await signals.aclose()
            assert found is not None and (found.country, found.user_risk) == ("DE", "medium")
        sources = with_signals(section, Sources())
        assert (sources.geo, sources.user_risk, sources.external_evaluation, sources.certificates) == (True,) * 4
        assert sources.device_posture == {"disk"}
    bare = IdentitySection()
    assert with_signals(bare, Sources()) == Sources()
