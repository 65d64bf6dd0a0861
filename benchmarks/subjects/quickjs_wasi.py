"""quickjs-wasi: QuickJS-ng as WebAssembly in Node, whose whole memory is the snapshot of a program that waits.

Its documentation says to compress a snapshot. So to take one is to copy the memory and to deflate it, with zlib at its
fastest, and to restore it is the reverse. Node times it, in one process for each case.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from functools import partial

from benchmarks.cases import Measurement, Reading, Unavailable
from benchmarks.programs import WAITED, WAITING
from tests.node_tools import NodeToolUnavailable, install, node

PACKAGE = "quickjs-wasi@3.7.0"
ROUNDS = {"small": 50, "large": 15}

SCRIPT = """
import { readFileSync } from "node:fs";
import { deflateSync, inflateSync } from "node:zlib";
import { QuickJS } from "quickjs-wasi";
const { program, waited, rounds } = JSON.parse(process.argv[1]);
const wasm = await WebAssembly.compile(readFileSync("node_modules/quickjs-wasi/quickjs.wasm"));
const vm = await QuickJS.create({ wasm });
vm.evalCode("globalThis.host = { call: () => new Promise((done) => { globalThis.answer = done; }) };").dispose();
vm.evalCode(`(async () => { ${program} })().then((value) => { globalThis.ended = JSON.stringify(value); })`).dispose();
vm.executePendingJobs();
const take = () => deflateSync(QuickJS.serializeSnapshot(vm.snapshot()), { level: 1 });
const restore = (bytes) => QuickJS.restore(QuickJS.deserializeSnapshot(inflateSync(bytes)), { wasm });
const bytes = take();
const again = await restore(bytes);
again.evalCode("answer(7)").dispose();
again.executePendingJobs();
const ended = again.evalCode("ended").consume((handle) => handle.toString());
if (ended !== JSON.stringify(waited)) throw new Error(`the restored program did not go on: ${ended}`);
again.dispose();
const took = [], restored = [];
for (let round = 0; round < rounds; round++) {
  let began = performance.now();
  take();
  took.push(performance.now() - began);
  began = performance.now();
  const other = await restore(bytes);
  other.dispose();
  restored.push(performance.now() - began);
}
const raw = QuickJS.serializeSnapshot(vm.snapshot()).length;
console.log(JSON.stringify({ bytes: bytes.length, raw, took, restored }));
"""


def cases() -> Mapping[str, Reading]:
    return {
        f"{size}_{what}": Reading(partial(measured, size, what))
        for size in WAITING
        for what in ("bytes", "take", "restore")
    }


def measured(size: str, what: str, once: bool) -> Measurement:
    settings = {"program": WAITING[size], "waited": WAITED[size], "rounds": 1 if once else ROUNDS[size]}
    try:
        command = [str(node()), "--input-type=module", "--eval", SCRIPT, json.dumps(settings)]
        folder = install(PACKAGE)
    except NodeToolUnavailable as error:
        raise Unavailable(str(error)) from error
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"quickjs-wasi failed: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout)
    if what == "bytes":
        return Measurement(found["bytes"], found["bytes"], "B", details={"raw": found["raw"]})
    times = sorted(milliseconds / 1e3 for milliseconds in found["took" if what == "take" else "restored"])
    return Measurement(times[0], times[len(times) // 2])
