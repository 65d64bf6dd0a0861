"""The original's durable runtime (`createCodemodeRuntime`) in workerd: at an approval it runs the program again from
its beginning and answers the calls that it made before from its log. Timed from outside, with an HTTP request each."""

from __future__ import annotations

import http.client
import json
import re
import statistics
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, Measurement, Reading, Unavailable
from benchmarks.subjects.parked import EARLIER
from benchmarks.subjects.workerd import listening
from tests.node_tools import NodeToolUnavailable, install
from tests.stubs.original import PACKAGE

ROUNDS = 20
PROGRAM = (
    "async () => { for (let i = 0; i < N; i++) await ops.get({ id: `${i}` }); return (await ops.list({})).answer }"
)
CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .host), (name = "disk", disk = (path = "FOLDER", writable = true))],
  sockets = [(name = "http", address = "127.0.0.1:PORT", http = (), service = "main")]
);
const host :Workerd.Worker = (
  modules = [MODULES],
  compatibilityDate = "2026-01-01",
  compatibilityFlags = ["experimental", "nodejs_compat"],
  durableObjectNamespaces = [(className = "Agent", uniqueKey = "agent", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [(name = "LOADER", workerLoader = ()), (name = "AGENT", durableObjectNamespace = "Agent")]
);
"""
HOST = """import { DurableObject } from "cloudflare:workers";
import { CodemodeConnector, CodemodeRuntime, DynamicWorkerExecutor, createCodemodeRuntime } from "index.js";
export { CodemodeRuntime };
class Ops extends CodemodeConnector {
  name() { return "ops" }
  tools() {
    const execute = async () => ({ answer: 42 });
    return { get: { execute }, list: { execute, requiresApproval: true } };
  }
}
export class Agent extends DurableObject {
  async fetch(request) {
    const { code, executionId } = await request.json();
    const runtime = createCodemodeRuntime({ ctx: this.ctx, connectors: [new Ops(this.ctx, this.env)],
      executor: new DynamicWorkerExecutor({ loader: this.env.LOADER }) });
    return Response.json(await (code ? runtime.execute({ code }) : runtime.approve({ executionId })));
  }
}
export default { fetch: (request, env) => env.AGENT.get(env.AGENT.idFromName("one")).fetch(request) };
"""


def cases() -> Mapping[str, Case | Reading]:
    return {f"go_on_{calls}": Reading(partial(approved, calls)) for calls in EARLIER}


def approved(calls: int, once: bool) -> Measurement:
    """Seconds from the approval of a program that has made so many calls to its end."""
    port, found = serve(), []
    for _ in range(1 if once else ROUNDS):
        paused = ask(port, {"code": PROGRAM.replace("N", str(calls))})
        if paused["status"] != "paused" or len(paused["calls"]) != calls + 1:
            raise RuntimeError(f"the program did not wait for an approval: {paused}")
        began = time.perf_counter()
        ended = ask(port, {"executionId": paused["executionId"]})
        found.append(time.perf_counter() - began)
        if ended.get("result") != 42:
            raise RuntimeError(f"the approved program did not go on: {ended}")
    return Measurement(min(found), statistics.median(found))


def ask(port: int, body: dict[str, str]) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/", json.dumps(body))
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def serve() -> int:
    try:
        packages = install(PACKAGE) / "node_modules"
    except NodeToolUnavailable as error:
        raise Unavailable(f"the original is not installed: {error}") from error
    files = {"host.js": HOST, "acorn": (packages / "acorn/dist/acorn.mjs").read_text(encoding="utf-8")}
    collect(packages / "@cloudflare/codemode/dist", "index.js", files)
    modules = ", ".join(f'(name = "{name}", esModule = embed "{name}")' for name in files)
    return listening(CONFIG.replace("MODULES", modules), files)


def collect(folder: Path, name: str, files: dict[str, str]) -> None:
    """Adds a module and those that it imports from its folder."""
    files[name] = text = (folder / name).read_text(encoding="utf-8")
    for imported in re.findall(r'^import .* from "\./([^"]+)"', text, re.MULTILINE):
        if imported not in files:
            collect(folder, imported, files)
