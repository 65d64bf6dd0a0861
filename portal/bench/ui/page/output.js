// The report of a run: verdict, calls, result or error, logs, the answer as an agent reads it, tokens.

import { copyButton, counted, find, make, milliseconds } from "./dom.js";
import * as json from "./json.js";
import { Waterfall } from "./waterfall.js";

const IMAGES = /^image\/(png|jpeg|gif|webp)$/;
const BASE64 = /^[A-Za-z0-9+/=\s]*$/;

export class Output {
  /** `reveal(line, column)` shows a place of the program, `useMocks(document)` takes over what a live run recorded. */
  constructor(reveal, useMocks) {
    this._reveal = reveal;
    this._useMocks = useMocks;
    this._waterfall = null;
  }

  empty() {
    const keys = make("p", { class: "dim keys" }, make("kbd", {}, "Ctrl ↵"), " runs, ", make("kbd", {}, "Esc"), " cancels.");
    const text = "Run the program to see its calls in time, its logs, its result, and what it costs in tokens.";
    find("report").replaceChildren(make("div", { class: "empty" }, make("p", {}, text), keys));
  }

  begin(mode) {
    this._verdict("running", mode === "mock" ? "Running with mocks" : "Running", "");
    this._waterfall = new Waterfall();
    this._calls = section("Calls", this._waterfall.heading, this._waterfall.element);
    this._calls.hidden = true;
    find("report").replaceChildren(this._calls);
    this._waterfall.begin();
  }

  take(event) {
    if (event.type === "call") {
      this._calls.hidden = false;
      this._waterfall.started(event);
    } else if (event.type === "settled") this._waterfall.settled(event);
  }

  done(event) {
    const { answer } = event;
    this._waterfall.finish(answer.calls ?? []);
    this._calls.hidden = !answer.calls?.length;
    if (event.mocks && this._waterfall.calls.size) {
      const use = () => this._useMocks(event.mocks);
      const title = "Make these answers the mocks";
      this._calls.firstChild.append(make("button", { type: "button", class: "quiet", title, click: use }, "Keep as mocks"));
    }
    const failed = answer.status === "failed";
    const calls = answer.calls?.length ?? 0;
    const tokens = event.cost.program + event.cost.answer;
    const facts = [milliseconds(event.elapsed), calls && counted(calls, "call"), counted(tokens, "token")];
    this._verdict(failed ? "failed" : "completed", failed ? "Failed" : "Completed", facts.filter(Boolean).join(" · "));
    const parts = [failed ? this._error(answer.error) : result(answer)];
    if (answer.check?.diagnostics.length) parts.push(this._check(answer.check));
    if (event.emitted.length) parts.push(section("Emitted", "", ...event.emitted.map(block)));
    if (answer.logs?.length) parts.push(section("Logs", counted(answer.logs.length, "line"), logs(answer.logs)));
    // The error and the result come first, because a person looks for them.
    find("report").prepend(...parts.slice(0, 1));
    if (event.notes.length) parts.push(section("Notes", "", ...event.notes.map((note) => make("p", {}, note))));
    find("report").append(...parts.slice(1), cost(event.cost, failed), asRead(event));
  }

  cancelled() {
    this._waterfall.finish(null);
    const ran = [...this._waterfall.calls.values()].filter((call) => call.status === "ok").length;
    this._verdict("cancelled", "Cancelled", ran ? `${counted(ran, "call")} had completed` : "");
  }

  refused(message) {
    this._waterfall?.finish(null);
    this._verdict("failed", "Not run", "");
    find("report").prepend(make("section", { class: "error" }, make("p", { class: "message" }, message)));
  }

  _verdict(state, word, facts) {
    find("verdict").dataset.state = state;
    find("verdict").replaceChildren(make("b", {}, word), make("span", {}, facts));
  }

  _error({ kind, name, message, line, column, snippet }) {
    const head = [make("b", { class: "kind" }, kind)];
    if (line !== undefined) {
      const place = `line ${line}${column === undefined ? "" : `, column ${column}`}`;
      head.push(make("button", { type: "button", class: "quiet", click: () => this._reveal(line, column ?? 1) }, place));
    }
    const body = [make("p", { class: "message" }, make("b", {}, `${name}: `), message)];
    const frame = snippet && make("pre", { tabindex: 0 }, snippet);
    if (frame) {
      body.push(frame);
      // Scroll to the caret, which is far right under a long line.
      const caret = snippet.split("\n").at(-1).indexOf("^");
      requestAnimationFrame(() => (frame.scrollLeft = (frame.scrollWidth / Math.max(...snippet.split("\n").map((l) => l.length))) * (caret - 30)));
    }
    const element = section("Error", "", ...body);
    element.classList.add("error");
    element.querySelector("header").append(...head);
    return element;
  }

  _check({ diagnostics }) {
    const rows = diagnostics.map(({ line, column, message }) => {
      const place = make("button", { type: "button", class: "quiet", click: () => this._reveal(line, column) }, `line ${line}`);
      return make("li", {}, place, make("pre", {}, message));
    });
    return section("Type check", counted(rows.length, "finding"), make("ol", { class: "findings" }, ...rows));
  }
}

function section(title, note, ...body) {
  const head = make("header", {}, make("h3", {}, title), note && make("span", { class: "note" }, note));
  return make("section", {}, head, ...body);
}

function result(answer) {
  const has = "result" in answer;
  const note = answer.truncated ? `cut from ${answer.truncated.chars.toLocaleString("en")} characters` : "";
  const element = section("Result", note, has ? json.view(answer.result) : make("p", { class: "dim" }, "undefined"));
  element.classList.add("result");
  if (has) {
    const text = () => (typeof answer.result === "string" ? answer.result : JSON.stringify(answer.result, null, 2));
    element.querySelector("header").append(copyButton(text));
  }
  return element;
}

function logs(lines) {
  const rows = lines.map(({ level, text }) => make("li", { "data-level": level }, make("span", {}, level), make("pre", {}, text)));
  return make("ol", { class: "logs" }, ...rows);
}

function block(content) {
  const { type, data, mimeType } = content;
  if (type === "image" && IMAGES.test(mimeType) && BASE64.test(data)) {
    return make("img", { src: `data:${mimeType};base64,${data}`, alt: `An image the program emitted (${mimeType})` });
  }
  return json.view(content);
}

function asRead({ text }) {
  const head = make("summary", {}, make("h3", {}, "As the agent reads it"));
  return make("details", { class: "as-read" }, head, make("pre", { tabindex: 0 }, text));
}

/** Bars on one scale: this run, and the same calls made one by one. */
function cost({ exact, program, answer, calls, arguments: given, results, description, definitions }, failed) {
  const about = exact ? "" : "estimated from the length of the texts";
  const code = program + answer;
  const plain = given + results;
  const most = Math.max(code, plain, 1);
  const rows = [bar("This program", most, [["program", program], ["answer", answer]])];
  if (calls) rows.push(bar("As plain calls", most, [["arguments", given], ["results", results]]));
  const standing = make(
    "p",
    { class: "dim" },
    `Before the first call: the code tool ${tokens(description)}, the list of all tools ${tokens(definitions)}.`,
  );
  const element = section("Tokens", about, make("div", { class: "cost" }, ...rows), standing);
  if (calls && !failed && plain > code) {
    element.querySelector("header").append(make("span", { class: "saved" }, `${(plain / code).toFixed(1)} × fewer`));
  }
  return element;
}

const tokens = (count) => `${count.toLocaleString("en")}`;

function bar(label, most, parts) {
  const total = parts.reduce((sum, [, count]) => sum + count, 0);
  const lane = make("span", { class: "lane", "aria-hidden": "true" });
  for (const [name, count] of parts) {
    const piece = make("i", { "data-part": name, title: `${name}: ${tokens(count)}` });
    piece.style.width = `${(count / most) * 100}%`;
    lane.append(piece);
  }
  const words = parts.map(([name, count]) => `${name} ${tokens(count)}`).join(" + ");
  return make("div", { class: "cost-row" }, make("span", {}, label), lane, make("b", {}, tokens(total)), make("small", {}, words));
}
