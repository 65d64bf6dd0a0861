"""What was read is kept: in memory and in the database, over restarts and in other processes, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import portal.flows.flows as flows_module
from portal.config import FlowRule
from portal.errors import CallDenied, StoreUnavailable
from portal.flows import Flows, FlowSettings, LabelledCall, RunLabels, ServerLabels, compiled
from portal.state import LABELS_READ, KeyRing, LabelRead, Store
from tests.patience import PATIENCE
from tests.portal.flows.reading import Clock
from tests.portal.state import troubles
from tests.portal.state.conftest import Opener
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio
RULE = compiled(FlowRule(name="r", when=("confidential",), target=("external",)))
OTHER = compiled(FlowRule(name="other", when=("personal",), target=("nowhere",)))
SETTINGS = FlowSettings(
    rules=(RULE, OTHER),
    servers={
        "crm": ServerLabels(frozenset({"confidential"})),
        "mail": ServerLabels(frozenset({"external"})),
        "hr": ServerLabels(frozenset({"confidential", "personal"})),
    },
)
PER_CLIENT = FlowSettings(rules=SETTINGS.rules, servers=SETTINGS.servers, per_client=True)


def call(
    flows: Flows, server: str, person: str = "ada", client: str = "", run: RunLabels | None = None
) -> LabelledCall:
    found = flows.labelled(person=person, client=client, portal="", server=server, tool="t", name="t", run=run)
    assert found is not None
    return found


def may_send(flows: Flows, person: str = "ada", client: str = "") -> bool:
    return flows.admit(call(flows, "mail", person, client)) is None


async def opened_flows(stack: AsyncExitStack, clock: Clock, store: Store | None = None) -> Flows:
    flows = await stack.enter_async_context(Flows(clock, store))
    flows.settings = SETTINGS
    return flows


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.01)


async def test_what_one_person_has_read_is_nothing_to_another() -> None:
    async with Flows(Clock()) as flows:
        flows.settings = SETTINGS
        await flows.hand_over(call(flows, "crm"))
        assert not may_send(flows) and may_send(flows, "bob") and may_send(flows, "")


async def test_all_clients_of_a_person_are_one_unless_each_is_set_to_be_its_own() -> None:
    async with Flows(Clock()) as flows:
        flows.settings = SETTINGS
        await flows.hand_over(call(flows, "crm", client="one"))
        assert not may_send(flows, client="one") and not may_send(flows, client="two")
        flows.settings = PER_CLIENT
        assert not may_send(flows, client="one") and may_send(flows, client="two")
        flows.settings = SETTINGS
        assert not may_send(flows, client="two")


async def test_where_no_client_is_known_it_counts_for_all_and_all_for_it() -> None:
    async with Flows(Clock()) as flows:
        flows.settings = PER_CLIENT
        await flows.hand_over(call(flows, "crm", client="one"))
        await flows.hand_over(call(flows, "crm", "bob", client=""))
        assert not may_send(flows) and may_send(flows, client="two")
        assert not may_send(flows, "bob", client="two")


async def test_who_has_very_many_clients_has_one_window_for_the_further_ones() -> None:
    async with Flows(Clock()) as flows:
        flows.settings = PER_CLIENT
        for number in range(flows_module.MOST_CLIENTS + 5):
            await flows.hand_over(call(flows, "crm", client=f"client-{number}"))
        # It has read nothing; but those that were not counted by themselves may have been the same.
        assert not may_send(flows, client="new")
        assert len(flows._people["ada"]) == flows_module.MOST_CLIENTS + 1


async def test_names_of_any_length_and_kind_are_kept(opened: Opener) -> None:
    clock = Clock()
    odd = ["x" * 5000, "a\nb", "\ud800", "ü", "certificate:" + "y" * 300]
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened(clock))
        flows = await opened_flows(stack, clock, store)
        for person in odd:
            await flows.hand_over(call(flows, "crm", person, client=person))
        again = await opened_flows(stack, clock, store)
        for person in odd:
            assert not may_send(again, person) and not may_send(flows, person)


async def test_a_restart_and_another_process_know_what_was_read(opened: Opener) -> None:
    clock = Clock()
    async with AsyncExitStack() as stack:
        here = await opened_flows(stack, clock, await stack.enter_async_context(opened(clock)))
        there = await opened_flows(stack, clock, await stack.enter_async_context(opened(clock)))
        await here.hand_over(call(here, "hr", client="c"))
        after = await opened_flows(stack, clock, await stack.enter_async_context(opened(clock)))
        assert not may_send(after)
        await until(lambda: not may_send(there))
        assert dict(there.read_by("ada", "")).keys() == {"confidential", "personal"}
        assert there.read_by("ada", "")["personal"].client == "c"


async def test_what_is_forgotten_is_forgotten_in_every_process_and_counts_again_when_it_is_read_again(
    opened: Opener,
) -> None:
    clock = Clock()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened(clock))
        here = await opened_flows(stack, clock, store)
        there = await opened_flows(stack, clock, await stack.enter_async_context(opened(clock)))
        run = RunLabels()
        await here.hand_over(call(here, "crm", run=run))
        await here.hand_over(call(here, "crm", "bob"))
        await until(lambda: not may_send(there))
        assert await store.labels.forget("ada", by="an administrator") == 1
        await until(lambda: may_send(here) and may_send(there))
        assert not may_send(here, "bob")
        # A program that goes on has it in its memory.
        assert here.admit(call(here, "mail", run=run)) is not None
        assert await store.labels.forget("ada", by="an administrator") == 0
        assert [(entry.by, entry.action, entry.id) for entry in await store.audit()] == [
            ("an administrator", "delete", "ada")
        ]
        await here.hand_over(call(here, "crm"))
        assert not may_send(here)
        await until(lambda: not may_send(there))


async def test_many_reads_of_one_person_are_one_writing_every_few_minutes(opened: Opener) -> None:
    clock = Clock()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened(clock))
        flows = await opened_flows(stack, clock, store)

        async def number() -> int:
            return max(read.number for read in await store.labels.of("ada", clock()))

        told = list[frozenset[str]]()
        store.subscribe(told.append)
        await asyncio.gather(*(flows.hand_over(call(flows, "crm")) for _ in range(50)))
        await flows.settled(PATIENCE)
        assert told == [frozenset({LABELS_READ})]
        # What this process has written itself ends here when it says.
        assert flows.read_by("ada", "")["confidential"].until == clock() + timedelta(hours=8)
        first = await number()
        clock.pass_by(minutes=5)
        await flows.hand_over(call(flows, "crm"))
        assert await number() == first
        # In the database it counts for longer than in memory, so that a restart shortens nothing.
        [row] = await store.labels.of("ada", clock())
        assert row.until == flows.read_by("ada", "")["confidential"].until
        clock.pass_by(seconds=1)
        await flows.hand_over(call(flows, "crm"))
        assert await number() > first


async def test_what_counts_no_more_leaves_memory_and_database(opened: Opener) -> None:
    clock = Clock()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened(clock))
        flows = await opened_flows(stack, clock, store)
        await flows.hand_over(call(flows, "crm"))
        clock.pass_by(hours=8, minutes=6)
        await flows.hand_over(call(flows, "crm", "bob"))
        await flows.purge()
        assert flows._people.keys() == {"bob"}
        assert len(await store.labels.after(0)) == 2
        clock.pass_by(hours=2)
        await flows.purge()
        assert [row.person for row in await store.labels.after(0)] == ["bob"]
        # Numbers go on, though the largest are gone: other processes wait for larger ones.
        last = (await store.labels.after(0))[0].number
        clock.pass_by(hours=9)
        await flows.purge()
        await flows.hand_over(call(flows, "crm"))
        assert (await store.labels.after(0))[0].number > last


async def test_there_is_room_for_so_many_and_strangers_do_not_take_that_of_those_who_sign_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flows_module, "MOST_PEOPLE", 4)
    monkeypatch.setattr(flows_module, "MOST_WHILE_STRANGERS", 2)
    async with Flows(Clock()) as flows:
        flows.settings = SETTINGS
        for address in ("address:192.0.2.1", "address:192.0.2.2"):
            await flows.hand_over(call(flows, "crm", address))
        third = call(flows, "crm", "address:192.0.2.3")
        with pytest.raises(CallDenied, match="Nothing was sent"):
            flows.admit(third)
        with pytest.raises(CallDenied, match="The call ran"):
            await flows.hand_over(third)
        await flows.hand_over(call(flows, "crm", "address:192.0.2.1"))
        for person in ("ada", "bob"):
            await flows.hand_over(call(flows, "crm", person))
        with pytest.raises(CallDenied):
            flows.admit(call(flows, "crm", "carol"))
        # Nobody is pushed out.
        assert not may_send(flows, "address:192.0.2.1")


@contextmanager
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr("portal.state.database.PATIENCE_SECONDS", 0.5)
        patched.setattr("portal.state.database.CARE_SECONDS", 0.05)
        patched.setattr("portal.state.database.MOST_CARE_SECONDS", 0.1)
        patched.setattr("portal.state.trouble.QUIET_SECONDS", 0.1)
        yield


async def test_while_nothing_can_be_written_a_result_that_is_not_noted_is_not_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, url = Clock(), new_state(tmp_path)
    with impatient(monkeypatch):
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(Store.open(url, KeyRing.in_memory(), clock=clock))
            flows = await opened_flows(stack, clock, store)
            await flows.hand_over(call(flows, "crm", "known"))
            with troubles.locked(url):
                with pytest.raises(StoreUnavailable) as failed:
                    await flows.hand_over(call(flows, "crm"))
                assert failed.value.ran == "yes"
                # From then on it does not even run; what was written before goes on.
                with pytest.raises(StoreUnavailable) as failed:
                    flows.admit(call(flows, "crm"))
                assert failed.value.ran == "no"
                await flows.hand_over(call(flows, "crm", "known"))
                assert may_send(flows) and not may_send(flows, "known")
            await until(lambda: store.health == "ok")
            await flows.hand_over(call(flows, "crm"))
            assert not may_send(flows)


async def test_while_nothing_can_be_read_nothing_that_a_rule_is_about_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, url = Clock(), new_state(tmp_path)
    with impatient(monkeypatch):
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(Store.open(url, KeyRing.in_memory(), clock=clock))
            flows = await opened_flows(stack, clock, store)
            await flows.hand_over(call(flows, "crm", "known"))
            assert may_send(flows)
            with troubles.moved_away(url):
                await until(lambda: _reads_fail(store))
                with pytest.raises(StoreUnavailable, match="is about this call. Nothing was sent"):
                    may_send(flows)
                # What is known is known.
                assert not may_send(flows, "known")
                flows.settings = FlowSettings(servers=SETTINGS.servers)
                assert may_send(flows)
            flows.settings = SETTINGS
            await until(lambda: store.health == "ok")
            await until(lambda: _sends(flows))


def _reads_fail(store: Store) -> bool:
    return store.health == "unavailable"


def _sends(flows: Flows) -> bool:
    try:
        return may_send(flows)
    except StoreUnavailable:
        return False


@given(st.lists(st.sampled_from(["crm", "hr", "mail", "wait", "purge", "shorter"]), max_size=12))
def test_in_a_run_labels_never_become_fewer_whatever_happens_meanwhile(steps: list[str]) -> None:
    async def lived() -> None:
        clock, run = Clock(), RunLabels()
        async with Flows(clock) as flows:
            flows.settings = SETTINGS
            before: frozenset[str] = frozenset()
            denied = False
            for step in steps:
                if step == "wait":
                    clock.pass_by(hours=5)
                elif step == "purge":
                    await flows.purge()
                elif step == "shorter":
                    flows.settings = FlowSettings(
                        rules=SETTINGS.rules, servers=SETTINGS.servers, window=timedelta(minutes=1), per_client=True
                    )
                else:
                    made = call(flows, step, run=run)
                    if flows.admit(made) is None:
                        await flows.hand_over(made)
                now_denied = flows.admit(call(flows, "mail", run=run)) is not None
                assert run.labels >= before and now_denied >= denied
                before, denied = run.labels, now_denied
            assert denied == ("confidential" in run.labels)

    asyncio.run(lived())


async def test_rows_that_are_read_in_parts_are_all_read(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.state.label_rows.MAX_READ", 3)
    clock = Clock()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened(clock))
        flows = await opened_flows(stack, clock, store)
        for person in range(5):
            # Two rows of one number each, across the ends of the parts.
            await flows.hand_over(call(flows, "hr", str(person)))
        again = await opened_flows(stack, clock, store)
        assert {person: set(again.read_by(person, "")) for person in again._people} == {
            str(person): {"confidential", "personal"} for person in range(5)
        }
        found: list[LabelRead] = []
        while rows := await store.labels.after(found[-1].number if found else 0):
            found += rows
        assert len(found) == 10
