"""Names: who may ask for how many, that nobody waits for another's, and that what is given up ends."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from portal.egress import (
    AddressRule,
    Fetcher,
    FetchFailed,
    FetchProblem,
    Flights,
    NameFailed,
    NameResolver,
    Threads,
    Wish,
    Wisher,
    checked_connector,
    connected,
    resolver_here,
    resolving_by,
)
from tests.patience import PATIENCE
from tests.portal.egress.name_server import NameServer, name_server
from tests.portal.egress.test_egress import answer, serving

pytestmark = pytest.mark.anyio
NAMED, ANYBODY = Wish(Wisher.ADMINISTRATOR), Wish(Wisher.ANYBODY)


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def server() -> Iterator[NameServer]:
    with name_server() as found:
        found.addresses["good.example"] = ["127.0.0.1"]
        yield found


@pytest.fixture
async def names(server: NameServer) -> AsyncIterator[NameResolver]:
    resolver = NameResolver([server.address])
    with resolving_by(resolver):
        # What is made once is made: nothing that a test counts.
        await resolver.addresses("good.example", NAMED)
        yield resolver


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def failure(resolver: NameResolver, name: str, wish: Wish = NAMED) -> NameFailed:
    with pytest.raises(NameFailed) as caught:
        await resolver.addresses(name, wish)
    return caught.value


async def asking(resolver: NameResolver, wish: Wish, *names: str) -> list[asyncio.Task[tuple[str, ...]]]:
    """Who asks for these names, each of which has begun."""
    tasks = [asyncio.create_task(resolver.addresses(name, wish)) for name in names]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def give_up(tasks: list[asyncio.Task[tuple[str, ...]]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # What they waited for ends in its turn.
    for _ in range(3):
        await asyncio.sleep(0)


def silent(number: int, of: str = "example") -> list[str]:
    return [f"silent{one}.{of}" for one in range(number)]


async def test_equal_questions_are_one_and_its_answer_is_kept_for_as_long_as_it_says(
    server: NameServer, names: NameResolver
) -> None:
    server.addresses["Two.example".lower()] = ["127.0.0.2", "127.0.0.3"]
    found = await asyncio.gather(*(names.addresses("two.EXAMPLE", NAMED) for _ in range(50)))
    assert all(sorted(one) == ["127.0.0.2", "127.0.0.3"] for one in found)
    assert await names.addresses("two.example", NAMED) == found[0]
    assert server.asked["two.example"] == 2  # IPv4 and IPv6.


async def test_that_there_is_no_such_name_is_kept_for_a_moment(server: NameServer, names: NameResolver) -> None:
    for _ in range(3):
        assert str(await failure(names, "nobody.example", ANYBODY)) == "there is no such name"
    assert server.asked["nobody.example"] == 2


@pytest.mark.parametrize("wish", [NAMED, ANYBODY])
@pytest.mark.parametrize("name", ["", "a\0.example", "good.example\0.evil", "a b", "bücher.example", "x" * 300])
async def test_what_is_no_host_name_is_not_asked_for(
    server: NameServer, names: NameResolver, name: str, wish: Wish
) -> None:
    before = server.asked.total()
    assert str(await failure(names, name, wish)) == "it is no host name"
    assert server.asked.total() == before


@pytest.mark.parametrize("name", ["a..example", f"{'x' * 70}.example", "."])
async def test_a_name_that_no_server_could_be_asked_for_fails_at_once(names: NameResolver, name: str) -> None:
    assert not (await failure(names, name, ANYBODY)).busy


async def test_a_good_name_is_answered_while_a_thousand_are_asked_that_nobody_answers(
    server: NameServer, names: NameResolver
) -> None:
    server.addresses |= {f"good{number}.example": ["127.0.0.1"] for number in range(3)}
    before, threads = descriptors(), threading.active_count()
    bad = await asking(names, NAMED, *silent(1000)) + await asking(names, ANYBODY, *silent(60, "org"))
    async with asyncio.timeout(PATIENCE):
        assert await names.addresses("good0.example", NAMED) == ("127.0.0.1",)
        assert await names.addresses("good1.example", ANYBODY) == ("127.0.0.1",)
        assert await names.addresses("good2.example", Wish(Wisher.SERVER, "s")) == ("127.0.0.1",)
    # What an earlier test has left may end meanwhile.
    assert threading.active_count() <= threads
    # A thousand names of administrators have one socket; each of a stranger has its own.
    assert descriptors() <= before + 1 + 60
    await give_up(bad)
    assert descriptors() <= before and threading.active_count() <= threads


async def test_a_stranger_past_their_share_is_refused_and_who_gives_up_makes_room(
    server: NameServer, names: NameResolver
) -> None:
    waiting = await asking(names, ANYBODY, *silent(64))
    refused = await failure(names, "silent64.example", ANYBODY)
    assert refused.busy and "64" in str(refused)
    assert await names.addresses("good.example", NAMED) == ("127.0.0.1",)
    await give_up(waiting[:1])
    again = await asking(names, ANYBODY, "silent64.example")
    assert not again[0].done()
    await give_up(waiting + again)


async def test_what_one_servers_metadata_names_takes_no_place_of_another_servers(names: NameResolver) -> None:
    first, second = Wish(Wisher.SERVER, "first"), Wish(Wisher.SERVER, "second")
    waiting = await asking(names, first, *silent(4))
    assert (await failure(names, "silent4.example", first)).busy
    waiting += await asking(names, second, "silent5.example")
    assert not waiting[-1].done()
    await give_up(waiting)


async def test_who_gives_up_takes_no_answer_from_those_who_still_wait(names: NameResolver) -> None:
    tasks = await asking(names, NAMED, "silent.example", "silent.example")
    await give_up(tasks[:1])
    assert not tasks[1].done()
    await give_up(tasks)


async def test_nobody_waits_longer_than_a_name_may_take(names: NameResolver, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("NAMED_SECONDS", "STRANGE_SECONDS"):
        monkeypatch.setattr(f"portal.egress.names.{limit}", 0.1)
    for wish in (NAMED, ANYBODY):
        assert str(await failure(names, "silent.example", wish)) == "no name server answered in time"


async def test_names_that_only_the_system_knows_are_found_for_an_administrator_alone(
    server: NameServer, names: NameResolver
) -> None:
    # The system takes this for an address, and c-ares for a name.
    assert await names.addresses("127.1", NAMED) == ("127.0.0.1",)
    assert str(await failure(names, "127.1", ANYBODY)) == "there is no such name"


async def test_two_names_of_one_holder_may_be_in_the_threads_of_the_systems_resolver(
    names: NameResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, asked = threading.Event(), list[str]()

    def slow(name: str, *arguments: object, **options: object) -> list[object]:
        asked.append(name)
        go.wait()
        raise socket.gaierror

    monkeypatch.setattr("portal.egress.names.socket.getaddrinfo", slow)
    first, second = Wish(Wisher.ADMINISTRATOR, "first"), Wish(Wisher.ADMINISTRATOR, "second")
    waiting = await asking(names, first, "nobody1.example", "nobody2.example")
    async with asyncio.timeout(PATIENCE):
        while len(asked) < 2:
            await asyncio.sleep(0.01)
        # The name servers know nothing, and more is not asked for.
        assert str(await failure(names, "nobody3.example", first)) == "there is no such name"
        waiting += await asking(names, second, "nobody4.example")
        while len(asked) < 3:
            await asyncio.sleep(0.01)
    go.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert sorted(asked) == ["nobody1.example", "nobody2.example", "nobody4.example"]


async def test_what_the_file_of_hosts_says_is_for_administrators_alone(names: NameResolver) -> None:
    assert "127.0.0.1" in await names.addresses("localhost", NAMED)
    await failure(names, "localhost", ANYBODY)


async def test_search_domains_are_tried_for_administrators_alone(server: NameServer) -> None:
    server.addresses["files.inside.example"] = ["127.0.0.9"]
    with resolving_by(NameResolver([server.address], ["inside.example"])):
        assert await resolver_here().addresses("files", NAMED) == ("127.0.0.9",)
        await failure(resolver_here(), "files", ANYBODY)


async def test_a_change_of_the_configuration_is_taken_up(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr("portal.egress.names.RESOLV_CONF", file)
    server.addresses["moving.example"] = ["127.0.0.1"]
    with resolving_by(NameResolver([server.address])):
        for step, text in enumerate((None, "nameserver 192.0.2.1", "", None), 1):
            file.unlink(missing_ok=True)
            if text is not None:
                file.write_text(text)
            for wish in (NAMED, ANYBODY, NAMED):
                assert await resolver_here().addresses("moving.example", wish) == ("127.0.0.1",)
            # Each time both sides forget what they knew.
            assert server.asked["moving.example"] == 4 * step


async def test_of_thousands_of_addresses_some_are_judged_and_a_few_are_tried(
    server: NameServer, names: NameResolver
) -> None:
    server.addresses["many.example"] = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(4000)]
    found = await names.addresses("many.example", NAMED)
    assert 0 < len(found) < 100
    attempts: list[str] = []
    connector = checked_connector(AddressRule.NOT_LINK_LOCAL)
    async with connector:
        resolved = await connector._resolver.resolve("many.example", 1, socket.AF_UNSPEC)
        attempts = [one["host"] for one in resolved]
    assert len(attempts) == 16 and set(attempts) < set(found)


async def test_one_address_inside_among_many_public_ones_refuses_a_strangers_name(
    server: NameServer, names: NameResolver
) -> None:
    server.addresses["mixed.example"] = [*(f"93.184.216.{number}" for number in range(1, 31)), "10.0.0.1"]
    async with Fetcher(AddressRule.PUBLIC_ONLY, limit=10, seconds=10) as fetcher:
        with pytest.raises(FetchFailed) as caught:
            await fetcher.fetch("http://mixed.example/")
        assert caught.value.problem is FetchProblem.ADDRESS


async def test_addresses_do_not_wait_for_names(server: NameServer, names: NameResolver) -> None:
    async with serving() as service, Fetcher(AddressRule.NOT_LINK_LOCAL, limit=1000, seconds=60) as fetcher:
        service.answer = answer()
        slow = [asyncio.create_task(fetcher.fetch(f"http://{name}:{service.port}/")) for name in silent(50)]
        await asyncio.sleep(0)
        assert (await fetcher.fetch(service.url)).body == b"{}"
        assert (await fetcher.fetch(f"http://good.example:{service.port}/")).body == b"{}"
        assert (await fetcher.fetch(f"http://localhost:{service.port}/")).body == b"{}"
        # The loop's own threads are free: nobody waits in them for a name.
        assert await asyncio.to_thread(lambda: "free") == "free"
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_a_fetch_that_finds_no_room_for_its_name_says_so(names: NameResolver) -> None:
    waiting = await asking(names, ANYBODY, *silent(64))
    async with Fetcher(AddressRule.PUBLIC_ONLY, limit=10, seconds=60) as fetcher:
        with pytest.raises(FetchFailed, match="64 host names") as caught:
            await fetcher.fetch("http://silent64.example/")
        assert caught.value.problem is FetchProblem.BUSY
    await give_up(waiting)


async def test_a_socket_is_connected_by_name_and_not_where_the_rule_forbids_it(
    server: NameServer, names: NameResolver
) -> None:
    server.addresses |= {"v4.example": ["127.0.0.1"], "cloud.example": ["169.254.169.254"]}
    async with serving() as service:
        for host in ("127.0.0.1", "v4.example", "good.example"):
            with await connected(host, service.port, AddressRule.NOT_LINK_LOCAL) as opened:
                assert opened.getpeername() == ("127.0.0.1", service.port)
        for host in ("169.254.169.254", "cloud.example", "0xa9fea9fe"):
            with pytest.raises(OSError, match="may not be connected to"):
                await connected(host, service.port, AddressRule.NOT_LINK_LOCAL)


def test_a_process_ends_at_once_while_names_are_asked(server: NameServer) -> None:
    async def main() -> None:
        with resolving_by(NameResolver([server.address])):
            await asyncio.wait(
                [
                    asyncio.create_task(resolver_here().addresses(name, wish))
                    for wish in (NAMED, ANYBODY)
                    for name in silent(30, wish.by.name)
                ],
                timeout=0.3,
            )

    before, threads = descriptors(), threading.active_count()
    with asyncio.Runner() as runner:
        runner.run(main())
        started = runner.get_loop().time()
        ended = runner.get_loop().time
    # The runner cancelled what was left, and waited for it.
    assert ended() - started < 2
    assert descriptors() <= before
    assert threading.active_count() <= threads + 1  # The one of the library.


async def test_threads_are_few_and_their_places_are_kept_until_the_work_ends() -> None:
    threads, go, running = Threads(2, "test"), threading.Event(), threading.Semaphore(0)

    def work() -> str:
        running.release()
        go.wait()
        return "done"

    tasks = [asyncio.create_task(threads.run(work)) for _ in range(3)]
    await asyncio.to_thread(lambda: (running.acquire(), running.acquire()))
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    assert not running.acquire(blocking=False)
    go.set()
    assert await asyncio.gather(*tasks[1:]) == ["done", "done"]
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_work_that_several_want_is_done_once_and_ends_when_nobody_wants_it() -> None:
    flights: Flights[str, int] = Flights()
    begun, ended = [], []

    async def work() -> int:
        begun.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)
        return 1

    tasks = [asyncio.create_task(flights.join("one", work)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()
    await asyncio.wait(tasks[:2])
    assert (len(flights), begun, ended) == (1, [1], [])
    tasks[2].cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)
    assert (len(flights), ended) == (0, [1])
