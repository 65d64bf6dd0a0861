// console (WHATWG Console Standard). Lines go to native.log(level, text); strings as they are, other values as
// native.inspect shows them. No method throws because of its arguments.

const { uncurryThis, record, defineHidden } = native.web;
const { log, inspect } = native;
const { String, Number, Map, Error } = globalThis;
const { parseInt, parseFloat } = Number;
const { stringify } = JSON;
const now = performance.now;
const { keys } = Object;
const { isArray } = Array;
const indexOf = uncurryThis(String.prototype.indexOf);
const slice = uncurryThis(String.prototype.slice);
const repeat = uncurryThis(String.prototype.repeat);
const padEnd = uncurryThis(String.prototype.padEnd);
const push = uncurryThis(Array.prototype.push);
const includes = uncurryThis(Array.prototype.includes);
const mapGet = uncurryThis(Map.prototype.get);
const mapSet = uncurryThis(Map.prototype.set);
const mapHas = uncurryThis(Map.prototype.has);
const mapDelete = uncurryThis(Map.prototype.delete);

const MAX_INDENT = 40;
let indent = "";
const counts = new Map();
const timers = new Map();

const show = (value) => (typeof value === "string" ? value : inspect(value));

function json(value) {
  try {
    return stringify(value) ?? "undefined";
  } catch {
    return inspect(value);
  }
}

function number(value, convert) {
  if (typeof value === "bigint") return String(value) + "n";
  return typeof value === "symbol" || typeof value === "object" ? "NaN" : String(convert(value));
}

// The text for one printf directive; undefined when the letter is not one.
function directive(letter, value) {
  switch (letter) {
    case "s":
      return typeof value === "object" && value !== null ? inspect(value) : String(value);
    case "d":
      return number(value, Number);
    case "i":
      return number(value, parseInt);
    case "f":
      return number(value, parseFloat);
    case "j":
      return json(value);
    case "o":
    case "O":
      return inspect(value);
    case "c":
      return ""; // CSS has no place in a log
    default:
      return undefined;
  }
}

// Console Standard, section 2.2 (Formatter): directives only count when there are arguments for them.
function format(values) {
  if (values.length === 0) return "";
  let text = show(values[0]);
  let next = 1;
  if (typeof values[0] === "string" && values.length > 1) {
    const pattern = text;
    let done = 0;
    text = "";
    for (let at = indexOf(pattern, "%"); at >= 0; at = indexOf(pattern, "%", at + 2)) {
      const letter = pattern[at + 1];
      const shown = letter === "%" ? "%" : next < values.length ? directive(letter, values[next]) : undefined;
      if (shown === undefined) continue;
      if (letter !== "%") next++;
      text += slice(pattern, done, at) + shown;
      done = at + 2;
    }
    text += slice(pattern, done);
  }
  for (; next < values.length; next++) text += " " + show(values[next]);
  return text;
}

function write(level, text) {
  if (indent === "") {
    log(level, text);
    return;
  }
  let indented = "";
  let start = 0;
  for (let end = indexOf(text, "\n"); end >= 0; end = indexOf(text, "\n", start)) {
    indented += indent + slice(text, start, end + 1);
    start = end + 1;
  }
  log(level, indented + indent + slice(text, start));
}

// Rows and columns as text: a column for the index, one for each key of the rows, and one for rows that are not objects.
function tableCells(data, columns) {
  const names = [];
  const rows = [];
  let plain = false;
  const indexes = keys(data);
  for (let i = 0; i < indexes.length; i++) {
    const row = data[indexes[i]];
    const cells = { __proto__: null };
    const shown = columns ?? (typeof row === "object" && row !== null ? keys(row) : []);
    for (let k = 0; k < shown.length; k++) {
      if (!includes(names, shown[k])) push(names, shown[k]);
      if (typeof row === "object" && row !== null && shown[k] in row) cells[shown[k]] = show(row[shown[k]]);
    }
    const isPlain = typeof row !== "object" || row === null;
    plain ||= isPlain;
    push(rows, { index: indexes[i], cells, value: isPlain ? show(row) : "" });
  }
  const grid = [["(index)"]];
  for (let k = 0; k < names.length; k++) push(grid[0], names[k]);
  if (plain) push(grid[0], "Values");
  for (let i = 0; i < rows.length; i++) {
    const line = [rows[i].index];
    for (let k = 0; k < names.length; k++) push(line, rows[i].cells[names[k]] ?? "");
    if (plain) push(line, rows[i].value);
    push(grid, line);
  }
  return grid;
}

function tableText(grid) {
  const widths = [];
  for (let k = 0; k < grid[0].length; k++) {
    let width = 0;
    for (let i = 0; i < grid.length; i++) if (grid[i][k].length > width) width = grid[i][k].length;
    push(widths, width);
  }
  let text = "";
  for (let i = 0; i < grid.length; i++) {
    let line = "|";
    for (let k = 0; k < widths.length; k++) line += " " + padEnd(grid[i][k], widths[k]) + " |";
    text += i ? "\n" + line : line;
    if (i === 0) {
      text += "\n|";
      for (let k = 0; k < widths.length; k++) text += repeat("-", widths[k] + 2) + "|";
    }
  }
  return text;
}

function table(data, columns) {
  try {
    return tableText(tableCells(data, isArray(columns) ? columns : undefined));
  } catch {
    return inspect(data); // a getter threw
  }
}

function openGroup(values) {
  if (values.length > 0) write("log", format(values));
  if (indent.length < MAX_INDENT) indent += "  ";
}

const elapsed = (label) => label + ": " + (now() - mapGet(timers, label)) + "ms";
const noTimer = (label) => write("warn", 'There is no timer "' + label + '"');

const console = {
  log(...values) {
    write("log", format(values));
  },
  info(...values) {
    write("info", format(values));
  },
  warn(...values) {
    write("warn", format(values));
  },
  error(...values) {
    write("error", format(values));
  },
  debug(...values) {
    write("debug", format(values));
  },
  trace(...values) {
    const { stack } = new Error();
    const text = format(values);
    write("debug", (text === "" ? "Trace" : "Trace: " + text) + (typeof stack === "string" ? "\n" + stack : ""));
  },
  dir(value) {
    write("log", inspect(value));
  },
  dirxml(...values) {
    write("log", format(values));
  },
  table(data, columns) {
    write("log", typeof data === "object" && data !== null ? table(data, columns) : format([data]));
  },
  assert(condition, ...values) {
    if (condition) return;
    const text = format(values);
    write("error", text === "" ? "Assertion failed" : "Assertion failed: " + text);
  },
  count(label = "default") {
    const name = String(label);
    const count = (mapGet(counts, name) ?? 0) + 1;
    mapSet(counts, name, count);
    write("log", name + ": " + count);
  },
  countReset(label = "default") {
    mapDelete(counts, String(label));
  },
  group(...values) {
    openGroup(values);
  },
  groupCollapsed(...values) {
    openGroup(values);
  },
  groupEnd() {
    indent = slice(indent, 2);
  },
  // Time is the run's: it stands still while the program computes and moves on when a call or a timer settles.
  time(label = "default") {
    mapSet(timers, String(label), now());
  },
  timeLog(label = "default", ...values) {
    const name = String(label);
    if (!mapHas(timers, name)) noTimer(name);
    else write("log", values.length > 0 ? elapsed(name) + " " + format(values) : elapsed(name));
  },
  timeEnd(label = "default") {
    const name = String(label);
    if (!mapHas(timers, name)) return noTimer(name);
    write("log", elapsed(name));
    mapDelete(timers, name);
  },
  clear() {},
};

Object.defineProperty(console, Symbol.toStringTag, record({ value: "console", configurable: true }));
defineHidden(globalThis, "console", console);
