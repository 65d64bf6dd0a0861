// Defines `codemode` inside the isolate. This is the body of `function (host)`. It is evaluated once, when an image is
// made; programs run later, in copies of that image. `define` gives it the names of a catalog: when the image is made,
// which is then that of one catalog, or at the start of each run. Nothing here decides about permissions: the host checks
// every call again, so a program that changes an object of this script fools only itself.
//
// Every isolate carries the names, so they are compact: sorted lines in blocks, and a bisection finds them.
//   servers: [[identifier, id, [block, ...]], ...]   block: "\nname\nalias\tname\n", about 64 lines; an id that is no
//                                                    property of `codemode` is the fourth element
//   shortcuts: {spelling: path or [path, ...]}       only those that `shortcut` would get wrong; several: ambiguous
//   signatures: {path: text}                         of a small catalog only; for a large one the host adds them
//   absent: [{server: reason}, {path: reason}]       what cannot be used now, by its spellings; each run has its own
"use strict";

const { call } = host;
const { Error, TypeError, Map, Set, Proxy, Object, Reflect, Symbol } = globalThis;
const { create, defineProperty } = Object;
const { apply, get: reflectGet, has: reflectHas, ownKeys, getOwnPropertyDescriptor } = Reflect;
const uncurry = Function.prototype.bind.bind(Function.prototype.call);
const indexOf = uncurry(String.prototype.indexOf);
const slice = uncurry(String.prototype.slice);
const split = uncurry(String.prototype.split);
const lower = uncurry(String.prototype.toLowerCase);
const mapGet = uncurry(Map.prototype.get);
const mapSet = uncurry(Map.prototype.set);
const setHas = uncurry(Set.prototype.has);
const push = uncurry(Array.prototype.push);
const sort = uncurry(Array.prototype.sort);
const join = uncurry(Array.prototype.join);
const then = uncurry(Promise.prototype.then);
const objectPrototype = Object.prototype;
const { toPrimitive } = Symbol;
const { isArray } = Array;
const { max: largest } = Math;
const { setPrototypeOf } = Object;

// --- names ---------------------------------------------------------------------------------------------------------

const servers = new Map();
const byId = new Map(); // servers by those ids that are not properties of `codemode`
const identifiers = [];
let data = { servers: [], shortcuts: {}, signatures: {} };
let absentServers = create(null);
let absentTools = create(null);

function setAbsent(names) {
  if (!names.absent) return;
  absentServers = setPrototypeOf(names.absent[0], null);
  absentTools = setPrototypeOf(names.absent[1], null);
}

function define(names) {
  data = names;
  setAbsent(names);
  setPrototypeOf(data.shortcuts, null);
  setPrototypeOf(data.signatures, null);
  for (let i = 0; i < data.servers.length; i++) {
    const [identifier, , blocks] = data.servers[i];
    push(identifiers, identifier);
    mapSet(servers, identifier, { identifier, blocks, functions: new Map(), proxy: undefined });
  }
  for (let i = 0; i < data.servers.length; i++) {
    const [identifier, id, , hidden] = data.servers[i];
    if (id && !mapGet(servers, id)) mapSet(servers, id, mapGet(servers, identifier));
    if (hidden !== undefined) mapSet(byId, hidden, mapGet(servers, identifier));
    if (functions[hidden]) {
      const server = mapGet(servers, identifier);
      const own = functions[hidden];
      // The functions of `codemode.runs` and `codemode.portal` stay, whatever the tools of a server with that id are called.
      const isOwn = (name) => spaces[hidden] !== undefined && reflectHas(spaces[hidden], name);
      functions[hidden] = withMembers(own, (name) => (isOwn(name) ? undefined : toolAt(server, name)));
    }
  }
  // Other environments call the tools `tools`.
  defineProperty(globalThis, "tools", {
    value: functions.tools, configurable: true, writable: true, enumerable: false,
  });
}

// The identifier of the tool that has this name on a server, or undefined.
function member(server, name) {
  const { blocks } = server;
  const key = "\n" + name + "\x0b"; // sorts after the lines of this name, and before every longer name
  let low = 0;
  let high = blocks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (blocks[middle] < key) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return undefined;
  const block = blocks[low - 1];
  if (indexOf(block, "\n" + name + "\n") >= 0) return name;
  const alias = indexOf(block, "\n" + name + "\t");
  if (alias < 0) return undefined;
  const start = alias + name.length + 2;
  return slice(block, start, indexOf(block, "\n", start));
}

function toolNames(server) {
  const names = [];
  for (let b = 0; b < server.blocks.length; b++) {
    const lines = split(server.blocks[b], "\n");
    for (let i = 0; i < lines.length; i++) {
      if (lines[i] !== "" && indexOf(lines[i], "\t") < 0) push(names, lines[i]);
    }
  }
  return names;
}

// The path that `server.tool` means: in identifiers, or, unless `exact`, in ids and raw names too.
function dotted(name, exact) {
  for (let at = indexOf(name, "."); at >= 0; at = indexOf(name, ".", at + 1)) {
    const prefix = slice(name, 0, at);
    const server = mapGet(servers, prefix) ?? (exact ? undefined : mapGet(byId, prefix));
    const tool = server && member(server, slice(name, at + 1));
    if (tool === undefined) continue;
    const path = server.identifier + "." + tool;
    if (!exact || path === name) return path;
  }
  return undefined;
}

// The paths for `server.tool` and `server_tool`, in identifiers or raw names, or for a bare name: one path, unless the
// name is ambiguous.
function shortcut(name) {
  const path = dotted(name, true);
  if (path !== undefined) return [path];
  if (reflectHas(data.shortcuts, name)) {
    const paths = data.shortcuts[name];
    return isArray(paths) ? paths : [paths];
  }
  for (let at = indexOf(name, "_"); at >= 0; at = indexOf(name, "_", at + 1)) {
    const server = mapGet(servers, slice(name, 0, at));
    const tool = server && member(server, slice(name, at + 1));
    if (tool !== undefined) return [server.identifier + "." + tool];
  }
  const paths = [];
  for (let i = 0; i < identifiers.length; i++) {
    const tool = member(mapGet(servers, identifiers[i]), name);
    if (tool !== undefined) push(paths, identifiers[i] + "." + tool);
  }
  const other = paths.length === 1 ? undefined : dotted(name, false);
  return other === undefined ? paths : [other];
}

// --- wrong names ---------------------------------------------------------------------------------------------------

const MOST_COMPARED = 5000;

function bigrams(text) {
  const plain = lower(text);
  const pairs = [];
  for (let i = 0; i + 1 < plain.length; i++) push(pairs, plain[i] + plain[i + 1]);
  return pairs;
}

// The likeness of short names. Bigrams find none between two that differ in the order of two letters.
function sharedLetters(one, other) {
  if (one.length > 6 || other.length > 6) return 0;
  let rest = lower(other);
  let same = 0;
  for (let i = 0; i < one.length; i++) {
    const at = indexOf(rest, lower(one[i]));
    if (at < 0) continue;
    same++;
    rest = slice(rest, 0, at) + slice(rest, at + 1);
  }
  const likeness = same / (one.length + other.length - same || 1);
  return likeness < 0.6 ? 0 : likeness;
}

function nearest(name, candidates) {
  const wanted = new Set(bigrams(name));
  const ranked = [];
  for (let i = 0; i < candidates.length; i++) {
    const [compared] = candidates[i];
    const pairs = bigrams(compared);
    let same = 0;
    for (let p = 0; p < pairs.length; p++) if (setHas(wanted, pairs[p])) same++;
    const score = largest((2 * same) / (wanted.size + pairs.length || 1), 0.9 * sharedLetters(name, compared));
    if (score >= 0.3) push(ranked, [score, candidates[i][1]]);
  }
  sort(ranked, (a, b) => b[0] - a[0] || (a[1] < b[1] ? -1 : 1));
  const best = [];
  for (let i = 0; i < ranked.length && i < 3; i++) {
    if (ranked[i][0] >= ranked[0][0] / 2) push(best, ranked[i][1]);
  }
  return best;
}

function candidatesOf(server, into) {
  const names = toolNames(server);
  for (let i = 0; i < names.length && into.length < MOST_COMPARED; i++) {
    push(into, [names[i], server.identifier + "." + names[i]]);
  }
  return into;
}

// The error for `codemode.<path>`. `verb` ends the sentence "codemode.<path> ..."; `otherwise` is for no suggestions.
function unknown(path, verb, suggestions, otherwise) {
  const reason = whyAbsent(path);
  if (reason !== undefined) {
    const because = "codemode." + path + " " + verb + ": " + reason + ".";
    report(because, path, [], true);
    return named(new Error(because), "UnknownToolError");
  }
  const lines = [];
  let signed = false;
  for (let i = 0; i < suggestions.length; i++) {
    const signature = data.signatures[suggestions[i]];
    if (signature) signed = true;
    push(lines, signature || "codemode." + suggestions[i]);
  }
  let message = "codemode." + path + " " + verb + ". ";
  if (lines.length) message += "Nearest:" + (signed ? "\n  " + join(lines, "\n  ") : " " + join(lines, ", "));
  else message += otherwise;
  report(message, path, suggestions, signed);
  return named(new Error(message), "UnknownToolError");
}

// Why the server or tool that a name means cannot be used now, or undefined.
function whyAbsent(name) {
  if (reflectHas(absentTools, name)) return absentTools[name];
  const dot = indexOf(name, ".");
  if (dot > 0 && mapGet(servers, slice(name, 0, dot))) return undefined;
  for (let at = 0; at <= name.length; at++) {
    const ends = at === name.length || name[at] === "." || name[at] === "_";
    if (ends && reflectHas(absentServers, slice(name, 0, at))) return absentServers[slice(name, 0, at)];
  }
  return undefined;
}

const MOST_REPORTS = 16;
let reports = 0;

// Name and message are all that leaves the isolate of an error, so the host gets the facts in a call that nobody awaits.
// It counts among the calls of the run: a program that tries many names spends only a few on this.
function report(message, path, suggestions, signed) {
  if (reports++ >= MOST_REPORTS) return;
  call("unknown", [slice(message, 0, 4096), slice(path, 0, 200), suggestions, signed]);
}

function named(error, name) {
  defineProperty(error, "name", { value: name, configurable: true, writable: true, enumerable: false });
  return error;
}

function unknownTool(server, name) {
  const path = member(server, lower(name));
  let suggestions = path === undefined ? [] : [server.identifier + "." + path];
  if (!suggestions.length) suggestions = nearest(name, candidatesOf(server, []));
  for (let i = 0; i < identifiers.length && suggestions.length < 3; i++) {
    const other = mapGet(servers, identifiers[i]);
    if (other !== server && member(other, name) !== undefined) push(suggestions, other.identifier + "." + name);
  }
  return unknown(server.identifier + "." + name, "does not exist", suggestions,
    "Nothing there is called like it: await codemode.search(\"what you need\", {server: \"" + server.identifier +
    "\"}) finds its tools.");
}

function unknownServer(name) {
  const candidates = [];
  for (let i = 0; i < identifiers.length; i++) push(candidates, [identifiers[i], identifiers[i]]);
  const similar = nearest(name, candidates);
  for (let i = 0; i < identifiers.length; i++) {
    const server = mapGet(servers, identifiers[i]);
    const own = toolNames(server);
    for (let t = 0; t < own.length && candidates.length < MOST_COMPARED; t++) {
      push(candidates, [own[t], identifiers[i] + "." + own[t]]);
      push(candidates, [identifiers[i] + "_" + own[t], identifiers[i] + "." + own[t]]);
    }
  }
  const suggestions = similar.length ? similar : [...new Set(nearest(name, candidates))];
  return unknown(name, "does not exist", suggestions,
    "The servers are: " + (join(identifiers, ", ") || "none") +
    "; await codemode.search(\"what you need\") finds tools.");
}

function ambiguous(name, paths) {
  return unknown(name, "means several tools and therefore does not exist", paths, "");
}

// --- the object a program sees -------------------------------------------------------------------------------------

function makeTool(path) {
  return function (input) {
    const count = arguments.length;
    if (count > 1 && arguments[count - 1] !== undefined) return call("arity", [path, count]);
    return call(path, input);
  };
}

function toolOf(server, tool) {
  let callable = mapGet(server.functions, tool);
  if (callable === undefined) {
    callable = makeTool(server.identifier + "." + tool);
    defineProperty(callable, "name", { value: tool, configurable: true });
    mapSet(server.functions, tool, callable);
  }
  return callable;
}

// The tool of a server by one of its names, or by its whole path; else undefined. What is read as `then` or `toJSON` may
// not be a function, so a tool with such a name has only its identifier.
function toolAt(server, name) {
  if (typeof name !== "string" || name === "then" || name === "toJSON") return undefined;
  const prefix = server.identifier + ".";
  const tool = member(server, name) ??
    (slice(name, 0, prefix.length) === prefix ? member(server, slice(name, prefix.length)) : undefined);
  return tool === undefined ? undefined : toolOf(server, tool);
}

// Names that the language itself reads (`then`, `toJSON`, those of Object.prototype) are absent or inherited, never wrong.
function inherited(name) {
  return typeof name === "symbol" || name === "then" || name === "toJSON" || reflectHas(objectPrototype, name);
}

const readOnly = {
  set: () => false,
  defineProperty: () => false,
  deleteProperty: () => false,
  setPrototypeOf: () => false,
  preventExtensions: () => false,
};

function descriptor(value) {
  return { value, enumerable: true, configurable: true, writable: false };
}

// The text of an object whose tools are called `toString` or `valueOf`: to show it must not call one.
const asText = (hint) => (hint === "number" ? NaN : "[object Object]");

function serverProxy(server) {
  return new Proxy(create(objectPrototype), {
    ...readOnly,
    get(target, name) {
      const tool = toolAt(server, name);
      if (tool !== undefined) return tool;
      if (name === toPrimitive && (member(server, "toString") ?? member(server, "valueOf"))) return asText;
      if (inherited(name)) return reflectGet(target, name);
      throw unknownTool(server, name);
    },
    has: (target, name) => toolAt(server, name) !== undefined || reflectHas(target, name),
    ownKeys: () => toolNames(server),
    getOwnPropertyDescriptor(target, name) {
      const tool = toolAt(server, name);
      return tool === undefined ? undefined : descriptor(tool);
    },
  });
}

const functions = create(null);
// As a key, what describes a tool is its path: codemode[found].
const withPaths = (described) => {
  for (let i = 0; isArray(described) && i < described.length; i++) {
    const one = described[i];
    if (isArray(one)) withPaths(one); // what search gives for one of several needs
    const path = typeof one === "object" && one !== null ? getOwnPropertyDescriptor(one, "path")?.value : undefined;
    if (typeof path === "string") defineProperty(one, toPrimitive, { value: () => path, configurable: true });
  }
  return described;
};
functions.search = (query, options) => then(call("search", [query, options]), withPaths);
functions.describe = (target, options) => call("describe", [target, options]);
functions.tools = (options) => then(call("tools", [options]), withPaths);
functions.emit = (block) => call("emit", [block]);
// Other environments run a step once and remember what it gave. Here the whole program goes on where it was.
functions.step = async (name, work) => {
  if (typeof work !== "function") throw new TypeError("codemode.step takes a name and a function");
  return work();
};
const functionNames = ["search", "describe", "tools", "emit", "step", "runs", "portal"];

// A function of `codemode` that has other properties too, which `find` returns and `list` names. `otherwise` throws for a
// name that is neither one of these nor a function's own.
function withMembers(own, find, otherwise, list) {
  return new Proxy(own, {
    ...readOnly,
    ownKeys: (target) => (list ? [...list()] : ownKeys(target)),
    getOwnPropertyDescriptor(target, name) {
      const value = typeof name !== "string" || inherited(name) ? undefined : find(name);
      return value === undefined ? getOwnPropertyDescriptor(target, name) : descriptor(value);
    },
    get(target, name) {
      const value = typeof name === "string" ? find(name) : undefined;
      if (value !== undefined) return value;
      if (name === toPrimitive && (find("toString") ?? find("valueOf"))) return asText;
      if (otherwise && !inherited(name) && !reflectHas(target, name)) otherwise(name);
      return reflectGet(target, name);
    },
    has: (target, name) =>
      reflectHas(target, name) || (typeof name === "string" && !inherited(name) && find(name) !== undefined),
  });
}

// Functions of `codemode` that belong together: `codemode.runs.result`.
const spaces = create(null);
function space(name, all, members) {
  const own = (spaces[name] = create(objectPrototype));
  for (let i = 0; i < members.length; i++) own[members[i]] = (id) => call(name + "." + members[i], [id]);
  functions[name] = withMembers(own, () => undefined, (wrong) => {
    throw unknown(name + "." + wrong, "does not exist", [], "codemode." + name + " has " + all + ".");
  });
}
space("runs", "result(id), list() and cancel(id)", ["result", "list", "cancel"]);
space("portal", "servers(), enable(id), disable(id) and connect(id)", ["servers", "enable", "disable", "connect"]);

// A server whose id is a name of the language's own, such as `toString`. Where a function has the name the value is called
// as that, and has the tools as its members.
function namesake(server, name) {
  if (server.namesake === undefined) {
    const own = name === "__proto__" || name === "then" || name === "toJSON" ? undefined : objectPrototype[name];
    const called = { call(...values) { return apply(own, this, values); } }.call;
    server.namesake = typeof own === "function" ? withMembers(called, (tool) => toolAt(server, tool)) : proxyOf(server);
  }
  return server.namesake;
}

function proxyOf(server) {
  return (server.proxy ??= serverProxy(server));
}

// The value of a property of `codemode`: a function, a server, a tool by one of its short names or its path, or undefined.
function property(name) {
  if (slice(name, 0, 9) === "codemode." && dotted(name, true) === undefined) name = slice(name, 9);
  if (functions[name]) return functions[name];
  const server = mapGet(servers, name);
  if (server) return proxyOf(server);
  if (mapGet(byId, name)) return namesake(mapGet(byId, name), name);
  if (inherited(name)) return undefined;
  const paths = shortcut(name);
  if (paths.length !== 1) return undefined;
  const dot = indexOf(paths[0], ".");
  return toolOf(mapGet(servers, slice(paths[0], 0, dot)), slice(paths[0], dot + 1));
}

const FOUND = "const [found] = await codemode.search(\"what you need\"); await codemode[found.path](input)";
// Keys that stand for a value that is no text.
const NO_NAMES = {
  __proto__: null,
  undefined: "The key is undefined. What search gives has path, signature and description: " + FOUND,
  null: "The key is null. Take a path that search gave: " + FOUND,
  "[object Object]": "The key is an object. Take its path: " + FOUND,
  "[object Promise]": "The key is a promise. Await it first: " + FOUND,
};

function absent(name) {
  const paths = shortcut(name);
  if (paths.length) throw ambiguous(name, paths);
  if (NO_NAMES[name] !== undefined) throw unknown(name, "does not exist", [], NO_NAMES[name]);
  const open = indexOf(name, "(");
  if (open > 0) { // a signature, or a call as a text
    const called = slice(name, slice(name, 0, 9) === "codemode." ? 9 : 0, open);
    if (dotted(called, true)) throw unknown(called + "(...)", "is a signature, not a path", [called], "");
  }
  const dot = indexOf(name, ".");
  const server = dot < 0 ? undefined : mapGet(servers, slice(name, 0, dot)) ?? mapGet(byId, slice(name, 0, dot));
  throw server ? unknownTool(server, slice(name, dot + 1)) : unknownServer(name);
}

functions.tools = withMembers(functions.tools, property, absent, () => identifiers);

const codemode = new Proxy(create(objectPrototype), {
  ...readOnly,
  get(target, name) {
    const value = typeof name === "string" ? property(name) : undefined;
    if (value !== undefined) return value;
    return inherited(name) ? reflectGet(target, name) : absent(name);
  },
  has: (target, name) => (typeof name === "string" && property(name) !== undefined) || reflectHas(target, name),
  ownKeys: () => [...identifiers, ...functionNames],
  getOwnPropertyDescriptor(target, name) {
    const value = typeof name === "string" ? property(name) : undefined;
    return value === undefined ? undefined : descriptor(value);
  },
});

// The host rejects a call with an Error named ToolError. This class makes `instanceof ToolError` and `new ToolError` work.
class ToolError extends Error {
  constructor(message, properties) {
    super(message);
    Object.assign(this, properties);
  }
  static [Symbol.hasInstance](value) {
    return value instanceof Error && value.name === "ToolError";
  }
}
defineProperty(ToolError.prototype, "name", { value: "ToolError", configurable: true, writable: true });

for (const [name, value] of [["codemode", codemode], ["ToolError", ToolError]]) {
  defineProperty(globalThis, name, { value, configurable: true, writable: true, enumerable: false });
}
