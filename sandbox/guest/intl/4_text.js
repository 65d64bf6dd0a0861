// Intl.Collator, the methods of strings and lists, and the services about text: ListFormat, RelativeTimeFormat, Segmenter.

const {
  tables, names, out, fail, refuse, define, shared, service, bound, guarded, entry, raw, resolve, parseTag, carried, canonicalLocales, supportedLocalesOf,
  object, option, realm, tagText, baseName,
textOf,
} = native.base;
const { numberState, formatNumber, joined, kept, category, rounded, toDecimal, UNITS } = native.number;

// --- Collator ---

// The languages, with their exceptions, whose order is that of CLDR's root.
const ROOT_ORDER = /^(en|de|fr(?!-CA)|it|nl|pt)(-|$)/;
const FLAGS = { base: 0, accent: 1, case: 2, variant: 5 };

function collatorState(locales, given) {
  const options = object(given);
  const { name, keywords } = resolve(locales, ["co", "kn", "kf"]);
  if (!ROOT_ORDER.test(name)) throw refuse("the order of characters in " + name, 'use the order of "en", or compare with < and >');
  const usage = option(options, "usage", "string", ["sort", "search"], "sort");
  option(options, "localeMatcher", "string", ["lookup", "best fit"]);
  const collation = option(options, "collation", "string") ?? keywords.get("co");
  if (collation && !["default", "standard", "eor", "emoji"].includes(collation)) throw refuse('the collation "' + collation.slice(0, 100) + '"', "leave it out");
  if (collation === "eor" || collation === "emoji") throw refuse('the collation "' + collation + '"', "leave it out");
  if (usage === "search") throw refuse('usage "search"', 'leave it out, with sensitivity "base" or "accent"');
  const numeric = option(options, "numeric", "boolean") ?? (keywords.has("kn") ? keywords.get("kn") !== "false" : false);
  const tagged = ["upper", "lower", "false"].includes(keywords.get("kf")) ? keywords.get("kf") : undefined;
  const caseFirst = option(options, "caseFirst", "string", ["upper", "lower", "false"]) ?? tagged ?? "false";
  const sensitivity = option(options, "sensitivity", "string", ["base", "accent", "case", "variant"], "variant");
  const ignorePunctuation = option(options, "ignorePunctuation", "boolean", undefined, false);
  let flags = FLAGS[sensitivity];
  if (numeric) flags |= 8;
  if (caseFirst === "upper") flags |= 16;
  if (caseFirst === "lower") flags |= 32;
  if (ignorePunctuation) flags |= 64;
  const shownKeys = [...keywords].filter(([key]) => (key === "kn" && options.numeric === undefined) || (key === "kf" && tagged && options.caseFirst === undefined)).sort();
  const locale = (name === "en-US" ? name : name.split("-")[0]) + (shownKeys.length ? "-u-" + shownKeys.map(([k, v]) => (v ? k + "-" + v : k)).join("-") : "");
  return { flags, shown: { locale, usage, sensitivity, ignorePunctuation, collation: "default", numeric, caseFirst } };
}

service("Collator", {
  callable: true,
  make: collatorState,
  getters: { compare: bound("compare", 2, (state, x, y) => compare(state, x, y)) },
  methods: { resolvedOptions: (state) => ({ ...state.shown }) },
  statics: { supportedLocalesOf },
});

const compare = (state, x, y) => native.compare(textOf(x), textOf(y), state.flags);

native.methods.compare = (self, that, locales, options) => guarded(() => {
  const [x, y] = [textOf(self), textOf(that)];
  return compare(kept("collator", locales, options, collatorState), x, y);
}, undefined, []);

// --- Array, String ---

// Array.prototype.toLocaleString (ECMA-402, 20.5.1): a list within itself is empty text, as everywhere.
const open = [];
const PRIMITIVES = { number: "Number", string: "String", boolean: "Boolean", bigint: "BigInt", symbol: "Symbol" };
native.methods.list = entry((self, locales, options) => {
  const list = Object(self);
  if (self === undefined || self === null) throw fail("TypeError", "Cannot convert undefined or null to object");
  if (open.includes(list)) return "";
  open.push(list);
  try {
    let text = "";
    const size = Math.min(Math.max(Math.trunc(Number(list.length)) || 0, 0), Number.MAX_SAFE_INTEGER);
    for (let i = 0; i < size; i++) {
      if (i > 0) text += ",";
      const item = list[i];
      if (item === undefined || item === null) continue;
      // A primitive has the methods of the program's realm, not of this one.
      const holder = Object(item) === item ? item : realm[PRIMITIVES[typeof item]];
      const method = Reflect.get(holder, "toLocaleString", item);
      if (typeof method !== "function") throw fail("TypeError", "toLocaleString is not a function");
      text += textOf(Reflect.apply(method, item, [locales, options]));
    }
    return text;
  } finally {
    open.pop();
  }
});

// The languages with letters of their own: Turkish and Azeri are carried, Lithuanian and Greek have longer rules.
function cased(self, locales, turkish, usual, refused) {
  if (self === undefined || self === null) throw fail("TypeError", "String.prototype method called on null or undefined");
  const text = textOf(self);
  const [tag = "en"] = canonicalLocales(locales);
  const { language } = parseTag(tag);
  if (language === "tr" || language === "az") return turkish(text);
  if (refused[language]?.test(text)) throw refuse("changing the case of this text in " + language, "use toUpperCase() or toLowerCase()");
  return usual(text);
}

native.methods.upper = entry((self, locales) => cased(
  self, locales, (text) => text.replaceAll("i", "\u0130").toUpperCase(), (text) => text.toUpperCase(),
  { lt: /\u0307/, el: /[^\0-\u02ff]/, hy: /\u0587/ }));
native.methods.lower = entry((self, locales) => cased(
  self, locales, (text) => text.replace(/\u0130|I\u0307/g, "i").replaceAll("I", "\u0131").toLowerCase(), (text) => text.toLowerCase(),
  { lt: /[\u00cc\u00cd\u0128]|[IJ\u012e][\u0300-\u036f]/ }));

// --- ListFormat ---

function stringList(list) {
  if (list === undefined) return [];
  const found = [];
  for (const item of list) {
    if (typeof item !== "string") throw fail("TypeError", "Iterable yielded " + typeof item + " which is not a string");
    found.push(item);
  }
  return found;
}

function listParts({ patterns }, items) {
  const element = (value) => ({ type: "element", value });
  if (items.length === 0) return [];
  let parts = [element(items.at(-1))];
  for (let i = items.length - 2; i >= 0; i--) {
    const pattern = patterns[items.length === 2 ? 3 : i === 0 ? 0 : i === items.length - 2 ? 2 : 1];
    const chosen = items.length > 2 && i === items.length - 2 ? patterns[2] : pattern;
    const [, before, between, after] = /^(.*)\{0\}(.*)\{1\}(.*)$/s.exec(chosen);
    parts = [before, element(items[i]), between, ...parts, after].filter((part) => part !== "")
      .map((part) => (typeof part === "string" ? { type: "literal", value: part } : part));
  }
  return parts;
}

service("ListFormat", {
  make(locales, given) {
    if (given !== undefined && Object(given) !== given) throw fail("TypeError", "Incorrect options: not an object");
    const options = object(given);
    const { name, data } = resolve(locales);
    option(options, "localeMatcher", "string", ["lookup", "best fit"]);
    const type = option(options, "type", "string", ["conjunction", "disjunction", "unit"], "conjunction");
    const style = option(options, "style", "string", ["long", "short", "narrow"], "long");
    if (/^es(-|$)/.test(name) && type !== "unit") throw refuse("Intl.ListFormat in Spanish (y, e, o, u)", "join the list yourself");
    if (/^it(-|$)/.test(name) && type === "disjunction") throw refuse("Intl.ListFormat with \"disjunction\" in Italian", "join the list yourself");
    const key = { conjunction: "standard", disjunction: "or", unit: "unit" }[type] + (style === "long" ? "" : "-" + style);
    return { patterns: data.lists[key], shown: { locale: name, type, style } };
  },
  methods: {
    format: (state, list) => joined(listParts(state, stringList(list))),
    formatToParts: (state, list) => listParts(state, stringList(list)),
    resolvedOptions: (state) => ({ ...state.shown }),
  },
  statics: { supportedLocalesOf },
});

// --- RelativeTimeFormat ---

const PERIODS = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];

const DAYS = ["yesterday", "today", "tomorrow"];
const SHORT = { year: "yr.", quarter: "qtr.", month: "mo.", week: "wk." };

// "yesterday", "next month" and the like, which are carried in English. As in ICU a hundredth decides.
function wordFor({ name, data, style }, number, unit) {
  const near = Math.abs(number) < 2.1 ? Math.trunc(number * 100 + (number < 0 ? -0.5 : 0.5)) / 100 : NaN;
  if (!Number.isInteger(near)) return undefined;
  if (!name.startsWith("en")) throw refuse('numeric "auto" in ' + name, 'use numeric "always", or write the word yourself');
  if (Math.abs(near) > 1) return undefined;
  if (unit === "day") return DAYS[near + 1];
  if (near === 0 && unit === "second") return "now";
  if (near !== 0 && /second|minute|hour/.test(unit)) return undefined;
  const short = style !== "long" && SHORT[unit];
  const dotted = unit === "quarter" || data.relative["week-short"][0].other.includes("wk.");
  return ["last ", "this ", "next "][near + 1] + (short ? (dotted ? short : short.slice(0, -1)) : unit);
}

function relativeParts(state, value, unit) {
  const number = Number(value);
  const singular = textOf(unit).replace(/s$/, "");
  if (!PERIODS.includes(singular)) throw fail("RangeError", "Invalid unit argument for format() '" + String(unit).slice(0, 100) + "'");
  if (!Number.isFinite(number)) throw fail("RangeError", "Invalid number value for Intl.RelativeTimeFormat");
  const { data, style, numeric } = state;
  const [past, future] = data.relative[singular + (style === "long" ? "" : "-" + style)];
  const word = numeric === "auto" ? wordFor(state, number, singular) : undefined;
  if (word !== undefined) return [{ type: "literal", value: word }];
  const size = Math.abs(number);
  const shown = rounded(toDecimal(size), state.numbers.digits);
  const forms = number < 0 || Object.is(number, -0) ? past : future;
  const pattern = forms[category(data.plural, shown.number, shown.least)] ?? forms.other;
  const [before, after] = pattern.split("{0}");
  const parts = formatNumber(state.numbers, size).map((part) => ({ ...part, unit: singular }));
  if (after === undefined) return [{ type: "literal", value: before }];
  return [{ type: "literal", value: before }, ...parts, { type: "literal", value: after }].filter((part) => part.value !== "");
}

service("RelativeTimeFormat", {
  make(locales, given) {
    const options = object(given);
    const { name, data } = resolve(locales, ["nu"]);
    option(options, "localeMatcher", "string", ["lookup", "best fit"]);
    const style = option(options, "style", "string", ["long", "short", "narrow"], "long");
    const numeric = option(options, "numeric", "string", ["always", "auto"], "always");
    if (style !== "long" && !name.startsWith("en")) throw refuse('style "' + style + '" in ' + name, 'use style "long"');
    const numbers = numberState(name, { roundingMode: "halfEven" }); // as V8 rounds here
    return { data, name, style, numeric, numbers, shown: { locale: name, style, numeric, numberingSystem: "latn" } };
  },
  methods: {
    format: (state, value, unit) => joined(relativeParts(state, value, unit)),
    formatToParts: (state, value, unit) => relativeParts(state, value, unit),
    resolvedOptions: (state) => ({ ...state.shown }),
  },
  statics: { supportedLocalesOf },
});

// --- Segmenter ---

// Extended grapheme clusters (Unicode, UAX 29), by the properties that regular expressions know.
const PREPEND = "\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u0d4e\\u{110bd}\\u{110cd}\\u{111c2}\\u{111c3}\\u{113d1}\\u{1193f}\\u{11941}\\u{11a3a}\\u{11a84}-\\u{11a89}\\u{11d46}\\u{11f02}";
const EXTEND = "(?:[\\p{Grapheme_Extend}\\p{Emoji_Modifier}\\u200d])";
const CONTROL = "[\\p{Zl}\\p{Zp}\\p{Cc}\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff0-\\ufffb\\u{13430}-\\u{1343f}\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e001f}\\u{e0080}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}\\p{Cs}]";
const SPACING = "[\\p{Mc}\\u0e33\\u0eb3]";
const HANGUL = "(?:[\\u1100-\\u115f\\ua960-\\ua97c]*(?:[\\uac00-\\ud7a3][\\u1160-\\u11a7\\ud7b0-\\ud7c6]*|[\\u1160-\\u11a7\\ud7b0-\\ud7c6]+)[\\u11a8-\\u11ff\\ud7cb-\\ud7fb]*|[\\u1100-\\u115f\\ua960-\\ua97c]+|[\\u11a8-\\u11ff\\ud7cb-\\ud7fb]+)";
const EMOJI = "\\p{Extended_Pictographic}(?:[\\p{Grapheme_Extend}\\p{Emoji_Modifier}]*\\u200d\\p{Extended_Pictographic})*";
const CLUSTER = "\\r\\n|" + CONTROL + "|[" + PREPEND + "]*(?:" + HANGUL + "|\\p{RI}\\p{RI}|" + EMOJI + "|(?!" + CONTROL + ").)(?:" + EXTEND + "|" + SPACING + ")*|.";
// Scripts whose clusters have rules of their own: conjuncts, and vowels that are spacing marks only in part.
const BRAHMIC = /[\u0900-\u0dff\u0f00-\u109f\u1780-\u17ff\u1900-\u1cff\ua800-\uabff\u{11000}-\u{11fff}]/u;

let cluster;

function* clusters(text) {
  if (BRAHMIC.test(text)) {
    throw refuse("segmentation of Indic and other Brahmic scripts", "use Array.from(text), which gives code points");
  }
  cluster ??= new RegExp(CLUSTER, "gsu");
  for (let at = 0; at < text.length; ) {
    cluster.lastIndex = at;
    const [segment] = cluster.exec(text);
    yield { segment, index: at, input: text };
    at += segment.length;
  }
}

// Words (UAX 29) of scripts that write spaces between them.
const NO_SPACES = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const MARKS = "[\\p{Grapheme_Extend}\\p{Mc}\\p{Cf}\\p{Emoji_Modifier}]*";
const LETTER = "(?:[\\p{Alphabetic}--[\\p{Ideographic}\\p{M}]]" + MARKS + ")";
const NUMBER = "(?:\\p{Nd}" + MARKS + ")";
const JOINER = "(?:[_\\p{Pc}\\u202f]" + MARKS + ")";
const WORD = "\\r\\n|[\\n\\r\\v\\f\\x85\\u2028\\u2029]|\\p{RI}" + MARKS + "(?:\\p{RI}" + MARKS + ")?|" +
  "(?:" + JOINER + "*(?:" + LETTER + "|" + NUMBER + ")(?:" + LETTER + "|" + NUMBER + "|" + JOINER + "|" +
  "(?<=[\\p{Alphabetic}]" + MARKS + ")['.\\u2018\\u2019\\u2024\\ufe52\\uff07\\uff0e:\\xb7\\u0387\\u055f\\u05f4\\u2027\\ufe13\\ufe55\\uff1a]" + MARKS + "(?=\\p{Alphabetic})|" +
  "(?<=\\p{Nd}" + MARKS + ")['.,;\\u2018\\u2019\\u2024\\ufe52\\uff07\\uff0e\\u037e\\u0589\\u060c\\u060d\\u066c\\u07f8\\u2044\\ufe10\\ufe14\\ufe50\\ufe54\\uff0c\\uff1b]" + MARKS + "(?=\\p{Nd}))*" +
  "|" + JOINER + "+)|" + EMOJI + MARKS + "| +" + MARKS + "|(?:.)" + MARKS;

let word;

function* words(text) {
  if (NO_SPACES.test(text) || BRAHMIC.test(text)) {
    throw refuse("segmentation into words of a script without spaces", 'use granularity "grapheme"');
  }
  word ??= new RegExp(WORD, "gsv");
  for (let at = 0; at < text.length; ) {
    word.lastIndex = at;
    const [segment] = word.exec(text);
    yield { segment, index: at, input: text, isWordLike: /[\p{Alphabetic}\p{Nd}]/u.test(segment) };
    at += segment.length;
  }
}

const segmentsOf = new WeakMap();

const Segments = Object.setPrototypeOf({}, realm.Object);
define(Segments, "containing", shared("containing", 1, function (index) {
  const state = segmentsOf.get(this);
  if (!state) throw fail("TypeError", "containing called on incompatible receiver");
  const at = Math.trunc(Number(index)) || 0;
  if (at < 0 || at >= state.text.length) return undefined;
  for (const segment of state.make(state.text)) if (segment.index + segment.segment.length > at) return out(segment);
  return undefined;
}));

const SegmentIterator = Object.setPrototypeOf({}, realm.Object);
const iteratorsOf = new WeakMap();
define(SegmentIterator, "next", shared("next", 0, function () {
  const iterator = iteratorsOf.get(this);
  if (!iterator) throw fail("TypeError", "next called on incompatible receiver");
  const { value, done } = iterator.next();
  return Object.setPrototypeOf({ value: out(value), done }, realm.Object);
}));
define(SegmentIterator, Symbol.iterator, shared("[Symbol.iterator]", 0, function () { return this; }));
Object.defineProperty(SegmentIterator, Symbol.toStringTag, { value: "Segmenter String Iterator", configurable: true });

define(Segments, Symbol.iterator, shared("[Symbol.iterator]", 0, function () {
  const state = segmentsOf.get(this);
  if (!state) throw fail("TypeError", "not a Segments object");
  const iterator = Object.create(SegmentIterator);
  iteratorsOf.set(iterator, state.make(state.text));
  return iterator;
}));

service("Segmenter", {
  make(locales, given) {
    if (given !== undefined && Object(given) !== given) throw fail("TypeError", "Incorrect options: not an object");
    const options = object(given);
    const { name } = resolve(locales);
    option(options, "localeMatcher", "string", ["lookup", "best fit"]);
    const granularity = option(options, "granularity", "string", ["grapheme", "word", "sentence"], "grapheme");
    if (granularity === "sentence") throw refuse('granularity "sentence"', "split the text yourself: text.split(/(?<=[.!?])\\s+/)");
    return { make: granularity === "word" ? words : clusters, shown: { locale: name, granularity } };
  },
  methods: {
    segment: raw((state, text) => {
      const segments = Object.create(Segments);
      segmentsOf.set(segments, { make: state.make, text: textOf(text) });
      return segments;
    }),
    resolvedOptions: (state) => ({ ...state.shown }),
  },
  statics: { supportedLocalesOf },
});
