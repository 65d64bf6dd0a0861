// Shows a JSON value: rows of plain fields as a table, text unchanged, anything else as coloured JSON.

import { make } from "./dom.js";

const MOST_TOKENS = 6000;
const MOST_ROWS = 200;
const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function view(value) {
  if (typeof value === "string") return make("pre", { class: "text", tabindex: 0 }, value);
  const columns = columnsOf(value);
  return columns ? table(value, columns) : json(JSON.stringify(value, null, 2));
}

export function json(text) {
  const pre = make("pre", { class: "json", tabindex: 0 });
  let position = 0;
  let tokens = 0;
  for (const found of text.matchAll(TOKEN)) {
    if (++tokens > MOST_TOKENS) break;
    const [all, string, colon, word] = found;
    const kind = colon ? "key" : string ? "string" : word ? "word" : "number";
    const shown = colon ? string : all;
    pre.append(text.slice(position, found.index), make("span", { class: kind }, shown));
    position = found.index + shown.length;
  }
  pre.append(text.slice(position));
  return pre;
}

function columnsOf(value) {
  if (!Array.isArray(value) || value.length < 2) return null;
  if (!value.every((row) => row && typeof row === "object" && !Array.isArray(row))) return null;
  const columns = Object.keys(value[0]);
  if (columns.length < 1 || columns.length > 8) return null;
  const same = value.every((row) => {
    const names = Object.keys(row);
    return names.length === columns.length && names.every((name, at) => name === columns[at] && plain(row[name]));
  });
  return same ? columns : null;
}

const plain = (field) => field === null || (typeof field !== "object" && String(field).length <= 60);

function table(rows, columns) {
  const numeric = new Set(columns.filter((name) => rows.every((row) => row[name] === null || typeof row[name] === "number")));
  const cell = (name, tag, text, more) => make(tag, { ...more, class: numeric.has(name) ? "number" : undefined }, text);
  const head = make("tr", {}, ...columns.map((name) => cell(name, "th", name, { scope: "col" })));
  const body = rows
    .slice(0, MOST_ROWS)
    .map((row) => make("tr", {}, ...columns.map((name) => cell(name, "td", row[name] === null ? "–" : String(row[name])))));
  const shown = make("table", { class: "rows" }, make("thead", {}, head), make("tbody", {}, ...body));
  if (rows.length > MOST_ROWS) shown.append(make("caption", {}, `… and ${rows.length - MOST_ROWS} more rows`));
  return make("div", { class: "scroll", tabindex: 0 }, shown);
}
