// The servers with their states and tools. The filter is the search that programs have, so it shows what an agent finds.

import * as api from "./api.js";
import { find, make } from "./dom.js";

const STATE = { ready: "ready", waiting: "connecting", stale: "not answering now", error: "failed" };
const OPEN_UP_TO = 40;

export class Tools {
  constructor(insert) {
    this._insert = insert;
    this._servers = [];
    this._asked = null;
    this._timer = 0;
    find("filter").addEventListener("input", () => {
      clearTimeout(this._timer);
      this._timer = setTimeout(() => this._filter(), 120);
    });
    find("filter").addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") find("servers").querySelector("button")?.focus();
    });
    find("servers").addEventListener("keydown", (event) => this._move(event));
  }

  show(servers) {
    this._servers = servers;
    if (!find("filter").value.trim()) this._showServers();
  }

  _showServers() {
    const total = this._servers.reduce((sum, server) => sum + server.tools.length, 0);
    const closed = new Set([...find("servers").querySelectorAll("details:not([open])")].map((one) => one.dataset.id));
    find("servers").replaceChildren(
      ...this._servers.map((server) => this._server(server, total <= OPEN_UP_TO && !closed.has(server.id))),
    );
    if (!this._servers.length) find("servers").append(make("p", { class: "dim" }, "No server is configured."));
  }

  _server(server, open) {
    const state = STATE[server.state] ?? server.state;
    const line = make(
      "summary",
      {},
      make("span", { class: "dot", role: "img", "aria-label": state, title: state }),
      make("b", {}, server.identifier),
      make("span", { class: "count" }, server.tools.length ? String(server.tools.length) : state),
    );
    const element = make("details", { class: "server", open, "data-state": server.state, "data-id": server.id }, line);
    if (server.reason) element.append(make("p", { class: "reason" }, server.reason));
    const fill = () => {
      if (element.open && !element.querySelector("ul")) {
        element.append(make("ul", {}, ...server.tools.map((tool) => this._tool(tool, tool.name))));
      }
    };
    element.addEventListener("toggle", fill);
    fill();
    return element;
  }

  _tool(tool, name) {
    const about = tool.description ?? "";
    const title = `${tool.signature ?? ""}\n\n${about}`.trim();
    const button = make(
      "button",
      { type: "button", title, click: () => this._insert(tool.path) },
      make("code", {}, name),
      about && make("small", {}, about),
    );
    return make("li", {}, button);
  }

  async _filter() {
    const query = find("filter").value.trim();
    this._asked?.abort();
    if (!query) return this._showServers();
    const asked = (this._asked = new AbortController());
    try {
      const found = await api.search(query, asked.signal);
      const heading = make("p", { class: "dim" }, `${found.length} found by codemode.search`);
      find("servers").replaceChildren(heading, make("ul", {}, ...found.map((tool) => this._tool(tool, tool.path))));
    } catch (error) {
      if (!asked.signal.aborted) find("servers").replaceChildren(make("p", { class: "reason" }, error.message));
    }
  }

  _move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const all = [...find("servers").querySelectorAll("summary, details[open] li button, #servers > ul button")];
    const next = all.indexOf(document.activeElement) + step;
    event.preventDefault();
    if (next < 0) find("filter").focus();
    else all[next]?.focus();
  }
}
