// The calls of a run while it runs: a row for each, with a bar for its time, and its arguments and result on a click.

import { counted, make, milliseconds } from "./dom.js";
import { json } from "./json.js";

const MARK = { ok: "✓", error: "✕", denied: "⊘", cancelled: "–", pending: "…" };

export class Waterfall {
  constructor() {
    this.calls = new Map();
    this.element = make("div", { class: "waterfall" });
    this.heading = make("span");
    this._rows = new Map();
    this._began = performance.now();
    this._open = false;
  }

  begin() {
    this._began = performance.now();
    this._open = true;
    this._tick();
  }

  started({ seq, tool, at, arguments: given }) {
    this.calls.set(seq, { seq, tool, at, ms: 0, status: "pending", given });
    this._draw();
  }

  settled({ seq, status, ms, result }) {
    Object.assign(this.calls.get(seq), { status, ms, result });
    this._draw();
  }

  /** The answer's own account is the last word: it also has the calls that never left. */
  finish(calls) {
    this._open = false;
    for (const call of calls ?? []) this.calls.set(call.seq, { ...this.calls.get(call.seq), ...call });
    for (const call of this.calls.values()) if (call.status === "pending" && !calls) call.status = "cancelled";
    this._draw();
  }

  get total() {
    const ends = [...this.calls.values()].map((call) => call.at + this._ms(call));
    return Math.max(0.001, ...ends);
  }

  _ms(call) {
    return call.status === "pending" && this._open ? Math.max(0, performance.now() - this._began - call.at) : call.ms;
  }

  _tick() {
    if (!this._open) return;
    if ([...this.calls.values()].some((call) => call.status === "pending")) this._draw();
    requestAnimationFrame(() => this._tick());
  }

  _draw() {
    const total = this.total;
    const calls = [...this.calls.values()].sort((a, b) => a.seq - b.seq);
    this.heading.textContent = calls.length ? `${counted(calls.length, "call")} in ${milliseconds(total)}` : "No calls";
    for (const call of calls) {
      let row = this._rows.get(call.seq);
      if (!row) {
        row = new Row(call);
        this._rows.set(call.seq, row);
        this.element.append(row.element);
      }
      row.update(call, this._ms(call), total);
    }
  }
}

class Row {
  constructor(call) {
    this._call = call;
    this._mark = make("span", { class: "mark" });
    this._time = make("span", { class: "time" });
    this._bar = make("i");
    const line = make(
      "summary",
      {},
      this._mark,
      make("span", { class: "tool", title: call.tool }, call.tool),
      make("span", { class: "lane", "aria-hidden": "true" }, this._bar),
      this._time,
    );
    this.element = make("details", { class: "call", toggle: () => this._detail() }, line);
  }

  update(call, ms, total) {
    const changed = this._call.status !== call.status || this._call.result !== call.result;
    this._call = call;
    this.element.dataset.status = call.status;
    this._mark.textContent = MARK[call.status] ?? "?";
    this._mark.setAttribute("aria-label", call.status);
    this._mark.setAttribute("role", "img");
    this._time.textContent = milliseconds(ms);
    this._bar.style.left = `min(${(call.at / total) * 100}%, 100% - 3px)`;
    this._bar.style.width = `${Math.min(100 - (call.at / total) * 100, (ms / total) * 100)}%`;
    if (changed && this.element.open) this._detail();
  }

  _detail() {
    if (!this.element.open) return;
    const { given, result, status } = this._call;
    const parts = [];
    if (given !== undefined) parts.push(make("h4", {}, "given"), json(given));
    if (result !== undefined) parts.push(make("h4", {}, status === "ok" ? "returned" : "answered"), json(result));
    if (!parts.length) parts.push(make("p", { class: "dim" }, "This call never left: see the error."));
    this.element.querySelector(".detail")?.remove();
    this.element.append(make("div", { class: "detail" }, ...parts));
  }
}
