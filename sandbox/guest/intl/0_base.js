// What every service of `Intl` is made from: tables, locale tags, options, classes.
//
// These files are evaluated at the first touch of `Intl` or of a toLocale... method, in a realm of their own, whose builtins
// no program can reach or replace. What a program gets from here has the prototypes of its own realm (`out`, `fail`).

const realm = native.realm; // the prototypes of the program's Object, Array, Function, errors and primitives

const tables = native.json(0);
const cache = new Map();

function piece(n) {
  if (!cache.has(n)) cache.set(n, native.json(n));
  return cache.get(n);
}

// ToString, for which a symbol is a TypeError.
const textOf = (value) => `${value}`;

// --- values that leave this realm ---

function out(value) {
  if (Array.isArray(value)) {
    value.forEach(out);
    return Object.setPrototypeOf(value, realm.Array);
  }
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(out);
    return Object.setPrototypeOf(value, realm.Object);
  }
  return value;
}

// An error of the program's realm, for `throw`.
function fail(kind, message) {
  return Object.setPrototypeOf(new { RangeError, TypeError }[kind](message), realm[kind]);
}

const refuse = (message, advice) => fail("RangeError", message + " is not carried in this environment: " + advice);

// Runs a method; an error that the engine made in this realm gets the prototype of the program's.
function guarded(f, self, values) {
  try {
    return f.apply(self, values);
  } catch (error) {
    if (error instanceof TypeError) Object.setPrototypeOf(error, realm.TypeError);
    else if (error instanceof RangeError) Object.setPrototypeOf(error, realm.RangeError);
    else if (error instanceof Error) Object.setPrototypeOf(error, realm.Error);
    throw error;
  }
}

// A method that intl.c calls: with the receiver as its first argument.
const entry = (f) => (...values) => guarded(f, undefined, values);

function shared(name, length, f) {
  const method = { [name](...values) { return guarded(f, this, values); } }[name];
  Object.defineProperty(method, "length", { value: length });
  return Object.setPrototypeOf(method, realm.Function);
}

function define(target, key, value) {
  Object.defineProperty(target, key, { value, writable: true, enumerable: false, configurable: true });
}

// Intl.<name>. `make(locales, options)` returns the state of an instance; `methods` get it as their first argument, and so
// do `getters`. Names with a plain function among `statics` are on the constructor.
function service(name, { make, methods = {}, getters = {}, statics = {}, length = 0, callable = false }) {
  const states = new WeakMap();
  const constructor = {
    [name]: function (...values) {
      if (new.target === undefined && !callable) throw fail("TypeError", "Constructor Intl." + name + " requires 'new'");
      const self = new.target === undefined ? Object.create(prototype) : this;
      states.set(self, guarded(make, undefined, values));
      return self;
    },
  }[name];
  const { prototype } = constructor;
  Object.setPrototypeOf(constructor, realm.Function);
  Object.setPrototypeOf(prototype, realm.Object);
  Object.defineProperty(constructor, "length", { value: length });
  Object.defineProperty(constructor, "prototype", { writable: false });
  define(prototype, "constructor", constructor);
  Object.defineProperty(prototype, Symbol.toStringTag, { value: "Intl." + name, configurable: true });
  const state = (self, member) => {
    const found = Object(self) === self ? states.get(self) : undefined;
    if (found) return found;
    throw fail("TypeError", "Method Intl." + name + ".prototype." + member + " called on incompatible receiver");
  };
  for (const [key, f] of Object.entries(methods)) {
    define(prototype, key, shared(key, f.arity ?? f.length - 1, function (...values) {
      const value = f(state(this, key), ...values);
      return f.raw ? value : out(value);
    }));
  }
  for (const [key, f] of Object.entries(getters)) {
    const get = shared("get " + key, 0, function () { return f(state(this, key)); });
    Object.defineProperty(prototype, key, { get, enumerable: false, configurable: true });
  }
  for (const [key, f] of Object.entries(statics)) {
    define(constructor, key, shared(key, f.arity ?? f.length, (...values) => out(f(...values))));
  }
  define(native.intl, name, constructor);
  return (value) => (Object(value) === value ? states.get(value) : undefined);
}

// Marks a method whose value has the right prototypes already.
const raw = (f) => Object.assign(f, { raw: true });

// A getter such as NumberFormat.prototype.format: a function bound to its object, made once.
function bound(key, length, f) {
  return (state) => (state[key] ??= shared("", length, (...values) => f(state, ...values)));
}

// --- locale tags (RFC 5646, and UTS 35 for the extension -u) ---

const LANGUAGES = { iw: "he", in: "id", ji: "yi", jw: "jv", mo: "ro", sh: "sr-Latn", tl: "fil", cmn: "zh" };
const TAG = /^([a-z]{2,3}|[a-z]{5,8})(?:-([a-z]{4}))?(?:-([a-z]{2}|\d{3}))?((?:-(?:[a-z\d]{5,8}|\d[a-z\d]{3}))*)((?:-[a-wyz\d](?:-[a-z\d]{2,8})+)*)(-x(?:-[a-z\d]{1,8})+)?$/;

function parseTag(text) {
  const match = TAG.exec(text.toLowerCase());
  const bad = () => fail("RangeError", "Incorrect locale information provided: " + text.slice(0, 100));
  if (!match) throw bad();
  const [, language, script, region, variants, extensions, privateUse] = match;
  const parsed = { language, script, region, variants: variants.split("-").slice(1).sort(), keywords: new Map(), others: [] };
  if (new Set(parsed.variants).size < parsed.variants.length) throw bad();
  if (script) parsed.script = script[0].toUpperCase() + script.slice(1);
  if (region) parsed.region = region.toUpperCase();
  const alias = Object.hasOwn(LANGUAGES, language) ? LANGUAGES[language].split("-") : [language];
  parsed.language = alias[0];
  parsed.script ??= alias[1];
  const singletons = new Set();
  for (const extension of extensions.split(/-(?=[a-z\d](?:-|$))/).slice(1)) {
    if (singletons.has(extension[0])) throw bad();
    singletons.add(extension[0]);
    if (extension[0] !== "u") parsed.others.push(extension);
    else parseKeywords(extension.split("-").slice(1), parsed);
  }
  if (privateUse) parsed.privateUse = privateUse.slice(1);
  return parsed;
}

function parseKeywords(parts, parsed) {
  let key;
  parsed.attributes = [];
  for (const part of parts) {
    if (part.length === 2) {
      key = parsed.keywords.has(part) ? "" : part;
      if (key) parsed.keywords.set(key, "");
    } else if (key === undefined) {
      parsed.attributes.push(part);
    } else if (key) {
      const before = parsed.keywords.get(key);
      parsed.keywords.set(key, before ? before + "-" + part : part);
    }
  }
  for (const [k, value] of parsed.keywords) if (value === "true" || value === "yes") parsed.keywords.set(k, "");
}

const baseName = (p) => [p.language, p.script, p.region, ...p.variants].filter(Boolean).join("-");

function tagText(p, keywords = p.keywords) {
  const pairs = [...keywords].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => (v ? k + "-" + v : k));
  const unicode = [...(p.attributes ?? []), ...pairs];
  const extensions = [...p.others, ...(unicode.length ? ["u-" + unicode.join("-")] : [])].sort();
  return [baseName(p), ...extensions, p.privateUse].filter(Boolean).join("-");
}

// CanonicalizeLocaleList (ECMA-402, 9.2.1).
function canonicalLocales(locales) {
  if (locales === undefined) return [];
  if (locales === null) throw fail("TypeError", "Cannot convert undefined or null to object");
  const list = typeof locales === "string" || native.localeOf?.(locales) ? [locales] : Object(locales);
  const found = [];
  for (let i = 0, size = Math.min(Number(list.length) || 0, 1e4); i < size; i++) {
    if (!(i in list)) continue;
    const item = list[i];
    if (typeof item !== "string" && (typeof item !== "object" || item === null)) {
      throw fail("TypeError", "Incorrect locale information provided");
    }
    const tag = tagText(parseTag(native.localeOf?.(item)?.text ?? textOf(item)));
    if (!found.includes(tag)) found.push(tag);
  }
  return found;
}

const instead = 'write "en-US", or another region of English ("en-GB"; "en-CA" for YYYY-MM-DD), or one of ' +
  Object.keys(tables.locales).filter((name) => name !== "en").join(", ") + "; or put the text together yourself";

// The carried locale for a tag; undefined where its language or its region is not carried: another one's values are others.
function carried({ language, script, region }) {
  if ((script ?? "Latn") !== "Latn" || !Object.hasOwn(tables.locales, language)) return undefined;
  if (!region) return language;
  const name = language + "-" + region;
  return tables.locales[language][3].split(" ").includes(name) ? name : undefined;
}

// The locale of a service: {name, keywords, data, isDefault}. The first requested one decides: to pass over one that is not carried
// would give values of another language.
function resolve(locales, keys = []) {
  // A word of five letters and more is no language anywhere: `toLocaleString("default", ...)` means the default one.
  const [asked] = canonicalLocales(locales).filter((tag) => !/^(und|[a-z]{5,8})(-|$)/.test(tag));
  const first = asked ?? "en-US";
  const parsed = parseTag(first);
  const name = carried(parsed);
  if (name === undefined) throw refuse('the locale "' + first.slice(0, 100) + '"', instead);
  const keywords = new Map([...parsed.keywords].filter(([key]) => keys.includes(key)));
  return { name, keywords, data: localeData(name), isDefault: asked === undefined };
}

function localeData(name) {
  if (!cache.has(name)) {
    const [language] = name.split("-");
    const [base, , regions] = tables.locales[language];
    let data;
    if (name === language) {
      data = piece(base);
    } else {
      const text = native.piece(regions);
      const from = text.indexOf("\n" + name + "\t") + name.length + 2;
      const own = JSON.parse(text.slice(from, text.indexOf("\n", from)));
      data = laidOver(localeData(own.parent), own);
      data.changes = [...(localeData(own.parent).changes ?? []), own]; // of its parents first
    }
    cache.set(name, data);
  }
  return cache.get(name);
}

// One of the long lists of names, which only English has: undefined for other languages.
function names(data, name, list) {
  let found = piece(tables.locales[name.split("-")[0]][1])[list];
  if (!found || !data.changes) return found;
  const key = name + "/" + list;
  if (!cache.has(key)) {
    for (const change of data.changes) if (change[list]) found = laidOver(found, change[list]);
    cache.set(key, found);
  }
  return cache.get(key);
}

function laidOver(below, own) {
  const merged = { ...below };
  for (const [key, value] of Object.entries(own)) {
    if (value === null) delete merged[key];
    else if (typeof value === "object" && !Array.isArray(value)) merged[key] = laidOver(below[key] ?? {}, value);
    else merged[key] = value;
  }
  return merged;
}

function supportedLocalesOf(locales, options) {
  if (options !== undefined) option(object(options), "localeMatcher", "string", ["lookup", "best fit"]);
  return canonicalLocales(locales).filter((tag) => carried(parseTag(tag)) !== undefined);
}
supportedLocalesOf.arity = 1;

// --- options ---

const none = Object.freeze({ __proto__: null });

function object(options) {
  if (options === undefined) return none;
  if (options === null) throw fail("TypeError", "Cannot convert undefined or null to object");
  return Object(options);
}

// GetOption (ECMA-402, 9.2.10).
function option(options, key, type, values, fallback) {
  let value = options[key];
  if (value === undefined) return fallback;
  value = type === "boolean" ? Boolean(value) : textOf(value);
  if (values && !values.includes(value)) {
    throw fail("RangeError", "Value " + value.slice(0, 100) + " out of range for Intl options property " + key);
  }
  return value;
}

function numberOption(options, key, low, high, fallback) {
  const value = options[key];
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!(number >= low && number <= high)) throw fail("RangeError", key + " value is out of range.");
  return Math.floor(number);
}

// The numbering system and the calendar are those of every carried locale; another one is refused.
function onlyPlain(options, keywords, key) {
  const [name, only] = key === "calendar" ? ["ca", "gregory"] : ["nu", "latn"];
  const value = options[key] === undefined ? keywords.get(name) : textOf(options[key]).toLowerCase();
  if (!value || value === only) return;
  if (!/^[a-z\d]{3,8}(-[a-z\d]{3,8})*$/.test(value)) throw fail("RangeError", "Invalid " + key + " : " + value.slice(0, 100));
  throw refuse("the " + key + ' "' + value.slice(0, 100) + '"', 'leave it out (it is "' + only + '")');
}

native.base = {
  textOf, tables, piece, out, fail, refuse, shared, define, service, bound, raw, guarded, entry, parseTag, baseName, tagText, canonicalLocales,
  carried, resolve, localeData, names, supportedLocalesOf, object, option, numberOption, none, instead, realm, onlyPlain,
};
