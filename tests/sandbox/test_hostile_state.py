"""Two runs share nothing, whatever the first did to its world; what a run does depends only on what it was given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sandbox import (
    Completed,
    Failed,
    HostCall,
    Image,
    Settlement,
    Suspended,
    encode_resume,
    encode_start,
)

from .hostile.arena import NOW, QUICK, SEED, Arena, arena, drive
from .hostile.programs import DEEP, ENDLESS, GREEDY
from .hostile.scripts import sections

LIMITS = replace(QUICK, cpu_time=1.0, calls=1000)


@pytest.fixture(scope="module")
def ground() -> Iterator[Arena]:
    with arena(LIMITS, slots=4) as made:
        yield made


FOOTPRINT = """
const seen = [];
for (const key of Reflect.ownKeys(globalThis)) {
  const value = globalThis[key], holder = value?.prototype ?? value;
  let keys = 0; try { keys = Reflect.ownKeys(holder).length + Reflect.ownKeys(value).length } catch {}
  seen.push([String(key), typeof value, keys, typeof value === 'function' ? value.toString().length : 0]);
}
[seen, [].evil, ({}).evil, (() => {}).evil, 'x'.evil, globalThis.evil, Error.prepareStackTrace, Error.stackTraceLimit,
 JSON.stringify({ a: 1 }), [...[1, 2]].map((x) => x + 1), Symbol.for('left').description, new Error('e').stack.length,
 Object.isFrozen(Object.prototype), Object.isFrozen(globalThis), /a/.exec('bab').index, Date.now()]"""
"""What a program can tell of the world it is born into."""

LITTER = """
globalThis.evil = Object.prototype.evil = Array.prototype.evil = 1; Function.prototype.evil = String.prototype.evil = 1;
globalThis.wr = new WeakRef({}); Symbol.for('left'); eval('var left = 1'); RegExp.prototype.exec.call(/(b)/, 'b');
console.count('left'); console.group('left'); console.time('left'); setTimeout(() => host.left(1), 1);
host.left(2); Promise.reject(new Error('left')); Math.random(); crypto.randomUUID();
"""


@pytest.fixture(scope="module")
def footprint(ground: Arena) -> object:
    return ground.run(FOOTPRINT).value


@pytest.mark.parametrize("what", sections("pollution.js"))
def test_no_run_sees_what_another_did_to_its_builtins(ground: Arena, footprint: object, what: str) -> None:
    ground.run(f"{LITTER}\n{sections('pollution.js')[what]}")
    assert ground.run(FOOTPRINT).value == footprint


@pytest.mark.parametrize(
    "source",
    [ENDLESS["jobs that make jobs"], GREEDY["buffers"], DEEP["a function"], DEEP["JSON.parse of depth"], "throw 1",
     "(", "await new Promise(() => {})", "for (;;) host.x()", "'x'.repeat(1e8)", "for (;;) console.log('left')"],
)  # fmt: skip
def test_no_run_sees_how_another_ended(ground: Arena, footprint: object, source: str) -> None:
    ended = ground.run(f"{LITTER} {source}")
    assert ended.kind != "completed"
    for _ in range(4):
        assert ground.run(FOOTPRINT).value == footprint


def test_memory_that_a_run_leaves_is_nothing_to_the_next(ground: Arena) -> None:
    """Slots of the pool are used again; what is in them is not."""
    secret = "sw0rdf1sh-" * 5
    keep = f"const h = []; for (let i = 0; i < 2000; i++) h.push('{secret}' + i); host.keep(h.length); 1"
    for _ in range(8):
        assert ground.run(keep).value == 1
    found = ground.run("""
    let sum = 0;
    for (let i = 0; i < 200; i++) sum += new Uint8Array(20000).findLast((x) => x) ?? 0;
    sum""")
    assert found.value == 0

    def work() -> bytes:
        with ground.engine.isolate() as isolate:
            assert isinstance(isolate.start("await host.x()", NOW, SEED), Suspended)
            return isolate._instance.read(0, isolate._instance.memory_size())

    assert secret.encode() not in ground.on_thread(work)


def test_a_thousand_runs_have_a_thousand_fortunes(ground: Arena) -> None:
    source = "[Math.random(), Math.random(), crypto.randomUUID(), [...crypto.getRandomValues(new Uint8Array(8))]]"

    def work() -> list[str]:
        found: list[str] = []
        for number in range(300):
            with ground.engine.isolate() as isolate:
                outcome = isolate.start(source, NOW, number.to_bytes(32, "big"))
                assert isinstance(outcome, Completed)
                found.append(str(outcome.value))
        return found

    found = ground.on_thread(work)
    assert len(set(found)) == 300
    assert len({text.split(",")[0] for text in found}) == 300


def test_an_image_gives_each_run_its_own_fortune_and_its_own_world(ground: Arena) -> None:
    image = ground.on_thread(
        lambda: ground.engine.image(
            "globalThis.first = Math.random(); globalThis.box = { n: 0 }; globalThis.call = host.call;"
        )
    )
    source = "box.n++; globalThis.evil = 1; [first, Math.random(), box.n, typeof evil]"
    runs = [ground.run(source, image=image, seed=bytes([n]) * 32).value for n in range(20)]
    assert {run[0] for run in runs} == {runs[0][0]}
    assert len({run[1] for run in runs}) == 20
    assert {(run[2], run[3]) for run in runs} == {(1, "number")}


def test_images_of_one_engine_do_not_mix(ground: Arena) -> None:
    def make(number: int) -> Image:
        return ground.engine.image(f"globalThis.mine = {number}; globalThis.only{number} = [{number}];")

    images = [ground.on_thread(lambda n=n: make(n)) for n in range(6)]  # type: ignore[misc]
    for _ in range(3):
        for number, image in enumerate(images):
            source = "[mine, Object.getOwnPropertyNames(globalThis).filter((k) => k.startsWith('only'))]"
            assert ground.run(source, image=image).value == [number, [f"only{number}"]]
    assert ground.run("typeof mine").value == "undefined"


LONG = """
const found = [Date.now(), Math.random()];
for (const n of [1, 2, 3]) {
  const [a, b] = await Promise.allSettled([host.get({ n }), host.bad({ n })]);
  found.push(a, String(b.reason), Math.random(), performance.now(), [...new Set([n, n])], new Map([[n, { n }]]));
  console.log('step', n, found.length); await new Promise((done) => setTimeout(done, 7));
}
found.push(crypto.randomUUID(), Object.keys(globalThis).length, new Error('e').stack); found"""


def batches(ground: Arena, image: Image | None = None) -> list[bytes]:
    """The run's outcomes as bytes."""

    def work() -> list[bytes]:
        with ground.engine.isolate(image) as isolate:
            found = [isolate.start_batch(encode_start(LONG, NOW, SEED, LIMITS))]
            for step in range(3):
                first = 2 * step + 1
                settlements = [
                    Settlement.value(first, {"step": step, "list": [1.5, None]}),
                    Settlement.error(first + 1, name="ToolError", message="no", properties={"data": [step]}),
                ]
                found.append(isolate.resume_batch(encode_resume(settlements, NOW + step, LIMITS)))
                found.append(isolate.resume_batch(encode_resume([], NOW + 100 * (step + 1), LIMITS)))
            return found

    return ground.on_thread(work)


def test_the_same_batches_in_give_the_same_bytes_out(ground: Arena) -> None:
    first = batches(ground)
    assert first[-1].startswith(b'["completed",true')
    ground.run(f"{LITTER} 1")
    for _ in range(5):
        assert batches(ground) == first
    with arena(LIMITS) as another:
        assert batches(another) == first


def test_what_the_program_cannot_see_does_not_change_what_it_does(ground: Arena) -> None:
    """Another engine, other slots, other limits that are not reached, a freeze between: the same bytes."""
    first = batches(ground)
    with arena(replace(LIMITS, cpu_time=3.0, wall_time=100.0), slots=40) as another:
        held = [another.engine.isolate() for _ in range(7)]
        assert batches(another) == first
        for isolate in held:
            isolate.close()


def test_no_clock_runs_while_a_program_does(ground: Arena) -> None:
    source = """
    const times = new Set();
    for (let i = 0; i < 20000; i++) times.add(Date.now() + ':' + performance.now() + ':' + new Date().getTime());
    [times.size, typeof Atomics, typeof performance.mark, typeof process]"""
    assert ground.run(source).value == [1, "undefined", "undefined", "undefined"]


def test_fifty_runs_at_once_each_get_their_own_answers(ground: Arena) -> None:
    with arena(LIMITS, threads=4, slots=60) as wide:

        def one(number: int) -> list[object]:
            with wide.engine.isolate() as isolate:
                source = f"const r = []; for (let i = 0; i < 20; i++) r.push(await host.echo('tok-{number}')); r"
                ended = drive(isolate, source, lambda call: Settlement.value(call.id, [call.arguments, number]))
                assert all(call.arguments == f"tok-{number}" for call in ended.calls)
                return list(ended.value)

        for number, found in enumerate(wide.threads.map(one, range(50))):
            assert found == [[f"tok-{number}", number]] * 20
        wide.check()


def test_errors_of_the_host_reach_the_run_they_belong_to_and_no_other(ground: Arena) -> None:
    with arena(LIMITS, threads=8, slots=20) as wide:

        def answer_for(number: int, call: HostCall) -> Settlement:
            return Settlement.error(call.id, name="ToolError", message=f"tok-{number}", properties={"data": number})

        def one(number: int) -> None:
            with wide.engine.isolate() as isolate:
                ended = drive(isolate, "await host.x()", lambda call: answer_for(number, call))
                assert isinstance(ended.outcome, Failed)
                assert ended.outcome.error.message == f"tok-{number}"

        list(wide.threads.map(one, range(400)))
        wide.check()
