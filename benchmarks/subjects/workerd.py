"""workerd's Dynamic Worker loader: a fresh V8 isolate per program, as the original runs them; timed from outside.

Clocks stand still inside a Worker, so one HTTP request does a thing many times and the host's clock is divided.
"""

from __future__ import annotations

import atexit
import http.client
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.cases import Case, Unavailable
from benchmarks.programs import FIB
from tests.node_tools import NodeToolUnavailable, install

PACKAGE = "workerd@1.20261117.1"
LOADS = 20

CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .host)],
  sockets = [(name = "http", address = "127.0.0.1:PORT", http = (), service = "main")]
);
const host :Workerd.Worker = (
  modules = [(name = "host.js", esModule = embed "host.js")],
  compatibilityDate = "2026-01-01",
  compatibilityFlags = ["experimental"],
  bindings = [(name = "LOADER", workerLoader = ())]
);
"""

HOST = """import { WorkerEntrypoint } from "cloudflare:workers";
export class Host extends WorkerEntrypoint { async echo(given) { return given } }
const programs = {
  fresh: "async () => 1 + 2",
  fib: "async () => { FIB; return fib(24) }",
  sequence: "async host => { let s = 0; for (let i = 0; i < 100; i++) s += (await host.echo({ i })).i; return s }",
  parallel_100: "async host => (await Promise.all(Array.from({ length: 100 }, (_, i) => host.echo({ i })))).length",
};
export default {
  async fetch(request, env, ctx) {
    const [, name, count] = new URL(request.url).pathname.split("/");
    let answer;
    for (let index = 0; index < Number(count); index++) {
      const program = `export default { async fetch(request, env) {
        return Response.json(await (${programs[name]})(env.HOST)) } }`;
      const worker = env.LOADER.load({ compatibilityDate: "2026-01-01", mainModule: "program.js",
        modules: { "program.js": program }, env: { HOST: ctx.exports.Host({}) }, globalOutbound: null });
      answer = await (await worker.getEntrypoint().fetch("http://program/")).text();
    }
    return new Response(answer);
  },
};
"""


def cases() -> dict[str, Case]:
    return {
        "fresh": Case(lambda: asking("fresh", LOADS, "3"), per=LOADS, rounds=5),
        "fib": Case(lambda: asking("fib", 1, "46368"), rounds=10),
        "sequence": Case(lambda: asking("sequence", 1, "4950"), per=100, rounds=10),
        "parallel_100": Case(lambda: asking("parallel_100", 1, "100"), rounds=10),
    }


def asking(program: str, times: int, expected: str) -> Callable[[], object]:
    port = serve()

    def operation() -> object:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", f"/{program}/{times}")
        answer = connection.getresponse().read().decode()
        connection.close()
        if answer != expected:
            raise RuntimeError(f"workerd answered {answer[:200]!r} to {program}, expected {expected!r}")
        return answer

    return operation


def serve() -> int:
    return listening(CONFIG, {"host.js": HOST.replace("FIB", FIB)})


def listening(config: str, files: Mapping[str, str]) -> int:
    """The port of a server of this configuration, in which PORT and FOLDER are replaced; the files are beside it."""
    try:
        binary = next(install(PACKAGE).glob("node_modules/@cloudflare/workerd-*/bin/workerd"))
    except (NodeToolUnavailable, StopIteration) as error:
        raise Unavailable(f"workerd is not installed: {error}") from error
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="codemode-workerd-"))
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    settings = config.replace("PORT", str(port)).replace("FOLDER", str(folder))
    (folder / "config.capnp").write_text(settings, encoding="utf-8")
    process = subprocess.Popen([binary, "serve", "--experimental", str(folder / "config.capnp")])
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.terminate)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return port
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.05)  # A foreign server has no other way to say that it listens.
    raise Unavailable("workerd did not start to listen")
