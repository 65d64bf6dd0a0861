// Time zones: offsets at a moment, and their names in English (IANA's data; CLDR's metazones).

const { tables, names, fail, refuse, textOf } = native.base;

// Three lists of names, which are searched as text: a line is `key TAB " name name "`. The zones by the number of their
// table, the other names of a zone by its usual one, and the zones of a metazone. Read at the first zone that is not UTC.
let lists;

function list(which) {
  lists ??= [2, 3, 4].map((number) => native.piece(number));
  return lists[which];
}

// The key of the line that has a name, and the name as the line has it; undefined when no line has it.
function lineOf(text, name, searched = text) {
  const at = searched.indexOf(" " + name + " ");
  if (at < 0 || /[\s]/.test(name)) return undefined;
  const line = text.lastIndexOf("\n", at) + 1;
  return { key: text.slice(line, text.indexOf("\t", line)), name: text.slice(at + 1, at + 1 + name.length) };
}

const { deltas, firstZone } = tables;
// Abbreviations of ICU that are no zones of IANA.
const ABBREVIATIONS = { PST: "America/Los_Angeles", CST: "America/Chicago" };

const zones = new Map();
const UTC = /^(etc\/)?(utc|gmt([+-]?0)?|uct|zulu|universal|greenwich)$/i;

// {id, zone}: the name as resolvedOptions shows it, and the zone with its transitions.
function findZone(given) {
  const text = textOf(given);
  const offset = /^([+-])([01]\d|2[0-3])(?::?([0-5]\d))?$/.exec(text);
  if (offset) {
    const [, sign, hours, minutes = "00"] = offset;
    const seconds = (sign === "-" ? -1 : 1) * (hours * 3600 + minutes * 60);
    return { id: (seconds < 0 ? "-" : "+") + hours + ":" + minutes, zone: fixed(seconds), fixed: true };
  }
  if (UTC.test(text)) return { id: "UTC", zone: fixed(0), gmt: /greenwich$|^etc\/gmt[+-]?0$/i.test(text) };
  const wanted = ABBREVIATIONS[text.toUpperCase()] ?? text;
  const found = lineOf(list(0), wanted.toLowerCase(), list(0).toLowerCase());
  if (!found) throw fail("RangeError", "Invalid time zone specified: " + text.slice(0, 100));
  const id = lineOf(list(1), found.name)?.key ?? found.name;
  if (!zones.has(found.key)) zones.set(found.key, readZone(native.piece(firstZone + Number(found.key))));
  return { id, zone: zones.get(found.key), meta: lineOf(list(2), id)?.key };
}

const fixed = (offset) => ({ types: [[offset, 0]], times: [], kinds: [], rule: undefined });

function readZone(text) {
  const [begin, end] = [text.indexOf(";"), text.lastIndexOf(";")]; // a transition may be written with this character too
  const [first, transitions, rule] = [text.slice(0, begin), text.slice(begin + 1, end), text.slice(end + 1)];
  const times = [];
  const kinds = [];
  let time = 0;
  for (let at = 0; at < transitions.length; ) {
    kinds.push(transitions.charCodeAt(at++) - 36);
    if (transitions[at] === "}") {
      const stop = transitions.indexOf(".", at);
      time += parseInt(transitions.slice(at + 1, stop), 36);
      at = stop + 1;
    } else {
      time += deltas[transitions.charCodeAt(at++) - 36];
    }
    times.push(time);
  }
  const types = first.split("|").map((type) => type.split(",").map(Number));
  return { types, times, kinds, rule: rule ? readRule(rule) : undefined };
}

// A POSIX TZ string such as EST5EDT,M3.2.0,M11.1.0/2 (RFC 9636, section 3.3.1).
function readRule(text) {
  const [names, begin, end] = text.split(",");
  const name = "(?:<[^>]+>|[A-Za-z]+)";
  const [, standard, daylight, saved] = new RegExp("^" + name + "([-+\\d:]+)(?:(" + name + ")([-+\\d:]*))?$").exec(names);
  const offset = -clock(standard);
  if (!daylight) return { standard: [offset, 0] };
  const summer = saved ? -clock(saved) : offset + 3600;
  const changes = [change(begin), change(end)];
  // Ireland's summer time is its standard time in the source; here it is the daylight time, as CLDR has it.
  if (summer < offset) return { standard: [summer, 0], daylight: [offset, 1], begin: changes[1], end: changes[0] };
  return { standard: [offset, 0], daylight: [summer, 1], begin: changes[0], end: changes[1] };
}

function clock(text) {
  const [hours, minutes = 0, seconds = 0] = text.replace(/^[-+]/, "").split(":").map(Number);
  return (text[0] === "-" ? -1 : 1) * (hours * 3600 + minutes * 60 + seconds);
}

function change(text) {
  const [date, time = "2"] = text.split("/");
  const [month, week, day] = date.slice(1).split(".").map(Number);
  return { month, week, day, seconds: clock(time) };
}

// The moment of a change in a year, in seconds of local time.
function changeIn(year, { month, week, day, seconds }) {
  const first = Date.UTC(year, month - 1, 1) / 864e5;
  let date = first + ((day - ((first + 4) % 7) + 7) % 7) + (week - 1) * 7;
  const length = new Date(Date.UTC(year, month, 0)).getUTCDate();
  while (date >= first + length) date -= 7;
  return date * 86400 + seconds;
}

// [offset in seconds, whether it is daylight time] at a moment in milliseconds.
function offsetAt({ types, times, kinds, rule }, moment) {
  const seconds = Math.floor(moment / 1000);
  if (!times.length || seconds < times[0]) return times.length || !rule ? types[0] : byRule(rule, seconds);
  if (rule?.daylight ? seconds >= times.at(-1) : false) return byRule(rule, seconds);
  let low = 0;
  let high = times.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= seconds) low = middle;
    else high = middle;
  }
  return types[kinds[low]];
}

function byRule({ standard, daylight, begin, end }, seconds) {
  if (!daylight) return standard;
  const year = new Date(seconds * 1000 + standard[0] * 1000).getUTCFullYear();
  const from = changeIn(year, begin) - standard[0];
  const to = changeIn(year, end) - daylight[0];
  const summer = from < to ? seconds >= from && seconds < to : seconds >= from || seconds < to;
  return summer ? daylight : standard;
}

function gmt(offset, long) {
  const size = Math.abs(offset);
  const [hours, minutes, seconds] = [Math.floor(size / 3600), Math.floor(size / 60) % 60, size % 60];
  const two = (n) => String(n).padStart(2, "0");
  let text = "GMT" + (offset < 0 ? "-" : "+") + (long ? two(hours) : hours);
  if (long || minutes || seconds) text += ":" + two(minutes);
  return seconds ? text + ":" + two(seconds) : text;
}

// The name of a zone at a moment. `style` is one of ECMA-402's timeZoneName.
function zoneName(found, moment, style, data, locale) {
  const [offset, daylight] = offsetAt(found.zone, moment);
  if (style === "shortOffset" || style === "longOffset" || found.fixed) return gmt(offset, style.startsWith("long"));
  const advice = 'use timeZoneName "shortOffset" or "longOffset", or write the name yourself';
  if (style.endsWith("Generic")) throw refuse('timeZoneName "' + style + '"', 'use "short" or "long"');
  const own = names(data, locale, "zoneNames");
  if (found.id === "UTC" && style === "short") return found.gmt ? "GMT" : "UTC";
  if (!own) throw refuse("the name of a time zone in " + locale, advice);
  if (found.gmt) return names(data, locale, "metaZones").GMT.long.standard;
  const kind = daylight ? "daylight" : "standard";
  const text = own[found.id]?.[style]?.[kind];
  // The names of metazones begin in 1970, as in V8. A zone that has none today may have had one.
  if (text || moment < 0 || /^(Etc\/|[A-Z]{3}\d[A-Z]{3}$)/.test(found.id)) return text ?? gmt(offset, style === "long");
  if (!found.meta && moment >= Date.UTC(2024)) return gmt(offset, style === "long");
  // CLDR's names hold for the zone as it is today: where its standard time was another one, they may be others.
  if (!found.meta || !sameAsToday(found.zone, offset, daylight)) throw refuse("the name that " + found.id + " had at that time", advice);
  return names(data, locale, "metaZones")[found.meta]?.[style]?.[kind] ?? gmt(offset, style === "long");
}

function sameAsToday(zone, offset, daylight) {
  const standard = zone.rule ? zone.rule.standard[0] : zone.types.at(-1)[0];
  return offset === standard + (daylight ? (zone.rule?.daylight?.[0] ?? standard + 3600) - standard : 0);
}

// The usual names, as Intl.supportedValuesOf lists them.
function zoneNames() {
  const names = list(0).split("\n").flatMap((line) => (line.split("\t")[1] ?? "").split(" "));
  const others = new Set(list(1).split("\n").flatMap((line) => (line.split("\t")[1] ?? "").split(" ")));
  return names.filter((name) => name.includes("/") && !name.startsWith("Etc/") && !others.has(name)).sort();
}

native.zone = { zoneNames, findZone, offsetAt, zoneName };
