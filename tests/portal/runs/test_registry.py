"""What is kept of runs that answered `paused`: whose, how many, how much; and the way to the client that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from codemode import CatalogError, OnWait, Run, RunHandle, Waiting
from portal.config import RunSettings
from portal.errors import RpcError
from portal.runs import Line, LiveRun, Owner, OwnRuns, RunRegistry, TooManyRuns, registry
from portal.upstream import CallContext
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio
ANN, BOB = Owner("ann", "client"), Owner("bob", "client")


class Runs:
    """A registry, and runs that end when the test says so."""

    def __init__(self, **settings: Any) -> None:
        self.registry = RunRegistry(lambda: RunSettings(**settings))
        self.ends: dict[str, asyncio.Event] = {}

    def started(self, run_id: str, owner: Owner, value: object = None) -> tuple[LiveRun, asyncio.Task[Any]]:
        line = Line()
        run = LiveRun(run_id, owner, RunHandle(OwnRuns(self.registry, owner, run_id, line)), line)
        run.handle.record = Run(run_id, "", value=value, has_value=True)
        end = self.ends[run_id] = asyncio.Event()

        async def work() -> dict[str, Any]:
            await end.wait()
            return {}

        task = run.start(work())
        self.registry.note(task)
        return run, task

    def kept(self, run_id: str, owner: Owner, value: object = None) -> asyncio.Task[Any]:
        run, task = self.started(run_id, owner, value)
        self.registry.keep(run, task)
        return task

    def of(self, owner: Owner) -> OwnRuns:
        return OwnRuns(self.registry, owner, "exec_own", Line())

    async def ids(self, owner: Owner) -> list[object]:
        return [one["id"] for one in await self.of(owner).list()]


@asynccontextmanager
async def some_runs(**settings: Any) -> AsyncIterator[Runs]:
    runs = Runs(**settings)
    try:
        yield runs
    finally:
        await runs.registry.aclose()


def never_waits(waiting: Waiting) -> Any:
    raise AssertionError(f"nobody is waited for, but {waiting}")


NEVER: OnWait = never_waits


async def until_empty(runs: Runs, owner: Owner, left: list[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await runs.ids(owner) != left:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("other", [BOB, Owner("ann", "another client"), Owner("", "client")])
async def test_a_run_is_unknown_to_everybody_but_its_owner(other: Owner) -> None:
    async with some_runs() as runs:
        runs.kept("exec_1", ANN)
        assert await runs.ids(ANN) == ["exec_1"] and await runs.ids(other) == []
        for refused in (runs.of(other).result("exec_1", NEVER), runs.of(other).cancel("exec_1")):
            with pytest.raises(CatalogError, match="you have no run 'exec_1' here"):
                await refused
        with pytest.raises(CatalogError) as unknown:
            await runs.of(other).result("exec_2", NEVER)
        assert str(unknown.value).startswith("you have no run 'exec_2' here")


async def test_one_persons_runs_leave_room_for_those_of_others() -> None:
    async with some_runs(most_for_each=2, most=3) as runs:
        runs.kept("exec_1", ANN)
        runs.kept("exec_2", ANN)
        with pytest.raises(TooManyRuns, match="2 of your programs wait already"):
            runs.kept("exec_3", ANN)
        runs.kept("exec_4", BOB)
        with pytest.raises(TooManyRuns, match="3 programs wait at this portal"):
            runs.kept("exec_5", BOB)
        runs.ends["exec_1"].set()
        await runs.of(ANN).result("exec_1", NEVER)
        runs.kept("exec_6", BOB)  # the oldest that has ended gives way
        assert await runs.ids(ANN) == ["exec_2"] and await runs.ids(BOB) == ["exec_4", "exec_6"]


async def test_results_that_are_too_large_together_are_forgotten_the_oldest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "MOST_BYTES", 8 * 2500)
    async with some_runs() as runs:
        runs.kept("exec_0", BOB, "x" * 1000)
        tasks = [runs.kept(f"exec_{n}", ANN, "x" * 1000) for n in (1, 2, 3)]
        for name, task in zip(("exec_1", "exec_2", "exec_3"), tasks, strict=True):
            runs.ends[name].set()
            await task
        await until_empty(runs, ANN, ["exec_2", "exec_3"])
        assert (await runs.of(ANN).result("exec_3", NEVER)).value == "x" * 1000
        assert await runs.ids(BOB) == ["exec_0"]


async def test_a_run_in_which_we_fail_says_so_to_who_waits_and_is_forgotten() -> None:
    async with some_runs() as runs:
        line = Line()
        run = LiveRun("exec_1", ANN, RunHandle(), line)
        run.handle.record = Run("exec_1", "")
        go = asyncio.Event()

        async def work() -> dict[str, Any]:
            await go.wait()
            raise RuntimeError("a secret of ours")

        runs.registry.keep(run, run.start(work()))
        waits = asyncio.create_task(runs.of(ANN).result("exec_1", NEVER))
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(CatalogError, match="has no result: the portal failed, or was stopped"):
            await waits
        assert await runs.ids(ANN) == []


async def test_the_clock_of_settings_is_read_when_it_is_needed() -> None:
    settings = [RunSettings(most_for_each=1)]
    kept = RunRegistry(lambda: settings[0])
    runs = Runs()
    runs.registry = kept
    runs.kept("exec_1", ANN)
    settings[0] = RunSettings(most_for_each=2)
    runs.kept("exec_2", ANN)
    assert len(kept) == 2
    await kept.aclose()
    assert len(kept) == 0


# --- the line ------------------------------------------------------------------------------------------------------


def client(answer: asyncio.Future[Mapping[str, object]], asked: list[str]) -> CallContext:
    async def on_request(method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        asked.append(method)
        return await answer

    return CallContext(on_request=on_request)


def future() -> asyncio.Future[Mapping[str, object]]:
    return asyncio.get_running_loop().create_future()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_question_waits_for_a_request_and_is_asked_again_when_that_goes() -> None:
    line, first, second = Line(), future(), future()
    asked: list[str] = []
    question = asyncio.create_task(line.ask("roots/list", {}))
    await turns()
    assert asked == []
    with line.through(CallContext()):  # nobody can be asked through this one
        await turns()
        assert asked == []
        with line.through(client(first, asked)):
            await turns()
            assert asked == ["roots/list"]
        await turns()
        assert not question.done()
    with line.through(client(second, asked)):
        await turns()
        second.set_result({"roots": []})
        assert await question == {"roots": []}
    assert asked == ["roots/list"] * 2


async def test_a_question_goes_to_the_client_that_is_there_not_to_a_program_that_has_none() -> None:
    line, waits, comes = Line(), Line(), Line()
    answer, asked = future(), list[str]()
    with line.waited_for_by(waits):
        question = asyncio.create_task(line.ask("roots/list", {}))
        await turns()
        with line.waited_for_by(comes), comes.through(client(answer, asked)):
            await turns()
            assert asked == ["roots/list"]
            answer.set_result({"roots": []})
            assert await question == {"roots": []}


async def test_a_question_follows_its_client_through_all_programs_between_and_comes_back_when_one_goes() -> None:
    line, middle, last = Line(), Line(), Line()
    first, second = future(), future()
    early, late = list[str](), list[str]()
    question = asyncio.create_task(line.ask("roots/list", {}))
    with middle.waited_for_by(last), last.through(client(first, early)):
        with line.waited_for_by(middle):
            await turns()
            assert early == ["roots/list"]
            with line.through(client(second, late)):
                await turns()
                assert late == []  # it is asked already
                with line.waited_for_by(middle):  # the same program once more
                    await turns()
                await turns()
                assert late == []
                second.set_result({"roots": []})
        await turns()
        assert first.cancelled() and not question.done()
        with line.through(client(second, late)):
            assert await question == {"roots": []}
    assert late == ["roots/list"]


@pytest.mark.parametrize("at", range(3))
async def test_programs_that_wait_for_each_other_in_a_circle_ask_the_client_of_any_of_them(at: int) -> None:
    lines = [Line(), Line(), Line()]
    answer, asked = future(), list[str]()
    with ExitStack() as circle:
        for number, line in enumerate(lines):
            circle.enter_context(line.waited_for_by(lines[number - 1]))
        questions = [asyncio.create_task(line.ask("roots/list", {})) for line in lines]
        before = len(asyncio.all_tasks())
        await turns()
        assert asked == [] and len(asyncio.all_tasks()) == before
        with lines[at].through(client(answer, asked)):
            await turns()
            assert asked == ["roots/list"] * 3
            answer.set_result({"roots": []})
            assert await asyncio.gather(*questions) == [{"roots": []}] * 3


async def test_a_log_message_goes_to_the_client_that_is_there() -> None:
    line, waits, comes = Line(), Line(), Line()
    logged: list[object] = []

    async def on_log(params: Mapping[str, object]) -> None:
        logged.append(params)

    with line.waited_for_by(comes), line.waited_for_by(waits):
        await line.log({"data": 1})
        with comes.through(CallContext(on_log=on_log)):
            await line.log({"data": 2})
    assert logged == [{"data": 2}]


async def test_a_refusal_of_the_client_is_the_answer() -> None:
    line, refused = Line(), future()
    refused.set_exception(RpcError(-1, "no"))
    with line.through(client(refused, [])):
        with pytest.raises(RpcError, match="no"):
            await line.ask("roots/list", {})


async def test_a_question_that_is_given_up_leaves_nothing_behind() -> None:
    line, answer = Line(), future()
    with line.through(client(answer, [])):
        question = asyncio.create_task(line.ask("roots/list", {}))
        await turns()
        question.cancel()
        await asyncio.wait({question})
        await turns()
    assert question.cancelled() and answer.cancelled()
