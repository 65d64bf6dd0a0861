// The page: it holds the program and the mocks, runs them, and updates the parts of the page.

import * as api from "./api.js";
import { counted, find, make } from "./dom.js";
import { Output } from "./output.js";
import { Tools } from "./tools.js";

const FIRST_MOCKS = '{\n  "mocks": {\n    \n  }\n}\n';
const DRAFT = "codemode-bench-draft";
const WAITING = 1000;

const page = { view: "program", running: null, catalog: null, problems: [], state: null };
let editor;
const tools = new Tools((path) => {
  drawer(false);
  show("program");
  editor.insertCall(path);
});
const output = new Output(reveal, useMocks);

async function start() {
  if (!api.takeKey()) return closed("Open the URL that the command printed in the terminal: it carries the key of this start.");
  try {
    page.state = await api.state();
  } catch (error) {
    return closed(error.message);
  }
  const { state } = page;
  find("source").textContent = state.title;
  const listeners = { path: state.editor.path, onChange: changed, onPosition: position, onProblems: problems, onRun: run, onTypes: () => show("types") };
  editor = await openEditor(state.editor, listeners);
  const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
  editor.setText("program", state.program && !draft ? state.program : (draft?.program ?? state.examples[0].code));
  editor.setText("mocks", draft?.mocks ?? FIRST_MOCKS);
  listen();
  output.empty();
  editor.focus();
  await take(state);
  poll();
}

async function openEditor({ path, reason }, listeners) {
  const parent = find("editor");
  if (path) {
    try {
      return await (await import("./monaco.js")).open(parent, listeners);
    } catch (error) {
      reason = error.message;
      parent.replaceChildren();
    }
  }
  find("notice").textContent = reason;
  return (await import("./plain.js")).open(parent, listeners);
}

/** Take in what there is now: servers, tools, examples, types. */
async function take(state) {
  page.state = state;
  tools.show(state.servers);
  const options = state.examples.map(({ title }, place) => make("option", { value: place }, title));
  find("examples").replaceChildren(make("option", { value: "" }, "Examples"), ...options);
  if (state.catalog === page.catalog) return;
  page.catalog = state.catalog;
  const { codemode, isolate } = await api.declarations();
  editor.setTypes(codemode, isolate);
  editor.setTools(state.servers.flatMap((server) => server.tools.map((tool) => tool.path)));
}

async function refresh() {
  try {
    await take(await api.state());
  } catch {
    // Nothing to do: the next run reports that the bench does not answer, and the list is right until then.
  }
}

/** Ask again while servers are still connecting, or when the page is looked at again. */
function poll() {
  const waiting = page.state.servers.some((server) => server.state === "waiting");
  document.body.dataset.servers = waiting ? "connecting" : "settled";
  if (waiting) setTimeout(() => refresh().then(poll), WAITING);
}

function listen() {
  find("run").addEventListener("click", run);
  find("cancel").addEventListener("click", cancel);
  find("problems").addEventListener("click", () => {
    show("program");
    reveal(page.problems[0].line, page.problems[0].column);
  });
  find("examples").addEventListener("change", (event) => {
    const example = page.state.examples[event.target.value];
    event.target.value = "";
    if (!example) return;
    show("program");
    editor.setText("program", example.code);
    editor.focus();
  });
  find("show-tools").addEventListener("click", () => drawer(!document.body.classList.contains("tools-open")));
  find("tools").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !document.body.classList.contains("tools-open")) return;
    event.preventDefault();
    drawer(false);
    find("show-tools").focus();
  });
  for (const tab of tabs()) {
    tab.addEventListener("click", () => {
      show(tab.dataset.view);
      editor.focus();
    });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs()[(tabs().indexOf(tab) + step + 3) % 3];
      show(next.dataset.view);
      next.focus();
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.defaultPrevented) {
      event.preventDefault();
      run();
    }
    if (event.key === "Escape" && !event.defaultPrevented && page.running) cancel();
  });
  window.addEventListener("focus", refresh);
}

/** Where there is no room for three columns the tools slide over the others. */
function drawer(open) {
  document.body.classList.toggle("tools-open", open);
  find("show-tools").setAttribute("aria-expanded", String(open));
  if (open) find("filter").focus();
}

const tabs = () => [...document.querySelectorAll("[role=tab]")];

function show(view) {
  page.view = view;
  for (const tab of tabs()) {
    const chosen = tab.dataset.view === view;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    if (chosen) find("editor").setAttribute("aria-labelledby", tab.id);
  }
  editor.show(view);
}

async function run() {
  if (page.running) return;
  const mode = document.querySelector("input[name=mode]:checked").value;
  const request = { code: editor.text("program"), mode };
  if (mode === "mock") {
    try {
      request.mocks = JSON.parse(editor.text("mocks"));
    } catch (error) {
      show("mocks");
      output.begin(mode);
      return output.refused(`The mocks are not JSON: ${error.message}`);
    }
  }
  page.running = new AbortController();
  running(true);
  editor.clearFailure();
  output.begin(mode);
  try {
    await follow(api.run(request, page.running.signal));
  } catch (error) {
    if (page.running.signal.aborted) output.cancelled();
    else output.refused(error instanceof api.Refused ? error.message : "The bench does not answer any more. Is it still running in the terminal?");
  } finally {
    page.running = null;
    running(false);
  }
}

async function follow(events) {
  for await (const event of events) {
    if (event.type === "started" && event.catalog !== page.catalog) refresh();
    if (event.type === "call" || event.type === "settled") output.take(event);
    if (event.type === "refused") return output.refused(event.message);
    if (event.type === "done") {
      output.done(event);
      const { error } = event.answer;
      if (error?.line !== undefined) editor.markFailure(error.line, error.column ?? 1, `${error.name}: ${error.message}`);
      return;
    }
  }
  throw new Error("the stream ended early");
}

function cancel() {
  page.running?.abort();
}

function running(yes) {
  document.body.classList.toggle("running", yes);
  // The focus moves only if its button disappears.
  const held = [find("run"), find("cancel")].includes(document.activeElement);
  find("run").hidden = yes;
  find("cancel").hidden = !yes;
  if (held) find(yes ? "cancel" : "run").focus();
}

function reveal(line, column) {
  show("program");
  editor.reveal(line, column);
}

function useMocks(mocks) {
  editor.setText("mocks", `${JSON.stringify(mocks, null, 2)}\n`);
  document.querySelector("input[name=mode][value=mock]").checked = true;
  show("mocks");
}

function changed() {
  sessionStorage.setItem(DRAFT, JSON.stringify({ program: editor.text("program"), mocks: editor.text("mocks") }));
}

function position(line, column) {
  find("position").textContent = `Ln ${line}, Col ${column}`;
}

function problems(found) {
  page.problems = found;
  const button = find("problems");
  button.hidden = !found.length;
  button.textContent = found.length ? `${counted(found.length, "problem")}: ${found[0].message.split("\n")[0]}` : "";
  button.title = found.map(({ line, message }) => `line ${line}: ${message}`).join("\n");
  document.body.dataset.problems = found.length;
}

function closed(message) {
  document.querySelector("main").inert = true;
  document.querySelector("header").inert = true;
  find("closed").hidden = false;
  find("closed").querySelector("p").textContent = message;
}

start();
