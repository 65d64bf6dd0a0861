"""Requests to the outside world: which addresses they may go to, however these are written, and what bounds them."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from portal.egress import JSON, AddressRule, Fetcher, FetchFailed, FetchProblem, address_of, is_loopback_host
from portal.egress.addresses import CLOUD_SERVICES

pytestmark = pytest.mark.anyio
NOT_LINK_LOCAL, PUBLIC_ONLY = AddressRule.NOT_LINK_LOCAL, AddressRule.PUBLIC_ONLY


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# Addresses

PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.0.8",
    "::1",
    "::",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "3fff::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::5db8:d822",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "not an address",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_inside_are_not_public_in_any_wrapping(address: str) -> None:
    assert not PUBLIC_ONLY.allows(address)


def test_addresses_of_the_open_internet_are() -> None:
    assert all(map(PUBLIC_ONLY.allows, ("93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822")))


@pytest.mark.parametrize("network", CLOUD_SERVICES)
@pytest.mark.parametrize("rule", AddressRule)
def test_no_rule_allows_an_address_of_clouds_own(
    rule: AddressRule, network: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> None:
    assert not rule.allows(str(network.network_address))
    assert not rule.allows(str(network.broadcast_address))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fc00::1", "2606:4700::1111"])
def test_an_administrator_may_name_services_inside(address: str) -> None:
    assert NOT_LINK_LOCAL.allows(address)


def wrapped(address: ipaddress.IPv4Address) -> dict[str, ipaddress.IPv6Address]:
    """The address in each IPv6 form that carries one, by the form's name."""
    last = address.packed
    flipped = bytes(octet ^ 0xFF for octet in last)
    server = ipaddress.IPv4Address("65.54.227.120").packed
    return {
        "mapped": ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + last),
        "translated": ipaddress.IPv6Address(b"\0" * 8 + b"\xff\xff\0\0" + last),
        "NAT64": ipaddress.IPv6Address(b"\0\x64\xff\x9b" + b"\0" * 8 + last),
        "6to4": ipaddress.IPv6Address(b"\x20\x02" + last + b"\0" * 10),
        "Teredo": ipaddress.IPv6Address(b"\x20\x01\0\0" + server + b"\x80\0\x63\xbf" + flipped),
    }


def behind_local_nat64(address: ipaddress.IPv4Address) -> list[ipaddress.IPv6Address]:
    """The address behind each length of prefix that an operator can choose in 64:ff9b:1::/48 (RFC 6052 2.2)."""
    a, b, c, d = (bytes([octet]) for octet in address.packed)
    prefix = b"\0\x64\xff\x9b\0\x01"
    return [
        ipaddress.IPv6Address((prefix + rest).ljust(16, b"\0"))
        for rest in (
            a + b + b"\0" + c + d,
            b"\x07" + a + b"\0" + b + c + d,
            b"\x07\x08\0" + a + b + c + d,
            b"\x07\x08\0\x09\x0a\x0b" + a + b + c + d,
        )
    ]


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_in_ipv6_changes_nothing(address: ipaddress.IPv4Address) -> None:
    for rule in AddressRule:
        for form, outside in wrapped(address).items():
            assert rule.allows(str(outside)) == rule.allows(str(address)), (rule, form)


@given(st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_local_nat64_leads_neither_strangers_anywhere_nor_anybody_to_link_local(address: ipaddress.IPv4Address) -> None:
    for outside in behind_local_nat64(address):
        assert not NOT_LINK_LOCAL.allows(str(outside)), outside
        assert not PUBLIC_ONLY.allows(str(outside)), outside
    for outside in behind_local_nat64(ipaddress.IPv4Address("192.168.1.1")):
        assert NOT_LINK_LOCAL.allows(str(outside)), outside
        assert not PUBLIC_ONLY.allows(str(outside)), outside


@given(st.ip_addresses())
def test_what_a_stranger_may_name_an_administrator_may_name_too(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert NOT_LINK_LOCAL.allows(str(address)) or not PUBLIC_ONLY.allows(str(address))


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    """The spellings of an IPv4 address that the system's resolver takes (inet_aton), and those of other scripts."""
    number, (a, b, c, d) = int(address), address.packed
    return [
        str(address),
        f"{address}.",
        str(number),
        f"0x{number:x}",
        f"0X{number:08X}",
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"0x{a:x}.{b}.{number & 0xFFFF:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        str(address).translate({ord("0") + digit: ord("０") + digit for digit in range(10)}),
        str(address).replace(".", "。"),
    ]


@given(st.ip_addresses(v=4))
def test_an_address_is_recognised_in_every_spelling(address: ipaddress.IPv4Address) -> None:
    for spelling in spellings(address):
        assert address_of(spelling) == address, spelling
        assert NOT_LINK_LOCAL.allows_host(spelling) == NOT_LINK_LOCAL.allows(str(address)), spelling
        assert is_loopback_host(spelling) == address.is_loopback, spelling


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_recognised_with_brackets_and_with_a_zone(address: ipaddress.IPv6Address) -> None:
    for spelling in (str(address), f"[{address}]", address.exploded, f"{address}%eth0", f"[{address}%25lo]"):
        assert address_of(spelling) == address, spelling


@pytest.mark.parametrize("host", ["1.2.3.4.5", "256.256.256.256", "a.1", "0x", "1..2", "[fe80::1::2]", "999999999999"])
def test_what_ends_in_a_number_and_is_no_address_is_asked_for_by_nobody(host: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        address_of(host)
    assert not any(rule.allows_host(host) for rule in AddressRule)


@pytest.mark.parametrize("host", ["example.com", "localhost", "1.example", "0x7f.example", "bücher.example", "xn--a"])
def test_a_name_is_no_address(host: str) -> None:
    assert address_of(host) is None
    assert all(rule.allows_host(host) for rule in AddressRule)
    assert not is_loopback_host(host)


@given(st.text(max_size=40))
def test_every_text_is_a_name_an_address_or_neither(host: str) -> None:
    try:
        address = address_of(host)
    except ValueError:
        return
    assert address is None or NOT_LINK_LOCAL.allows(str(address)) == NOT_LINK_LOCAL.allows_host(host)


# Fetching


class Names(AbstractResolver):
    """A name server that answers each question with the same addresses."""

    def __init__(self, addresses: list[str], port: int) -> None:
        self.addresses = addresses
        self.port = port
        self.questions = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.questions += 1
        return [
            ResolveResult(hostname=host, host=address, port=self.port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        return None


@dataclass
class Service:
    """A server of raw bytes on this machine. It answers every request with `answer`, and ends unless it is `silent`."""

    port: int = 0
    answer: bytes = b""
    silent: bool = False
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                await writer.drain()
                if not self.answer.startswith(b"HTTP") and not self.silent:
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    service = Service()
    async with await asyncio.start_server(service.accept, "127.0.0.1", 0) as server:
        service.port = server.sockets[0].getsockname()[1]
        yield service


def answer(body: bytes = b"{}", status: str = "200 OK", kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_a_request_carries_what_it_was_given_and_neither_cookies_nor_a_wish_for_compression() -> None:
    async with serving() as service, Fetcher(NOT_LINK_LOCAL, limit=1000, seconds=10) as fetcher:
        service.answer = answer(b"[1]", more="Set-Cookie: a=b\r\n")
        for _ in range(2):
            got = await fetcher.fetch(service.url, method="PUT", headers={"X-Key": "k"}, body=b"")
            assert (got.status, got.body) == (200, b"[1]")
        for request in service.requests:
            assert request.startswith(b"PUT / HTTP/1.1\r\n")
            head = request.lower()
            assert b"x-key: k\r\n" in head and b"accept-encoding: identity\r\n" in head
            assert b"cookie" not in head


@pytest.mark.parametrize(
    ("bytes_sent", "problem"),
    [
        (answer(status="302 Found", more="Location: /other\r\n"), FetchProblem.STATUS),
        (answer(status="404 Not Found"), FetchProblem.STATUS),
        (answer(gzip.compress(b"{}"), more="Content-Encoding: gzip\r\n"), FetchProblem.COMPRESSED),
        (answer(b"<html>", kind="text/html"), FetchProblem.CONTENT_TYPE),
        (answer(b"x" * 1001), FetchProblem.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b"x" * 200_000, FetchProblem.TOO_LARGE),
        (b"nothing like http", FetchProblem.INTERRUPTED),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused_with_its_kind(bytes_sent: bytes, problem: FetchProblem) -> None:
    async with serving() as service, Fetcher(NOT_LINK_LOCAL, limit=1000, seconds=30) as fetcher:
        service.answer = bytes_sent
        with pytest.raises(FetchFailed) as caught:
            await fetcher.fetch(service.url, content_types=JSON)
        assert caught.value.problem == problem
        assert len(service.requests) == 1


@pytest.mark.parametrize("bytes_sent", [answer()[:-1], b"HTTP/1.1 200 OK\r\n", b""])
async def test_an_answer_that_does_not_come_to_an_end_is_not_waited_for(bytes_sent: bytes) -> None:
    async with serving() as service, Fetcher(NOT_LINK_LOCAL, limit=1000, seconds=0.2) as fetcher:
        service.answer, service.silent = bytes_sent, True
        with pytest.raises(FetchFailed) as caught:
            await fetcher.fetch(service.url)
        assert caught.value.problem == FetchProblem.TIMEOUT


async def test_content_types_of_json_count_and_other_statuses_only_where_they_are_expected() -> None:
    async with serving() as service, Fetcher(NOT_LINK_LOCAL, limit=1000, seconds=10) as fetcher:
        service.answer = answer(kind="application/problem+json; charset=utf-8", status="400 Bad Request")
        got = await fetcher.fetch(service.url, content_types=JSON, statuses=(200, 400))
        assert (got.status, got.body) == (400, b"{}")
        with pytest.raises(FetchFailed, match="status 400") as caught:
            await fetcher.fetch(service.url)
        assert caught.value.status == 400


async def test_a_name_is_connected_to_at_an_address_its_rule_allows_and_nowhere_else() -> None:
    async with serving() as service:
        service.answer = answer()
        for addresses, rule, reached in (
            (["127.0.0.1"], NOT_LINK_LOCAL, True),
            (["169.254.169.254", "127.0.0.1"], NOT_LINK_LOCAL, True),
            (["169.254.169.254"], NOT_LINK_LOCAL, False),
            (["fd00:ec2::254"], NOT_LINK_LOCAL, False),
            (["127.0.0.1"], PUBLIC_ONLY, False),
            (["93.184.216.34", "127.0.0.1"], PUBLIC_ONLY, False),
        ):
            service.requests.clear()
            names = Names(addresses, service.port)
            async with Fetcher(rule, limit=1000, seconds=10, resolver=names) as fetcher:
                if reached:
                    assert (await fetcher.fetch("http://service.example/")).body == b"{}"
                else:
                    with pytest.raises(FetchFailed) as caught:
                        await fetcher.fetch("http://service.example/")
                    assert caught.value.problem == FetchProblem.ADDRESS
            assert (len(service.requests), names.questions) == (int(reached), 1)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "１２７.0.0.1", "[::1]", "[::ffff:7f00:1]", "[2002:7f00:1::]"],
)
async def test_a_stranger_does_not_reach_this_machine_by_any_spelling(host: str) -> None:
    async with serving() as service, Fetcher(PUBLIC_ONLY, limit=1000, seconds=10) as fetcher:
        with pytest.raises(FetchFailed) as caught:
            await fetcher.fetch(f"http://{host}:{service.port}/")
        assert caught.value.problem == FetchProblem.ADDRESS
        assert service.requests == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.com/", "//example.com", "http://", "http://[", ""]
)
async def test_only_urls_of_http_are_fetched(url: str) -> None:
    async with Fetcher(NOT_LINK_LOCAL, limit=1000, seconds=10) as fetcher:
        with pytest.raises(FetchFailed) as caught:
            await fetcher.fetch(url)
        assert caught.value.problem == FetchProblem.URL


async def test_nothing_of_a_url_or_an_answer_is_in_the_text_for_logs() -> None:
    async with serving() as service, Fetcher(NOT_LINK_LOCAL, limit=10, seconds=30) as fetcher:
        url = f"{service.url}?key=hunter2"
        for bytes_sent in (answer(b"hunter2" * 10), answer(b"hunter2", "500 hunter2"), b"hunter2"):
            service.answer = bytes_sent
            with pytest.raises(FetchFailed) as caught:
                await fetcher.fetch(url)
            assert "hunter2" not in str(caught.value)


async def test_a_slow_service_keeps_nobody_from_another_one() -> None:
    async with serving() as slow, serving() as quick, Fetcher(NOT_LINK_LOCAL, limit=1000, seconds=60) as fetcher:
        slow.answer, slow.silent = b"", True
        waiting = [asyncio.create_task(fetcher.fetch(slow.url)) for _ in range(300)]
        while not slow.requests:
            await asyncio.sleep(0)
        quick.answer = answer(b"[1]")
        assert (await fetcher.fetch(quick.url)).body == b"[1]"
        assert len(slow.requests) <= 32
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
