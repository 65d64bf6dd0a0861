// Intl.DateTimeFormat (ECMA-402, section 11; CLDR date patterns and their choice by skeleton, UTS 35 part 4).

const { out, entry, fail, refuse, shared, service, bound, resolve, supportedLocalesOf, object, option, numberOption, onlyPlain } = native.base;
const { findZone, offsetAt, zoneName } = native.zone;
const { kept } = native.number;

// --- patterns and skeletons ---

// A pattern as fields {letter, size} and literal strings.
const parsedPatterns = new Map();

function tokens(pattern) {
  let found = parsedPatterns.get(pattern);
  if (!found) {
    found = parse(pattern);
    parsedPatterns.set(pattern, found);
  }
  return found;
}

function parse(pattern) {
  const found = [];
  const literal = (text) => {
    if (typeof found.at(-1) === "string") found[found.length - 1] += text;
    else found.push(text);
  };
  for (let at = 0; at < pattern.length; ) {
    const c = pattern[at];
    let end = at + 1;
    if (c === "'") {
      end = pattern.indexOf("'", end) + 1 || pattern.length;
      literal(pattern.slice(at + 1, end - 1) || "'");
    } else if ((c >= "a" && c <= "z") || (c >= "A" && c <= "Z")) {
      while (pattern[end] === c) end++;
      found.push({ letter: c, size: end - at });
    } else {
      literal(c);
    }
    at = end;
  }
  return found;
}

function written(list) {
  return list.map((t) => (typeof t === "string" ? (/[A-Za-z']/.test(t) ? "'" + t.replaceAll("'", "''") + "'" : t) : t.letter.repeat(t.size))).join("");
}

// The fields in the order in which the choice of a pattern counts them. From "a" on they are of the time.
const FIELDS = { G: 0, y: 1, M: 2, L: 2, E: 3, c: 3, e: 3, d: 4, a: 5, b: 5, B: 5, h: 6, H: 6, K: 6, k: 6, m: 7, s: 8, S: 9, z: 10, v: 10, O: 10, V: 10 };
const [MONTH, WEEKDAY, PERIOD, HOUR, MINUTE, SECOND, FRACTION, ZONE, COUNT] = [2, 3, 5, 6, 7, 8, 9, 10, 11];
const TIME_FROM = PERIOD;
const isTime = (field) => field >= TIME_FROM;

// A field's kind as a number: the nearer two are, the better one serves for the other; numbers are positive.
function kindOf({ letter, size }) {
  const text = (delta) => [0, -0x103, -0x103, -0x103, -0x104, -0x101, -0x102][size] - delta;
  switch (letter) {
    case "M": return size < 3 ? 0x100 + size : text(0);
    case "L": return size < 3 ? 0xf0 + size : text(0x10);
    case "G": case "E": case "a": return text(0);
    case "c": case "e": return size < 3 ? 0x120 + size : text(0x20);
    case "b": return text(0x10);
    case "B": return text(0x30);
    case "H": return 0x1a0 + size;
    case "k": return 0x1b0 + size;
    case "K": return 0x110 + size;
    case "z": return size < 4 ? -0x103 : -0x104;
    case "v": return size < 4 ? -0x123 : -0x124;
    case "O": return size < 4 ? -0x113 : -0x114;
    default: return 0x100 + size;
  }
}

// A skeleton as its fields by place. A 12-hour clock has a day period, a 24-hour clock none.
function skeleton(text) {
  const fields = new Array(COUNT).fill(undefined);
  for (const token of parse(text)) fields[FIELDS[token.letter]] = token;
  if (fields[FRACTION] && fields[MINUTE] && !fields[SECOND]) fields[SECOND] = { letter: "s", size: 1 };
  if (fields[HOUR]) {
    if (/[hK]/.test(fields[HOUR].letter)) fields[PERIOD] ??= { letter: "a", size: 1 };
    else fields[PERIOD] = undefined;
  }
  return { fields, kinds: fields.map((f) => (f ? kindOf(f) : 0)) };
}

// The patterns of a locale with their skeletons, made at the first need. They are kept beside its data: those of a region
// begin as a copy of its language's.
const patternLists = new WeakMap();

function patternsOf(data) {
  if (!patternLists.has(data)) {
    const list = new Map();
    const alone = new Set(); // the letters that are a skeleton by themselves
    const add = (key, pattern) => {
      list.set(key, { pattern, ...skeleton(key) });
      if (key.length === 1) alone.add(key);
    };
    for (let style = 0; style < 4; style++) for (const pattern of [data.date[style], data.time[style]]) add(skeletonOf(pattern), pattern);
    const own = (data.changes ?? []).toReversed().map((change) => change.skeletons ?? {});
    for (const from of [...own, data.skeletons]) for (const key of Object.keys(from).sort()) if (data.skeletons[key]) add(key, data.skeletons[key]);
    for (const letter of ["G", "y", "M", "E", "d", "a", "H", "m", "s", "S", "v"]) if (!alone.has(letter)) add(letter, letter);
    // Of two that are equally near the first serves: in the order of ICU, by the first letter.
    const sorted = [...list].sort(([a], [b]) => a.charCodeAt(0) - b.charCodeAt(0)).map(([, found]) => found);
    patternLists.set(data, sorted);
  }
  return patternLists.get(data);
}

// The skeleton of a pattern: its fields in a fixed order, one for each.
function skeletonOf(pattern) {
  const fields = [];
  for (const token of tokens(pattern)) {
    if (typeof token === "string" || (token.letter === "a")) continue;
    const letter = { L: "M", c: "E", e: "E" }[token.letter] ?? token.letter;
    fields[FIELDS[letter]] = letter.repeat(token.size);
  }
  return fields.join("");
}

function distance(wanted, other, included) {
  let sum = 0;
  let missing = 0;
  let extra = 0;
  for (let field = 0; field < COUNT; field++) {
    const mine = included & (1 << field) ? wanted.kinds[field] : 0;
    const theirs = other.kinds[field];
    if (mine === theirs) continue;
    if (mine === 0) {
      sum += 0x10000;
      extra |= 1 << field;
    } else if (theirs === 0) {
      sum += 0x1000;
      missing |= 1 << field;
    } else {
      sum += Math.abs(mine - theirs);
    }
  }
  return { sum, missing, extra };
}

function nearest(wanted, data, included) {
  let best;
  for (const candidate of patternsOf(data)) {
    const found = distance(wanted, candidate, included);
    if (!best || found.sum < best.sum || (found.sum === best.sum && found.missing > best.missing)) best = { ...found, candidate };
    if (found.sum === 0) break;
  }
  return best;
}

// The pattern with its fields as wide as they were asked for.
function adjusted(pattern, wanted, matched, fraction, data) {
  return written(tokens(pattern).flatMap((token) => {
    if (typeof token === "string") return token;
    const field = FIELDS[token.letter];
    const asked = wanted.fields[field];
    if (fraction && field === SECOND) return [token, data.symbols.decimal, { letter: "S", size: wanted.fields[FRACTION].size }];
    if (!asked) return token;
    let size = asked.size;
    if (asked.letter === "E" && size < 3) size = 3;
    if (field === MINUTE || field === SECOND) {
      size = token.size;
    } else if (matched) {
      const has = matched.fields[field];
      const mine = has ? has.size : 0;
      const numeric = kindOf(token) > 0;
      const wasNumeric = has && kindOf(has) > 0;
      if (mine === size || (numeric && !wasNumeric) || (wasNumeric && !numeric)) size = token.size;
    }
    let letter = [HOUR, MONTH, WEEKDAY, 1].includes(field) ? token.letter : asked.letter;
    if (field === HOUR && "hK".includes(asked.letter) === "hK".includes(letter)) letter = asked.letter;
    if (letter === "E" && size < 3) letter = "e";
    return { letter, size };
  }));
}

function appended(wanted, data, mask) {
  let best = nearest(wanted, data, mask);
  let pattern = adjusted(best.candidate.pattern, wanted, best.candidate, false, data);
  let { missing } = best;
  while (missing) {
    if (missing & (1 << FRACTION) && !(missing & (1 << SECOND)) && mask & (1 << SECOND)) {
      pattern = adjusted(pattern, wanted, best.candidate, true, data);
      missing &= ~(1 << FRACTION);
      continue;
    }
    best = nearest(wanted, data, missing);
    const more = adjusted(best.candidate.pattern, wanted, best.candidate, false, data);
    const found = missing & ~best.missing;
    if (!found) throw refuse("this combination of date options", "use fewer of them, or dateStyle and timeStyle");
    const top = 31 - Math.clz32(found);
    pattern = appendItem(top, data).replace("{0}", pattern.replaceAll("$", "$$$$")).replace("{1}", more.replaceAll("$", "$$$$"));
    missing = best.missing;
  }
  return pattern;
}

// CLDR's appendItems, of which only English's are carried.
const APPEND = { [MONTH]: "month", 4: "day", [HOUR]: "hour", [MINUTE]: "minute", [SECOND]: "second" };

function appendItem(field, data) {
  if ([0, 1, WEEKDAY, ZONE].includes(field)) return "{0} {1}";
  if (APPEND[field] && data.english) return "{0} ('" + APPEND[field] + "': {1})";
  throw refuse("a date format of these options together", "leave some of them out, or format the parts one by one");
}

function bestPattern(text, data) {
  const wanted = skeleton(text);
  const has = (field) => wanted.fields[field] !== undefined;
  const loose = has(FRACTION) && !has(SECOND) && (has(HOUR) || has(ZONE));
  const h24 = wanted.fields[HOUR]?.letter === "k" && !has(MINUTE) && has(ZONE);
  if (loose || h24 || (has(SECOND) && !has(MINUTE) && (has(FRACTION) || (has(HOUR) && has(ZONE))))) {
    throw refuse("a time with seconds and without minutes", 'add minute: "2-digit"');
  }
  if (has(0) && (!has(1) || (has(MONTH) && (!has(4) || wanted.fields[MONTH].size < 3)))) {
    throw refuse("an era with these options", 'use year: "numeric", month: "long" and day: "numeric" with it');
  }
  const mask = wanted.kinds.reduce((sum, kind, field) => (kind ? sum | (1 << field) : sum), 0);
  if (!data.english) plainOnly(wanted, data);
  const best = nearest(wanted, data, mask);
  if (!best.missing && !best.extra) return adjusted(best.candidate.pattern, wanted, best.candidate, false, data);
  const times = -1 << TIME_FROM;
  const [dateMask, timeMask] = [mask & ~times, mask & times];
  const date = dateMask ? appended(wanted, data, dateMask) : undefined;
  const time = timeMask ? appended(wanted, data, timeMask) : undefined;
  if (date === undefined || time === undefined) return date ?? time;
  const month = wanted.fields[MONTH]?.size;
  const style = month === 4 ? (wanted.fields[WEEKDAY] ? 0 : 1) : month === 3 ? 2 : 3;
  return glued(data.atTime[style], date, time);
}

// Of other languages than English the usual dates and times are carried: those for which the locale itself has a pattern.
function plainOnly(wanted, data) {
  const given = (from, to) => wanted.fields.map((f, field) => (f && field >= from && field < to && f.letter !== "a" ? f.letter : "")).join("");
  const known = (letters) => letters === "" || Object.hasOwn(data.skeletons, letters) ||
    patternsOf(data).some(({ fields }) => fields.map((f) => (f && f.letter !== "a" ? f.letter : "")).join("") === letters);
  const has = (field) => wanted.fields[field] !== undefined;
  const odd = has(0) || has(FRACTION) || has(ZONE) || wanted.fields[PERIOD]?.letter === "B" ||
    wanted.fields[MONTH]?.size === 5 || (wanted.fields[MONTH]?.size === 2) !== (wanted.fields[4]?.size === 2 && wanted.fields[MONTH]?.size < 3) ||
    (has(WEEKDAY) && !has(4) && has(HOUR)) || wanted.fields[WEEKDAY]?.size === 5 || wanted.fields[1]?.size === 2;
  if (odd || !known(given(0, TIME_FROM)) || !known(given(TIME_FROM, COUNT))) {
    throw refuse("a date format of these options in this language", 'use dateStyle and timeStyle, or write "en-US"');
  }
}

const glued = (glue, date, time) => glue.replace("{1}", () => date).replace("{0}", () => time);

// --- options ---

const WIDTHS = ["narrow", "short", "long"];
const DIGITS = ["2-digit", "numeric"];
const STYLES = ["full", "long", "medium", "short"];
const ZONE_NAMES = ["short", "long", "shortOffset", "longOffset", "shortGeneric", "longGeneric"];
const COMPONENTS = [
  ["weekday", WIDTHS, { narrow: "EEEEE", short: "EEE", long: "EEEE" }],
  ["era", WIDTHS, { narrow: "GGGGG", short: "GGG", long: "GGGG" }],
  ["year", DIGITS, { "2-digit": "yy", numeric: "y" }],
  ["month", [...DIGITS, ...WIDTHS], { "2-digit": "MM", numeric: "M", narrow: "MMMMM", short: "MMM", long: "MMMM" }],
  ["day", DIGITS, { "2-digit": "dd", numeric: "d" }],
  ["dayPeriod", WIDTHS, { narrow: "BBBBB", short: "B", long: "BBBB" }],
  ["hour", DIGITS, { "2-digit": "jj", numeric: "j" }],
  ["minute", DIGITS, { "2-digit": "mm", numeric: "m" }],
  ["second", DIGITS, { "2-digit": "ss", numeric: "s" }],
];
const CYCLES = { h11: "K", h12: "h", h23: "H", h24: "k" };
const cycleOf = (letter) => Object.keys(CYCLES).find((key) => CYCLES[key] === letter);

// `needs` and `defaults`: "date", "time", "any", "all" (ECMA-402, 11.1.2).
function dateState(locales, given, needs = "any", defaults = "date", requireZone) {
  const options = object(given);
  const { data, name, keywords } = resolve(locales, ["ca", "hc", "nu"]);
  data.english = name.startsWith("en");
  option(options, "localeMatcher", "string", ["lookup", "best fit"]);
  onlyPlain(options, keywords, "calendar");
  onlyPlain(options, keywords, "numberingSystem");
  const hour12 = option(options, "hour12", "boolean");
  let hourCycle = option(options, "hourCycle", "string", Object.keys(CYCLES));
  const fromTag = Object.hasOwn(CYCLES, keywords.get("hc") ?? "") ? keywords.get("hc") : undefined;
  const zone = findZone(options.timeZone === undefined ? "UTC" : options.timeZone);
  const state = { data, name, zone };
  const chosen = {};
  for (const [key, values] of COMPONENTS) chosen[key] = option(options, key, "string", values);
  const fraction = numberOption(options, "fractionalSecondDigits", 1, 3);
  const timeZoneName = option(options, "timeZoneName", "string", ZONE_NAMES);
  option(options, "formatMatcher", "string", ["basic", "best fit"]);
  const dateStyle = option(options, "dateStyle", "string", STYLES);
  const timeStyle = option(options, "timeStyle", "string", STYLES);
  const usual = cycleOf(/[hHkK]/.exec(data.time[3].replace(/'[^']*'/g, ""))[0]);
    if (!data.english && (hour12 !== undefined || hourCycle !== undefined || fromTag !== undefined)) {
    const same = hour12 === undefined ? (hourCycle ?? fromTag) === usual : (hour12 ? usual === "h12" : usual === "h23");
    if (!same) throw refuse("another clock than the usual one in " + name, 'leave hour12 and hourCycle out, or write "en-US" or "en-GB"');
  }
  if (hour12 !== undefined) hourCycle = hour12 ? "h12" : "h23";
  else hourCycle ??= fromTag ?? usual;
  const asked = Object.keys(chosen).filter((key) => chosen[key] !== undefined);
  if (dateStyle !== undefined || timeStyle !== undefined) {
    const other = asked[0] ?? (fraction !== undefined ? "fractionalSecondDigits" : timeZoneName !== undefined ? "timeZoneName" : undefined);
    if (other) throw fail("TypeError", "Can't set option " + other + " when " + (dateStyle ? "dateStyle" : "timeStyle") + " is used");
    if (needs === "date" && timeStyle !== undefined) throw fail("TypeError", "Invalid option : timeStyle");
    if (needs === "time" && dateStyle !== undefined) throw fail("TypeError", "Invalid option : dateStyle");
    if (!data.english && (timeStyle === "full" || timeStyle === "long")) {
      throw refuse('timeStyle "' + timeStyle + '" in ' + name, 'use "medium" or "short", or write "en-US"');
    }
    state.pattern = styledPattern(data, STYLES.indexOf(dateStyle), STYLES.indexOf(timeStyle), hourCycle);
    Object.assign(state, { dateStyle, timeStyle });
  } else {
    const dates = ["weekday", "year", "month", "day"];
    const times = ["dayPeriod", "hour", "minute", "second"];
    const has = (keys) => keys.some((key) => chosen[key] !== undefined);
    const enough = (needs !== "time" && has(dates)) || (needs !== "date" && (has(times) || fraction !== undefined));
    if (!enough) {
      if (defaults !== "time") for (const key of ["year", "month", "day"]) chosen[key] = "numeric";
      if (defaults !== "date") for (const key of ["hour", "minute", "second"]) chosen[key] = "numeric";
    }
    if (!data.english && chosen.dayPeriod) throw refuse("dayPeriod in " + name, "leave it out");
    let text = "";
    for (const [key, , letters] of COMPONENTS) if (chosen[key] !== undefined) text += letters[chosen[key]];
    text = text.replace("j", CYCLES[hourCycle]).replace("j", CYCLES[hourCycle]);
    if (fraction) text += "S".repeat(fraction);
    if (timeZoneName) text += { short: "z", long: "zzzz", shortOffset: "O", longOffset: "OOOO", shortGeneric: "v", longGeneric: "vvvv" }[timeZoneName];
    state.skeleton = text;
    state.pattern = withCycle(bestPattern(text, data), hourCycle);
    state.timeZoneName = timeZoneName;
  }
  state.fields = tokens(state.pattern);
  const shown = state.fields.find((t) => FIELDS[t.letter] === HOUR);
  if (shown) state.hourCycle = cycleOf(shown.letter);
  state.locale = name;
  const extension = [...keywords].filter(([key, value]) => (key === "hc" ? fromTag === hourCycle && hour12 === undefined : value && (key !== "nu" || value === "latn"))).sort();
  if (extension.length) state.locale += "-u-" + extension.map(([key, value]) => key + "-" + value).join("-");
  return state;
}

const withCycle = (pattern, cycle) => written(tokens(pattern).map((t) => (FIELDS[t.letter] === HOUR ? { ...t, letter: CYCLES[cycle] } : t)));

function styledPattern(data, dateStyle, timeStyle, hourCycle) {
  const date = data.date[dateStyle];
  const time = data.time[timeStyle];
  const pattern = date && time ? glued(data.atTime[dateStyle], date, time) : date ?? time;
  const hour = tokens(pattern).find((t) => FIELDS[t.letter] === HOUR);
  if (!hour || hour.letter === CYCLES[hourCycle]) return pattern;
  return withCycle(bestPattern(skeletonOf(pattern).replace(/[hHkK]/g, CYCLES[hourCycle]), data), hourCycle);
}

// --- formatting ---

const two = (n) => String(n).padStart(2, "0");
const DAY = 864e5; // milliseconds

// The fields of a moment on the clock of a zone, in the proleptic Gregorian calendar.
function fieldsAt(moment, zone) {
  const shifted = moment + offsetAt(zone.zone, moment)[0] * 1000;
  // At both ends of time a zone's clock shows what no Date can have: 400 years nearer all else is the same.
  const turns = Math.abs(shifted) > 8.64e15 ? Math.sign(shifted) : 0;
  const local = new Date(shifted - turns * 146097 * DAY);
  const year = local.getUTCFullYear() + turns * 400;
  return {
    era: year > 0 ? 1 : 0, year: year > 0 ? year : 1 - year, month: local.getUTCMonth(), day: local.getUTCDate(),
    weekday: local.getUTCDay(), hour: local.getUTCHours(), minute: local.getUTCMinutes(), second: local.getUTCSeconds(),
    millisecond: local.getUTCMilliseconds(), moment,
  };
}

const width = (size) => (size === 4 ? "wide" : size === 5 ? "narrow" : "abbreviated");

// Noon is named when nothing that is shown says that it is another moment.
function periodOf({ data, fields }, { hour, minute, second }, size) {
  const names = data.periods["format-" + width(size)] ?? data.periods["format-abbreviated"];
  const shows = (field) => fields.some((token) => FIELDS[token.letter] === field);
  const exact = (minute === 0 || !shows(MINUTE)) && (second === 0 || !shows(SECOND));
  let found;
  for (const [name, start, end] of data.periodRules) {
    if (names[name] === undefined) continue;
    if (start === end) {
      if (name === "noon" && exact && hour === 12) return names.noon;
    } else if (start < end ? hour * 60 >= start && hour * 60 < end : hour * 60 >= start || hour * 60 < end) {
      found = name;
    }
  }
  return names[found] ?? names[hour < 12 ? "am" : "pm"];
}

function fieldText({ letter, size }, f, state) {
  const { data } = state;
  switch (letter) {
    case "G": return ["era", data.eras[width(size)][f.era]];
    case "y": return ["year", size === 2 ? two(f.year % 100) : String(f.year).padStart(size, "0")];
    case "M": case "L": {
      const month = size < 3 ? String(f.month + 1).padStart(size, "0") : data.months[(letter === "M" ? "format-" : "stand-alone-") + width(size)]?.[f.month] ?? data.months["format-" + width(size)][f.month];
      return ["month", month];
    }
    case "E": case "c": case "e": return ["weekday", data.days[(letter === "c" ? "stand-alone-" : "format-") + width(size)]?.[f.weekday] ?? data.days["format-" + width(size)][f.weekday]];
    case "d": return ["day", size === 2 ? two(f.day) : String(f.day)];
    case "a": return ["dayPeriod", data.periods["format-" + width(size)]?.[f.hour < 12 ? "am" : "pm"] ?? data.periods["format-abbreviated"][f.hour < 12 ? "am" : "pm"]];
    case "B": return ["dayPeriod", periodOf(state, f, size)];
    case "h": return ["hour", String(f.hour % 12 || 12).padStart(size, "0")];
    case "H": return ["hour", String(f.hour).padStart(size, "0")];
    case "K": return ["hour", String(f.hour % 12).padStart(size, "0")];
    case "k": return ["hour", String(f.hour || 24).padStart(size, "0")];
    case "m": return ["minute", String(f.minute).padStart(size, "0")];
    case "s": return ["second", String(f.second).padStart(size, "0")];
    case "S": return ["fractionalSecond", String(f.millisecond).padStart(3, "0").slice(0, size)];
    default: {
      const style = { z: "short", O: "shortOffset", v: "shortGeneric" }[letter];
      return ["timeZoneName", zoneName(state.zone, f.moment, size === 4 ? style.replace("short", "long") : style, data, state.name)];
    }
  }
}

// V8 writes an ordinary space where CLDR has a narrow no-break one, for programs that compare.
const plainSpaces = (text) => text.replaceAll("\u202f", " ");

function partsOf(fields, f, state) {
  const parts = [];
  for (const token of fields) {
    const [type, value] = typeof token === "string" ? ["literal", token] : fieldText(token, f, state);
    if (type === "literal" && parts.at(-1)?.type === "literal") parts.at(-1).value += value;
    else if (value !== "") parts.push({ type, value });
  }
  return parts;
}

function momentOf(date) {
  const value = date === undefined ? native.now() : Number(date);
  if (!(Math.abs(value) <= 8.64e15)) throw fail("RangeError", "Invalid time value");
  return Math.trunc(value) + 0;
}

const joined = (parts) => {
  let text = "";
  for (const part of parts) text += part.value;
  return text;
};

const formatDate = (state, date) => plainSpaces(joined(partsOf(state.fields, fieldsAt(momentOf(date), state.zone), state)));

// --- ranges ---

const ORDER = [["era", "G"], ["year", "y"], ["month", "M"], ["day", "d"], ["period", "a"], ["hour", "h"], ["minute", "m"]];

function rangeParts(state, start, end) {
  if (start === undefined || end === undefined) throw fail("TypeError", "startDate or endDate cannot be undefined");
  const [from, to] = [fieldsAt(momentOf(start), state.zone), fieldsAt(momentOf(end), state.zone)];
  const marked = (parts, source) => parts.map((part) => ({ ...part, source }));
  const differs = ORDER.find(([key]) => key === "period" ? (from.hour < 12) !== (to.hour < 12) : from[key] !== to[key]);
  const have = new Set(state.fields.filter((t) => typeof t !== "string").map((t) => FIELDS[t.letter]));
  const finest = have.has(SECOND) || have.has(FRACTION);
  const visible = differs && (!isTime(FIELDS[differs[1]]) || have.has(HOUR) || have.has(MINUTE)) && shows(differs[1], have);
  if (!visible && !(finest && (from.second !== to.second || from.millisecond !== to.millisecond))) {
    return marked(partsOf(state.fields, from, state), "shared");
  }
  throw refuse("a range of these dates", "format both ends: format(start) + \" – \" + format(end)");
}

const shows = (letter, have) => [...have].some((field) => field >= FIELDS[letter]);

// --- the service ---

service("DateTimeFormat", {
  callable: true,
  make: (locales, options) => dateState(locales, options),
  getters: { format: bound("format", 1, formatDate) },
  methods: {
    formatToParts: (state, date) => partsOf(state.fields, fieldsAt(momentOf(date), state.zone), state),
    formatRange: (state, start, end) => joined(rangeParts(state, start, end)),
    formatRangeToParts: (state, start, end) => rangeParts(state, start, end),
    resolvedOptions: (state) => shownOptions(state),
  },
  statics: { supportedLocalesOf },
});

const SHOWN = {
  E: ["weekday", { 3: "short", 4: "long", 5: "narrow" }], G: ["era", { 1: "short", 3: "short", 4: "long", 5: "narrow" }],
  y: ["year", { 1: "numeric", 2: "2-digit" }], M: ["month", { 1: "numeric", 2: "2-digit", 3: "short", 4: "long", 5: "narrow" }],
  d: ["day", { 1: "numeric", 2: "2-digit" }], B: ["dayPeriod", { 1: "short", 4: "long", 5: "narrow" }],
  h: ["hour", { 1: "numeric", 2: "2-digit" }], m: ["minute", { 1: "numeric", 2: "2-digit" }], s: ["second", { 1: "numeric", 2: "2-digit" }],
};

function shownOptions(state) {
  const shown = { locale: state.locale, calendar: "gregory", numberingSystem: "latn", timeZone: state.zone.id };
  if (state.hourCycle) Object.assign(shown, { hourCycle: state.hourCycle, hour12: /h1/.test(state.hourCycle) });
  if (state.dateStyle !== undefined || state.timeStyle !== undefined) {
    if (state.dateStyle) shown.dateStyle = state.dateStyle;
    if (state.timeStyle) shown.timeStyle = state.timeStyle;
    return shown;
  }
  for (const letter of ["E", "G", "y", "M", "d", "B", "h", "m", "s"]) {
    const token = state.fields.find((t) => FIELDS[t.letter] === FIELDS[letter] && (letter !== "B" || t.letter === "B"));
    if (token) shown[SHOWN[letter][0]] = SHOWN[letter][1][letter === "E" ? Math.max(3, token.size) : token.size];
  }
  const fraction = state.fields.find((t) => t.letter === "S");
  if (fraction) shown.fractionalSecondDigits = fraction.size;
  if (state.timeZoneName) shown.timeZoneName = state.timeZoneName;
  return shown;
}

const timeOf = Date.prototype.valueOf;

const localized = (needs, defaults) => entry((self, locales, options) => {
  const moment = timeOf.call(self);
  if (Number.isNaN(moment)) return "Invalid Date";
  return formatDate(kept(needs + defaults, locales, options, (l, o) => dateState(l, o, needs, defaults)), moment);
});

native.methods.date = localized("any", "all");
native.methods.dateOnly = localized("date", "date");
native.methods.timeOnly = localized("time", "time");
