"""Images: a memory with trusted code already run in it, from which isolates start."""

from collections.abc import Callable

import pytest

from sandbox import Completed, Engine, EngineError, ForeignImage, HostCall, Image, Settlement
from tests.sandbox.programs import NOW, SEED, Programs

STUBS = """
const { call } = host;
const make = (server) => new Proxy({}, { get: (_, tool) => (input) => call(`${server}.${tool}`, input ?? {}) });
globalThis.codemode = new Proxy({}, { get: (_, server) => make(server) });
globalThis.started = Date.now();
"""


def test_a_program_sees_what_the_preload_defined(programs: Programs, engine: Engine) -> None:
    image = programs.on_thread(engine.image, STUBS)
    seen: list[HostCall] = []

    def answer(call: HostCall) -> Settlement:
        seen.append(call)
        return Settlement.value(call.id, call.id)

    source = "await codemode.fix.search({ q: 1 }) + await codemode.wiki.get()"
    assert programs.value(source, image=image, answer=answer) == 3
    assert [(c.name, c.arguments) for c in seen] == [("fix.search", {"q": 1}), ("wiki.get", {})]


def test_the_default_host_is_gone_from_an_image(programs: Programs, engine: Engine) -> None:
    image = programs.on_thread(engine.image, "")
    assert programs.value("[typeof host, typeof native]", image=image) == ["undefined", "undefined"]
    assert programs.value("[typeof host, typeof native]") == ["object", "undefined"]


def test_frames_of_the_preload_are_not_in_the_stack(programs: Programs, engine: Engine) -> None:
    image = programs.on_thread(engine.image, "globalThis.fail = () => {\n\n throw new TypeError('from the preload') }")
    error = programs.failure("\nconst inner = () => fail();\ninner()", image=image)
    assert (error.line, error.stack.splitlines()[0]) == (2, "    at inner (program.js:2:21)")
    assert "preload" not in error.stack


def test_a_preload_that_throws_is_our_error_with_its_place(programs: Programs, engine: Engine) -> None:
    with pytest.raises(EngineError, match="preload.js threw: broken"):
        programs.on_thread(engine.image, "\nthrow new Error('broken')")
    with pytest.raises(EngineError, match=r"preload\.js threw"):
        programs.on_thread(engine.image, "const a = ;")


def test_the_same_preload_gives_the_same_image_everywhere(programs: Programs, engine: Engine) -> None:
    one, two = programs.on_thread(engine.image, STUBS), programs.on_thread(engine.image, STUBS)
    with Engine(slots=2) as other:
        three = programs.on_thread(other.image, STUBS)
        assert one == two == three
        copied = Image(id=three.id, data=bytes(three.data))

        def play() -> object:
            with other.isolate(copied) as isolate:
                return isolate.start("typeof codemode", NOW, SEED)

        assert programs.on_thread(play) == Completed("object")


def test_programs_of_an_image_do_not_see_each_other(programs: Programs, engine: Engine) -> None:
    image = programs.on_thread(engine.image, "globalThis.shared = { list: [] }")
    assert programs.value("shared.list.push(1); shared.list.length", image=image) == 1
    assert programs.value("shared.list.push(1); shared.list.length", image=image) == 1


def test_a_large_image_works(programs: Programs, engine: Engine) -> None:
    preload = "globalThis.table = Array.from({ length: 50_000 }, (_, i) => ({ id: i, name: 'tool ' + i }))"
    image = programs.on_thread(engine.image, preload)
    assert programs.value("table.length + table.at(-1).id", image=image) == 99_999


def test_foreign_and_damaged_images_are_refused(programs: Programs, engine: Engine) -> None:
    image = programs.on_thread(engine.image, STUBS)
    for data in (b"", image.data[:-1], image.data[:200] + b"\xff" + image.data[201:]):
        with pytest.raises(ForeignImage):
            programs.on_thread(engine.isolate, Image.of(data))

    def program() -> bytes:
        with engine.isolate() as isolate:
            isolate.start("await host.x()", NOW, SEED)
            return isolate.freeze()

    with pytest.raises(ForeignImage, match="frozen program"):
        programs.on_thread(engine.isolate, Image.of(programs.on_thread(program)))
    with pytest.raises(ForeignImage, match="frozen image"):
        programs.on_thread(engine.thaw, image.data)


def test_a_failed_isolate_gives_its_slot_back(programs: Programs) -> None:
    with Engine(slots=1) as engine:
        for _ in range(3):
            with pytest.raises(ForeignImage):
                programs.on_thread(engine.isolate, Image.of(b"nonsense"))
        with engine.isolate():
            pass


BEGINS = """
host.begin = (text) => { globalThis.given = (globalThis.given ?? 0) + text.length; globalThis.text = text; };
"""


@pytest.mark.parametrize("text", ["x", "ä\u2028\u0000", "long " * 100_000])
def test_a_program_begins_with_the_text_that_its_preload_takes(programs: Programs, engine: Engine, text: str) -> None:
    image = programs.on_thread(engine.image, BEGINS)
    assert programs.value("[given, text.slice(0, 9)]", image=image, begin=text) == [len(text), text[:9]]
    assert programs.value("typeof text", image=image) == "undefined"
    # It was called once, and the program has no way to it.
    assert programs.value("[typeof host, typeof begin, given]", image=image, begin=text)[:2] == ["undefined"] * 2


def test_a_text_that_no_preload_takes_is_nothing(programs: Programs, engine: Engine) -> None:
    assert programs.value("1 + 1", begin="text") == 2
    image = programs.on_thread(engine.image, "host.begin = 7")
    assert programs.value("1 + 1", image=image, begin="text") == 2


def test_a_program_does_not_run_when_its_text_cannot_be_taken(programs: Programs, engine: Engine) -> None:
    image = programs.on_thread(engine.image, "host.begin = (text) => { throw new Error(`not ${text}`) }")
    error = programs.failure("await host.never()", image=image, begin="this")
    assert (error.kind, error.message) == ("exception", "not this")
    grows = programs.on_thread(engine.image, "host.begin = () => { globalThis.all = new Array(1e8).fill(1) }")
    assert programs.failure("1", image=grows, begin="x").kind in ("memory", "exception")


def test_a_text_that_takes_for_ever_is_stopped(with_limits: Callable[..., Programs]) -> None:
    endless = with_limits(cpu_time=0.1, wall_time=600)
    image = endless.on_thread(endless.engine.image, "host.begin = () => { for (;;); }")
    assert endless.failure("1", image=image, begin="x").kind == "cpu_time"


def test_a_frozen_program_keeps_what_it_began_with(programs: Programs, engine: Engine) -> None:
    image = programs.on_thread(engine.image, BEGINS)

    def work() -> object:
        with engine.isolate(image) as isolate:
            isolate.start("await new Promise(done => setTimeout(done, 5)); text", NOW, SEED, "kept")
            frozen = isolate.freeze()
        with engine.thaw(frozen) as thawed:
            outcome = thawed.resume([], NOW + 10)
        assert isinstance(outcome, Completed)
        return outcome.value

    assert programs.on_thread(work) == "kept"
